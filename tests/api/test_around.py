"""Objects that a text names, and what lies around them in latent space."""

import json

import pytest
import torch

from genmatter import api
from genmatter.api.around import around
from genmatter.api.naming import named, one
from genmatter.cli import main
from genmatter.domains.words.vae import Words
from genmatter.errors import ConfigError, DataError, RecipeError


def test_a_text_is_a_split_a_file_a_row_or_an_object(spoken, tmp_path, monkeypatch):
    test, train = spoken.splits.test.texts, spoken.splits.train.texts
    file = tmp_path / "some.txt"
    file.write_text("abide\nidled\n")
    assert named(spoken, "test").texts == test
    assert named(spoken, "train:3").texts == train[3:4]
    assert named(spoken, "4").texts == test[4:5]
    assert named(spoken, str(file)).texts == ("abide", "idled")
    assert named(spoken, f"{file}:1").texts == ("idled",)
    assert named(spoken, "ababa").texts == ("ababa",)
    assert one(spoken, "train").texts == train[:1]
    monkeypatch.chdir(tmp_path)
    file.rename("ababa")
    assert named(spoken, "ababa").texts == ("abide", "idled")
    assert named(spoken, "ababa:1").texts == ("idled",)


def test_an_object_whose_text_ends_like_a_row_is_an_object(spoken, monkeypatch):
    monkeypatch.setattr(spoken.domain, "parse", lambda text: Words(("abide",)))
    assert named(spoken, "a:5").texts == ("abide",)
    assert named(spoken, "x" * 10_000).texts == ("abide",)


def test_what_names_nothing_is_told_what_could(spoken, tmp_path):
    with pytest.raises(DataError, match=r"'zzz' names no objects: .*test:5.*FILE:5, or a word"):
        named(spoken, "zzz")
    with pytest.raises(DataError, match="none at 99999"):
        named(spoken, "test:99999")
    with pytest.raises(DataError, match="names no objects"):
        named(spoken, f"{tmp_path}/nowhere.txt:1")
    bags = api.train("bag/vae", preset="tiny", run=tmp_path / "bag", epochs=1)
    with pytest.raises(DataError, match=r"FILE:5 \(there is no file"):
        named(bags, "abide")


def test_objects_as_text_go_where_rows_go(spoken, tmp_path):
    out = tmp_path / "x.txt"
    assert api.reconstruct(spoken, "abide", out=out).objects.texts == ("abide",)
    assert len(api.interpolate(spoken, "abide", "test:1", steps=3, out=out)[0]) == 3
    assert len(api.encode(spoken, "abide", out=tmp_path / "z.npz")) == 1
    assert len(api.score(spoken, "abide", out=tmp_path / "s.csv")["rank"]) == 1


def test_the_neighbours_at_no_distance_are_the_reconstruction(spoken):
    for text in spoken.splits.test.texts[:20]:
        a = Words((text,))
        copy = spoken.reconstruct(a).copies
        if spoken.domain.faults(copy)[0]:
            continue
        found = around(spoken, a, 0.0, 5)
        assert found.objects.texts == copy.texts
        assert found.same == [copy.texts == a.texts]
        assert found.times == [50]


def test_neighbours_differ_and_lie_where_they_are_said_to(spoken, monkeypatch):
    a = Words(("abide",))
    z = spoken.encode(a)[0]
    asked = []
    decode = spoken.model.from_latent
    monkeypatch.setattr(
        spoken.model, "from_latent", lambda z, given: asked.append(z) or decode(z, given)
    )
    found = around(spoken, a, 1.5, 12)
    assert len(set(found.objects.texts)) == len(found.objects) == len(found.times) == 12
    assert sum(found.times) <= found.tried
    for points in asked:
        far = (points - z).norm(dim=1)
        torch.testing.assert_close(far, torch.full_like(far, 1.5))
    assert around(spoken, a, 1.5, 12).objects.texts == found.objects.texts
    assert around(spoken, a, 1.5, 12, seed=1).objects.texts != found.objects.texts


def test_what_is_no_object_is_no_neighbour(spoken, monkeypatch):
    a = Words(("abide",))
    odd = lambda x: ["odd" if "b" in w else "" for w in x.texts]
    monkeypatch.setattr(spoken.domain, "faults", odd)
    assert not any("b" in w for w in around(spoken, a, 3.0, 8).objects.texts)
    monkeypatch.setattr(spoken.domain, "faults", lambda x: ["odd"] * len(x))
    with pytest.raises(DataError, match="none of 80 directions"):
        around(spoken, a, 3.0, 8)


def test_objects_that_have_no_names_are_all_neighbours(tmp_path):
    bags = api.train("bag/vae", preset="tiny", run=tmp_path / "bag", epochs=1)
    found = api.neighbours(bags, "test:3", 0.5, 6)
    assert len(found.objects) == 6
    assert len({len(p) for p in found.objects.points}) == 1
    assert found.same == [False] * 6


def test_the_command_writes_them(spoken, tmp_path, capsys):
    place, out = str(spoken.run.path), tmp_path / "near.txt"
    argv = ["neighbours", place, "abide", "--distance", "1.5", "-n", "6", "--out", str(out)]
    assert main(argv) == 0
    assert "6 different objects at distance 1.5" in capsys.readouterr().out
    assert len(out.read_text().split()) == 6
    facts = json.loads(out.with_suffix(".json").read_text())
    assert len(facts["times"]) == len(facts["same"]) == 6
    assert "abide" in out.with_suffix(".html").read_text() or not any(facts["same"])


def test_mistakes_are_refused(spoken, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        api.neighbours(spoken, "abide", -1.0)
    with pytest.raises(DataError, match="positive"):
        api.neighbours(spoken, "abide", n=0)
    api.train("bag/vae", preset="tiny", run=tmp_path / "vae", epochs=1)
    flow = api.train(
        "bag/flow", preset="tiny", run=tmp_path / "flow", epochs=1, parent=str(tmp_path / "vae")
    )
    monkeypatch.setattr("genmatter.api.trained.find_all", lambda: ["words/vae"])
    with pytest.raises(RecipeError, match="bag/flow cannot encode; words/vae can"):
        around(flow, None, 1.0, 1)
