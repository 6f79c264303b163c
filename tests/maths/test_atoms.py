import math
from pathlib import Path

import numpy as np
import pytest
import torch

from genmatter.maths import atoms, residues, rigid, rotation
from genmatter.maths.atoms import (
    atom14_to_atom37,
    atom14_to_frames,
    atom37_to_atom14,
    atom37_to_torsions,
    backbone,
    compute_backbone,
    dihedral,
)
from genmatter.maths.rigid import Rigid

EVERY = residues.aatype("ARNDCQEGHILKMFPSTWYVX")
MIRROR = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)


def clouds(*shape, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, dtype=dtype, generator=g)


def proteins(n=4, aatype=EVERY, seed=0):
    """Atoms anywhere, where a type has them."""
    return clouds(n, len(aatype), 14, 3, seed=seed) * residues.ATOM14_MASK[aatype][..., None]


def frames(*shape, seed=0):
    return Rigid(rotation.exp(clouds(*shape, 3, seed=seed)), clouds(*shape, 3, seed=seed + 1))


def angles(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = (2 * torch.rand(*shape, dtype=torch.float64, generator=g) - 1) * math.pi
    return torch.stack([x.sin(), x.cos()], -1)


def moved(x, seed=0):
    """The atoms after a rigid motion; absent ones stay absent."""
    motion = Rigid(*(part.expand(*x.shape[:-1], *part.shape) for part in frames(seed=seed)))
    return motion.apply(x) * (x != 0).any(-1, keepdim=True)


def torsions(atom14, aatype=EVERY, chains=None):
    return atom37_to_torsions(atom14_to_atom37(atom14, aatype), aatype, chains)


# dihedrals


@pytest.mark.parametrize("degrees", [-179, -120, -90, -1, 0, 1, 30, 90, 180])
def test_a_dihedral_is_clockwise_as_seen_along_its_axis(degrees):
    """One looks along x with y up, so that z is to the right."""
    angle = math.radians(degrees)
    points = [[-1, 2, 0], [0, 0, 0], [1, 0, 0], [1.5, 3 * math.cos(angle), 3 * math.sin(angle)]]
    p = torch.tensor(points, dtype=torch.float64)
    assert dihedral(*p).item() == pytest.approx(angle, abs=1e-12)
    assert dihedral(*p.flip(0)).item() == pytest.approx(angle, abs=1e-12)
    turn = dihedral(*(p * MIRROR)).item() + angle
    assert math.remainder(turn, 2 * math.pi) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_dihedral_is_pi_and_never_minus_pi(dtype):
    for off in (0.0, 1e-20, -1e-20):
        zigzag = torch.tensor([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, -1, off]], dtype=dtype)
        assert dihedral(*zigzag).item() == pytest.approx(math.pi)
        assert dihedral(*-zigzag).item() == pytest.approx(math.pi)


