"""The verbs on two processes give what one gives, speak once, and fail together."""

import re
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from processes import together
from torch.distributed.run import get_args_parser

from genmatter import api
from genmatter.cli import main
from genmatter.config import leaves
from genmatter.errors import CheckpointError, DataError
from genmatter.generative.vae import VAE
from genmatter.recipes import find_all
from genmatter.run import Run
from genmatter.spine import Loss
from genmatter.training import checkpoint

RECIPES = find_all()


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A run that one process has trained, and the flags that it takes."""
    home, flags = tmp_path_factory.mktemp("trained"), ["--preset", "tiny"]
    if stage := RECIPES[recipe].stage:
        api.train(stage, preset="tiny", run=home / "parent")
        flags += ["--parent", str(home / "parent")]
    assert main(["train", recipe, *flags, "--run", str(home / "run")]) == 0
    return home / "run", flags


def two(folder, *argv):
    return together(lambda rank: main([*map(str, argv)]), folder)


def one_speaks(ended):
    assert [p.code for p in ended] == [0, 0], ended
    assert ended[0].out
    assert ended[1].out == ended[1].err == ""


def test_every_recipe_trains_and_one_process_speaks(recipe, trained, tmp_path):
    """The last batch of an epoch has one row, so that the second process has none."""
    flags, run = trained[1], Run(tmp_path / "r")
    n = len(api.load(trained[0], device="cpu").splits.train)
    size = next((s for s in range(n // 2, 1, -1) if n % s == 1), n - 1)
    train = "train", recipe, "-o", run.path
    one_speaks(two(tmp_path / "said", *train, *flags, "--batch_size", size))
    rows = run.read_history()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert len(api.load(run.path, device="cpu").sample(3).objects) == 3
    one_speaks(two(tmp_path / "said", *train, "--resume", "--epochs", 3))
    assert run.read_history()[:2] == rows


def written(it, path):
    objects = it.domain.read(path)
    names = it.domain.identities(objects)
    return it.representation.encode(objects).tensors if names is None else {"names": names}


def same(a, b):
    assert a.keys() == b.keys()
    for k in a:
        if isinstance(a[k], list):
            assert a[k] == b[k]
            continue
        x, y = (torch.as_tensor(z[k]) for z in (a, b))
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("n", "share"), [(9, 0.0), (100, 0.7)])
def test_samples_are_those_of_one_process(recipe, trained, tmp_path, monkeypatch, n, share):
    """Bit for bit, of less than a chunk, and of many that are drawn again."""
    home, _ = trained
    it = api.load(home, device="cpu")
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 16)

    def faults(self, objects):
        rows = next(iter(it.representation.encode(objects).tensors.values()))
        marks = [zlib.crc32(row.numpy().tobytes()) % 1000 for row in rows]
        return ["odd" if mark < 1000 * share else "" for mark in marks]

    monkeypatch.setattr(type(it.domain), "faults", faults)
    place = tmp_path / f"one{it.domain.formats[0]}"
    alone = api.sample(home, n, out=place)
    if share:
        assert alone.rejected["odd"] > 50

    def work(rank):
        if rank:
            monkeypatch.setattr(type(it.domain), "write", None)
        found = api.sample(home, n, out=place.with_stem("two"))
        assert (found.drawn, found.rejected) == (alone.drawn, alone.rejected)

    assert [p.code for p in together(work, tmp_path)] == [0, 0]
    same(*(written(it, place.with_stem(name)) for name in ("one", "two")))


def test_tables_and_columns_are_those_of_one_process(trained, tmp_path, monkeypatch):
    home, _ = trained
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 9)
    it = api.load(home, device="cpu")
    able = [v for v in ("encode", "score") if isinstance(it.model, api.trained.NEEDS[v])]
    calls = {v: lambda v=v: getattr(api, v)(home) for v in able}
    names = {"encode": "latents.npz", "score": "scores_each.csv", "evaluate": "scores.json"}
    calls["evaluate"] = lambda: api.evaluate(home, 40)
    before = {}
    for verb, call in calls.items():
        call()
        before[verb] = (home / names[verb]).read_bytes()
        (home / names[verb]).unlink()

    def work(rank):
        for name in ("np.savez", "_write_csv", "write_json") if rank else ():
            monkeypatch.setattr(f"genmatter.api.files.{name}", None)
        for call in calls.values():
            call()

    ended = together(work, tmp_path)
    assert [p.code for p in ended] == [0, 0], ended
    for verb, content in before.items():
        if verb == "encode":
            same({**np.load(home / names[verb])}, {**np.load(_kept(tmp_path, content))})
        else:
            assert (home / names[verb]).read_bytes() == content


def _kept(folder, content):
    (folder / "kept.npz").write_bytes(content)
    return folder / "kept.npz"


def fails(ended, words):
    assert [p.code for p in ended] == [2, 2], ended
    assert re.search(words, ended[0].err)
    assert ended[0].err.count("\n") == 1
    assert ended[1].err == ended[0].out == ended[1].out == ""


TRAIN = ["train", "polymer/vae", "--preset", "tiny", "--batch_size", "16"]


def test_a_folder_in_the_way_ends_all_before_data_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("genmatter.domains.polymer.domain.Polymer.load", None)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("mine")
    fails(two(tmp_path, *TRAIN, "-o", tmp_path / "r"), "holds no run")


def test_a_place_that_cannot_be_written_ends_all(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    fails(two(tmp_path, *TRAIN, "-o", tmp_path / "thesis.txt" / "r"), "cannot write.*thesis.txt")


def test_data_that_one_process_cannot_read_end_all(tmp_path, monkeypatch):
    """As where a file lies on one machine only."""

    def work(rank):
        if rank:
            monkeypatch.setattr("genmatter.domains.polymer.domain.Polymer.load", _no_data)
        return main([*TRAIN, "-o", str(tmp_path / "r")])

    fails(together(work, tmp_path / "said"), "only here")


def _no_data(self):
    raise DataError("the file is not there, only here")


def test_a_checkpoint_that_one_process_cannot_read_ends_all(tmp_path, monkeypatch):
    def work(rank):
        if rank:
            monkeypatch.setattr(checkpoint, "read", _no_checkpoint)
        return main([*TRAIN, "-o", str(tmp_path / "r"), "--resume", "--epochs", "3"])

    one_speaks(two(tmp_path / "said", *TRAIN, "-o", tmp_path / "r"))
    fails(together(work, tmp_path / "said"), "damaged here")


def _no_checkpoint(path):
    raise CheckpointError("it is damaged here")


@pytest.mark.parametrize("at", ["last", "best", "model"])
def test_a_full_disk_ends_all(tmp_path, monkeypatch, at):
    write = checkpoint.write

    def full(path, *rest):
        if path.name == at:
            raise CheckpointError(f"cannot write checkpoint {str(path)!r}: no space left")
        write(path, *rest)

    monkeypatch.setattr(checkpoint, "write", full)
    fails(two(tmp_path, *TRAIN, "-o", tmp_path / "r"), f"{at}.*no space")


def test_a_loss_that_is_no_number_on_one_process_ends_all(tmp_path, monkeypatch):
    loss = VAE.loss

    def work(rank):
        def lost(self, batch, epoch):
            found = loss(self, batch, epoch)
            return Loss({k: v * torch.nan for k, v in found.terms.items()}, found.weights)

        if rank:
            monkeypatch.setattr(VAE, "loss", lost)
        return main([*TRAIN, "-o", str(tmp_path / "r")])

    fails(together(work, tmp_path / "said"), "not finite at step 0")


def test_a_stranger_is_named_to_the_others(tmp_path, monkeypatch):
    def work(rank):
        if rank:
            monkeypatch.setattr("genmatter.domains.polymer.domain.Polymer.load", None)
        return main([*TRAIN, "-o", str(tmp_path / "r")])

    first, other = together(work, tmp_path / "said")
    assert first.code == 2
    assert "process 1 failed: TypeError" in first.err
    assert other.code == 1
    assert "Traceback" in other.err


def test_the_report_is_left_to_one_process(tmp_path):
    fails(two(tmp_path, "report", "anything"), "without torchrun")


def test_torchrun_trains(tmp_path):
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "genmatter"]
    argv = [sys.executable, *command, *TRAIN, "--epochs", "1", "-o", str(tmp_path / "r")]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("run folder") == 1
    assert (tmp_path / "r" / "model").is_file()


def test_torchrun_leaves_alone_what_follows_two_dashes():
    argv = ["--nproc-per-node", "2", "-m", "--", "genmatter", *TRAIN, "--run", "runs/mine"]
    told = get_args_parser().parse_args(argv)
    assert [told.training_script, *told.training_script_args] == argv[4:]


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_flag_but_run_trips_over_torchruns_own(recipe):
    """Python 3.11 takes a word for torchrun's where it is the start of two of its flags."""
    known = {s for action in get_args_parser()._actions for s in action.option_strings}
    ours = {f"--{name}" for name in leaves(RECIPES[recipe])} | {"--resume", "--overwrite", "--out"}
    ours |= {word.replace("_", "-") for word in ours}
    tripping = {w for w in ours if w not in known and sum(k.startswith(w) for k in known) > 1}
    assert tripping == set()
    assert sum(k.startswith("--run") for k in known) > 1
