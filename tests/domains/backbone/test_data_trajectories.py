import os

import mdtraj
import numpy as np
import pytest
import torch
from proteins import frames, protein

from genmatter.domains.backbone import trajectories
from genmatter.domains.backbone.config import BackboneDataConfig
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.data import load, notes
from genmatter.domains.backbone.formats import read, write
from genmatter.errors import DataError, MissingExtraError

N = 60
WATER = "HETATM{:5d}  O   HOH W{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           O  \n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keeps what is converted out of the user's folders."""
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trajectories"


@pytest.fixture
def wet(tmp_path):
    """Returns a topology of a protein between waters, and where its atoms are in each frame."""
    x = Conformers.all([Trajectory(protein(first=3), frames(N))])
    write(x[:1], tmp_path / "dry.pdb")
    dry = (tmp_path / "dry.pdb").read_text().splitlines(keepends=True)[2:-3]
    waters = [WATER.format(k, k, k, 0, 0) for k in range(1, 5)]
    (tmp_path / "top.pdb").write_text("".join([*waters[:2], *dry, *waters[2:], "END\n"]))
    held = x.atoms()[:, *(x.atoms()[0] != 0).any(-1).nonzero().T]
    far = torch.full((N, 2, 3), 90.0)
    return x, tmp_path / "top.pdb", torch.cat([far, held, far], 1).numpy()


def save(path, x, scale=1.0):
    """Writes positions as another program would, in the format's own unit."""
    times = np.arange(len(x), dtype=np.float32) * 2.5
    with mdtraj.open(str(path), "w") as file:
        unit = 0.1 if file.distance_unit == "nanometers" else 1.0
        positions = (x * unit * scale).astype(np.float32)
        if path.suffix == ".dcd":
            file.write(positions)
        else:
            file.write(positions, time=times)
    return path


def told(pdb, *files, **fields):
    return BackboneDataConfig(pdb=str(pdb), traj=tuple(map(str, files)), **fields)


@pytest.mark.filterwarnings("ignore:Warning. The 'netCDF4' Python package:UserWarning")
@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc"])
@pytest.mark.parametrize("stream", [False, True])
def test_trajectories_are_read_with_their_topology(suffix, stream, wet, monkeypatch):
    monkeypatch.setattr(trajectories, "CHUNK", 1000)
    x, top, positions = wet
    files = [save(top.with_name(f"{k}{suffix}"), positions) for k in "ab"]
    splits = load(told(top, *files), stream=stream)
    assert [t.replica for t in splits.train.trajectories] == [1, 2]
    assert splits.test.proteins[0].numbers == x.proteins[0].numbers
    torch.testing.assert_close(splits.test.atoms(), x.atoms(), rtol=0, atol=0.011)
    timed = 0.0 if suffix == ".dcd" else 2.5
    assert {t.frame_ps for t in splits.train.trajectories} == {timed}
    assert notes(splits) == ["top: left out: 4 water"]
    assert load(told(top, *files, frame_ps=7.0)).test.trajectories[0].frame_ps == 7.0


def test_a_trajectory_is_converted_once_until_it_changes(wet, cache, monkeypatch):
    _, top, positions = wet
    files = [save(top.with_name(f"{k}.xtc"), positions) for k in "ab"]
    first = load(told(top, *files))
    load.cache_clear()
    kept = sorted(cache.glob("*.npy"))
    assert len(kept) == 2
    with monkeypatch.context() as m:
        m.delattr(trajectories, "_convert")
        assert torch.equal(load(told(top, *files, gap=9)).test.atoms(), first.test.atoms())
    save(files[0], positions[:50])
    os.utime(files[0], ns=(1, 1))
    assert len(load(told(top, *files, gap=8)).test.trajectories[0]) == 50
    assert len(list(cache.glob("*.npy"))) == 3
    assert not list(cache.glob("*.new"))


def test_a_trajectory_of_other_atoms_is_refused(wet):
    _, top, positions = wet
    dry = save(top.with_name("dry.xtc"), positions[:, 2:-2])
    n = positions.shape[1]
    with pytest.raises(DataError, match=rf"dry.xtc has {n - 4} atoms, but the topology of top"):
        load(told(top, dry))
    with pytest.raises(DataError, match="as many as its protein alone: give a topology without"):
        load(told(top, dry))
    less = save(top.with_name("less.xtc"), positions[:, 5:])
    with pytest.raises(DataError, match=rf"less.xtc has {n - 5} atoms, .* {n}$"):
        load(told(top, less))


@pytest.mark.parametrize(
    ("scale", "message"),
    [(0.1, "seem to be nanometres: multiply them by 10"), (10.0, "seem to be a tenth of that")],
)
def test_other_units_are_refused(wet, scale, message):
    _, top, positions = wet
    path = save(top.with_name("x.dcd"), positions, scale)
    with pytest.raises(DataError, match=message) as refusal:
        load(told(top, path))
    assert str(path) in str(refusal.value)


def test_a_molecule_that_a_box_cuts_is_refused_with_the_frame(wet):
    _, top, positions = wet
    positions[40, -16:-2] += 25
    path = save(top.with_name("x.xtc"), positions)
    with pytest.raises(DataError, match=r"LYS 7 \(chain A\) .* in frame 40: has a periodic box"):
        load(told(top, path))


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc"])
@pytest.mark.parametrize("content", ["", "the quick brown fox\n" * 9])
def test_damaged_trajectories_are_refused(suffix, content, wet, cache):
    path = wet[1].with_name(f"x{suffix}")
    path.write_text(content)
    with pytest.raises(DataError, match=f"x{suffix}"):
        load(told(wet[1], path))
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd"])
def test_of_a_trajectory_that_breaks_off_whole_frames_are_read_or_none(suffix, wet):
    x, top, positions = wet
    path = save(top.with_name(f"x{suffix}"), positions)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        (found,) = load(told(top, path, gap=1)).train.trajectories
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert 35 <= len(found) <= 40
        torch.testing.assert_close(found.atoms, x.atoms()[: len(found)], rtol=0, atol=0.011)


def test_formats_of_other_packages_say_which(wet):
    path = wet[1].with_name("x.h5")
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(MissingExtraError, match=r"x\.h5 .* PyTables .* or convert it to \.xtc"):
        load(told(wet[1], path))


def test_arrays_go_with_a_structure_too(wet):
    x, top, _ = wet
    np.save(top.with_name("x.npy"), x.atoms().numpy())
    np.save(top.with_name("y.npy"), x.atoms().numpy()[:30])
    splits = load(told(top, top.with_name("x.npy"), top.with_name("y.npy"), gap=3))
    assert (len(splits.test), splits.test.proteins[0].numbers[0]) == (30, 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BackboneDataConfig(traj=("x.xtc",)), "--traj needs --pdb"),
        (BackboneDataConfig(source="x.xtc"), "positions only: give it as --traj"),
        (BackboneDataConfig(source="x.gro"), "neither a folder nor a .pdb, .cif or .npy file"),
        (BackboneDataConfig(pdb="x.pdb", traj=("x.xtc",)), "there is no file x.pdb"),
    ],
)
def test_what_is_missing_is_asked_for(config, message):
    with pytest.raises(DataError, match=message):
        load(config)


def test_any_trajectory_can_be_read_for_scoring(wet):
    x, top, positions = wet
    positions[40, -16:-2] += 25  # samples may be broken
    save(top.with_suffix(".dcd"), positions)
    back = read(top.with_suffix(".dcd"))
    assert len(back) == N
    torch.testing.assert_close(back[:30].atoms(), x[:30].atoms(), rtol=0, atol=1e-4)
