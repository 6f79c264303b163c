"""Searches for objects with wished properties: what is charged, what is found, what it gains."""

import csv
import math

import numpy as np
import pytest
import torch

from genmatter import api
from genmatter.api import searching
from genmatter.api.objective import Objective, Wish
from genmatter.api.oracle import Oracle
from genmatter.api.searching import METHODS, compare, search
from genmatter.cli import main
from genmatter.domains.words.domain import rank, vowels
from genmatter.domains.words.vae import Words
from genmatter.errors import ConfigError, DataError, RecipeError


@pytest.fixture(scope="module")
def highest(spoken):
    return Objective.make(spoken, ["rank=max"])


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("qed=max", Wish("qed", "max")),
        (" sa = min ", Wish("sa", "min")),
        ("tpsa=60", Wish("tpsa", "=", 60)),
        ("tpsa=-1e2", Wish("tpsa", "=", -100)),
        ("sa<=3", Wish("sa", "<=", 3)),
        ("similarity >= 0.4", Wish("similarity", ">=", 0.4)),
        ("2*qed=max", Wish("qed", "max", weight=2)),
        ("a.py:f=max", Wish("a.py:f", "max")),
    ],
)
def test_wishes_are_read_and_written_back(text, wish):
    found = Wish.read(text)
    assert str(found) == str(wish)
    assert (found.name, found.sense, found.weight) == (wish.name, wish.sense, wish.weight)
    assert str(Wish.read(str(found))) == str(wish)


@pytest.mark.parametrize(
    "text", ["", "qed", "qed=", "=max", "qed=most", "qed<max", "sa<=nan", "a=1=2", "1.1.*a=1"]
)
def test_what_is_no_wish_is_answered_by_examples(text):
    with pytest.raises(ConfigError, match="qed=max"):
        Wish.read(text)


def test_bounds_go_first_and_costs_are_in_the_spread_of_the_data(spoken):
    objective = Objective.make(spoken, ["2*rank=max", "vowels=2", "vowels>=3", "rank<=12"])
    words = Words(("aiaia", "ebebe", "lllla"))
    told = objective.assess(words)
    train = spoken.splits.train
    spread = float(rank(train).std()), float(vowels(train).std())
    assert len(train) <= 1000
    expected = [
        -2 * float(rank(words)[i]) / spread[0] + abs(v - 2) / spread[1]
        for i, v in enumerate((5, 3, 1))
    ]
    torch.testing.assert_close(told.cost, torch.tensor(expected).double())
    miss = [0.0, 0.0, 2 / spread[1] + 8 / spread[0]]
    torch.testing.assert_close(told.miss, torch.tensor(miss).double())
    assert told.feasible.tolist() == [True, True, False]
    assert objective.leading == "rank"


def test_what_is_unknown_keeps_no_bound():
    objective = Objective(
        (Wish("a", "max"),), {"a": lambda x: torch.tensor([1.0, math.nan])}, {"a": 1.0}, {"a": ""}
    )
    told = objective.assess(None)
    assert told.feasible.tolist() == [True, False]
    assert told.cost.tolist() == [-1, math.inf]


def test_an_object_is_measured_once_and_only_if_nothing_speaks_against_it(spoken, monkeypatch):
    seen = []
    objective = Objective(
        (Wish("rank", "max"),),
        {"rank": lambda x: seen.extend(x.texts) or rank(x)}, {"rank": 1.0}, {"rank": ""},
    )  # fmt: skip
    oracle = Oracle(spoken, objective, 4)
    scores, new = oracle(Words(("abide", "bbbbb", "abide", "idled")))
    assert seen == ["abide", "idled"]
    assert new.tolist() == [0, 3]
    assert scores[0] == scores[2] == -float(rank(Words(("abide",))))
    assert scores[1] > 1e6
    again, new = oracle(Words(("idled", "aaaaa", "eeeee", "iiiii")))
    assert seen[2:] == ["aaaaa", "eeeee"]
    assert (new.tolist(), oracle.left, oracle.is_spent) == ([1, 2], 0, True)
    assert again[0] == scores[3]
    assert again[3] > 1e6
    found = oracle.found("by hand", 2, lambda calls: calls)
    assert found.objects.tolist() == [1, 0]
    assert found.calls == 4
    assert found.history["rank"].tolist() == [10, 16, 16, 16]


