"""A checkpoint is whole, or refused by name; the old one stays until the new one is there."""

import errno
import math
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from genmatter.errors import CheckpointError
from genmatter.training.checkpoint import Writer, read, write

TENSORS = {
    "a": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
    "b": torch.tensor(True),
    "none": torch.zeros(0, 2),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "c", TENSORS, {"best": math.inf, "name": "ä"})
    tensors, facts = read(tmp_path / "c")
    assert facts == {"best": math.inf, "name": "ä"}
    assert all(
        torch.equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items()
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


def test_every_damaged_byte_is_noticed(tmp_path):
    path = tmp_path / "c"
    write(path, TENSORS, {"step": 1})
    whole = path.read_bytes()
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with pytest.raises(CheckpointError, match=r"'.*c'"):
            read(path)
    for i in range(0, len(whole), 11):
        path.write_bytes(whole[:i])
        with pytest.raises(CheckpointError, match=r"damaged|not a checkpoint"):
            read(path)


def test_foreign_files_are_refused_and_not_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    torch.save({"a": 1}, tmp_path / "torch")
    save_file({"a": torch.zeros(2)}, tmp_path / "plain")
    for name in ("pickle", "torch", "plain", "nowhere"):
        with pytest.raises(CheckpointError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_the_last_good_one(tmp_path, monkeypatch, where):
    path = tmp_path / "c"
    write(path, TENSORS, {"step": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(CheckpointError, match="No space left"):
            write(path, TENSORS, {"step": 2})
    assert read(path)[1] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_writing_in_the_background_keeps_the_moment_and_the_order(tmp_path):
    x = torch.zeros(1000)
    with Writer() as writer:
        for step in range(5):
            x += 1
            writer(tmp_path / "c", {"x": x}, {"step": step})
        x += 100
    tensors, facts = read(tmp_path / "c")
    assert facts["step"] == 4
    assert (tensors["x"] == 5).all()


def test_an_error_in_the_background_is_raised(tmp_path):
    (tmp_path / "file").write_text("")

    def attempt():
        with Writer() as writer:
            writer(tmp_path / "file" / "c", {"x": torch.zeros(1)}, {})

    with pytest.raises(CheckpointError, match="cannot write"):
        attempt()