def test_gradients_of_dihedrals_agree_with_finite_differences():
    p = clouds(4, 20, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: dihedral(*q).sin(), p)
    flat = torch.tensor([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, -1, 0]], dtype=torch.float64)
    (grad,) = torch.autograd.grad(dihedral(*flat.requires_grad_()), flat)
    assert grad[3].tolist() == pytest.approx([0, 0, -1])  # dz over the distance to the axis


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "points",
    [[[0, 0, 0]] * 4, [[k, 0, 0] for k in range(4)], [[1, 2, 3]] * 4,
     [[0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]], [[0, 1, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]]],
)  # fmt: skip
def test_points_on_a_line_have_no_dihedral_and_finite_gradients(points, dtype):
    p = torch.tensor(points, dtype=dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(dihedral(*p), p)
    assert dihedral(*p).item() == 0
    assert grad.isfinite().all()


# slots


def test_slots_round_trip():
    x = proteins()
    x37 = atom14_to_atom37(x, EVERY)
    torch.testing.assert_close(atom37_to_atom14(x37, EVERY), x, rtol=0, atol=0)
    assert (atoms.present(x37) == residues.ATOM37_MASK[EVERY]).all()
    torch.testing.assert_close(x37.square().sum(), x.square().sum())


def test_an_atom_moves_to_the_slot_of_its_name():
    for k, letter in enumerate(residues.ALPHABET):
        names = residues.ATOM14[letter]
        x = proteins(1, torch.tensor([k]))
        x37 = atom14_to_atom37(x, torch.tensor([[k]]))
        for place, name in enumerate(names):
            assert (x37[0, 0, residues.ATOM37.index(name)] == x[0, 0, place]).all()
            assert residues.slot(residues.NAMES[letter], name) == place


def test_atoms_that_a_type_has_not_are_left_out():
    x = clouds(2, 21, 14, 3)
    kept = atom37_to_atom14(atom14_to_atom37(x, EVERY), EVERY)
    torch.testing.assert_close(kept, x * residues.ATOM14_MASK[..., None])


# frames


def test_frames_are_rebuilt_from_the_backbones_that_they_place():
    rigids, psi = frames(3, 21), angles(3, 21)
    x = compute_backbone(rigids, psi, EVERY)
    for ours in (atom14_to_frames(x.atom14), atom14_to_frames(backbone(rigids, psi, EVERY))):
        torch.testing.assert_close(ours.rots, rigids.rots)
        torch.testing.assert_close(ours.trans, rigids.trans)


def test_frames_have_their_axes_where_they_should():
    x = proteins()[..., :20, :, :]
    local = atom14_to_frames(x)
    n, ca, c = (local.invert_apply(x[..., k, :]) for k in range(3))
    zero = torch.zeros_like(ca)
    torch.testing.assert_close(ca, zero)
    torch.testing.assert_close(c[..., 1:], zero[..., 1:])
    torch.testing.assert_close(n[..., 2], zero[..., 2])
    assert (torch.stack([c[..., 0], n[..., 1]]) > 0).all()


def test_frames_move_with_the_atoms():
    x = proteins()[..., :20, :, :]
    motion = Rigid(*(part.expand(4, 20, *part.shape) for part in frames(seed=5)))
    ours = atom14_to_frames(moved(x, seed=5))
    theirs = rigid.compose(motion, atom14_to_frames(x))
    torch.testing.assert_close(ours.rots, theirs.rots)
    torch.testing.assert_close(ours.trans, theirs.trans)


# backbones


def test_backbones_move_with_their_frames():
    rigids, psi = frames(3, 21), angles(3, 21)
    motion = Rigid(*(part.expand(3, 21, *part.shape) for part in frames(seed=5)))
    theirs = moved(backbone(rigids, psi, EVERY), seed=5)
    torch.testing.assert_close(backbone(rigid.compose(motion, rigids), psi, EVERY), theirs)


def test_psi_is_given_back():
    psi = angles(3, 21)
    x = compute_backbone(frames(3, 21), 7 * psi, EVERY)  # a network's may have any length
    found = atom37_to_torsions(x.atom37, EVERY)
    torch.testing.assert_close(found.torsion_angles_sin_cos[..., 2, :], psi)
    assert (found.torsion_angles_mask[..., 2] == 1).all()
    o, c = x.atom14[..., 3, :], x.atom14[..., 2, :]
    assert (torch.linalg.norm(o - c, dim=-1) - 1.233).abs().max() < 2e-3


def test_all_orders_of_slots_hold_one_backbone():
    rigids, psi = frames(3, 21), angles(3, 21)
    x, five = compute_backbone(rigids, psi, EVERY), backbone(rigids, psi, EVERY)
    torch.testing.assert_close(x.atom14[..., :5, :], five)
    assert not x.atom14[..., 5:, :].any()
    for place, name in enumerate(residues.BACKBONE):
        at = residues.ATOM37.index(name)
        torch.testing.assert_close(x.atom37[..., at, :], five[..., place, :])
    assert (x.atom37_mask == (x.atom37 != 0).any(-1)).all()
    assert x.atom37_mask.sum(-1)[0].tolist() == [5] * 7 + [4] + [5] * 13
    real = EVERY[:20]
    of14 = atom14_to_atom37(x.atom14[:, :20], real)
    torch.testing.assert_close(of14, x.atom37[:, :20])


def test_residues_are_alanine_where_nothing_is_said_and_types_are_shared_by_a_batch():
    rigids, psi = frames(3, 5), angles(3, 5)
    alanine = residues.aatype("AAAAA")
    torch.testing.assert_close(backbone(rigids, psi), backbone(rigids, psi, alanine))
    every = backbone(rigids, psi, residues.aatype("GAVLI").expand(3, 5))
    torch.testing.assert_close(every, backbone(rigids, psi, residues.aatype("GAVLI")))
    torch.testing.assert_close(
        tuple(compute_backbone(rigids, psi)), tuple(compute_backbone(rigids, psi, alanine))
    )


def test_backbones_in_single_precision_are_close_to_those_in_double():
    rigids, psi = frames(3, 21), angles(3, 21)
    single = backbone(Rigid(*(part.float() for part in rigids)), psi.float(), EVERY)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), backbone(rigids, psi, EVERY), atol=1e-5, rtol=0)


def test_half_precision_around_it_does_not_reach_a_backbone():
    rigids, psi = Rigid(*(part.float() for part in frames(3, 21))), angles(3, 21).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = backbone(rigids, psi, EVERY)
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, backbone(rigids, psi.float(), EVERY))


def test_gradients_of_backbones_agree_with_finite_differences():
    parts = (*frames(2, 3), angles(2, 3))
    for part in parts:
        part.requires_grad_()
    place = lambda r, t, psi: backbone(Rigid(r, t), psi, residues.aatype("AGP"))
    assert torch.autograd.gradcheck(place, parts)


