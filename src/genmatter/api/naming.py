"""What a text names: a split, a file, a row of either, an object; or a function of one's own."""

__all__ = ["SPLITS", "function", "named", "one"]

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmatter.api.trained import Trained
from genmatter.errors import DataError
from genmatter.spine import Domain
from genmatter.training.processes import together

SPLITS = ("train", "valid", "test")


def named(it: Trained, source: str) -> Any:
    """Returns the objects of a split or a file, or the one of `test:5`, or written as text.

    Raises:
        DataError: It names nothing, or the file is not of this kind of matter.
    """
    with together():
        here = _is_there(source)
        written = None if here or source in SPLITS else it.domain.parse(source)
        if written is not None:
            return written
        head, colon, tail = source.rpartition(":")
        if here or not (tail.isascii() and tail.isdigit()):
            return _whole(it, source)
        head = head if colon else "test"
        return _at(head, _whole(it, head), int(tail))


def one(it: Trained, text: str) -> Any:
    """Returns a set of one object: the first that a text names, where it names several.

    Raises:
        DataError: There is no such object.
    """
    return _at(text, named(it, text), 0)


def _whole(it: Trained, source: str) -> Any:
    """Returns the objects of a split or a file."""
    if source in SPLITS:
        return getattr(it.splits, source)
    try:
        return _sound(it.domain, it.domain.read(Path(source)), source)
    except DataError as error:
        if _is_there(source):
            raise
        spelled = type(it.domain).parse is not Domain.parse
        also = f", or a {it.domain.noun} as text" if spelled else ""
        raise DataError(
            f"{source!r} names no objects: it could be {', '.join(SPLITS)}, test:5, a file, "
            f"FILE:5{also} ({error})"
        ) from None


def _sound(domain: Domain, objects: Any, source: str) -> Any:
    """Returns objects of a file; refuses those that may be none, which scores alone can take."""
    if domain.counts_failures:
        for row, why in enumerate(domain.faults(objects)):
            if why:
                raise DataError(f"{source!r}: object {row}, counted from 0: {why}")
    return objects


def _at(name: str, objects: Any, row: int) -> Any:
    if row >= len(objects):
        raise DataError(f"{name!r} has {len(objects)} objects, so there is none at {row}")
    return objects[torch.tensor([row])]


def _is_there(text: str) -> bool:
    """Says whether there is a file or folder of that name; a text may be too long for one."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def function(place: str) -> Callable[[Any], Tensor]:
    """Returns a function out of a Python file of the user's, named `FILE.py:NAME`.

    Raises:
        DataError: There is none.
    """
    file, _, name = place.rpartition(":")
    if not Path(file).is_file():
        raise DataError(f"there is no file {file!r} to take the function {name!r} from")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise DataError(f"{file!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise DataError(f"{file!r} has no function {name!r}")
    return getattr(module, name)
