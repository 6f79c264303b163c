import time

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from genmatter.domains.polymer.formats import SUFFIXES, mapped, read, write
from genmatter.errors import DataError


def chains(dim=2, n=5, beads=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, beads, dim, generator=g).cumsum(1)
    return x - x.mean(1, keepdim=True)


@pytest.fixture
def saved(tmp_path):
    """Saves any array as .npy and tells its path."""

    def save(array, name="x.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".NPZ", ".XYZ"])
def test_what_is_written_is_read(suffix, dim, tmp_path):
    x = chains(dim)
    write(x, tmp_path / f"x{suffix}")
    back = read(tmp_path / f"x{suffix}")
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chains_that_stay_in_their_file_are_those_that_are_read(suffix, tmp_path):
    write(chains(n=50) * 100 + 3, tmp_path / f"x{suffix}")
    x, lazy = read(tmp_path / f"x{suffix}"), mapped(tmp_path / f"x{suffix}")
    rows = torch.tensor([7, 0, 49, 7])
    assert len(lazy) == len(x)
    assert torch.equal(lazy[rows], x[rows])
    assert torch.equal(lazy[3:20], x[3:20])
    assert isinstance(lazy, torch.Tensor) == (suffix not in (".npy", ".npz"))


def test_what_is_wrong_with_chains_in_their_file_is_said_at_once(saved, monkeypatch):
    monkeypatch.setattr("genmatter.domains.polymer.formats.CHUNK", 24)
    x = chains().numpy()
    x[3, 2] = np.nan
    with pytest.raises(DataError, match="frame 3, bead 2 is at NaN"):
        mapped(saved(x))
    for shape in ((5,), (5, 6, 4), (0, 6, 2), (5, 2, 2)):
        with pytest.raises(DataError, match=r"x\.npy (has|holds)"):
            mapped(saved(np.ones(shape)))


@pytest.mark.parametrize("suffix", [".extxyz", ".lammpstrj"])
@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e9])
def test_text_keeps_every_digit(suffix, scale, tmp_path):
    x = chains(3) * scale
    write(x, tmp_path / f"x{suffix}")
    frames = ase.io.read(tmp_path / f"x{suffix}", ":", format=SUFFIXES[suffix], **{})
    assert np.array_equal(np.stack([a.positions for a in frames]).astype(np.float32), x.numpy())
    assert not any(a.pbc.any() for a in frames)


