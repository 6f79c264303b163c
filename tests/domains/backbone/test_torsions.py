import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import i0e, i1e

from genmatter.domains.backbone import torsions as module
from genmatter.domains.backbone.config import PeptideConfig
from genmatter.domains.backbone.torsions import angles, chains, clashes, torsions, wells
from genmatter.errors import ConfigError, DataError
from genmatter.maths import residues
from genmatter.maths.atoms import dihedral
from genmatter.maths.noise import generator
from genmatter.maths.rigid import from_three_points

SIGMAS = 4.5  # far enough out for a hundred comparisons
LETTERS = ["A", "G", "P"]


def draw(n, sequence, key=0):
    rng = generator("test", key)
    turns = angles(n, sequence, rng)
    return turns, chains(turns, sequence, rng)


def same_angles(a, b):
    torch.testing.assert_close((a - b).cos(), torch.ones_like(a), rtol=0, atol=1e-12)
    torch.testing.assert_close((a - b).sin(), torch.zeros_like(a), rtol=0, atol=1e-9)


def cumulative(letter, name):
    """The distribution of one torsion, whose circle is cut open at pi."""

    def turned(x, kappa, centre):
        return stats.vonmises.cdf(x - centre, kappa)

    def cdf(x):
        parts = 0.0
        for well in wells(letter):
            kappa, centre = getattr(well, f"kappa_{name}"), math.radians(getattr(well, name))
            parts += well.share * (turned(x, kappa, centre) - turned(-math.pi, kappa, centre))
        return parts

    return cdf


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("name", ["phi", "psi"])
def test_each_torsion_has_its_closed_form(letter, name):
    drawn = getattr(angles(4_000, letter * 3, generator("test", letter)), name)
    cdf = cumulative(letter, name)
    assert cdf(math.pi) == pytest.approx(1)
    for column in drawn.T.numpy():
        assert stats.kstest(column, cdf).pvalue > 1e-3


@pytest.mark.parametrize("kappa", [1.0, 12.0, 50.0])
def test_von_mises_is_that_of_the_books(kappa):
    drawn = module._von_mises(kappa, 50_000, generator("test", "mises"))
    assert stats.kstest(drawn.numpy(), stats.vonmises(kappa).cdf).pvalue > 1e-3


@pytest.mark.parametrize("letter", LETTERS)
def test_phi_and_psi_of_a_residue_share_their_well_and_residues_share_nothing(letter):
    def moment(mean):  # of cos(phi) cos(psi), in closed form
        return sum(
            w.share
            * mean(w.kappa_phi)
            * mean(w.kappa_psi)
            * math.cos(math.radians(w.phi))
            * math.cos(math.radians(w.psi))
            for w in wells(letter)
        )

    turns = angles(40_000, letter * 2, generator("test", letter))
    phi, psi = turns.phi.cos(), turns.psi.cos()
    own, expected = phi * psi, moment(lambda kappa: i1e(kappa) / i0e(kappa))
    assert ((own.mean(0) - expected).abs() < SIGMAS * own.std(0) / 200).all()
    for a in (phi, psi):
        other = (a[:, 0] - a[:, 0].mean()) * (psi[:, 1] - psi[:, 1].mean())
        assert other.mean().abs() < SIGMAS * other.std() / 200


def test_shares_sum_to_one_and_glycine_is_its_own_mirror_image():
    for letter in residues.ALPHABET[:-1]:
        assert sum(w.share for w in wells(letter)) == pytest.approx(1)
    assert {w.mirrored for w in wells("G")} == set(wells("G"))
    assert {w.mirrored for w in wells("A")} != set(wells("A"))


def test_chains_have_the_torsions_that_were_drawn():
    turns, x = draw(200, "APGWA")
    n, ca, c, o = x[:, :, :4].unbind(2)
    same_angles(dihedral(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:]), turns.psi[:, :-1])
    same_angles(dihedral(c[:, :-1], n[:, 1:], ca[:, 1:], c[:, 1:]), turns.phi[:, 1:])
    same_angles(dihedral(ca[:, :-1], c[:, :-1], n[:, 1:], ca[:, 1:]), turns.omega[:, 1:])
    same_angles(dihedral(n, ca, c, o), turns.psi + math.pi)


def bend(a, b, c):
    u, v = (torch.nn.functional.normalize(p - b, dim=-1) for p in (a, c))
    return (u * v).sum(-1).acos()


