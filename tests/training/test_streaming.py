"""Data larger than memory: chains stay in their file, and training does not notice."""

import shutil
import signal

import numpy as np
import pytest
from killing import same
from numpy.lib.format import open_memmap

from genmatter.run import Run
from genmatter.training import checkpoint

MEGA = 10**6


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 240 MB."""
    path = tmp_path_factory.mktemp("large") / "chains.npy"
    x = np.random.default_rng(0).normal(size=(20_000, 25, 2)).cumsum(1).astype(np.float32)
    file = open_memmap(path, "w+", np.float32, (1_200_000, 25, 2))
    for part in np.split(file, 60):
        part[:] = x
    file.flush()
    del file, part
    yield path
    path.unlink()


LITTLE = ["--preset", "tiny", "--epochs", "1", "--hidden_dim", "4", "--ema", "0"]


@pytest.mark.parametrize("representation", ["cartesian", "internal"])
def test_a_file_larger_than_memory_is_trained_on(representation, large, workshop, tmp_path):
    words = ["train", "polymer/vae", *LITTLE, "--data", large, "--representation", representation]
    # a few steps will do
    some = {"folder": str(tmp_path), "at": 40, "how": signal.SIGTERM, "save_every": 0}
    memory = {"memory": 160 * MEGA}
    code, said = workshop.run(*words, "--stream", "--run", tmp_path / "run", **some, **memory)
    assert code == 143, said
    assert checkpoint.read(Run(tmp_path / "run").last)[1]["step"] > 1
    code, said = workshop.run(*words, "--run", tmp_path / "other", **memory)
    assert code == 2
    assert "--stream" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module", params=["npy", "npz"])
def streamed(request, workshop, tmp_path_factory):
    """A training on chains that stay in their file, and one on the same chains in memory."""
    folder = tmp_path_factory.mktemp("streamed")
    data = folder / f"x.{request.param}"
    words = ["data", "polymer/vae", "--preset", "tiny", "--chains", "600", "--out"]
    assert workshop.run(*words, data)[0] == 0
    data = folder / f"x_train.{request.param}"
    words = ["train", "polymer/vae", "--preset", "tiny", "--data", data, "--gap", "2"]
    for name, more in (("resident", []), ("streamed", ["--stream"])):
        code, said = workshop.run(*words, *more, "--run", folder / name)
        assert code == 0, said
    return [*words, "--stream"], folder


def test_chains_in_a_file_train_to_the_same_bits(streamed):
    _, folder = streamed
    for run in (folder / "resident", folder / "streamed"):
        shutil.copytree(run, folder / "copies" / run.name)
        config = folder / "copies" / run.name / "config.yaml"
        config.write_text(config.read_text().replace("stream: true", "stream: false"))
    same(folder / "copies" / "resident", folder / "copies" / "streamed")


@pytest.mark.parametrize("at", [30, 42])
def test_a_killed_stream_goes_on_to_the_same_bits(at, streamed, workshop, tmp_path):
    words, folder = streamed
    words = [*words, "--run", tmp_path / "run"]
    code, said = workshop.run(*words, folder=str(tmp_path), at=at, how="kill", save_every=0)
    assert code == -signal.SIGKILL, said
    assert Run(tmp_path / "run").last.exists()
    assert workshop.run(*words, "--resume")[0] == 0
    same(folder / "streamed", tmp_path / "run")


def test_a_streamed_run_is_used(streamed, workshop):
    _, folder = streamed
    for verb in ("evaluate", "score", "encode"):
        code, said = workshop.run(verb, folder / "streamed")
        assert code == 0, said


def test_a_compressed_file_cannot_be_streamed(workshop, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", np.random.default_rng(0).normal(size=(900, 5, 2)))
    words = ["train", "polymer/vae", "--preset", "tiny", "--data", tmp_path / "x.npz", "--stream"]
    code, said = workshop.run(*words, "--run", tmp_path / "run")
    assert code == 2
    assert "is compressed" in said
