"""Ctrl-C and SIGTERM, noticed between two steps rather than in one."""

__all__ = ["Interruption"]

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
from lightning_fabric import Fabric


class Interruption:
    """While it is open, a signal to stop asks for it; a second Ctrl-C does not ask.

    Batch systems send SIGTERM some time before they kill, and some send it twice.
    """

    def __init__(self) -> None:
        self.asked = 0
        """The number of the first signal; 0 while there was none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = self.asked or number

    def agreed(self, fabric: Fabric) -> int:
        """Returns the signal at which every process stops after this step; 0 goes on.

        A signal reaches processes at different steps, and they have to take the same ones.
        """
        if fabric.world_size == 1:
            return self.asked
        asked: Any = torch.tensor(self.asked, device=fabric.device)
        return int(fabric.all_reduce(asked, reduce_op="max"))  # pyright: ignore[reportArgumentType]