def test_the_history_is_of_the_best_that_keeps_the_bounds(spoken):
    objective = Objective.make(spoken, ["rank=max", "vowels>=3"])
    oracle = Oracle(spoken, objective, 9)
    scores, _ = oracle(Words(("lllla", "aaaaa", "ddddi", "ilili")))
    assert scores[0] > scores[1] + 1e5  # though its rank is higher
    found = oracle.found("by hand", 9, lambda calls: calls)
    best = found.history["rank"]
    assert math.isnan(best[0])
    assert best[1:].tolist() == [0, 0, 16]
    assert found.objects.tolist() == [3, 1]
    assert (found.history["cost"][2:].diff() <= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_search_depends_on_its_seed_and_leaves_every_stream_alone(spoken, highest, method):
    state, theirs = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (search(spoken, highest, method, calls=60, k=5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == theirs).all()  # noqa: NPY002
    assert a.objects.texts == b.objects.texts
    torch.testing.assert_close(a.history["cost"], b.history["cost"], rtol=0, atol=0)
    other = search(spoken, highest, method, calls=60, k=5, seed=1)
    assert not torch.equal(other.history["cost"], a.history["cost"])
    assert all(p.requires_grad for p in spoken.model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_found_is_true_distinct_sound_and_in_order(spoken, method):
    objective = Objective.make(spoken, ["rank=max", "vowels>=3"])
    found = search(spoken, objective, method, calls=80, k=10)
    assert found.calls <= 80
    assert len(set(found.objects.texts)) == len(found.objects) == 10
    assert spoken.domain.faults(found.objects) == [""] * 10
    torch.testing.assert_close(found.values["rank"], rank(found.objects).double())
    assert (vowels(found.objects) >= 3).all()
    assert (found.cost.diff() >= 0).all()
    assert found.history["rank"][-1] == found.best("rank") == found.values["rank"][0]


def test_guided_searches_beat_samples_at_equal_calls(spoken, highest):
    """Over seeds, as one search may be lucky."""
    ends = {m: [] for m in METHODS}
    for seed in range(6):
        for m in METHODS:
            ends[m].append(search(spoken, highest, m, calls=80, seed=seed, k=1).best("rank"))
    means = {m: sum(v) / len(v) for m, v in ends.items()}
    assert means["cma"] > means["random"] + 1
    assert means["gradient"] > means["random"] + 1


def test_a_search_stays_near_its_start_where_it_is_told_to(spoken):
    start = Words(("abide",))
    objective = Objective.make(spoken, ["rank=max", "similarity>=0.4"], start)
    for method in ("cma", "gradient"):
        found = search(spoken, objective, method, calls=80, start=start)
        assert len(found.objects)
        assert (spoken.domain.similarity(found.objects, start) >= 0.4).all()


def test_small_changes_lead_upwards_from_the_start(spoken, highest):
    start = Words(("ababa",))
    found = search(spoken, highest, "greedy", calls=60, start=start, population=10, k=60)
    best = found.history["rank"]
    assert best[0] == rank(start)[0]
    assert best[-1] > best[0]
    near = spoken.domain.changes(found.objects, start)
    assert "" in near  # the start itself is measured, and charged
    assert min(len(c.split(":")) for c in near if c) == 1


def test_kinds_of_matter_without_small_changes_say_so(tmp_path):
    it = api.train("polymer/vae", preset="tiny", run=tmp_path / "run")
    objective = Objective.make(it, ["radius_of_gyration=min"])
    with pytest.raises(RecipeError, match="polymer/vae knows no small changes"):
        search(it, objective, "greedy", calls=5)
    assert "greedy" not in compare(it, objective, calls=5)


def test_a_bound_may_be_on_what_the_model_says(spoken):
    objective = Objective.make(spoken, ["rank=max", "elbo>=-9"])
    found = search(spoken, objective, "greedy", calls=200)
    assert (found.values["elbo"] >= -9).all()
    torch.testing.assert_close(
        objective.of["elbo"](found.objects), spoken.bound(found.objects)["elbo"]
    )


def test_a_table_says_what_changed(spoken, tmp_path):
    told = {"method": "greedy", "start": "ababa", "calls": 40, "out": tmp_path / "found.csv"}
    found = api.search(spoken, ["rank=max"], **told)
    assert [*found][:2] == ["greedy", "random"]
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    words = Words(tuple(r["word"] for r in rows))
    assert [r["changes"] for r in rows] == spoken.domain.changes(words, Words(("ababa",)))


def test_a_search_begins_at_its_start(spoken, highest):
    start = spoken.splits.train[torch.tensor([3])]
    copy = spoken.reconstruct(start).copies
    for method in ("cma", "gradient"):
        found = search(spoken, highest, method, calls=1, start=start)
        assert found.objects.texts == copy.texts


def test_a_target_is_hit(spoken):
    objective = Objective.make(spoken, ["rank=8"])
    found = search(spoken, objective, calls=100, k=3)
    assert found.values["rank"].tolist() == [8, 8, 8]
    assert found.cost.tolist() == [0, 0, 0]


def test_methods_stand_beside_the_training_objects(spoken, highest):
    found = compare(spoken, highest, calls=60)
    assert list(found) == [*METHODS, "training", "all training"]
    train = rank(spoken.splits.train)
    assert found["all training"].best("rank") == train.max()
    assert found["all training"].calls == len(train)
    assert found["training"].calls == 60
    assert found["training"].best("rank") <= train.max()
    texts = set(spoken.splits.train.texts)
    assert set(found["training"].objects.texts) <= texts
    torch.testing.assert_close(
        found["training"].values["rank"], rank(found["training"].objects).double()
    )
    able = compare(spoken, Objective.make(spoken, ["vowels=min"]), calls=20)
    assert "gradient" not in able


def test_latents_with_places_stay_with_the_places_of_their_start(tmp_path):
    bags = api.train("bag/vae", preset="tiny", run=tmp_path / "bag", epochs=1)
    objective = Objective.make(bags, ["width=min"])
    start = bags.splits.test[torch.tensor([1])]
    for begun in (start, None):
        found = search(bags, objective, calls=40, start=begun, k=4)
        sizes = {len(p) for p in found.objects.points}
        assert begun is None or sizes == {len(start.points[0])}
        assert found.calls == 40


def reached(spoken, monkeypatch):
    """Returns how far from the origin the last points of CMA-ES lie."""
    seen, decode = [], spoken.model.from_latent
    with monkeypatch.context() as patch:
        patch.setattr(
            spoken.model, "from_latent", lambda z, given: seen.append(z) or decode(z, given)
        )
        search(spoken, Objective.make(spoken, ["rank=max"]), calls=100, population=8)
    return float(torch.cat(seen).norm(dim=1).quantile(0.9))


def test_the_prior_keeps_a_search_from_leaving(spoken, monkeypatch):
    ends = []
    for weight in (0.0, 5.0):
        monkeypatch.setattr(searching, "PRIOR", weight)
        ends.append(reached(spoken, monkeypatch))
    assert ends[1] < 0.9 * ends[0]


def test_a_search_that_stands_still_begins_anew(spoken, highest, monkeypatch):
    plain = search(spoken, highest, calls=150).calls
    monkeypatch.setattr(searching, "STALE", 10**9)
    assert search(spoken, highest, calls=150).calls < plain


def test_many_latents_have_a_diagonal_covariance(monkeypatch):
    strategy = lambda: searching._strategy(torch.zeros(6), 0, 1, 2)
    assert not strategy().opts["CMA_diagonal"]
    monkeypatch.setattr(searching, "MANY", 5)
    assert strategy().opts["CMA_diagonal"]


def test_a_gradient_knows_the_bounds(highest):
    objective = Objective(
        (Wish("a", "max"), Wish("b", "<=", 1.0), Wish("similarity", ">=", 0.4)),
        {}, {"a": 2.0, "b": 4.0, "similarity": 1.0}, {},
    )  # fmt: skip
    a, b = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 3.0], requires_grad=True)
    cost = objective.predicted({"a": a, "b": b})
    assert cost.tolist() == [-0.5, -0.5 + 10 * 2 / 4]
    assert torch.autograd.grad(cost.sum(), b)[0].tolist() == [0, 2.5]


def test_a_wish_that_nothing_grants_is_told(spoken, tmp_path):
    objective = Objective.make(spoken, ["rank=max", "vowels>=9"])
    found = search(spoken, objective, "random", calls=20)
    assert len(found.objects) == len(found.cost) == 0
    assert math.isnan(found.best("rank"))
    assert found.history["rank"].isnan().all()
    api.search(spoken, ["rank=max", "vowels>=9"], "random", calls=20, out=tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "word,rank,vowels,cost\n"


def test_mistakes_are_refused(spoken, highest, monkeypatch, tmp_path):
    for texts, words in {
        ("rnk=max",): "did you mean 'rank'",
        ("rank<=3",): "nothing is to become better",
        ("rank=max", "similarity>=0.4"): "--start",
    }.items():
        with pytest.raises(ConfigError, match=words):
            Objective.make(spoken, texts)
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        search(spoken, highest, "gradent")
    with pytest.raises(ConfigError, match="0 calls"):
        search(spoken, highest, calls=0)
    with pytest.raises(RecipeError, match="does not tell vowels from the latent"):
        search(spoken, Objective.make(spoken, ["vowels=max"]), "gradient", calls=9)
    monkeypatch.setattr(spoken.domain, "similarity", lambda objects, to: None)
    with pytest.raises(RecipeError, match="how alike"):
        Objective.make(spoken, ["rank=max", "similarity>=0.4"], Words(("abide",)))
    monkeypatch.setattr(spoken.domain, "faults", lambda x: ["odd"] * len(x))
    with pytest.raises(DataError, match="random came upon is sound"):
        search(spoken, highest, "random", calls=5)


def test_the_command_writes_a_table_and_says_what_it_is_worth(spoken, tmp_path, capsys):
    place, out = str(spoken.run.path), tmp_path / "best.csv"
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import torch\n\ndef bs(x):\n"
        "    return torch.tensor([1.0 * w.count('b') for w in x.texts])\n"
    )
    argv = ["search", place, "rank=max", f"{mine}:bs>=1", "--calls", "60", "-k", "4"]
    assert main([*argv, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["cma", "greedy", "random", "training", "all"]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 4
    assert all("b" in row["word"] for row in rows)
    assert [float(r["rank"]) for r in rows] == rank(Words(tuple(r["word"] for r in rows))).tolist()
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".py"] == ["best.csv"]
    near = ["--start", "abide", "--method", "gradient", "--out", str(tmp_path / "near.txt")]
    assert main([*argv[:3], "similarity>=0.4", *argv[4:], *near]) == 0
    assert (tmp_path / "near.txt").read_text().split()
    assert (tmp_path / "near.csv").is_file()
    assert main(["search", place, "rank=best"]) == 2
    assert "wishes read" in capsys.readouterr().err
    assert main(["search", place, "--target", "vowels=1", "rank=max"]) == 2
    assert "right after the run" in capsys.readouterr().err
    assert main(["optimise", place, "rank"]) == 2
    assert "genmatter search RUN rank=max" in capsys.readouterr().err


def test_the_report_compares_searches(tmp_path):
    api.train("words/vae", preset="tiny", run=tmp_path / "run")
    text = api.report(tmp_path / "run", n=20).read_text()
    assert "Towards a property" in text
    for words in ("rank=max", "CMA-ES", "gradient of what", "random samples", "training objects"):
        assert words in text
    assert "best in the training split" in text
