import mdtraj
import numpy as np
import pytest
import torch
from proteins import SEQUENCE, frames, protein

from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.formats import SUFFIXES, read, write
from genmatter.domains.backbone.structures import read_models, read_topology
from genmatter.errors import DataError
from genmatter.maths import residues

CLOSE = {".pdb": 1e-3, ".cif": 1e-3, ".xtc": 1e-2, ".npy": 1e-6}


def conformers(n=5, *, complete=True, **told):
    x = frames(n, side_chains=complete)
    return Conformers.all([Trajectory(protein(**told), x, complete=complete)])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("complete", [True, False])
def test_what_is_written_is_read(suffix, complete, tmp_path):
    x = conformers(complete=complete, first=7, chains="BBBCCC", name="two chains"[-6:])
    write(x, tmp_path / f"x{suffix}")
    back = read(tmp_path / f"x{suffix}")
    assert back.proteins == x.proteins
    assert back.trajectories[0].complete == complete
    assert back.atoms().dtype == torch.float32
    torch.testing.assert_close(back.atoms(), x.atoms(), rtol=0, atol=CLOSE[suffix])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_proteins_are_in_a_file_each(suffix, tmp_path):
    a, b = conformers(3, name="a"), conformers(4, name="b")
    other = frames(2, "AAAA", seed=3)
    c = Conformers.all([Trajectory(protein("AAAA", "c"), other)])
    mixed = Conformers.cat([a, b, c])[torch.tensor([8, 0, 3, 7, 4, 5, 1])]
    write(mixed, tmp_path / f"x{suffix}")
    assert not (tmp_path / f"x{suffix}").exists()
    back = read(tmp_path / f"x{suffix}")
    for p in mixed.proteins:
        theirs, ours = back.of(p).atoms(), mixed.of(p).atoms()
        torch.testing.assert_close(theirs, ours, rtol=0, atol=CLOSE[suffix])
    assert len(read(tmp_path / f"x_b{suffix}")) == 3


def test_a_pdb_file_is_in_the_columns_of_the_format(tmp_path):
    write(conformers(2, chains="AAABBB", first=998), tmp_path / "x.pdb")
    lines = (tmp_path / "x.pdb").read_text().splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    assert all(len(line) == 80 for line in atoms)
    assert [line[:6].strip() for line in lines if line[:4] != "ATOM"] == [
        "REMARK", "MODEL", "TER", "TER", "ENDMDL", "MODEL", "TER", "TER", "ENDMDL", "END",
    ]  # fmt: skip
    first = conformers(2).atoms()[0]
    assert atoms[1][12:16] == " CA "
    assert (atoms[1][17:20], atoms[1][21], int(atoms[1][22:26])) == ("GLY", "A", 998)
    position = [float(atoms[1][k : k + 8]) for k in (30, 38, 46)]
    assert position == pytest.approx(first[0, 1].tolist(), abs=6e-4)
    assert atoms[1][76:78] == " C"
    loaded = mdtraj.load(str(tmp_path / "x.pdb"))
    assert (loaded.n_frames, loaded.topology.n_chains, loaded.n_residues) == (2, 2, 6)


@pytest.mark.parametrize("complete", [True, False])
def test_only_atoms_that_are_there_are_written(complete, tmp_path):
    x = conformers(complete=complete)
    x.trajectories[0].atoms[:, 0, 4] = 1.0  # a CB of glycine is none
    write(x, tmp_path / "x.pdb")
    names = read_topology(tmp_path / "x.pdb").slots
    most = 14 if complete else 5
    assert len(names) == sum(min(len(residues.ATOM14[r]), most) for r in SEQUENCE)


def test_times_go_through_a_trajectory(tmp_path):
    x = Conformers.all([Trajectory(protein(), frames(6), frame_ps=2.5)])
    for suffix in (".xtc", ".npy"):
        write(x[torch.tensor([0, 2, 4])], tmp_path / f"x{suffix}")
        assert read(tmp_path / f"x{suffix}").trajectories[0].frame_ps == 5.0
        write(x[torch.tensor([0, 4, 2])], tmp_path / f"x{suffix}")
        assert read(tmp_path / f"x{suffix}").trajectories[0].frame_ps == 0.0


def test_an_array_that_is_read_stays_in_its_file(tmp_path):
    write(conformers(), tmp_path / "x.npy")
    atoms = read(tmp_path / "x.npy").trajectories[0].atoms
    assert isinstance(atoms.base, np.memmap)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_conformer_is_not_written(suffix, tmp_path):
    x = conformers()
    with pytest.raises(DataError, match="there are no conformers to write"):
        write(x[:0], tmp_path / f"x{suffix}")
    x.trajectories[0].atoms[3, 2, 1] = float("nan")
    with pytest.raises(DataError, match="conformer 3 of tiny is at NaN or infinity"):
        write(x, tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "told", [{"first": 9999}, {"first": -2000}, {"chains": ["A"] * 5 + ["AA"]}]
)
def test_what_does_not_fit_into_columns_is_written_as_mmcif(told, tmp_path):
    x = conformers(**told)
    with pytest.raises(DataError, match=r"does not fit into the columns .* a \.cif file"):
        write(x, tmp_path / "x.pdb")
    write(x, tmp_path / "x.cif")
    assert read(tmp_path / "x.cif").proteins == x.proteins


def test_unknown_kinds_of_file_are_answered_with_the_known_ones(tmp_path):
    (tmp_path / "x.gro").write_text("")
    with pytest.raises(DataError, match=r"known kinds of file: \.pdb \.cif \.xtc \.npy \.trr"):
        read(tmp_path / "x.gro")
    with pytest.raises(DataError, match=r"that are written: \.pdb \.cif \.xtc \.npy"):
        write(conformers(), tmp_path / "x.gro")
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "y.pdb")


