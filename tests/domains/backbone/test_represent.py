import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from proteins import frames, protein

from genmatter import config as configs
from genmatter.domains.backbone.config import BackboneDiffusionConfig, BackboneSamplingConfig
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.formats import write
from genmatter.domains.backbone.observables import oxygen_psi
from genmatter.domains.backbone.represent import BackboneFrames, ideal
from genmatter.errors import ConfigError, RepresentationError
from genmatter.maths import rotation
from genmatter.maths.residues import ALPHABET
from genmatter.maths.superpose import rmsd, rotation_onto

TINY = BackboneDiffusionConfig.presets["tiny"]
LETTERS = ("GAYPKW", "AAAAAAAAA", "GGWPKYAC")


def trajectory(letters, n=6, seed=0, name="", **told):
    return Trajectory(
        protein(letters, name or letters.lower(), **told), frames(n, letters, seed).numpy()
    )


@pytest.fixture(scope="module")
def objects():
    return Conformers.all([trajectory(x, seed=k) for k, x in enumerate(LETTERS)])


@pytest.fixture(scope="module")
def known(objects):
    return BackboneFrames.fit(objects, TINY)


def asked(**told):
    return replace(TINY, sampling=BackboneSamplingConfig(**told))


def turned(objects, seed=0):
    """The same conformers somewhere else."""
    torch.manual_seed(seed)
    found = []
    for t in objects.trajectories:
        x = t.take(torch.arange(len(t)))
        turn = rotation.random_matrix(len(x))
        moved = torch.einsum("nij,nlpj->nlpi", turn, x) + 10 * torch.randn(len(x), 1, 1, 3)
        there = torch.where((x != 0).any(-1, keepdim=True), moved, 0.0)
        found.append(replace(t, atoms=there))
    return replace(objects, trajectories=tuple(found))


def shapes(objects, protein):
    return objects.of(protein).backbone()[:, :, :4].flatten(1, 2)


def test_the_scale_makes_coordinates_of_unit_variance(objects, known):
    parts = [objects.of(p).alphas() for p in objects.proteins]
    every = torch.cat([(x - x.mean(1, keepdim=True)).flatten() for x in parts])
    assert (every * known.coord_scale).square().mean().item() == pytest.approx(1, rel=1e-4)


def test_it_survives_json(known):
    plain = json.loads(json.dumps(asdict(known)))
    assert configs.restore(BackboneFrames, plain) == known


def test_references_are_the_first_conformers_and_absent_atoms_stay_zeros(objects, known):
    for k, p in enumerate(objects.proteins):
        assert known.proteins[k] == p
        x, want = known.reference(k), objects.of(p)[:1].backbone()[0]
        torch.testing.assert_close(x, want, atol=1e-3, rtol=0)
        glycine = torch.tensor([letter == "G" for letter in p.sequence])
        assert (x[glycine, 4] == 0).all()
        assert x[~glycine, 4].norm(dim=-1).min() > 0.1


def test_frames_are_where_residues_are(objects, known):
    batch = known.encode(objects)
    x = objects.atoms()
    local = batch.rots.mT[:, :, None] @ (_turned_as(batch, x) - batch.trans[:, :, None])[..., None]
    n, ca, c = local.squeeze(-1)[batch.mask][:, :3].unbind(1)
    assert ca.abs().max() < 1e-4
    assert c[:, 1:].abs().max() < 1e-3
    assert (c[:, 0] > 1.4).all()
    assert n[:, 2].abs().max() < 1e-3
    assert (n[:, 1] > 0).all()


def _turned_as(batch, x):
    """Atoms in the space of the frames, with their CA where these are."""
    found = x.clone()
    for row, size in enumerate(batch.mask.sum(1).tolist()):
        a, b = x[row, :size, 1], batch.trans[row, :size]
        found[row] = (x[row] - a.mean(0)) @ rotation_onto(a, b) + b.mean(0)
    return found


def test_where_and_how_turned_a_conformer_is_does_not_matter(objects, known):
    a, b = known.encode(objects), known.encode(turned(objects))
    for name in ("rots", "trans", "psi"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=2e-4, rtol=0)


def test_conformers_lie_on_their_reference(objects, known):
    batch = known.encode(turned(objects))
    for k, p in enumerate(objects.proteins):
        here = batch.protein == k
        x = batch.trans[here][:, : len(p)]
        target = known.reference(k)[:, 1].expand_as(x)
        assert x.mean(1).abs().max() < 1e-4
        as_is = (x - target).square().sum(-1).mean(1).sqrt()
        torch.testing.assert_close(as_is, rmsd(x, target), atol=1e-4, rtol=0)


