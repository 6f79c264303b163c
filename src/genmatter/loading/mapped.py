"""Objects in a file that is larger than memory: rows that are read when they are asked for."""

__all__ = ["Mapped", "enough_memory", "memory_map", "parts"]

import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int
from torch import Tensor

from genmatter.errors import DataError, TrainingError

X = TypeVar("X")


@dataclass(frozen=True)
class Mapped(Generic[X]):
    """Some rows of a store, in some order. Indexing reads objects; `part` only says which."""

    read: Callable[[Tensor], X]
    """From indices into the store to objects, each by itself."""
    rows: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | slice) -> X:
        return self.read(self.rows[rows])

    def part(self, rows: Tensor) -> "Mapped[X]":
        """Returns those rows, unread."""
        return Mapped(self.read, self.rows[rows])


def parts(objects: Any, size: int) -> Iterator[Any]:
    """Yields objects in their order, so many at once."""
    for start in range(0, len(objects), size):
        yield objects[start : start + size]


def memory_map(path: Path, name: str = "") -> np.ndarray:
    """Returns an array that stays in its file, of which the system reads what is touched.

    Args:
        path: An .npy file, or an .npz file whose arrays are not compressed.
        name: Which array of an .npz file.

    Raises:
        DataError: The array is compressed, or holds Python objects.
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    if not name:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise DataError(
                f"{path} is compressed, so that its arrays cannot stay in the file: write them "
                "with numpy.save or numpy.savez"
            )
        file.seek(member.header_offset + 26)  # where the local header says how long its ends are
        file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise DataError(f"{path} holds Python objects in {name!r} instead of numbers")
        order, start = "F" if fortran else "C", file.tell()
    return np.asarray(np.memmap(path, dtype, "r", start, shape, order))


@contextmanager
def enough_memory() -> Iterator[None]:
    """Says what helps where memory is short.

    Raises:
        TrainingError: It was.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has a class for it on some devices, and on a CPU only words
        words = ("allocate memory", "out of memory")
        if isinstance(error, RuntimeError) and not any(w in str(error) for w in words):
            raise
        raise TrainingError(
            "there is not enough memory: --stream leaves data in their file (.npy, or .npz that "
            "is not compressed), and a smaller --batch_size takes less"
        ) from None
