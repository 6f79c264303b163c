import dataclasses
import math

import pytest
import torch

from genmatter import api
from genmatter.config import replaced
from genmatter.domains.polymer.config import PolymerDiffusionConfig
from genmatter.domains.polymer.denoiser import Flat
from genmatter.domains.polymer.diffusion import BondsAndAngles, Whitened, build
from genmatter.domains.polymer.metrics import end_to_end
from genmatter.domains.polymer.represent import Cartesian, Internal
from genmatter.domains.polymer.vectors import BondVectors, wishes
from genmatter.errors import ConfigError
from genmatter.maths.geometry import InternalCoordinates, grow, internal, radius_of_gyration
from genmatter.maths.noise import generator

SPACES = pytest.mark.parametrize("dim", [2, 3])
PRESETS = PolymerDiffusionConfig.presets
TINY = PRESETS["tiny"]


def chains(n=400, beads=6, dim=2):
    return torch.randn(n, beads, dim, generator=generator("chains")).cumsum(1)


def turned(x, dim):
    axes, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator("turn")))
    axes[:, 0] *= torch.linalg.det(axes).sign()
    return x @ axes


def talkative(config, representation, seed=0):
    """A model whose every weight says something."""
    torch.manual_seed(seed)
    model = build(config, representation)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


@SPACES
def test_bond_vectors_have_unit_covariance_whatever_way_chains_are_turned(dim):
    x = chains(20_000, dim=dim)
    representation = BondVectors.fit(x, TINY)
    y = representation.encode(turned(x, dim)).x.unflatten(1, (5, dim))
    covariance = torch.einsum("nad,nbd->ab", y, y) / (len(y) * dim)
    torch.testing.assert_close(covariance, torch.eye(5), atol=2e-3, rtol=0)


@SPACES
def test_chains_come_back_from_their_bond_vectors(dim):
    x = chains(dim=dim)
    representation = BondVectors.fit(x, TINY)
    again = representation.decode(representation.encode(x))
    torch.testing.assert_close(radius_of_gyration(again), radius_of_gyration(x))
    for a, b in zip(internal(again), internal(x), strict=True):
        torch.testing.assert_close(a.cos(), b.cos(), atol=1e-3, rtol=0)


@SPACES
@pytest.mark.parametrize("mirror", [False, True])
def test_the_network_turns_with_the_chain(dim, mirror):
    config = dataclasses.replace(TINY, mirror=mirror)
    representation = BondVectors.fit(chains(dim=dim), config)
    net = talkative(config, representation).denoiser.net
    y, t = torch.randn(20, 5, dim), torch.rand(20)
    given = representation.prompt(20, config)
    ask = lambda y: net(y.flatten(1), t, given).unflatten(1, (5, dim))
    scale = ask(y).abs().mean()
    torch.testing.assert_close(
        ask(turned(y, dim)), turned(ask(y), dim), atol=1e-4 * scale.item(), rtol=1e-3
    )
    flip = torch.tensor([-1.0, *[1.0] * (dim - 1)])
    gap = (ask(y * flip) - ask(y) * flip).abs().mean()
    assert (gap < 1e-4 * scale) == mirror


def test_one_level_for_all_is_the_same_as_one_for_each():
    representation = BondVectors.fit(chains(), TINY)
    net = talkative(TINY, representation).denoiser.net
    y, given = torch.randn(8, 10), representation.prompt(8, TINY)
    one = net(y, torch.tensor([0.3]), given)
    torch.testing.assert_close(net(y, torch.full((8,), 0.3), given), one)


