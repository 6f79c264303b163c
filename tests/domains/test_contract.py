"""What every recipe of every domain promises. A new domain is tested here by existing."""

import dataclasses
import json
import math
import shutil

import pytest
import torch

import genmatter
from genmatter import api
from genmatter import config as configs
from genmatter.config import dump, leaves, load, parse
from genmatter.errors import CheckpointError, ConfigError, GenmatterError, RecipeError, RunError
from genmatter.maths.noise import stream
from genmatter.recipes import able, build_domain, find_all
from genmatter.spine import Latent, Likelihood
from genmatter.training import checkpoint, fit

RECIPES = find_all()


@pytest.fixture(scope="module")
def trained(recipe, config, tmp_path_factory):
    return api.train(recipe, config, run=tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def it(trained):
    """The trained run, as `load` gives it."""
    return api.load(trained.run.path, device="cpu")


@pytest.fixture
def home(it, tmp_path):
    """A copy of the run's folder, to be written to."""
    shutil.copytree(it.run.path, tmp_path / "home")
    return tmp_path / "home"


def same(a, b):
    assert a.keys() == b.keys()
    for k in a:
        torch.testing.assert_close(a[k], b[k], rtol=0, atol=0, equal_nan=True)


def test_config_survives_a_round_trip(recipe, config):
    for one in (config, *RECIPES[recipe].presets.values(), RECIPES[recipe]()):
        assert load(dump(one, recipe), type(one)(), recipe) == one


def test_a_config_of_another_recipe_is_refused(recipe, config):
    with pytest.raises(ConfigError, match="not of"):
        load(dump(config, "some/other"), type(config)(), recipe)


def test_every_leaf_has_a_flag_and_typos_are_refused(recipe, config):
    cls = type(config)
    parse(cls, [])
    assert parse(cls, ["--preset", "tiny", "--batch_size", "3"]).optim.batch_size == 3
    assert parse(cls, ["--preset", "tiny", "--batch-size=3"]).optim.batch_size == 3
    assert parse(cls, ["--optim.batch_size", "3"]).optim.batch_size == 3
    with pytest.raises(ConfigError, match="batch_size"):
        parse(cls, ["--batchsize", "3"])
    with pytest.raises(ConfigError, match="tiny"):
        parse(cls, ["--preset", "tiyn"])
    for alias, field in cls.aliases.items():
        assert field in leaves(cls), f"{alias} means no field"


def test_data_are_a_function_of_the_config(recipe, config):
    domain = build_domain(recipe, config)
    torch.manual_seed(1)
    first = domain.representation.fit(domain.load().train, config).encode(domain.load().test)
    torch.manual_seed(2)
    again = domain.representation.fit(domain.load().train, config).encode(domain.load().test)
    same(first.tensors, again.tensors)


def test_representation_is_idempotent_and_row_by_row(it):
    train = it.splits.train
    x = it.representation.encode(train)
    again = it.representation.encode(it.representation.decode(x))
    rows = torch.tensor([3, 1])
    alone = it.representation.encode(train[rows])
    for name, value in x.tensors.items():
        torch.testing.assert_close(
            again.tensors[name], value, atol=1e-4, rtol=1e-4, equal_nan=True
        )
        torch.testing.assert_close(alone.tensors[name], x[rows].tensors[name], equal_nan=True)


def test_representation_survives_json(it):
    plain = json.loads(json.dumps(dataclasses.asdict(it.representation)))
    assert configs.restore(type(it.representation), plain) == it.representation


def test_padding_changes_nothing(it):
    x = it.representation.encode(it.splits.test)
    if not x.padding:
        pytest.skip("nothing is padded")
    short = x[x.sizes.argsort()[:1]]
    wide = type(x).cat([short, x[x.sizes.argsort()[-1:]]])[torch.tensor([0, 1])]
    if isinstance(it.model, Latent):
        a, b = it.model.to_latent(short)[0], it.model.to_latent(wide)[0]
        torch.testing.assert_close(a, b[: len(a)] if a.ndim > 1 else b)
    with stream("a"):
        loss = it.model.loss(wide, math.inf)
    assert all(t.isfinite().all() and t.shape == (2,) for t in loss.terms.values())


def test_every_free_parameter_gets_a_gradient(it):
    it.model.train()
    it.model.loss(it.representation.encode(it.splits.train), 0.5).total.mean().backward()
    assert [k for k, p in it.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_objective_does_not_depend_on_how_rows_are_batched(it):
    """One value per example: what validation averages does not depend on the batch's company."""
    x = it.representation.encode(it.splits.test)
    loss = it.model.loss(x, math.inf)
    assert all(v.shape == (len(x),) for v in loss.terms.values())
    assert loss.weights.keys() <= loss.terms.keys()


def test_samples_depend_on_seed_and_prompt_only(it):
    first = it.sample(4, seed=1).objects
    torch.manual_seed(5)
    again, other = it.sample(4, seed=1).objects, it.sample(4, seed=2).objects
    a, b, c = (it.representation.encode(o) for o in (first, again, other))
    same(a.tensors, b.tensors)
    assert any(
        a.tensors[k].shape != c.tensors[k].shape or not torch.equal(a.tensors[k], c.tensors[k])
        for k in a.tensors
    )


def test_a_sample_delivers_what_is_asked_for_and_accounts_for_the_rest(it, monkeypatch):
    monkeypatch.setattr("genmatter.api.trained.CHUNK", 8)
    count = iter(range(10**6))
    odd = lambda x: ["odd" if next(count) % 2 else "" for _ in range(len(x))]
    monkeypatch.setattr(it.domain, "faults", odd)
    found = it.sample(7)
    assert len(found.objects) == 7
    assert found.drawn - sum(found.rejected.values()) == 7
    assert found.rejected["odd"] == found.drawn // 2
    monkeypatch.setattr(it.domain, "faults", lambda x: ["never"] * len(x))
    with pytest.raises(GenmatterError, match="never"):
        it.sample(1)


def test_a_run_speaks_with_the_data_and_the_parent_gone(it, config, home, monkeypatch):
    monkeypatch.setattr(type(it.domain), "load", None)
    again = api.load(home, device="cpu")
    assert again.representation == it.representation
    same(again.model.state_dict(), it.model.state_dict())
    assert len(again.sample(5).objects) == 5
    same(*(it.representation.encode(i.sample(3).objects).tensors for i in (it, again)))


def test_a_run_repeats_itself_from_its_config(it, recipe, home, tmp_path):
    config = configs.resolve(RECIPES[recipe], file=home / "config.yaml", recipe=recipe)
    again = api.train(recipe, config, run=tmp_path / "again")
    same(again.model.state_dict(), it.model.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_trains_samples_and_scores(recipe, config, tmp_path):
    home = tmp_path / "run"
    made = api.train(recipe, dataclasses.replace(config, device="cuda"), run=home)
    assert all(math.isfinite(v) for k, v in made.run.read_history()[-1].items() if "total" in k)
    it = api.load(home, device="cuda")
    assert it.device.type == "cuda"
    assert len(it.sample(4, seed=1).objects) == 4
    if isinstance(it.model, Latent):
        given = next(it.batches(it.splits.test[:3])).to(it.device)
        z = it.model.to_latent(given)
        it.model.from_latent(z, given)
        other = api.load(home, device="cpu")
        found = other.model.to_latent(given.to(other.device))
        torch.testing.assert_close(found, z.cpu(), rtol=1e-3, atol=1e-3)
    if isinstance(it.model, Likelihood):
        assert it.model.log_likelihood(next(it.batches(it.splits.test[:3]))).isfinite().all()
    assert api.evaluate(home, 16)


def test_a_killed_run_resumes_to_the_same_bits(it, recipe, config, tmp_path, monkeypatch):
    step, reseed = iter(range(10**6)), fit.reseed
    per_epoch = math.ceil(len(it.splits.train) / config.optim.batch_size)

    def killed(*key):
        if key[1] == "train" and next(step) == per_epoch + 1:
            raise RuntimeError("killed")
        reseed(*key)

    monkeypatch.setattr(fit, "reseed", killed)
    with pytest.raises(RuntimeError, match="killed"):
        api.train(recipe, config, run=tmp_path / "again")
    with pytest.raises(RunError, match="--resume"):
        api.load(tmp_path / "again")
    monkeypatch.setattr(fit, "reseed", reseed)
    resumed = api.train(recipe, run=tmp_path / "again", resume=True)
    same(resumed.model.state_dict(), it.model.state_dict())
    last = [checkpoint.read(p / "checkpoints/last")[0] for p in (it.run.path, tmp_path / "again")]
    same(*last)
    rows = [api.load(p).run.read_history() for p in (it.run.path, tmp_path / "again")]
    for a, b in zip(*rows, strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}


def test_streaming_trains_to_the_same_bits(it, recipe, config, tmp_path):
    config = configs.replaced(config, {"stream": True})
    same(api.train(recipe, config, run=tmp_path / "s").model.state_dict(), it.model.state_dict())


def test_a_folder_in_the_way_is_refused(recipe, config, home):
    with pytest.raises(RunError, match="--resume or --overwrite"):
        api.train(recipe, config, run=home)
    api.train(recipe, config, run=home, overwrite=True)


def test_damaged_weights_are_refused_by_name(home):
    whole = (home / "model").read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    for bad in (whole[: len(whole) // 2], flipped, b"", b"\x80\x04pickle"):
        (home / "model").write_bytes(bad)
        with pytest.raises(CheckpointError, match="model"):
            api.load(home)


def test_every_score_has_its_floor(it, home):
    table = api.evaluate(home, 8)
    assert table["samples"].keys() <= table["floor"].keys()
    assert all(math.isfinite(s.value) for row in table.values() for s in row.values())
    assert json.loads((home / "scores.json").read_text())["table"]["samples"]


def test_anybodys_samples_are_scored(it, home, tmp_path):
    path = tmp_path / f"mine{it.domain.formats[0]}"
    it.domain.write(it.splits.test, path)
    assert api.evaluate(home, samples=path)[path.name]


def test_files_hold_what_was_written(it, tmp_path):
    rows = it.splits.test[torch.tensor([0, 2, 1])]
    for suffix in it.domain.formats:
        path = tmp_path / f"objects{suffix}"
        it.domain.write(rows, path)
        a, b = it.representation.encode(rows), it.representation.encode(it.domain.read(path))
        for k in a.tensors:
            x, y = a.tensors[k], b.tensors[k]
            near = it.domain.precision.get(suffix, 2e-4)
            torch.testing.assert_close(x, y, atol=near, rtol=near, equal_nan=True)
    with pytest.raises(GenmatterError, match="nowhere"):
        it.domain.read(tmp_path / f"nowhere{it.domain.formats[0]}")


def test_abilities_are_known_without_a_model(it, recipe, home):
    assert able(recipe, Latent) == isinstance(it.model, Latent)
    assert able(recipe, Likelihood) == isinstance(it.model, Likelihood)
    if not able(recipe, Latent):
        with pytest.raises(RecipeError, match="polymer/vae"):
            api.encode(home)
        return
    assert len(api.encode(home, "valid")) == len(it.splits.valid)
    assert len(api.reconstruct(home, "valid").copies) == len(it.splits.valid)
    for path in ("straight", "spherical"):
        objects, alphas = api.interpolate(home, "test:0", "test:0", steps=5, path=path)
        assert len(objects) == len(alphas) == 5
    with pytest.raises(GenmatterError, match="objects"):
        api.interpolate(home, "test:0", "test:100000")


def test_every_observable_sees_samples(it, home):
    for values in it.observe(it.sample(6).objects).values():
        assert values.shape == (6,)
    if isinstance(it.model, Likelihood):
        columns = api.score(home, "test", importance=4)
        name = "log_likelihood" if it.is_exact else "iwae"
        assert columns[name].shape == (len(it.splits.test),)
        assert (home / "scores_each.csv").read_text().count("\n") == len(it.splits.test) + 1


def test_a_run_becomes_a_page(home, short_walks):
    page = api.report(home, n=8)
    text = page.read_text()
    assert "<h2" in text
    assert "genmatter train" in text


def test_sampling_options_are_set_without_training(it, home):
    options = dataclasses.fields(it.config.sampling) if hasattr(it.config, "sampling") else ()
    for option in options:
        value = getattr(it.config.sampling, option.name)
        assert api.load(home, **{option.name: value}).model is not None
    if options:
        with pytest.raises(ConfigError, match="nonsense"):
            api.load(home, nonsense=1)


def test_the_package_offers_the_verbs(home):
    assert genmatter.load(home).run.path == home
    assert "train" in dir(genmatter)
    with pytest.raises(AttributeError):
        _ = genmatter.nonsense
