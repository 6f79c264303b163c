"""Rows of a file are those of memory, read when they are asked for."""

import numpy as np
import pytest
import torch

from genmatter.errors import DataError, TrainingError
from genmatter.loading.mapped import Mapped, enough_memory, memory_map, parts

X = np.random.default_rng(0).normal(size=(7, 3, 2))


def saved(folder, kind, array=X):
    path = folder / f"x.{kind}"
    {"npy": np.save, "npz": lambda p, a: np.savez(p, other=a[:1], x=a)}[kind](path, array)
    return memory_map(path, "x" if kind == "npz" else "")


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("array", [X, X.astype(">f4"), np.asfortranarray(X), X[:0].astype(int)])
def test_an_array_in_its_file_is_the_array(tmp_path, kind, array):
    found = saved(tmp_path, kind, array)
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_an_array_in_its_file_is_not_read(tmp_path, kind):
    found = saved(tmp_path, kind)
    with (tmp_path / f"x.{kind}").open("r+b") as file:
        whole = file.read()
        file.seek(whole.rindex(X[6].tobytes()))
        file.write((X[6] * 2).tobytes())
    assert np.array_equal(found[6], 2 * X[6])
    assert not found.flags.writeable


def test_what_cannot_stay_in_its_file_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", x=X)
    with pytest.raises(DataError, match="is compressed"):
        memory_map(tmp_path / "c.npz", "x")
    np.savez(tmp_path / "o.npz", x=np.array([{}, 1], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        memory_map(tmp_path / "o.npz", "x")
    saved(tmp_path, "npz")
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole.replace(b"NUMPY", b"LUMPY"))
    with pytest.raises((ValueError, OSError)):
        memory_map(tmp_path / "x.npz", "other")


def test_parts_of_parts_are_the_same_rows():
    asked = []
    x = torch.arange(20) * 10
    it = Mapped(lambda rows: asked.append(len(rows)) or x[rows], torch.arange(20))
    some = it.part(torch.tensor([5, 3, 19, 0])).part(torch.tensor([2, 0]))
    assert asked == []
    assert len(some) == 2
    assert some[torch.tensor([1, 0, 1])].tolist() == [50, 190, 50]
    assert some[:1].tolist() == [190]
    assert torch.cat([*parts(it, 7)]).equal(x)
    assert asked == [3, 1, 7, 7, 6]


SHORT = [
    MemoryError(),
    RuntimeError("can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory"),
]


@pytest.mark.parametrize("error", SHORT)
def test_short_memory_is_told_what_helps(error):
    with pytest.raises(TrainingError, match="--stream"), enough_memory():
        raise error


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError, match="shapes"), enough_memory():
        raise RuntimeError("shapes differ")
