"""Tables that took time to compute, kept on disk under what they were computed of."""

__all__ = ["keep", "kept", "key", "recalled"]

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from genmatter.errors import RunError
from genmatter.loading.fetch import cache_folder
from genmatter.run import write_bytes


def key(content: bytes, *facts: Any) -> str:
    """Returns what differs when a file's content or one of the facts does."""
    found = hashlib.blake2b(content, digest_size=12)
    found.update(json.dumps(facts).encode())
    return found.hexdigest()


def kept(name: str, make: Callable[[], pa.Table]) -> pa.Table:
    """Returns a table from the cache; makes it and keeps it where it is not there, or damaged.

    A name may begin with a folder, as `molecules/prepared-0a1b2c`.
    """
    found = recalled(name)
    if found is None:
        found = make()
        keep(name, found)
    return found


def recalled(name: str) -> pa.Table | None:
    """Returns a table from the cache; None where it is not there, or damaged."""
    try:
        return parquet.read_table(_path(name), page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None


def keep(name: str, table: pa.Table) -> None:
    """Keeps a table; where the cache cannot be written, it is computed again another time."""
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
    with suppress(RunError):
        write_bytes(_path(name), file.getvalue())


def _path(name: str) -> Path:
    return cache_folder() / f"{name}.parquet"