@SPACES
def test_the_density_is_that_of_bonds_and_angles(dim):
    """The chart's volume is the Jacobian of bond vectors with respect to bonds, angles, turns."""
    x = chains(8, beads=5, dim=dim)
    representation = BondVectors.fit(chains(400, beads=5, dim=dim), TINY)
    batch = representation.encode(x)
    parts = internal(representation.decode(batch).double())
    sizes = [p.shape[1] for p in parts]

    def vectors(numbers):
        chain, turn = numbers[: sum(sizes)], numbers[sum(sizes) :]
        x, _ = grow(InternalCoordinates(*(p[None] for p in chain.split(sizes))))
        return (representation.inverse.double() @ (x[0].diff(dim=0) @ rotation(turn))).flatten()

    def rotation(angle):
        if dim == 2:
            c, s = angle[0].cos(), angle[0].sin()
            return torch.stack([torch.stack([c, s]), torch.stack([-s, c])])
        zero = torch.zeros_like(angle[0])
        skew = torch.stack(
            [zero, -angle[2], angle[1], angle[2], zero, -angle[0], -angle[1], angle[0], zero]
        )
        return torch.linalg.matrix_exp(skew.view(3, 3))

    # around no turn at all, where the volume of turns is 1 per radian of each
    turns = 1 if dim == 2 else 3
    total = 2 * math.pi if dim == 2 else 8 * math.pi**2
    for i, found in enumerate(Whitened(representation).log_volume(batch)):
        numbers = torch.cat([*(p[i] for p in parts), torch.zeros(turns).double()])
        jacobian = torch.autograd.functional.jacobian(vectors, numbers)
        want = torch.linalg.slogdet(jacobian)[1].item() + math.log(total)
        assert math.isclose(found.item(), want, abs_tol=2e-3)


@SPACES
def test_bonds_and_angles_are_numbers_and_back_with_their_volume(dim):
    representation = Internal.fit(chains(dim=dim), TINY)
    chart, batch = BondsAndAngles(representation), representation.encode(chains(5, dim=dim))
    batch = dataclasses.replace(batch, x=batch.x.double())
    y = chart.to_state(batch)
    torch.testing.assert_close(chart.to_batch(y, batch).x, batch.x, atol=1e-5, rtol=1e-5)
    state = lambda x: chart.to_state(dataclasses.replace(batch, x=x[None]))[0]
    for x, found in zip(batch.x, chart.log_volume(batch), strict=True):
        jacobian = torch.autograd.functional.jacobian(state, x)
        want = torch.linalg.slogdet(jacobian)[1].item()
        assert math.isclose(found.item(), want, abs_tol=1e-3)


