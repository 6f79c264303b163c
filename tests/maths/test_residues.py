import itertools
import math

import pytest
import torch

from genmatter.errors import DataError
from genmatter.maths import residues
from genmatter.maths.residues import ALPHABET, ATOM14, ATOM37, BACKBONE, BACKBONE_IDEAL, NAMES

# heavy atoms of a residue within a chain, by its formula without hydrogens: C, N, O, S
FORMULAS = {
    "A": "3110", "R": "6410", "N": "4220", "D": "4130", "C": "3111", "Q": "5220", "E": "5130",
    "G": "2110", "H": "6310", "I": "6110", "L": "6110", "K": "6210", "M": "5111", "F": "9110",
    "P": "5110", "S": "3120", "T": "4120", "W": "b210", "Y": "9120", "V": "5110",
}  # fmt: skip


def length(a, b):
    return torch.linalg.vector_norm(a - b, dim=-1)


def angle(a, b, c):
    u, v = a - b, c - b
    return torch.atan2(torch.linalg.norm(torch.linalg.cross(u, v), dim=-1), (u * v).sum(-1))


def test_types_are_in_the_order_of_their_names_and_each_is_there_once():
    assert len(set(ALPHABET)) == len(ALPHABET) == 21
    assert [NAMES[one] for one in ALPHABET[:20]] == sorted(NAMES[one] for one in ALPHABET[:20])
    assert residues.aatype("ARNDCQEGHILKMFPSTWYVX").tolist() == list(range(21))
    assert residues.aatype("").shape == (0,)


def test_letters_that_are_no_residue_are_refused_by_place():
    with pytest.raises(DataError, match=r"residue 3 of 'AABA' is 'B'"):
        residues.aatype("AABA")


@pytest.mark.parametrize("one", FORMULAS)
def test_a_type_has_the_atoms_of_its_formula(one):
    atoms = [name[0] for name in ATOM14[one]]
    assert [atoms.count(e) for e in "CNOS"] == [int(n, 16) for n in FORMULAS[one]]
    assert len(atoms) == len(set(ATOM14[one])) <= 14
    assert ATOM14[one][:4] == BACKBONE[:4]


@pytest.mark.parametrize("one", FORMULAS)
def test_slots_go_outwards_and_within_a_shell_by_number(one):
    side = ATOM14[one][4:]
    assert list(side) == sorted(side, key=lambda name: ("BGDEZH".index(name[1]), name[2:]))


def test_shared_slots_go_outwards_and_within_a_shell_by_name():
    assert (*ATOM37[:5], ATOM37[-1]) == ("N", "CA", "C", "CB", "O", "OXT")
    side = ATOM37[5:-1]
    assert list(side) == sorted(set(side), key=lambda name: ("GDEHZ".index(name[1]), name))
    assert set(ATOM37) == {"OXT"}.union(*ATOM14.values())


def test_slots_point_at_the_same_atoms_both_ways():
    for k, one in enumerate(ALPHABET):
        names = ATOM14[one]
        there = residues.ATOM14_TO_ATOM37[k][residues.ATOM14_MASK[k]].tolist()
        assert [ATOM37[place] for place in there] == list(names)
        back = residues.ATOM37_TO_ATOM14[k][residues.ATOM37_MASK[k]].tolist()
        assert [names[place] for place in back] == [a for a in ATOM37 if a in names]
    assert not residues.ATOM37_MASK[:, ATOM37.index("OXT")].any()
    assert not residues.ATOM14_MASK[-1].any()


def test_chis_follow_a_path_of_the_types_own_atoms():
    counts = dict(zip(ALPHABET, residues.CHI_MASK.sum(1).tolist(), strict=True))
    assert counts == dict(zip(ALPHABET, map(int, "042213302224322112210"), strict=True))
    for k, one in enumerate(ALPHABET):
        chis = [[ATOM37[p] for p in chi] for chi in residues.CHI_ATOMS[k].tolist()]
        chis = chis[: counts[one]]
        assert all(name in ATOM14[one] for chi in chis for name in chi)
        assert all(a[1:] == b[:3] for a, b in itertools.pairwise(chis))
        assert all(chi[:3] == ["N", "CA", "CB"] for chi in chis[:1])
        # each step goes one shell outwards, and to the first atom where there are several
        for chi in chis:
            shells = [("ABGDEZ".index(name[1]), name[2:]) for name in chi[1:]]
            assert [shell for shell, _ in shells] == [shells[0][0] + step for step in range(3)]
            assert {number for _, number in shells} <= {"", "1"}