def test_encode_and_decode_are_ideal_residues(objects, known):
    copies = known.decode(known.encode(objects))
    wanted = ideal(objects)
    assert len(copies) == len(objects)
    assert not any(t.complete for t in copies.trajectories)
    for p in objects.proteins:
        assert rmsd(shapes(copies, p), shapes(wanted, p)).max() < 1e-3
        assert rmsd(shapes(copies, p), shapes(objects, p)).max() < 0.15
        x, y = copies.of(p).backbone(), objects.of(p).backbone()
        gap = oxygen_psi(x) - oxygen_psi(y)
        torch.testing.assert_close(gap.cos(), torch.ones_like(gap), atol=1e-3, rtol=0)


def test_again_nothing_changes(objects, known):
    batch = known.encode(objects)
    again = known.encode(known.decode(batch))
    for name, value in batch.tensors.items():
        torch.testing.assert_close(again.tensors[name], value, atol=1e-3, rtol=0)


def test_order_is_kept_and_rows_are_encoded_alone(objects, known):
    order = torch.tensor([7, 0, 14, 3, 12])
    some, whole = known.encode(objects[order]), known.encode(objects)
    for name, value in some.tensors.items():
        torch.testing.assert_close(value, whole[order].tensors[name])
    names = [objects.trajectories[k].protein for k in objects.where[order][:, 0].tolist()]
    found = known.decode(whole[order])
    assert [found.trajectories[k].protein for k in found.where[:, 0].tolist()] == names


def test_shorter_proteins_are_padded(objects, known):
    batch = known.encode(objects)
    assert batch.mask.sum(1).tolist() == objects.lengths.tolist()
    assert (batch.aatype[~batch.mask] == ALPHABET.index("X")).all()
    assert (batch.rots[~batch.mask] == torch.eye(3)).all()


