"""Ctrl-C and SIGTERM, noticed between two steps rather than in one."""

__all__ = ["Interruption"]

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from genmatter.training.processes import gathered


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

    def agreed(self) -> int:
        """Returns the signal at which every process stops; 0 if there was none.

        All have to call it: a signal may reach only some of them.
        """
        return max(gathered(self.asked))
