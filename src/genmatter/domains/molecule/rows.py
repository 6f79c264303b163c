"""What a file says of molecules, before anybody asks whether they are ones."""

__all__ = ["MissingColumnError", "Rows", "content", "lines", "missing", "number"]

import gzip
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from genmatter.config import closest
from genmatter.errors import DataError

_UNKNOWN = {"", "nan", "na", "n/a", "none", "null"}


@dataclass(frozen=True)
class Rows:
    """Texts that should be molecules, where each stands in its file, and its numbers."""

    texts: Sequence[str]
    numbers: np.ndarray
    """Line or record of each, counted from 1."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Numbers that the file says of each; NaN where it says none."""
    notation: Literal["smiles", "selfies", "mol"] = "smiles"
    """How the texts are written."""
    unit: Literal["line", "record"] = "line"
    """What `numbers` count."""

    @classmethod
    def of(cls, smiles: Sequence[str]) -> "Rows":
        """Takes SMILES that are in no file."""
        return cls(smiles, np.arange(1, len(smiles) + 1))

    def __len__(self) -> int:
        return len(self.texts)


def content(path: Path) -> bytes:
    """Returns the bytes of a file, decompressed where they are gzip's.

    Raises:
        DataError: There is no such file, it holds nothing, or it is damaged.
    """
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path}" + (closest(path.name, near) if near else ""))
    try:
        found = path.read_bytes()
        if found[:2] == b"\x1f\x8b":
            found = gzip.decompress(found)
        elif path.suffix.lower() == ".gz" and found:
            raise DataError(f"{path} is not compressed by gzip, as its name says: rename it")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or incomplete") from error
    if not found.strip():
        raise DataError(f"{path} is empty")
    return found


def lines(raw: bytes, path: Path) -> list[str]:
    """Returns the lines of a text, without empty ones at its end.

    It is UTF-8, or UTF-16 that begins with its mark.

    Raises:
        DataError: It is no text, or in another encoding.
    """
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line} is not {'UTF-16' if wide else 'UTF-8'} (byte "
            f"{raw[error.start]:#04x}): save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}: line {line} has a NUL byte: it is no text, or UTF-16 unmarked")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def number(text: object, where: str) -> float:
    """Returns a number; NaN of what is left out.

    Raises:
        DataError: It is something else, or infinite.
    """
    if text is None or str(text).strip().lower() in _UNKNOWN:
        return math.nan
    try:
        value = float(str(text)) if "_" not in str(text) else None
    except ValueError:
        value = None
    if value is None:
        raise DataError(f"{where} is {str(text)[:40]!r}, which is no number")
    if math.isinf(value):
        raise DataError(f"{where} is infinite")
    return value


class MissingColumnError(DataError):
    """A file lacks a column."""

    def __init__(self, message: str, column: str, there: list[str]) -> None:
        super().__init__(message)
        self.column, self.there = column, there


def missing(path: Path, name: str, known: Iterable[str]) -> MissingColumnError:
    """Returns an error for a column that is not there."""
    known = list(known)
    there = f": there are {', '.join(known)}" if known else ": it has none"
    near = closest(name, known) if known else ""
    hint = near if near.startswith("; did you mean") else ""
    return MissingColumnError(f"{path} has no column {name!r}{there}{hint}", name, known)