def test_there_is_a_jump_between_chains():
    x = trajectory("GAYPKW", chains="AAABBB")
    batch = BackboneFrames.fit(Conformers.all([x]), TINY).encode(Conformers.all([x]))
    jumps = batch.seq_idx[0].diff()
    assert jumps[[0, 1, 3, 4]].tolist() == [1] * 4
    assert jumps[2] > 100
    assert batch.chain_idx[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_psi_is_that_of_the_torsion(objects, known):
    batch = known.encode(objects)
    p = objects.proteins[0]
    angle = torch.atan2(*batch.psi[batch.protein == 0][:, : len(p)].unbind(-1))
    want = oxygen_psi(objects.of(p).backbone())
    torch.testing.assert_close((angle - want).cos(), torch.ones_like(angle), atol=1e-4, rtol=0)
    norm = batch.psi.norm(dim=-1)
    torch.testing.assert_close(norm, torch.ones_like(norm))


def test_unknown_proteins_have_no_number_and_come_back(known):
    other = Conformers.all([trajectory("WWWW", first=3, chains="AABB")])
    batch = known.encode(other)
    assert batch.protein.tolist() == [-1] * 6
    back = known.decode(batch)
    found = back.trajectories[0].protein
    assert (found.sequence, found.numbers, found.chains) == ("WWWW", (3, 4, 5, 6), tuple("AABB"))
    x, y = shapes(back, found), shapes(ideal(other), other.proteins[0])
    assert rmsd(x, y).max() < 1e-3


def test_the_same_residues_under_another_name_are_known(known):
    other = Conformers.all([trajectory(LETTERS[1], name="else")])
    assert known.encode(other).protein.tolist() == [1] * 6


def test_nothing_cannot_be_encoded_and_decodes_to_nothing(objects, known):
    with pytest.raises(RepresentationError, match="no conformers"):
        known.encode(objects[:0])
    batch = known.encode(objects)
    assert len(known.decode(batch[:0])) == 0


def test_a_row_that_is_no_number_spoils_no_other(objects, known):
    batch = known.encode(turned(objects))
    spoiled = batch.replace(trans=batch.trans.clone())
    spoiled.trans[0, 0] = torch.nan
    a, b = known.decode(batch).backbone(), known.decode(spoiled).backbone()
    assert b[0].isnan().any()
    torch.testing.assert_close(a[1:], b[1:], atol=1e-5, rtol=0)


def test_decoded_atoms_that_a_type_lacks_are_zeros(objects, known):
    found = known.decode(known.encode(objects))
    p = objects.proteins[0]
    atoms = found.of(p).atoms()
    assert (atoms[:, 0, 4:] == 0).all()  # a glycine
    assert (atoms[:, 1, :5].abs().sum(-1) > 0).all()


def test_gradients_go_through_decode(objects, known):
    batch = known.encode(objects)
    trans = batch.trans.clone().requires_grad_()
    known.decode(batch.replace(trans=trans)).backbone().square().sum().backward()
    assert trans.grad.isfinite().all()
    assert trans.grad[batch.mask].abs().max() > 0


def test_a_prompt_takes_the_proteins_in_turn(known):
    given = known.prompt(8, TINY)
    assert given.protein.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert given.mask.sum(1).tolist() == [len(LETTERS[k % 3]) for k in range(8)]
    assert given.trans[given.mask].isnan().all()
    assert given.rots[given.mask].isnan().all()
    assert not given.fixed.any()
    one = known.prompt(3, asked(protein="aaaaaaaaa"))
    assert one.protein.tolist() == [1] * 3


def test_a_prompt_for_a_new_sequence(known):
    given = known.prompt(2, asked(new_sequence="WYG"))
    assert given.protein.tolist() == [-1, -1]
    assert "".join(ALPHABET[k] for k in given.aatype[0].tolist()) == "WYG"
    assert given.seq_idx.tolist() == [[1, 2, 3]] * 2


def test_a_prompt_holds_a_motif(known, tmp_path):
    told = {"protein": "gaypkw", "motif": "2-4"}
    given = known.prompt(3, asked(**told))
    assert given.fixed.tolist() == [[False, True, True, True, False, False]] * 3
    held = given.fixed
    reference = known.reference(0)
    torch.testing.assert_close(given.trans[0][held[0]], reference[1:4, 1])
    assert given.rots[held].isfinite().all()
    assert given.psi[held].isfinite().all()
    assert given.rots[~held].isnan().all()
    path = tmp_path / "motif.pdb"
    write(Conformers.all([trajectory("GAYPKW", 1, seed=9)]), path)
    other = known.prompt(3, asked(**told, motif_from=str(path)))
    assert (other.trans[held] - given.trans[held]).abs().max() > 0.1


def test_what_is_held_is_decoded_where_it_is(known):
    given = known.prompt(2, asked(protein="gaypkw", motif="2-4"))
    shift = torch.tensor([5.0, 0.0, 0.0])
    whole = given.replace(
        rots=given.rots.nan_to_num(), trans=given.trans.nan_to_num() + shift,
        psi=torch.tensor([0.0, 1.0]).expand_as(given.psi),
    )  # fmt: skip
    eye = torch.eye(3).expand_as(whole.rots)
    whole = whole.replace(rots=torch.where(whole.fixed[..., None, None], whole.rots, eye))
    ca = known.decode(whole).alphas()
    torch.testing.assert_close(ca[:, 1:4], known.reference(0)[1:4, 1].expand(2, 3, 3) + shift)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"protein": "nobody"}, "knows gaypkw"),
        ({"new_sequence": "AXA"}, "no residue 'X'"),
        ({"new_sequence": "aa"}, "no residue 'a'"),
        ({"motif": "2-4"}, "needs --protein"),
        ({"protein": "gaypkw", "motif": "9"}, "has no residues"),
        ({"protein": "gaypkw", "motif": "1-6"}, "whole protein"),
        ({"new_sequence": "WYG", "motif": "2"}, "motif_from"),
    ],
)
def test_prompts_that_cannot_be_are_refused(known, told, words):
    with pytest.raises(ConfigError, match=words):
        known.prompt(2, asked(**told))


def test_what_is_not_diffused_is_prompted(known):
    still = replace(TINY, diffuse_rot=False)
    given = known.prompt(3, still)
    assert given.rots[given.mask].isfinite().all()
    assert given.trans[given.mask].isnan().all()
    given = known.prompt(3, replace(TINY, diffuse_trans=False))
    assert given.trans[given.mask].isfinite().all()
    assert given.rots[given.mask].isnan().all()
    new = replace(still, sampling=BackboneSamplingConfig(new_sequence="WYG"))
    with pytest.raises(ConfigError, match="diffuse_rot"):
        known.prompt(2, new)


def test_bonds_between_ideal_residues_are_nearly_as_they_were():
    x = Conformers.all([trajectory("GAYPKW", 50)])
    y = ideal(x)
    assert [len(t.protein) for t in y.trajectories] == [6]
    bond = lambda z: (z.backbone()[:, 1:, 0] - z.backbone()[:, :-1, 2]).norm(dim=-1)
    assert (bond(x) - bond(y)).abs().max() < 0.2
    assert math.isclose(bond(y).mean().item(), 1.33, abs_tol=0.05)


def test_frames_of_molecular_dynamics_come_back(real_data):
    from genmatter.domains.backbone.formats import read

    files = sorted((real_data / "backbone").glob("**/*_R1*.npy"))
    x = read(files[0])[:200]
    known = BackboneFrames.fit(x, TINY)
    back = known.decode(known.encode(x))
    p = x.proteins[0]
    assert rmsd(shapes(back, p), shapes(x, p)).mean() < 0.1
