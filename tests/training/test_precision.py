"""Half precision and other devices: the same losses, within what their numbers can hold."""

import math

import pytest
import torch

from genmatter import api
from genmatter.maths.geometry import nearest_rotation
from genmatter.maths.noise import reseed
from genmatter.recipes import build_domain, build_model, find_all
from genmatter.training.devices import devices, fabric_for
from genmatter.training.fit import validate

RECIPES = find_all()
BF16 = 0.05
"""How far the loss may be off, as a share: of 8 bits each number is off by up to 0.4%, and noise
that is drawn like a latent of 8 bits is other noise."""
DEVICE = 1e-4
"""The same for 32-bit numbers that are added up in another order."""


def last(recipe, config, run, **fields):
    return api.train(recipe, config, run=run, **fields).run.read_history()[-1]


def test_bfloat16_trains_to_the_same_loss(recipe, config, tmp_path):
    found = {p: last(recipe, config, tmp_path / p, precision=p) for p in ("32", "bf16")}
    assert all(map(math.isfinite, found["bf16"].values()))
    want = found["32"]["valid/total"]
    assert found["bf16"]["valid/total"] == pytest.approx(want, rel=BF16)
    assert found["bf16"]["valid/total"] != want


@pytest.mark.parametrize("other", [{"dim": 3}, {"representation": "cartesian"}], ids=str)
def test_other_polymers_train_in_bfloat16_too(other, tmp_path):
    tiny = RECIPES["polymer/vae"].presets["tiny"]
    found = [last("polymer/vae", tiny, tmp_path / p, precision=p, **other) for p in ("32", "bf16")]
    want, half = (row["valid/total"] for row in found)
    assert half == pytest.approx(want, rel=BF16)


def test_a_rotation_stays_one_in_half_precision():
    m = torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(0))
    want = nearest_rotation(m)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(nearest_rotation(m), want)
        turned = nearest_rotation(m.bfloat16())
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3).expand(50, 3, 3))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_gives_the_loss_of_the_cpu(recipe, config, device, monkeypatch):
    """With all noise drawn on the CPU, for devices have streams of their own."""
    if device not in devices():
        pytest.skip(f"this machine has no {device} device")
    losses = {}
    for name in ("cpu", device):
        with monkeypatch.context() as patch:
            _noise_from_the_cpu(patch)
            losses[name] = _loss(recipe, config, name)
    for term, want in losses["cpu"].items():
        assert losses[device][term] == pytest.approx(want, rel=DEVICE, abs=DEVICE), term


def test_a_device_trains_and_samples(recipe, config, tmp_path):
    if there := [d for d in devices() if d != "cpu"]:
        api.train(recipe, config, run=tmp_path / "run", device=there[0])
        assert len(api.load(tmp_path / "run", device=there[0]).sample(4).objects) == 4
    else:
        pytest.skip("this machine has no cuda or mps device")


def _loss(recipe, config, device):
    domain, fabric = build_domain(recipe, config), fabric_for(device, "32", 1)
    splits = domain.load()
    parent = [api.load(config.parent, device="cpu")] if config.parent else []
    representation = (
        parent[0].representation if parent else domain.representation.fit(splits.train, config)
    )
    reseed("init")
    model = build_model(recipe, config, representation, *(p.model for p in parent))
    x = representation.encode(splits.test)
    return validate(model.to(fabric.device), x, 32, 0, fabric)


def _noise_from_the_cpu(patch):
    for name in ("rand", "randn", "randn_like", "rand_like"):
        draw = getattr(torch, name.removesuffix("_like"))

        def drawn(*shape, device=None, dtype=None, draw=draw, **rest):
            like = shape[0] if isinstance(shape[0], torch.Tensor) else None
            size = (shape[0].shape,) if like is not None else shape
            device = like.device if device is None and like is not None else device
            return draw(*size, dtype=dtype or (like.dtype if like is not None else None)).to(
                device
            )

        patch.setattr(torch, name, drawn)