def test_bonds_angles_and_links_are_those_of_crystals():
    turns, x = draw(2_000, "AAAAA")
    n, ca, c = x[:, :, :3].unbind(2)
    bonds = [(ca - n).norm(dim=-1), (c - ca).norm(dim=-1), (n[:, 1:] - c[:, :-1]).norm(dim=-1)]
    bends = [bend(n, ca, c), bend(ca[:, :-1], c[:, :-1], n[:, 1:])]
    bends.append(bend(c[:, :-1], n[:, 1:], ca[:, 1:]))
    omega = turns.omega % (2 * math.pi)
    measures = [*module._BONDS, *module._BENDS, module._OMEGA]
    for found, expected in zip([*bonds, *bends, omega], measures, strict=True):
        assert abs(found.mean() - expected.mean) < SIGMAS * expected.spread / found.numel() ** 0.5
        assert found.std().item() == pytest.approx(expected.spread, rel=0.05)
    assert (ca.diff(dim=1).norm(dim=-1) - 3.8).abs().max() < 0.4


def test_oxygens_and_betas_stand_where_those_of_left_handed_residues_do():
    turns, x = draw(500, "AAAA")
    n, ca, c, o, cb = x.unbind(2)
    local = from_three_points(c, ca, n).invert_apply(cb)
    ideal = residues.BACKBONE_IDEAL[residues.ALPHABET.index("A"), 4]
    assert (local.mean((0, 1)) - ideal).norm() < 0.05
    torch.testing.assert_close((o - c).norm(dim=-1), torch.full_like(turns.psi, 1.231))
    # on the far side of the next N: the carbonyl carbon is flat
    assert (bend(o[:, :-1], c[:, :-1], n[:, 1:]).mean() * 180 / math.pi - 123).abs() < 1


def rods(gap, first, second):
    """Residues far from each other, but for one pair of atoms of residues 0 and `second`."""
    x = torch.zeros(1, 4, 5, 3, dtype=torch.float64)
    x[0, :, :, 0] = 100 * torch.arange(4)[:, None]
    x[0, :, :, 1] = 10 * torch.arange(5)
    x[0, second, first] = x[0, 0, first] + torch.tensor([0, 0, gap])
    return x


@pytest.mark.parametrize(
    ("gap", "atom", "residue", "clash"),
    [
        (3.39, 1, 2, True),
        (3.41, 1, 2, False),
        (2.59, 3, 3, True),
        (2.61, 3, 3, False),
        (1.0, 1, 1, False),
    ],
)
def test_clashes_are_of_alphas_and_of_heavy_atoms_but_not_of_neighbours(gap, atom, residue, clash):
    assert clashes(rods(gap, atom, residue)).tolist() == [clash]


def test_what_is_left_are_the_chains_that_do_not_clash(monkeypatch):
    peptide = PeptideConfig(sequence="ARGDCQGHIL", conformers=300, replicas=1)
    kept = torsions(peptide, 3)[0].atoms
    d = torch.cdist(kept[:, :, 1], kept[:, :, 1])
    assert d[:, *torch.triu_indices(10, 10, 2)].min() >= 3.4
    monkeypatch.setattr(module, "clashes", lambda x: torch.zeros(len(x), dtype=torch.bool))
    every = torsions(replace(peptide, conformers=400), 3)[0].atoms
    whole = torch.where(every == 0, every[:, :, 1:2], every)[:, :, :5].double()
    free = every[~clashes(whole)]
    assert len(free) < len(every)
    assert torch.equal(free[:200], kept[:200])


def test_trajectories_are_as_those_of_a_simulation():
    found = torsions(PeptideConfig(sequence="AGA", conformers=7, replicas=3), 0)
    assert [t.replica for t in found] == [1, 2, 3]
    for t in found:
        assert t.atoms.shape == (7, 3, 14, 3)
        assert t.atoms.dtype == torch.float32
        assert not t.complete
        assert t.protein.numbers == (2, 3, 4)
        assert t.atoms[:, :, 1].mean(1).abs().max() < 1e-5
        present = (t.atoms != 0).any(-1).all(0).sum(1)
        assert present.tolist() == [5, 4, 5]


def test_frames_are_a_function_of_the_seed_and_not_of_the_global_stream():
    peptide = PeptideConfig(sequence="AAAA", conformers=20, replicas=2)
    before = torch.get_rng_state()
    first, again, other = (torsions(peptide, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a.atoms, b.atoms)
        assert not np.isclose(a.atoms[:, :, 0], c.atoms[:, :, 0]).all(-1).any()
    assert not torch.equal(first[0].atoms, first[1].atoms)


def test_chains_that_nearly_always_clash_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_TRIAL", 1)
    monkeypatch.setattr(module, "_LIMIT", 1)
    with pytest.raises(DataError, match="random chains of 12 residues do not clash, so that 50 "):
        torsions(PeptideConfig(sequence="A" * 12, conformers=50, replicas=1), 0)


def test_what_is_no_peptide_is_refused():
    with pytest.raises(ConfigError, match="residue 2 of the sequence 'AXA' is 'X'"):
        torsions(PeptideConfig(sequence="AXA"), 0)
