import dataclasses
import json
import math

import pytest
import torch

from genmatter.config import restore
from genmatter.domains.polymer.config import PolymerVAEConfig
from genmatter.domains.polymer.represent import Cartesian, ChainBatch, Internal
from genmatter.errors import RepresentationError
from genmatter.loading.examples import Stream
from genmatter.loading.mapped import Mapped
from genmatter.maths.density import SoftplusMixture
from genmatter.maths.geometry import align_principal, centre
from genmatter.maths.noise import generator

BOTH = pytest.mark.parametrize("cls", [Cartesian, Internal])
SPACES = pytest.mark.parametrize("dim", [2, 3])
CONFIG = PolymerVAEConfig()


def chains(n=40, beads=12, dim=2, seed=0):
    steps = torch.randn(n, beads, dim, generator=generator("chains", seed))
    return steps.cumsum(1)


def rotation(dim):
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator("rotation")))
    return q * torch.where(torch.arange(dim) == 0, torch.linalg.det(q), 1.0)


def flip(x):
    return x * torch.tensor([-1.0, *[1.0] * (x.shape[-1] - 1)])


@BOTH
@SPACES
def test_streamed_rows_have_the_bits_of_all_whatever_their_number(cls, dim):
    x = chains(n=203, dim=dim)
    stream = Stream(x, cls.fit(x, CONFIG).encode, torch.ones(len(x)))
    whole = stream[torch.arange(len(x))].x
    for n in range(1, len(x), 3):
        rows = torch.randperm(len(x), generator=generator("rows", n))[:n]
        assert torch.equal(stream[rows].x, whole[rows])


@BOTH
@SPACES
def test_what_is_learned_in_parts_is_what_is_learned_at_once(cls, dim, monkeypatch):
    x = chains(dim=dim)
    whole = cls.fit(x, CONFIG)
    monkeypatch.setattr("genmatter.domains.polymer.formats.CHUNK", 250)
    parts = cls.fit(Mapped(lambda rows: x[rows], torch.arange(len(x))), CONFIG)
    if cls is Internal:
        bonds = x.double().diff(dim=1).norm(dim=-1)
        y = SoftplusMixture.inverse(bonds, bonds.mean().item())
        torch.testing.assert_close(whole.bond, bonds.mean().item())
        torch.testing.assert_close(whole.spread, (y.mean().item(), y.std().item()))
        torch.testing.assert_close(parts.spread, whole.spread, rtol=1e-12, atol=0)
        parts = dataclasses.replace(parts, bond=whole.bond, spread=whole.spread)
    assert parts == whole


@BOTH
@SPACES
@pytest.mark.parametrize("beads", [3, 12, 40])
def test_decode_inverts_encode_up_to_rigid_motion(cls, dim, beads):
    x = chains(beads=beads, dim=dim)
    it = cls.fit(x, CONFIG)
    again = it.decode(it.encode(x))
    scale = x.diff(dim=1).norm(dim=-1).mean()
    pairs = torch.triu_indices(beads, beads, 1)

    def distances(chain):
        return (chain[:, pairs[0]] - chain[:, pairs[1]]).norm(dim=-1) / scale

    torch.testing.assert_close(distances(again), distances(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again, align_principal(centre(x)), atol=2e-3, rtol=0)
    torch.testing.assert_close(it.decode(it.encode(again)), again, atol=2e-3, rtol=0)


@BOTH
@SPACES
def test_rigid_motion_changes_no_number_and_mirroring_some(cls, dim):
    x = chains(dim=dim)
    it = cls.fit(x, CONFIG)
    moved = it.encode(x @ rotation(dim) + 5)
    torch.testing.assert_close(moved.x, it.encode(x).x, atol=1e-3, rtol=0)
    assert (it.encode(flip(x)).x - it.encode(x).x).abs().amax(1).min() > 1e-2


@BOTH
@SPACES
def test_mirror_images_are_the_same_on_request(cls, dim):
    x = chains(dim=dim)
    it = cls.fit(x, dataclasses.replace(CONFIG, mirror=True))
    torch.testing.assert_close(it.encode(flip(x)).x, it.encode(x).x, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        it.decode(it.encode(flip(x))), it.decode(it.encode(x)), atol=2e-3, rtol=0
    )


@BOTH
@SPACES
def test_rows_are_encoded_each_by_itself(cls, dim):
    x = chains(dim=dim)
    it = cls.fit(x, CONFIG)
    torch.testing.assert_close(it.encode(x)[7:8].x, it.encode(x[7:8]).x)


@BOTH
@SPACES
def test_a_prompt_is_unknown_rows_of_the_right_size(cls, dim):
    x = chains(dim=dim)
    it = cls.fit(x, CONFIG)
    prompt = it.prompt(5, CONFIG)
    assert prompt.x.shape == it.encode(x[:5]).x.shape
    assert prompt.x.isnan().all()
    assert it.sizes(x) is None


@BOTH
def test_json_keeps_it(cls):
    it = cls.fit(chains(), CONFIG)
    assert restore(cls, json.loads(json.dumps(dataclasses.asdict(it)))) == it


@BOTH
def test_chains_of_another_shape_are_refused(cls):
    it = cls.fit(chains(), CONFIG)
    for bad in (chains(beads=11), chains(dim=3), chains()[0]):
        with pytest.raises(RepresentationError, match="12 beads in 2D"):
            it.encode(bad)


def test_cartesian_numbers_are_the_aligned_coordinates_bead_by_bead():
    x = chains()
    expected = align_principal(centre(x)).reshape(40, 24)
    torch.testing.assert_close(Cartesian.fit(x, CONFIG).encode(x).x, expected)


def test_internal_numbers_are_bonds_then_turns():
    square = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0]]])
    it = Internal.fit(square, CONFIG)
    half = math.pi / 2
    torch.testing.assert_close(it.encode(square).x, torch.tensor([[2.0, 1.0, 1.0, half, half]]))
    assert it.bond == pytest.approx(4 / 3)
    assert it.split(ChainBatch(torch.zeros(2, 5))).turns.shape == (2, 2)


def test_rods_have_a_finite_spread():
    rods = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.0]) + torch.zeros(3, 1, 1)
    it = Internal.fit(rods, CONFIG)
    assert all(map(math.isfinite, it.spread))
    assert it.spread[1] > 0


@SPACES
def test_rough_shapes_turn_smoothly(dim):
    x = chains(200, dim=dim)
    it = Internal.fit(x, CONFIG)
    moved = x + 1e-3 * chains(200, dim=dim, seed=1)
    assert (it.rough(it.encode(moved)) - it.rough(it.encode(x))).abs().max() < 0.1