def test_positions_without_a_topology_are_asked_for_one(tmp_path):
    write(conformers(), tmp_path / "x.xtc")
    write(conformers(), tmp_path / "y.npy")
    (tmp_path / "x.pdb").unlink()
    (tmp_path / "y.csv").unlink()
    with pytest.raises(DataError, match=r"holds positions only: put its topology beside it"):
        read(tmp_path / "x.xtc")
    with pytest.raises(DataError, match=r"no sequence of y: put its row into atlas.csv .* y.pdb"):
        read(tmp_path / "y.npy")
    write(conformers()[:1], tmp_path / "y.pdb")
    assert read(tmp_path / "y.npy").proteins[0].sequence == SEQUENCE


LINE = "{kind:<6}{serial:5d} {atom:^4}{alt}{name:>3} {chain}{number:4d}{code}   {x}  1.00  0.00\n"


def pdb(*atoms):
    """Returns lines of a PDB file of (residue, number, atom) and what else differs."""
    text = ""
    for k, (name, number, atom, *rest) in enumerate(atoms):
        told = {"kind": "ATOM", "alt": " ", "chain": "A", "code": " "} | (rest[0] if rest else {})
        x = f"{k:8.3f}{0:8.3f}{1:8.3f}"
        text += LINE.format(serial=k + 1, atom=atom, name=name, number=number, x=x, **told)
    return text


def alanine(number, name="ALA", **told):
    return [(name, number, atom, told) for atom in ("N", "CA", "C", "O", "CB")]


@pytest.fixture
def file(tmp_path):
    def make(text, name="x.pdb"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return make


def test_variants_are_their_parents_and_ends_have_an_oxygen(file):
    end = [("ALA", 4, a) for a in ("N", "CA", "C", "OT1", "OT2", "HA")]
    path = file(pdb(*alanine(2, "HIE"), *alanine(3, "CYX"), *end))
    found = read_topology(path)
    assert found.protein.sequence == "HCA"
    assert found.protein.numbers == (2, 3, 4)
    assert found.slots[-1] == 2 * 14 + 3


def test_what_is_no_protein_is_left_out_and_counted(file):
    cap = [("ACE", 1, "CH3"), ("ACE", 1, "C"), ("ACE", 1, "O")]
    water = [("HOH", 9, "O", {"kind": "HETATM"}), ("HOH", 10, "O", {"kind": "HETATM"})]
    rest = [("NA", 11, "NA", {"kind": "HETATM"}), *[("LIG", 12, a) for a in ("C1", "C2")]]
    found = read_topology(file(pdb(*cap, *alanine(2), *water, *rest)))
    assert found.protein.sequence == "A"
    assert found.atoms.tolist() == [3, 4, 5, 6, 7]
    assert (found.size, found.whole) == (13, 8)
    assert found.notes == ("left out: 1 ACE (cap), 1 LIG (ligand), 1 NA (ion), 2 water",)


def test_the_first_of_alternate_locations_is_kept(file):
    atoms = [*alanine(1), ("ALA", 2, "N")]
    twice = [("ALA", 2, "CA", {"alt": "A"}), ("ALA", 2, "CA", {"alt": "B"})]
    topology, x = read_models(file(pdb(*atoms, *twice, ("ALA", 2, "C"), ("ALA", 2, "O"))))
    assert x[0, 1, 1, 0] == 6
    assert topology.notes == ("1 atoms at alternate locations left out",)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (alanine(3)[1:], r"residue ALA 3 \(chain A\) lacks the backbone atom N"),
        ([*alanine(3), *alanine(4)[:3]], r"residue ALA 4 \(chain A\) lacks the backbone atom O"),
        ([*alanine(3), *alanine(4, "SEP")], r"residue SEP 4 \(chain A\) is none of the twenty"),
        ([*alanine(3), ("ALA", 3, "CA")], r"residue ALA 3 \(chain A\) has two atoms CA"),
        ([*alanine(3, code="B")], r"residue ALA 3B \(chain A\) has an insertion code"),
        ([("HOH", 3, "O")], "holds no protein, only HOH"),
        ([], "holds no atoms"),
    ],
)
def test_structures_that_cannot_be_used_are_refused_with_the_residue(atoms, message, file):
    path = file(pdb(*atoms))
    with pytest.raises(DataError, match=message) as refusal:
        read_topology(path)
    assert str(path) in str(refusal.value)


def models(*texts):
    return "".join(f"MODEL {k}\n{t}ENDMDL\n" for k, t in enumerate(texts, 1))


def test_models_of_other_atoms_are_refused_with_the_frame(file):
    one = pdb(*alanine(1))
    assert read_models(file(models(one, one)))[1].shape == (2, 1, 14, 3)
    with pytest.raises(DataError, match="frame 1 has 4 atoms, but frame 0 has 5"):
        read_models(file(models(one, pdb(*alanine(1)[1:]))))
    with pytest.raises(
        DataError, match=r"atom 0 is N of GLY 1 \(chain A\) in frame 2, but N of A"
    ):
        read_models(file(models(one, one, pdb(*alanine(1, "GLY")))))


def test_frames_that_only_end_are_models_too(file):
    one = pdb(*alanine(1))
    assert len(read_models(file(f"{one}END\n{one}END\n{one}END\n"))[1]) == 3
    assert len(read_models(file(f"{one}TER\nEND\n"))[1]) == 1


@pytest.mark.parametrize("name", ["x.pdb", "x.cif"])
def test_a_file_of_something_else_is_refused(name, file):
    path = file("the quick brown fox\n" * 9, name)
    with pytest.raises(DataError, match=str(path)):
        read(path)
