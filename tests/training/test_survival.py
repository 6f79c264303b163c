"""A training that is killed, interrupted or short of disk ends as if nothing had happened."""

import os
import random
import shutil
import signal
import time

import pytest
from killing import same

from genmatter.recipes import find_all
from genmatter.run import Run
from genmatter.training import checkpoint

SEED = int(os.environ.get("GENMATTER_KILL_SEED", "0"))
"""Of the moments at which processes are killed; time itself is never quite the same."""


@pytest.fixture(scope="module")
def command(workshop, tmp_path_factory):
    """Returns the words that train a recipe, with its parent where it needs one."""
    known = {}

    def words(recipe, *more):
        stage = find_all()[recipe].stage
        if stage and stage not in known:
            known[stage] = tmp_path_factory.mktemp("parent") / "run"
            assert workshop.run(*words(stage), "--run", known[stage])[0] == 0
        parent = ["--parent", known[stage]] if stage else []
        return ["train", recipe, "--preset", "tiny", *parent, *more]

    return words


@pytest.fixture(scope="module")
def bag(workshop, command, tmp_path_factory):
    """A quick training that nothing happened to: its words, and its folder."""
    home = tmp_path_factory.mktemp("bag") / "run"
    words = command("bag/vae", "--epochs", "1")
    assert workshop.run(*words, "--run", home)[0] == 0
    return words, home


@pytest.mark.parametrize("recipe", find_all())
@pytest.mark.parametrize("stream", ["--no-stream", "--stream"])
def test_a_training_that_is_killed_at_any_moment_ends_the_same(
    recipe, stream, workshop, command, tmp_path
):
    words = command(recipe, "--epochs", "3", stream)
    begun = time.monotonic()
    assert workshop.run(*words, "--run", tmp_path / "whole")[0] == 0
    longest, chance = time.monotonic() - begun, random.Random(f"{SEED} {recipe} {stream}")
    (tmp_path / "killed").mkdir()
    again = [*words, "--run", tmp_path / "killed", "--resume"]
    moments = [round(chance.uniform(0, longest), 3) for _ in range(3)]
    codes = [workshop.killed(s, *again, save_every=chance.choice([0, 60])) for s in moments]
    why = f"after {recipe} was killed at {moments} s (seed {SEED}): {codes}"
    assert set(codes) <= {0, -signal.SIGKILL}, f"{why}\n{workshop.out.read_text()}"
    code, said = workshop.run(*again)
    assert code == 0, f"{why}\n{said}"
    same(tmp_path / "whole", tmp_path / "killed", why)


@pytest.mark.parametrize(("how", "most"), [("kill", 40), ("half", 16)])
def test_a_training_that_is_killed_at_any_change_of_its_folder_ends_the_same(
    how, most, bag, workshop, tmp_path
):
    words, whole = bag
    at, code = 0, -signal.SIGKILL
    while code:
        at, home = at + 1, tmp_path / str(at)
        home.mkdir()
        again = [*words, "--run", home, "--resume"]
        code, said = workshop.run(*again, folder=str(home), at=at, how=how)
        assert code in {0, -signal.SIGKILL}, said
        if code:
            assert_checkpoints_are_whole(home)
            code_again, said = workshop.run(*again)
            assert code_again == 0, f"after change {at}: {said}"
        same(whole, home, f"after change {at}")
    assert at > most, "a training changes its folder more often"


