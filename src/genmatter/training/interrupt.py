"""Ctrl-C, noticed between two steps rather than in one."""

__all__ = ["Interruption"]

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from genmatter.errors import TrainingStoppedError


class Interruption:
    """While it is open, the first Ctrl-C asks and the second one kills."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def raise_if_asked(self, run: str, step: int) -> None:
        """Ends the training where somebody asked for it."""
        if self.asked:
            raise TrainingStoppedError(f"stopped after step {step}; --resume goes on with {run}")
