"""Checkpoints: named tensors and JSON in one file, replaced whole or not at all.

The file is a safetensors file, which is read without executing anything. Its header carries
the facts and a digest over them and the tensors' bytes, so that damage is noticed.
"""

__all__ = ["Writer", "read", "write"]

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from genmatter.errors import CheckpointError, RunError
from genmatter.run import write_bytes

FORMAT = "genmatter 1"


def write(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes beside the old file, and then takes its place.

    Raises:
        CheckpointError: The file cannot be written; the old one stays as it was.
    """
    text = json.dumps(facts)
    header = {"format": FORMAT, "facts": text, "digest": _digest(tensors, text)}
    try:
        # not safetensors' own writer: where that is killed it leaves a nameless file behind
        write_bytes(path, save(tensors, header))
    except RunError as error:
        raise CheckpointError(str(error)) from None


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads both parts.

    Raises:
        CheckpointError: The file is missing, truncated, corrupted, or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {str(path)!r}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {str(path)!r} is damaged: {error}") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} is not a checkpoint that genmatter wrote")
    if header.get("digest") != _digest(tensors, header.get("facts", "")):
        raise CheckpointError(f"checkpoint {str(path)!r} is damaged: its checksum does not fit")
    return tensors, json.loads(header["facts"])


class Writer:
    """Writes checkpoints in the background, one at a time and in the order of asking.

    The caller goes on as soon as the tensors are copied. An error is raised by the next call.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __call__(self, path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        # clones: training goes on, and tied weights share memory, which the format refuses
        own = {k: x.detach().cpu().clone().contiguous() for k, x in tensors.items()}
        before = self._pending
        self._pending = self._pool.submit(write, path, own, facts)
        if before:
            before.result()

    def wait(self) -> None:
        """Returns once all that was asked for is on disk."""
        if self._pending:
            self._pending.result()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:
            self.wait()


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        x = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        bits: Any = x.flatten().view(torch.uint8).numpy() if x.numel() else b""
        digest.update(bits)
    return digest.hexdigest()