def assert_checkpoints_are_whole(home):
    for path in (Run(home).last, Run(home).best, Run(home).model):
        if path.exists():
            checkpoint.read(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", range(17, 45, 4))
def test_a_training_that_is_asked_to_stop_says_so_and_goes_on(number, at, bag, workshop, tmp_path):
    words, whole = bag
    words = [*words, "--run", tmp_path / "run"]
    code, said = workshop.run(*words, folder=str(tmp_path), at=at, how=number)
    # once the training is over SIGTERM has its usual way
    assert code == 128 + number or (code == -number == -signal.SIGTERM and at > 30), said
    if code > 0:
        assert said.count("\n") == 1
    if at < 30:
        assert "--resume" in said
        assert not (tmp_path / "run" / "model").exists()
    assert workshop.run(*words, "--resume")[0] == 0
    same(whole, tmp_path / "run")


@pytest.mark.parametrize("how", ["full", "read-only"])
@pytest.mark.parametrize("at", range(1, 45, 5))
def test_a_disk_that_takes_no_more_is_one_line_and_the_last_checkpoint_is_good(
    how, at, bag, workshop, tmp_path
):
    words, whole = bag
    home = tmp_path / "run"
    home.mkdir()
    words = [*words, "--run", home, "--resume"]
    code, said = workshop.run(*words, folder=str(home), at=at, how=how)
    assert code == 2, said
    assert said.count("\n") == 1
    assert f"cannot write '{home}" in said
    assert {"full": "No space left", "read-only": "Read-only"}[how] in said
    assert_checkpoints_are_whole(home)
    assert workshop.run(*words)[0] == 0
    same(whole, home)


@pytest.mark.parametrize(("size", "begun"), [(2500, False), (4000, True)])
def test_a_quota_is_noticed_and_what_fits_is_good(size, begun, bag, workshop, tmp_path):
    words, whole = bag
    words = [*words, "--run", tmp_path / "run"]
    code, said = workshop.run(*words, size=size)
    assert code == 2
    assert "checkpoints/last': File too large" in said
    assert (tmp_path / "run/checkpoints/last").exists() == begun
    assert_checkpoints_are_whole(tmp_path / "run")
    assert workshop.run(*words, "--resume")[0] == 0
    same(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def cut(workshop, command, tmp_path_factory):
    """A training that was stopped half-way, and what it would have been."""
    folder = tmp_path_factory.mktemp("cut")
    words = command("bag/vae", "--epochs", "3")
    assert workshop.run(*words, "--run", folder / "whole")[0] == 0
    harm = {"folder": str(folder), "at": 45, "how": "kill"}
    assert workshop.run(*words, "--run", folder / "cut", **harm)[0] == -signal.SIGKILL
    assert 1 <= len(Run(folder / "cut").read_history()) < 3
    return words, folder


def damaged(path, how):
    """Loses a file, its second half, a bit of it, or all but its name."""
    whole = path.read_bytes()
    at = len(whole) * 2 // 3
    if how == "lost":
        path.unlink()
    else:
        flipped = whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]
        path.write_bytes({"truncated": whole[:at], "flipped": flipped, "empty": b""}[how])


DAMAGE = ["lost", "truncated", "flipped", "empty"]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(("checkpoints/last", how) for how in DAMAGE),
        ("config.yaml", "lost"),
        ("config.yaml", "empty"),
    ],
)
def test_what_a_training_cannot_do_without_is_named(name, how, cut, workshop, tmp_path):
    shutil.copytree(cut[1] / "cut", tmp_path / "run")
    damaged(tmp_path / "run" / name, how)
    code, said = workshop.run("train", "bag/vae", "--run", tmp_path / "run", "--resume")
    assert code == 2, said
    assert said.count("\n") == 1
    assert (name if how != "lost" or name != "config.yaml" else "run'") in said


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["checkpoints/best", "history.jsonl", "representation.json"])
def test_what_a_training_can_do_without_is_made_again(how, name, cut, workshop, tmp_path):
    words, folder = cut
    shutil.copytree(folder / "cut", tmp_path / "run")
    damaged(tmp_path / "run" / name, how)
    code, said = workshop.run(*words, "--run", tmp_path / "run", "--resume")
    assert code == 0, said
    same(folder / "whole", tmp_path / "run")


def test_something_else_in_the_place_of_a_folder_is_named(bag, workshop, tmp_path):
    words, _ = bag
    (tmp_path / "file").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    for folder, why in (("file", "is a file"), ("file/run", "cannot write"), ("run", "not empty")):
        for flag in ("--resume", "--overwrite"):
            code, said = workshop.run(*words, "--run", tmp_path / folder, flag)
            if (folder, flag) != ("file/run", "--resume"):
                assert (code, said.count("\n")) == (2, 1), said
                assert why in said
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_is_replaced_is_resumable_until_it_is_gone(cut, bag, workshop, tmp_path):
    words, folder = cut
    for at in range(1, 14):
        home = tmp_path / str(at)
        shutil.copytree(folder / "whole", home)
        harm = {"folder": str(home), "at": at, "how": "kill"}
        code, said = workshop.run(*bag[0], "--run", home, "--overwrite", **harm)
        assert code == -signal.SIGKILL, said
        if Run(home).begun and "epochs: 3" in Run(home).config.read_text():
            assert workshop.run(*words, "--run", home, "--resume")[0] == 0
            same(folder / "whole", home)
        else:
            assert workshop.run(*bag[0], "--run", home, "--resume")[0] == 0
            same(bag[1], home)


def test_bad_input_costs_nobody_a_run(cut, workshop, tmp_path):
    words, folder = cut
    shutil.copytree(folder / "whole", tmp_path / "run")
    for bad in (["--bags", "1"], ["--lr", "much"]):
        assert workshop.run(*words, "--run", tmp_path / "run", "--overwrite", *bad)[0] != 0
        same(folder / "whole", tmp_path / "run")