def test_arrays_are_written_as_they_are_under_the_name_arr(tmp_path):
    x = chains() + 7.0
    write(x, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        assert file.files == ["arr"]
        assert np.array_equal(file["arr"], x.numpy())


def test_gradients_and_precision_do_not_hinder_writing(tmp_path):
    x = chains().double().requires_grad_()
    write(x, tmp_path / "x.extxyz")
    frames = ase.io.read(tmp_path / "x.extxyz", ":")
    assert np.array_equal(frames[2].positions[:, :2], x[2].detach().numpy())


def test_frames_are_centred_before_digits_are_dropped(saved):
    x = chains().double()
    torch.testing.assert_close(read(saved(x.numpy() + 1e8)), x.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i2", "u1"])
def test_any_real_numbers_will_do(saved, dtype):
    x = (chains().double().numpy() * 8 + 100).astype(dtype)
    expected = x.astype(float) - x.astype(float).mean(1, keepdims=True)
    np.testing.assert_allclose(read(saved(x)), expected, atol=1e-5)


def test_files_of_other_programs_are_read(tmp_path):
    x = chains(3).double().numpy()
    ase.io.write(tmp_path / "a.extxyz", [Atoms("C6", positions=p) for p in x])
    ase.io.write(tmp_path / "a.xyz", [Atoms("C6", positions=p) for p in x], format="xyz")
    for name in ("a.extxyz", "a.xyz"):
        np.testing.assert_allclose(read(tmp_path / name), x, atol=1e-6)


XYZ = "3\n{comment}\n{name} 0 0 0\nC 1 0 0\nC 1 1 0.5\n"


@pytest.mark.parametrize("name", ["C", "Bead", "1", "A", "VEC"])
@pytest.mark.parametrize("comment", ["", "t = 0, 'x", "Properties=species:S:1:pos:R:3", "Made by"])
@pytest.mark.parametrize("between", ["", "\n", "  \n\n"])
def test_beads_have_any_names_and_frames_any_distance(name, comment, between, tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text((XYZ.format(name=name, comment=comment) + between) * 3)
    expected = torch.tensor([[-2, -1, -0.5], [1, -1, -0.5], [1, 2, 1]]) / 3
    torch.testing.assert_close(read(path), expected.expand(3, 3, 3))


def test_positions_are_found_among_other_columns(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text("3\nProperties=id:I:1:pos:R:3:q:R:1\n1 0 0 0 5\n2 1 0 0 5\n3 2 1 0 5\n")
    expected = torch.tensor([[[-3.0, -1], [0, -1], [3, 2]]]) / 3
    torch.testing.assert_close(read(path), expected)


def test_what_follows_the_last_frame_is_not_passed_over(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text(XYZ.format(name="C", comment="") + "and so on\n")
    with pytest.raises(DataError, match="line 6 is 'and so on', which begins no complete frame"):
        read(path)


DUMP = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
4
ITEM: BOX BOUNDS pp pp pp
-5 5
0 10
-0.5 0.5
ITEM: ATOMS type id y x z
1 3 9 -4.5 0
1 1 9 3.5 0
1 2 9 4.5 0
1 4 1 -4.5 0
"""


def test_a_dump_is_put_in_order_and_chains_cut_by_the_box_are_made_whole(tmp_path):
    path = tmp_path / "x.dump"
    path.write_text(DUMP.format(step=0) + DUMP.format(step=1000))
    whole = torch.tensor([[3.5, 9], [4.5, 9], [5.5, 9], [5.5, 11]])
    torch.testing.assert_close(read(path), (whole - whole.mean(0)).expand(2, 4, 2))


def test_a_tilted_box_is_unwound_too(tmp_path):
    cell = np.array([[8.0, 0, 0], [3, 7, 0], [1, -2, 9]])
    x = chains(3, n=1, beads=30)[0].double().numpy() * 0.7
    atoms = Atoms("C30", positions=x, cell=cell, pbc=True)
    atoms.wrap()
    assert not np.allclose(atoms.positions, x), "nothing to do"
    ase.io.write(tmp_path / "x.extxyz", atoms)
    np.testing.assert_allclose(read(tmp_path / "x.extxyz")[0], x, atol=1e-6)


def test_a_chain_that_leaves_the_plane_once_has_three_dimensions(tmp_path):
    x = torch.nn.functional.pad(chains(2), (0, 1), value=0.5)
    write(x, tmp_path / "flat.extxyz")
    x[3, 2, 2] = 0.75
    write(x, tmp_path / "bent.extxyz")
    assert read(tmp_path / "flat.extxyz").shape[2] == 2
    assert read(tmp_path / "bent.extxyz").shape[2] == 3


def test_one_array_among_others_is_found(tmp_path):
    x = chains().numpy()
    np.savez(tmp_path / "x.npz", step=np.arange(5), paths=x, box=np.eye(3), names=np.array([{}]))
    np.testing.assert_allclose(read(tmp_path / "x.npz"), x, atol=1e-6)


def test_an_array_can_be_chosen_by_name(tmp_path):
    x = chains().numpy()
    np.savez(tmp_path / "x.npz", early=x, late=2 * x)
    np.testing.assert_allclose(read(tmp_path / "x.npz", "late"), 2 * x, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("", r"early \[5, 6, 2\], late \[5, 6, 2\], box \[3\]: choose one .* with --array"),
        ("lat", "no array 'lat'; did you mean late?"),
        ("zzz", "no array 'zzz'; did you mean early?"),
        ("box", r"the shape \[3\]"),
    ],
)
def test_an_array_that_is_not_there_or_not_clear_is_asked_for(array, message, tmp_path):
    x = chains().numpy()
    np.savez(tmp_path / "x.npz", early=x, late=2 * x, box=np.ones(3))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.npz", array)


def broken(change):
    x = chains().double().numpy()
    change(x)
    return x


def nan(x):
    x[3, 4, 0] = np.nan
    x[4, 1, 1] = np.inf


def repeated(x):
    x[2, 3] = x[2, 2]


def point(x):
    x[1] = 4.0


def far(x):
    x[4, 0] = 1e30


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (broken(nan), r"frame 3, bead 4 is at NaN or infinity \(so it is in 1 more"),
        (broken(repeated), "frame 2, bead 2 is where the next bead is"),
        (broken(point), "frame 1, bead 0 is where the next bead is"),
        (broken(far), "frame 4, bead 0 is more than 1e12 from"),
        (np.zeros((0, 6, 2)), "holds no frame"),
        (np.zeros((4, 2, 2)), "chains of 2 beads; it takes at least 3"),
        (np.zeros((4, 0, 2)), "chains of 0 beads"),
        (np.zeros((12, 2)), r"a single chain would be \[1, 12, 2\]"),
        (np.zeros((7, 24)), r"flat chains in the plane would be \[7, 12, 2\]"),
        (np.zeros((7, 2, 12)), "are beads and dimensions exchanged?"),
        (np.zeros((7, 12, 4)), r"the shape \[7, 12, 4\], but chains are \[frames, beads, 2 or 3"),
        (np.float64(1), r"the shape \[\]"),
        (np.zeros((4, 6, 2), complex), "holds complex128, but positions are real"),
        (np.full((4, 6, 2), "a"), "holds <U1"),
        (np.zeros((4, 6, 2), bool), "holds bool"),
    ],
)
def test_what_is_no_chain_is_refused_with_its_record(saved, array, message):
    path = saved(array)
    with pytest.raises(DataError, match=message) as refusal:
        read(path)
    assert str(path) in str(refusal.value)


def test_python_objects_are_never_unpickled(tmp_path):
    ragged = np.array([np.zeros((3, 2)), np.zeros((4, 2))], dtype=object)
    np.save(tmp_path / "x.npy", ragged, allow_pickle=True)
    np.savez(tmp_path / "x.npz", ragged)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match="chains of different lengths"):
            read(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [0, 0.5, 0.93])
def test_a_truncated_file_is_refused(suffix, keep, tmp_path):
    path = tmp_path / f"x{suffix}"
    write(chains(3), path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError, match=str(path)):
        read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_something_else_is_refused(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_text("the quick brown fox\n" * 9)
    with pytest.raises(DataError, match=str(path)):
        read(path)


def test_mixed_lengths_are_refused_with_the_frame(tmp_path):
    path = tmp_path / "x.extxyz"
    ase.io.write(path, [Atoms(f"C{n}", positions=np.eye(n, 3)) for n in (4, 4, 5)])
    with pytest.raises(DataError, match="frame 2 has 5 beads, but frame 0 has 4"):
        read(path)


def test_a_bad_number_in_a_text_is_found(tmp_path):
    path = tmp_path / "x.xyz"
    write(chains(), path)
    lines = path.read_text().splitlines(keepends=True)
    lines[8 + 4] = "X 1.0 oops 0\n"
    path.write_text("".join(lines))
    with pytest.raises(DataError, match="frame 1 cannot be read"):
        read(path)
    lines[8 + 4] = "X 1.0 nan 0\n"
    path.write_text("".join(lines))
    with pytest.raises(DataError, match="frame 1, bead 2 is at NaN"):
        read(path)


def test_a_file_that_is_not_there_may_have_been_another(tmp_path, saved):
    saved(np.zeros(3), "long_paths.npy")
    with pytest.raises(DataError, match=r"no file .*; did you mean long_paths.npy\?"):
        read(tmp_path / "long_path.npy")
    with pytest.raises(DataError, match="no file"):
        read(tmp_path / "no" / "folder.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match="no file"):
        read(tmp_path / "folder.npy")


@pytest.mark.parametrize("name", ["x.csv", "x", "x.npz.gz"])
def test_an_unknown_suffix_is_answered_with_the_known_ones(name, tmp_path):
    for use in (read, lambda path: write(chains(), path)):
        with pytest.raises(DataError, match=r"\.npz \.npy \.extxyz \.xyz \.lammpstrj \.dump"):
            use(tmp_path / name)


def test_an_array_can_only_be_chosen_where_there_are_several(saved):
    with pytest.raises(DataError, match="is one array; 'arr' can only"):
        read(saved(chains().numpy()), "arr")


@pytest.mark.parametrize(
    "x", [chains()[:0], chains(2).new_zeros(2, 4, 5), chains() * float("nan")]
)
def test_what_could_not_be_read_is_not_written(x, tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        write(x, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*no/x.xyz \(No such file"):
        write(chains(), tmp_path / "no" / "x.xyz")


@pytest.mark.parametrize("suffix", [".extxyz", ".lammpstrj"])
def test_a_thousand_frames_take_well_under_a_second(suffix, tmp_path):
    x = chains(n=1000, beads=12)
    start = time.process_time()
    write(x, tmp_path / f"x{suffix}")
    read(tmp_path / f"x{suffix}")
    assert time.process_time() - start < 3
