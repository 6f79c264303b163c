import gzip
import io
import zipfile

import ase.io
import gemmi
import numpy as np
import pytest
import torch
from domains.crystal.examples import nothing, quartz, rocksalt, some
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter

from genmatter.domains.crystal import writing
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.formats import SUFFIXES, read, write
from genmatter.domains.crystal.validity import faults
from genmatter.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")
SAME = StructureMatcher(primitive_cell=False, scale=False, ltol=1e-4, stol=1e-4, angle_tol=0.01)


def with_columns():
    x = some()
    gap = torch.tensor([8.5, 3.0, float("nan"), 3.2], dtype=torch.float64)
    return Crystals(x.numbers, x.frac, x.counts, x.lattice, {"band_gap": gap}, x.names)


def close(a, b):
    assert a.formulas == b.formulas
    assert all(SAME.fit(p, q) for p, q in zip(a.structures(), b.structures(), strict=True))


@pytest.mark.parametrize("suffix", [*SUFFIXES, "", ".vasp.zip", ".cif.gz", ".csv.gz"])
def test_files_hold_what_was_written(suffix, tmp_path):
    x = with_columns()
    path = tmp_path / f"crystals{suffix}"
    write(x, path)
    found = read(path)
    close(found, x)
    if suffix in (".extxyz", ".csv", ".parquet", ".csv.gz"):
        torch.testing.assert_close(
            found.columns["band_gap"], x.columns["band_gap"], equal_nan=True
        )
        assert found.labels.tolist() == x.labels.tolist()


@pytest.mark.parametrize("suffix", [*SUFFIXES, "", ".vasp.zip"])
def test_what_is_no_crystal_keeps_its_place(suffix, tmp_path):
    flat = Crystals.of([[3, 3]], [[[0, 0, 0], [0, 0, 0.5]]], [[[1, 0, 0], [0, 1, 0], [0, 0, 0]]])
    x = Crystals.cat([some()[:1], nothing(), flat, some()[1:2]])
    path = tmp_path / f"crystals{suffix}"
    write(x, path)
    found = read(path)
    assert len(found) == 4
    close(found[[0, 3]], x[[0, 3]])


def test_written_cifs_are_the_same_to_pymatgen_ase_and_gemmi():
    x = some()
    for text, wanted in zip(writing.cifs(x), x.structures(), strict=True):
        one = Structure.from_str(text, fmt="cif")
        other = AseAtomsAdaptor.get_structure(ase.io.read(io.StringIO(text), format="cif"))
        small = gemmi.make_small_structure_from_block(gemmi.cif.read_string(text).sole_block())
        sites = small.get_all_unit_cell_sites()
        third = Structure(
            wanted.lattice, [s.element.name for s in sites], [s.fract.tolist() for s in sites]
        )
        np.testing.assert_allclose(small.cell.parameters, wanted.lattice.parameters, rtol=1e-7)
        for found in (one, other, third):
            assert SAME.fit(found, wanted)
        assert len(one) == len(other) == len(third) == len(wanted)


def test_poscars_and_extxyz_are_the_same_to_pymatgen_and_ase(tmp_path):
    x = some()
    for text, wanted in zip(writing.poscars(x), x.structures(), strict=True):
        assert SAME.fit(Structure.from_str(text, fmt="poscar"), wanted)
    write(with_columns(), tmp_path / "a.extxyz")
    frames = ase.io.read(tmp_path / "a.extxyz", ":")
    for atoms, wanted in zip(frames, x.structures(), strict=True):
        assert SAME.fit(AseAtomsAdaptor.get_structure(atoms), wanted)
        assert atoms.pbc.all()
    assert frames[1].info["band_gap"] == 3.0
    assert "band_gap" not in frames[2].info


def test_a_zip_holds_one_file_for_each_in_their_order_and_is_the_same_again(tmp_path):
    x = some()
    write(x, tmp_path / "a.zip")
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert names == ["1-NaCl.cif", "2-TiO2.cif", "3-SiO2.cif", "4-SrTiO3.cif"]
    assert (tmp_path / "a.zip").read_bytes() == writing.zip_file(x)


def test_names_of_files_are_safe_and_differ():
    x = some()[[0, 0, 1, 2]]
    odd = Crystals(x.numbers, x.frac, x.counts, x.lattice, {}, np.array(
        ["../../etc/passwd", "a b", "a b", ""], dtype=object
    ))  # fmt: skip
    found = writing.stems(odd)
    assert len(set(found)) == 4
    assert all("/" not in name and not name.startswith(".") for name in found)
    assert found[3] == "4-SiO2"


def test_a_poscar_holds_one_crystal(tmp_path):
    write(some()[:1], tmp_path / "a.vasp")
    close(read(tmp_path / "a.vasp"), some()[:1])
    with pytest.raises(DataError, match="holds one crystal, and these are 4"):
        write(some(), tmp_path / "a.vasp")


def test_conventional_cells_are_read_as_primitive_ones(tmp_path):
    (tmp_path / "a.cif").write_text(str(CifWriter(rocksalt(), symprec=0.01)))
    assert read(tmp_path / "a.cif").counts.tolist() == [2]


def test_a_cif_may_have_several_blocks(tmp_path):
    blocks = [str(CifWriter(s)) for s in (rocksalt(), quartz())]
    (tmp_path / "a.cif").write_text("data_global\n_journal 'x'\n" + "\n".join(blocks))
    found = read(tmp_path / "a.cif")
    assert found.formulas == ["NaCl", "SiO2"]
    assert found.labels.tolist() == ["NaCl", "SiO2"]


@pytest.mark.parametrize("name", ["a.pdb", "a.cfi"])
def test_unknown_kinds_of_file_are_refused(name, tmp_path):
    (tmp_path / name).write_text("x")
    for use in (read, lambda path: write(some(), path)):
        with pytest.raises(DataError, match="none of the known kinds of file"):
            use(tmp_path / name)


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "mpp.cif").write_text("x")
    with pytest.raises(DataError, match=r"there is no file .*mp\.cif; did you mean 'mpp.cif'"):
        read(tmp_path / "mp.cif")
    whole = gzip.compress(b"data_x" * 1000)
    (tmp_path / "a.cif.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "a.extxyz").write_text("two\n\nNa 0 0 0\n")
    (tmp_path / "a.csv").write_text("cif,gap\nx\n")
    for name in ("a.cif.gz", "a.zip", "a.parquet", "a.extxyz", "a.csv"):
        with pytest.raises(DataError, match=f"{name}.*cannot be read"):
            read(tmp_path / name)
    (tmp_path / "b.cif").write_text("")
    with pytest.raises(DataError, match=r"b\.cif is empty"):
        read(tmp_path / "b.cif")


def test_what_cannot_be_read_says_why(tmp_path):
    sound = str(CifWriter(rocksalt()))
    (tmp_path / "a.cif").write_text(sound)
    (tmp_path / "b.cif").write_text(sound.replace("5.64", "0.0"))
    (tmp_path / "c.cif").write_text(sound.replace("0.00000000  1\n", "0.00000000  0.5\n", 1))
    found = read(tmp_path)
    assert [str(why) for why in found.reasons] == ["", "cell without a volume", HALF]
    assert faults(found) == ["", "cell without a volume", HALF]
    assert faults(Crystals.cat([some(), found[[2]]])) == ["", "", "", "", HALF]
    assert faults(found[1:]) == ["cell without a volume", HALF]


HALF = "partial occupancy: Na 0.5"
