"""Bags as padded batches."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from genmatter.loading.batch import Batch
from genmatter.spine import Representation


@dataclass(frozen=True)
class Bags:
    points: tuple[Tensor, ...]
    charges: Tensor

    def __len__(self):
        return len(self.points)

    def __getitem__(self, rows: Any):
        rows = torch.arange(len(self))[rows]
        return Bags(tuple(self.points[i] for i in rows.tolist()), self.charges[rows])


@dataclass(frozen=True)
class BagBatch(Batch):
    padding: ClassVar = {"x": 0.0}
    x: Tensor
    mask: Tensor
    charge: Tensor


@dataclass(frozen=True)
class Padded(Representation):
    scale: float
    counts: tuple[int, ...]

    @classmethod
    def fit(cls, objects, config):
        scale = torch.cat(objects.points).double().std().item()
        return cls(scale, tuple(len(p) for p in objects.points))

    def encode(self, objects):
        size = max(map(len, objects.points), default=1)
        x, mask = torch.zeros(len(objects), size, 2), torch.zeros(len(objects), size).bool()
        for i, p in enumerate(objects.points):
            x[i, : len(p)], mask[i, : len(p)] = p / self.scale, True
        return BagBatch(x, mask, objects.charges[:, None])

    def decode(self, batch):
        rows = zip(batch.x, batch.mask, strict=True)
        return Bags(tuple(x[m] * self.scale for x, m in rows), batch.charge[:, 0])

    def prompt(self, n, config):
        counts = torch.tensor([self.counts[i % len(self.counts)] for i in range(n)])
        mask = torch.arange(int(counts.max()))[None] < counts[:, None]
        x = torch.full((*mask.shape, 2), torch.nan).masked_fill(~mask[..., None], 0)
        charge = torch.nan if config.sampling.charge is None else config.sampling.charge
        return BagBatch(x, mask, torch.full((n, 1), charge))

    def sizes(self, objects):
        return torch.tensor([len(p) for p in objects.points])
