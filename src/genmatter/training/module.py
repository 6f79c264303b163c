"""Any recipe in a Lightning `Trainer` of one's own (the extra `[lightning]`)."""

__all__ = ["as_module", "checkpoints", "module_class"]

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genmatter.config import Optim
from genmatter.errors import MissingExtraError
from genmatter.loading.batch import Batch
from genmatter.spine import Generative


def as_module(model: Generative, optim: Optim | None = None) -> Any:
    """Returns a `LightningModule` that trains the model on batches of its representation.

    It logs `train/<term>` and `valid/<term>`, per example. The `Trainer` keeps its own random
    state, checkpoints and averages, so that runs are not those of `genmatter train` bit for bit.

    Args:
        model: What `genmatter.recipes.build_model` or `genmatter.load(run).model` gives.
        optim: Its learning rate and weight decay are used.

    Raises:
        MissingExtraError: Lightning is not installed.
    """
    try:
        from lightning import LightningModule
    except ImportError:
        raise MissingExtraError(
            "a LightningModule needs the extra: pip install genmatter[lightning]"
        ) from None
    how = optim or Optim()

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Batch, index: int) -> Tensor:
            return self._step("train", batch, self.trainer.current_epoch)

        def validation_step(self, batch: Batch, index: int) -> Tensor:
            return self._step("valid", batch, math.inf)

        def _step(self, stage: str, batch: Batch, epoch: float) -> Tensor:
            loss = self.model.loss(batch, epoch)
            for name, term in (loss.terms | {"total": loss.total}).items():
                self.log(f"{stage}/{name}", term.mean(), batch_size=len(batch))
            return loss.total.mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            free = [p for p in self.parameters() if p.requires_grad]
            return torch.optim.AdamW(free, lr=how.lr, weight_decay=how.weight_decay)

        def transfer_batch_to_device(
            self, batch: Batch, device: Any, dataloader_idx: int
        ) -> Batch:
            return batch.to(device)

    return Module()


def module_class() -> type[nn.Module]:
    """Returns `LightningModule`, or what stands in for it where Lightning is not installed."""
    try:
        from lightning import LightningModule
    except ImportError:
        return _Alone
    return LightningModule


class _Alone(nn.Module):
    """A module for a loop of one's own, which finds what was logged last in `logged`."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[str, float] = {}

    def log_dict(self, dictionary: Mapping[str, Tensor], **how: Any) -> None:
        self.logged |= {name: float(x) for name, x in dictionary.items()}


def checkpoints(trainer: Any, monitor: str, best: int) -> list[Any]:
    """Returns the callbacks that keep a module's best checkpoints and the last one.

    They take the place of the Trainer's own. A Trainer that has none, or has one that was told
    what to watch, keeps to that.
    """
    from lightning.pytorch.callbacks import ModelCheckpoint

    own = [c for c in trainer.callbacks if isinstance(c, ModelCheckpoint)]
    if not own or any(c.monitor for c in own):
        return []
    # two, since `save_last` writes only with one of the best, and the last one may be none of them
    return [ModelCheckpoint(monitor=monitor, save_top_k=best), ModelCheckpoint(filename="last")]