def test_half_a_turn_of_a_periodic_chi_swaps_two_atoms_of_one_element():
    periodic = residues.CHI_PI_PERIODIC
    assert not (periodic & ~residues.CHI_MASK).any()
    assert sorted(ALPHABET[k] for k in periodic.any(1).nonzero()[:, 0]) == ["D", "E", "F", "Y"]
    for k, chi in periodic.nonzero().tolist():
        last = ATOM37[residues.CHI_ATOMS[k, chi, 3]]
        assert chi == residues.CHI_MASK[k].sum() - 1
        assert last.replace("1", "2") in ATOM14[ALPHABET[k]]


@pytest.mark.parametrize(
    ("name", "letter"),
    [("ALA", "A"), ("HIE", "H"), ("HSP", "H"), ("HISD", "H"), ("CYX", "C"), ("ASH", "D"),
     ("GLH", "E"), ("LYN", "K"), ("MSE", "M"), ("NALA", "A"), ("CHIE", "H"), ("CYS2", "C"),
     ("ACE", "X"), ("NME", "X"), ("HOH", "X"), ("SEP", "X"), ("UNK", "X"), ("", "X")],
)  # fmt: skip
def test_names_in_files_have_a_letter(name, letter):
    assert residues.letter(name) == letter


def test_variants_are_no_standard_names_and_their_parents_are():
    assert not set(residues.VARIANTS) & set(NAMES.values())
    assert set(residues.VARIANTS.values()) <= set(NAMES.values())
    assert all(residues.letter(cap) == "X" for cap in residues.CAPS)


@pytest.mark.parametrize(
    ("name", "atom", "place"),
    [("ALA", "CB", 4), ("GLY", "CB", None), ("ILE", "CD", 7), ("ILE", "CD1", 7), ("PRO", "CD", 6),
     ("MSE", "SE", 6), ("MET", "SD", 6), ("HSD", "NE2", 9), ("ALA", "OT1", 3),
     ("ALA", "OXT", None), ("ALA", "OC2", None), ("ALA", "HA", None), ("HOH", "O", None)],
)  # fmt: skip
def test_names_of_atoms_have_a_slot(name, atom, place):
    assert residues.slot(name, atom) == place


def test_ideal_bonds_and_angles_are_those_of_crystals():
    n, ca, c, o, cb = BACKBONE_IDEAL.unbind(1)
    beta = residues.BACKBONE_MASK[:, 4]
    degree = math.pi / 180
    for value, expected, within in [
        (length(n, ca), 1.459, 0.012), (length(ca, c), 1.525, 0.010), (length(c, o), 1.232, 0.004),
        (length(ca, cb)[beta], 1.530, 0.025), (angle(n, ca, c), 111 * degree, 2.8 * degree),
        (angle(ca, c, o), 120.6 * degree, 0.6 * degree),
        (angle(n, ca, cb)[beta], 110 * degree, 7 * degree),
        (angle(c, ca, cb)[beta], 110.1 * degree, 2.2 * degree),
    ]:  # fmt: skip
        torch.testing.assert_close(value, torch.full_like(value, expected), atol=within, rtol=0)


def test_ideal_residues_lie_in_their_frame_and_are_of_the_l_form():
    n, ca, c, o, cb = BACKBONE_IDEAL.unbind(1)
    assert not torch.cat([ca, c[:, 1:], n[:, 2:]], 1).any()
    assert (torch.stack([c[:, 0], n[:, 1]]) > 0).all()
    assert (o[:, 1] < 0).all()  # at psi = 0 O is across from N
    handed = (torch.linalg.cross(n - ca, c - ca) * (cb - ca)).sum(-1)
    assert (handed[residues.BACKBONE_MASK[:, 4]] > 2).all()
    assert (BACKBONE_IDEAL[~residues.BACKBONE_MASK] == 0).all()
    assert (~residues.BACKBONE_MASK).nonzero().tolist() == [[ALPHABET.index("G"), 4]]


def test_the_ideal_link_spans_the_known_distance_of_alphas():
    """3.80 A where it is trans."""
    bond, at_c, at_n = residues.C_N.mean, residues.CA_C_N.mean, residues.C_N_CA.mean
    first = 1.525 * torch.tensor([math.cos(at_c), math.sin(at_c)])
    last = 1.459 * torch.tensor([-math.cos(at_n), -math.sin(at_n)]) + torch.tensor([bond, 0.0])
    assert length(first, last).item() == pytest.approx(3.80, abs=0.02)


def test_radii_are_those_of_the_elements():
    assert residues.BACKBONE_RADII.tolist() == [1.55, 1.7, 1.7, 1.52, 1.7]