# torsions


def test_torsions_are_blind_to_rigid_motion():
    x = proteins()
    for ours, theirs in zip(torsions(moved(x)), torsions(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_torsions_change_their_sign_in_a_mirror():
    there, mirrored = torsions(proteins()), torsions(proteins() * MIRROR)
    flip = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        mirrored.torsion_angles_sin_cos, there.torsion_angles_sin_cos * flip
    )
    assert (there.torsion_angles_mask == mirrored.torsion_angles_mask).all()


def test_torsions_are_the_dihedrals_of_their_atoms_by_name():
    x = proteins(2)
    sin_cos = torsions(x).torsion_angles_sin_cos
    angle = torch.atan2(*sin_cos.unbind(-1))
    n, ca, c, o = (x[..., k, :] for k in range(4))
    real = slice(1, 20)
    last = slice(0, 19)
    omega = dihedral(ca[:, last], c[:, last], n[:, real], ca[:, real])
    phi = dihedral(c[:, last], n[:, real], ca[:, real], c[:, real])
    torch.testing.assert_close(angle[:, real, 0], omega)
    torch.testing.assert_close(angle[:, real, 1], phi)
    psi = dihedral(n, ca, c, o)[:, real] + math.pi
    torch.testing.assert_close(sin_cos[:, real, 2], torch.stack([psi.sin(), psi.cos()], -1))
    arg = 1  # N CA CB CG CD NE CZ are its slots 0 1 4 5 6 7 8
    path = [x[:, arg, k] for k in (0, 1, 4, 5, 6, 7, 8)]
    for k in range(4):
        torch.testing.assert_close(angle[:, arg, 3 + k], dihedral(*path[k : k + 4]))
    ile = 9
    chi2 = dihedral(*(x[:, ile, k] for k in (1, 4, 5, 7)))  # CA CB CG1 CD1
    torch.testing.assert_close(angle[:, ile, 4], chi2)


def test_the_mask_says_what_there_is():
    mask = torsions(proteins()).torsion_angles_mask
    assert mask[0, 0].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert (mask[:, 1:20, :3] == 1).all()
    assert (mask[:, :, 3:] == residues.CHI_MASK[EVERY]).all()
    assert (mask[:, 20] == 0).all()  # X has no atoms


def test_a_new_chain_has_neither_omega_nor_phi():
    chains = torch.tensor([0] * 8 + [1] * 13)
    x = proteins()
    one, two = torsions(x), torsions(x, chains=chains)
    cut = one.torsion_angles_mask - two.torsion_angles_mask
    assert cut[0].nonzero().tolist() == [[8, 0], [8, 1]]
    assert (two.torsion_angles_sin_cos[:, 8, :2] == torch.tensor([0.0, 1.0])).all()
    apart = torsions(x[:, 8:], EVERY[8:]).torsion_angles_sin_cos
    torch.testing.assert_close(two.torsion_angles_sin_cos[:, 8:], apart)


def test_a_missing_atom_takes_its_torsions_with_it():
    x = proteins()
    x[:, 5, 2] = 0  # C: psi here, omega and phi of the next one, and phi here
    cut = torsions(proteins()).torsion_angles_mask - torsions(x).torsion_angles_mask
    assert cut[0].nonzero().tolist() == [[5, 1], [5, 2], [6, 0], [6, 1]]
    lost = torsions(x).torsion_angles_sin_cos[:, 5, 1:3]
    assert (lost == torch.tensor([0.0, 1.0])).all()


def test_an_alpha_at_the_origin_is_there():
    x = proteins()
    x = x - x[:, 5:6, 1:2]
    x = x * residues.ATOM14_MASK[EVERY][..., None]
    assert (torsions(x).torsion_angles_mask == torsions(proteins()).torsion_angles_mask).all()


def test_alternatives_are_what_swapped_names_give():
    x = proteins()
    there, swapped = torsions(x), x.clone()
    for letter, name in (("D", "OD1"), ("E", "OE1"), ("F", "CD1"), ("Y", "CD1")):
        k = residues.ALPHABET.index(letter)
        a = residues.ATOM14[letter].index(name)
        axis, pivot = x[:, k, a - 1] - x[:, k, a - 2], x[:, k, a - 1]
        axis = axis / axis.norm(dim=-1, keepdim=True)
        arm = x[:, k, a] - pivot  # its twin is where half a turn about the bond takes it
        swapped[:, k, a] = pivot + 2 * (arm * axis).sum(-1, keepdim=True) * axis - arm
    torch.testing.assert_close(
        torsions(swapped).torsion_angles_sin_cos, there.alt_torsion_angles_sin_cos
    )
    differ = (there.alt_torsion_angles_sin_cos != there.torsion_angles_sin_cos).any(-1)
    assert (differ[0, :, 3:] == residues.CHI_PI_PERIODIC[EVERY]).all()


# absence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_residues_have_finite_gradients_and_frames_that_are_not_turned(dtype):
    x = proteins().to(dtype)
    x[:, 3:6] = 0
    x.requires_grad_()
    local = atom14_to_frames(x)
    torch.testing.assert_close(local.rots[:, 3:6], torch.eye(3, dtype=dtype).expand(4, 3, 3, 3))
    assert not local.trans[:, 3:6].any()
    psi = torsions(x).torsion_angles_sin_cos
    total = compute_backbone(local, psi[..., 2, :], EVERY).atom37.square().sum() + psi.sum()
    (grad,) = torch.autograd.grad(total, x)
    assert grad.isfinite().all()
    assert not grad[:, 3:6].any()
    assert (torch.linalg.vector_norm(psi, dim=-1) - 1).abs().max() < 1e-6


def test_an_undecided_psi_has_finite_gradients():
    psi = torch.zeros(2, 3, 2, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(backbone(frames(2, 3), psi).sum(), psi)
    assert grad.isfinite().all()


# molecular dynamics


def replica(folder: Path, name: str):
    x = np.load(folder / "backbone" / name / f"{name}_R1.npy", mmap_mode="r")[::10]
    return torch.from_numpy(x.astype(np.float64))


SEQUENCES = {"AAAAA_400K": "AAAAA", "CLN025_300K": "YYDPETGTWY"}


@pytest.mark.parametrize(
    ("name", "off", "spread", "kept"),
    [("AAAAA_400K", 0.075, 0.056, 0.62), ("CLN025_300K", 0.057, 0.048, 0.39)],
)
def test_dynamics_pass_through_frames_nearly_unchanged(real_data, name, off, spread, kept):
    """What ideal residues lose: the spread of bonds and angles, which the links have to bear."""
    x, types = replica(real_data, name), residues.aatype(SEQUENCES[name])
    psi = torsions(x, types).torsion_angles_sin_cos[..., 2, :]
    again = backbone(atom14_to_frames(x), psi, types)
    apart = (again - x[..., :5, :]).square().sum(-1).mean((0, 1)).sqrt()
    assert apart[:3].square().mean().sqrt().item() == pytest.approx(off, abs=0.004)
    assert apart[3] < 0.1
    assert apart[4] < 0.2  # CB of a mirror image would be 2 A away
    link = (again[:, 1:, 0] - again[:, :-1, 2]).norm(dim=-1)
    assert link.mean().item() == pytest.approx(1.363, abs=0.005)
    assert link.std().item() == pytest.approx(spread, abs=0.005)
    whole = ((link - 1.33).abs() < 0.1).all(1).double().mean().item()
    assert whole == pytest.approx(kept, abs=0.1)


@pytest.mark.parametrize("name", SEQUENCES)
def test_torsions_of_dynamics_are_those_of_mdtraj(real_data, name):
    mdtraj = pytest.importorskip("mdtraj")
    x, types = replica(real_data, name), residues.aatype(SEQUENCES[name])
    top = mdtraj.load(real_data / "backbone" / name / f"{name}.pdb").topology
    kept = [a for a in top.atoms if a.name != "OXT"]
    slots = [(a.residue.index, residues.slot(a.residue.name, a.name)) for a in kept]
    xyz = x[:, [i for i, _ in slots], [k for _, k in slots]].float() / 10
    trajectory = mdtraj.Trajectory(xyz.numpy(), top.subset([a.index for a in kept]))
    ours = torsions(x, types)
    angle = torch.atan2(*ours.torsion_angles_sin_cos.unbind(-1))
    for place, compute, rows in [
        (0, mdtraj.compute_omega, slice(1, None)),
        (1, mdtraj.compute_phi, slice(1, None)),
        (3, mdtraj.compute_chi1, None),
        (4, mdtraj.compute_chi2, None),
    ]:
        theirs = torch.from_numpy(compute(trajectory)[1]).double()
        has = ours.torsion_angles_mask[0, :, place] == 1
        assert rows is None or has[rows].all()
        assert (_turn(angle[:, has, place] - theirs).abs() < 1e-3).all()
    # O is nearly, but not quite, across from the next N, through which psi is defined
    psi = torch.from_numpy(mdtraj.compute_psi(trajectory)[1]).double()
    n, ca, c = (x[:, :, k] for k in range(3))
    through = dihedral(n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])
    assert _turn(through - psi).abs().max() < 1e-3
    assert _turn(angle[:, :-1, 2] - psi).abs().mean() < math.radians(7)


def _turn(x):
    return torch.atan2(x.sin(), x.cos())
