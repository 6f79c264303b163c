"""Examples: what training reads. A batch is one kind, a stream from a larger store another."""

__all__ = ["Examples", "Stream", "order"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from genmatter.loading.batch import Batch
from genmatter.maths.noise import generator

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
    """Objects that are encoded when they are asked for, because all of them would not fit."""

    objects: Any
    encode: Callable[[Any], B]
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, rows: Tensor) -> B:
        return self.encode(self.objects[rows])


def order(sizes: Tensor, batch_size: int, *key: int | str, pool: int = 32) -> list[Tensor]:
    """Returns the rows of each batch of an epoch: shuffled, with similar sizes together."""
    g = generator("order", *key)
    pools = torch.randperm(len(sizes), generator=g).split(pool * batch_size)
    batches = [b for p in pools for b in p[sizes[p].argsort(stable=True)].split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=g).tolist()]
