"""Any recipe trains in a Trainer of the user's own."""

import builtins
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from genmatter.config import Optim
from genmatter.domains.bag.config import BagVAEConfig
from genmatter.errors import MissingExtraError
from genmatter.recipes import build_domain, build_model
from genmatter.training.module import as_module


def test_a_trainer_lowers_the_validation_loss(tmp_path):
    from lightning import Trainer

    config = BagVAEConfig.presets["tiny"]
    domain = build_domain("bag/vae", config)
    splits = domain.load()
    representation = domain.representation.fit(splits.train, config)
    torch.manual_seed(0)
    module = as_module(build_model("bag/vae", config, representation), Optim(lr=0.01))
    train, valid = representation.encode(splits.train), representation.encode(splits.valid)
    rows = DataLoader([train[r] for r in torch.arange(len(train)).split(8)], batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            max_epochs=8, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu",
        )  # fmt: skip
        before = trainer.validate(module, DataLoader([valid], batch_size=None), verbose=False)[0][
            "valid/total"
        ]
        trainer.fit(module, rows, DataLoader([valid], batch_size=None))
        after = trainer.validate(module, DataLoader([valid], batch_size=None), verbose=False)[0]
    assert after["valid/total"] < before
    assert {"valid/reconstruction", "valid/kl"} <= after.keys()


def test_a_missing_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name == "lightning":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    config = BagVAEConfig.presets["tiny"]
    domain = build_domain("bag/vae", config)
    representation = domain.representation.fit(domain.load().train, config)
    with pytest.raises(MissingExtraError, match=r"genmatter\[lightning\]"):
        as_module(build_model("bag/vae", config, representation))
