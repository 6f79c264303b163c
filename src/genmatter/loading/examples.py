"""Examples: what training reads. A batch is one kind, a stream from a larger store another."""

__all__ = ["Examples", "Stream", "order"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from genmatter.loading.batch import Batch
from genmatter.maths.noise import generator

ROUND = 64
"""Rows are encoded by a multiple of this many. Vector units treat the last few numbers of an array
apart, and round them differently: a row's bits are its own only where it never is among them."""

B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)


@runtime_checkable
class Examples(Protocol[B_co]):
    """Rows that can be asked for in any order. The same row is always the same."""

    @property
    def sizes(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor, /) -> B_co: ...


@dataclass(frozen=True)
class Stream(Generic[B]):
    """Objects that are encoded when they are asked for, each to the same bits every time."""

    objects: Any
    encode: Callable[[Any], B]
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, rows: Tensor) -> B:
        more = rows[-1:].expand(-len(rows) % ROUND)
        return self.encode(self.objects[torch.cat([rows, more])])[: len(rows)]


def order(sizes: Tensor, batch_size: int, *key: int | str, pool: int = 32) -> list[Tensor]:
    """Returns the rows of each batch of an epoch: shuffled, with similar sizes together."""
    g, sizes = generator("order", *key), sizes.cpu()
    pools = torch.randperm(len(sizes), generator=g).split(pool * batch_size)
    batches = [b for p in pools for b in p[sizes[p].argsort(stable=True)].split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=g).tolist()]
