"""What is known of crystals: asked for once, and of data once for all processes."""

import torch

from genmatter.domains.crystal import features as module
from genmatter.domains.crystal import filling
from genmatter.domains.crystal.features import features


def test_what_is_kept_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "FEW", 3)
    monkeypatch.setattr(module, "processors", lambda: 1)
    monkeypatch.setattr(module, "_known", {})
    crystals = filling.made(4, 7)
    first = features(crystals, keep=True)
    assert len(list(tmp_path.rglob("described-*.parquet"))) == 1
    with monkeypatch.context() as gone:  # as in another process
        gone.setattr(module, "_known", {})
        gone.setattr(module, "described", None)
        again = features(crystals, keep=True)
    for name in first:
        torch.testing.assert_close(again[name], first[name], rtol=0, atol=0, equal_nan=True)


def test_samples_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "FEW", 3)
    monkeypatch.setattr(module, "processors", lambda: 1)
    monkeypatch.setattr(module, "_known", {})
    features(filling.made(4, 7))
    assert not list(tmp_path.rglob("*.parquet"))
