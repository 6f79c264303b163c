"""Processes that work together: who each is, what they share out, what they tell each other.

`torchrun` starts them. Each has the same config, data and weights, and does its share of the
rows of a batch, of the chunks of samples, of the rows of a table. The first one writes and
speaks. Where one cannot go on all end, with the same words.
"""

__all__ = [
    "agree",
    "gathered",
    "is_first",
    "once",
    "place",
    "shared_out",
    "summed",
    "together",
]

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lightning_fabric import Fabric
from torch import Tensor, distributed

from genmatter.errors import GenmatterError

X = TypeVar("X")
Y = TypeVar("Y")


def place() -> tuple[int, int]:
    """Returns the number of this process, and how many have joined."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Says whether this process is the one that writes; known before they have joined."""
    rank, world = place()
    return rank == 0 if world > 1 else os.environ.get("RANK", "0") == "0"


def agree(error: Exception | None) -> None:
    """Raises on every process what one of them has met; all have to call it.

    A process raises its own error if it has one, or else that of the first which has.
    """
    rank, world = place()
    if world > 1:
        # an error of ours is told as it is; a stranger may not survive the way
        known = error is None or isinstance(error, GenmatterError)
        told = error if known else GenmatterError(f"process {rank} failed: {error!r}")
        heard = next(filter(None, gathered(told)), None)
        error = error or heard
    if error:
        raise error


@contextmanager
def together() -> Iterator[None]:
    """Ends on every process as it does on the worst: an error in the block is everyone's.

    The block must not itself wait for the other processes, except where they all do or fail.
    """
    error = None
    try:
        yield
    except Exception as met:
        error = met
    agree(error)


def once(work: Callable[[], object]) -> None:
    """Does the work on the first process; the others wait for it, and share its errors."""
    with together():
        if is_first():
            work()


def shared_out(work: Callable[[X], Y], things: Sequence[X]) -> list[Y]:
    """Returns what `work` makes of each thing, in their order. Each process does its share.

    What it makes travels between processes: small values, or batches on the CPU.
    """
    rank, world = place()
    with together():
        mine = [work(thing) for thing in things[rank::world]]
    shares = gathered(mine)
    return [shares[i % world][i // world] for i in range(len(things))]


def gathered(mine: X) -> list[X]:
    """Returns what each process has, in their order."""
    _, world = place()
    if world == 1:
        return [mine]
    found: list[Any] = [None] * world
    distributed.all_gather_object(found, mine)
    return found


def summed(x: Tensor, fabric: Fabric) -> Tensor:
    """Returns the sum over all processes."""
    if fabric.world_size == 1:
        return x
    return fabric.all_reduce(x.to(fabric.device), reduce_op="sum")  # pyright: ignore[reportReturnType]