def test_the_walkthrough_has_its_size_path_and_chain():
    preset = PRESETS["walkthrough"]
    model = build(preset, Cartesian(12, 2))
    assert sum(p.numel() for p in model.parameters()) == 160_536
    assert isinstance(model.denoiser.net, Flat)
    assert not model.antithetic
    assert model.network_calls == 200
    alpha, _ = model.denoiser.path(torch.tensor(200.0))
    assert math.isclose(alpha.item() ** 2, 0.132, abs_tol=2e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"representation": "cartesian", "conditions": ("end_to_end",)}, "bonds"),
        ({"path": "line", "predict": "noise"}, "velocity"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    config = replaced(TINY, changes)
    kind = {"cartesian": Cartesian, "bonds": BondVectors}[config.representation]
    with pytest.raises(ConfigError, match=said):
        build(config, kind.fit(chains(), config))


def test_wishes_are_read_and_checked():
    assert wishes("a=1, b = 2.5", ["a", "b"]) == {"a": 1, "b": 2.5}
    with pytest.raises(ConfigError, match=r"no condition 'c'.*a, b"):
        wishes("c=1", ["a", "b"])
    with pytest.raises(ConfigError, match="NAME=NUMBER"):
        wishes("a=x", ["a"])
    with pytest.raises(ConfigError, match="radius_of_gyration"):
        BondVectors.fit(chains(), dataclasses.replace(TINY, conditions=("radius_of_gyratio",)))


def test_a_prompt_holds_what_is_wanted_in_standard_units():
    config = replaced(
        TINY, {"conditions": ("end_to_end", "asphericity"), "condition": "end_to_end=3"}
    )
    x = chains()
    representation = BondVectors.fit(x, config)
    told = representation.prompt(4, config).wanted
    torch.testing.assert_close(
        told[:, 0], ((3 - end_to_end(x).mean()) / end_to_end(x).std()).expand(4)
    )
    assert told[:, 1].isnan().all()
    seen = representation.encode(x).wanted
    torch.testing.assert_close(seen.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(0), torch.ones(2))


def test_conditions_reach_the_network_and_are_hidden_at_their_share():
    config = replaced(TINY, {"conditions": ("end_to_end",), "hide_conditions": 0.3})
    representation = BondVectors.fit(chains(), config)
    model, batch = talkative(config, representation), representation.encode(chains(4000))
    net, t = model.denoiser.net, torch.tensor([0.5])
    other = dataclasses.replace(batch, wanted=batch.wanted + 1)
    unknown = dataclasses.replace(batch, wanted=batch.wanted * torch.nan)
    answers = [net(batch.x, t, b) for b in (batch, other, unknown)]
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert answers[2].isfinite().all()
    assert math.isclose(
        model.hide(batch, model.hidden).wanted.isnan().float().mean().item(), 0.3, abs_tol=0.03
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Long enough a training on short chains for what is asked below."""
    return api.train(
        "polymer/diffusion", run=tmp_path_factory.mktemp("run") / "run", beads=5, chains=4000,
        valid_chains=200, test_chains=2000, epochs=20, batch_size=128, lr=8e-3, hidden_dim=48,
        layers=2, conditions=("end_to_end",),
    )  # fmt: skip


def test_it_learns_the_excluded_volume_and_the_shape(trained):
    x = trained.sample(2000).objects
    scores = trained.domain.score(x, trained.splits)
    assert scores["clash"].value < 0.01
    assert scores["w1_rg"].value < 0.08
    assert scores["c2st"].value < 0.56


def test_its_likelihood_is_boltzmanns(trained):
    """log p of a chain's coordinates is minus its energy, up to a constant."""
    test = trained.splits.test[:100]
    batch = trained.representation.encode(test)
    log_p = trained.model.log_likelihood(batch) - test.diff(dim=1).norm(dim=-1).log().sum(1)
    energy = trained.domain.energy(test.double()).float()
    assert torch.corrcoef(torch.stack([log_p, -energy]))[0, 1] > 0.8
    assert (log_p + energy).std() < 0.6 * energy.std()


def test_samples_have_what_is_wanted_of_them_by_condition_and_by_steering(trained):
    low, high = (
        trained.domain.observables[1].of(trained.splits.test).quantile(torch.tensor([0.2, 0.8]))
    )
    spread = end_to_end(trained.splits.test).std()
    for value in (low, high):
        asked = api.load(trained.run.path, condition=f"end_to_end={value}").sample(500).objects
        assert (end_to_end(asked).mean() - value).abs() < 0.25 * spread
        assert end_to_end(asked).std() < 0.5 * spread
        given = trained.representation.prompt(500, trained.config)
        measure = lambda b: end_to_end(trained.representation.decode(b))
        steered = trained.model.steer(given, measure, float(value), 0.1 * float(spread))
        reached = end_to_end(trained.representation.decode(steered))
        assert (reached.median() - value).abs() < 0.1 * spread


def test_latents_are_normal_and_come_back(trained):
    x = trained.splits.test[:200]
    z = trained.encode(x)
    assert abs(z.std().item() - 1) < 0.1
    assert trained.reconstruct(x).scores["rmsd"].value < 0.02
    objects, _ = trained.interpolate(x[:1], x[1:2], 5, path="spherical")
    torch.testing.assert_close(
        radius_of_gyration(objects[[0, -1]]), radius_of_gyration(x[:2]), atol=0.02, rtol=0.02
    )
