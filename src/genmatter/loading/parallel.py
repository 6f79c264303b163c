"""A function of a list, in several processes, with the results in their order.

Processes are started afresh and spoken to by pipes, rather than forked from one that holds
torch's threads, or by `multiprocessing`, which runs the script of a user anew in each. They load
the function's module alone, so what is shared out lies where no torch is imported.
"""

__all__ = ["processors", "spread"]

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from tqdm import tqdm

from genmatter.errors import DataError

FEW = 5_000
"""Things that take less time than starting processes does."""
PART = 500
"""Things that are handed over at once."""
_AHEAD = 3  # parts for each process that are asked for before the first of them is wanted

_SERVE = """
import importlib, json, sys
sys.path[:], module, name = json.loads(sys.argv[1])
out, sys.stdout = sys.stdout, sys.stderr
function = getattr(importlib.import_module(module), name)
print("ready", file=out, flush=True)
for line in sys.stdin:
    told, things = json.loads(line)
    try:
        found = function(told, things)
    except Exception:
        found = None
    print(json.dumps(found), file=out, flush=True)
"""

Function = Callable[[dict[str, Any], list[Any]], list[Any]]
Server = subprocess.Popen[str]


def processors() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(
    function: Function, told: dict[str, Any], things: Sequence[Any], what: str = "",
    processes: int = 0, part: int = 0,
) -> Generator[Any]:  # fmt: skip
    """Yields `function(told, things)`, computed in parts, which others may compute.

    Where no process can be started it is computed here, and so is a part of which a process says
    that the function raises: the error is then the function's own.

    Args:
        function: A function of a module, whose results for each thing depend on no other thing.
            What it takes and gives has to go through JSON.
        told: What else it needs to know.
        things: Texts, or numbers; a range of them without end is not gone through in advance.
        what: Says what is done, on the progress bar; there is none where this is empty.
        processes: How many compute; 0 uses all processors, where there are enough things.
        part: How many things are handed over at once; 0 takes `PART`.

    Raises:
        DataError: A process ended early.
    """
    count, size = processes or (processors() if len(things) >= FEW else 1), part or PART
    parts = (list(things[k : k + size]) for k in range(0, len(things), size))
    hide = None if what else True
    with tqdm(total=len(things), desc=what, unit="", disable=hide, leave=False) as bar:
        for found in _worked(function, told, parts, count):
            yield from found
            bar.update(len(found))


def _worked(
    function: Function, told: dict[str, Any], parts: Iterator[list[Any]], count: int
) -> Iterator[list[Any]]:
    with _servers(function, count if count > 1 else 0) as servers:
        if servers:
            for part, found in _shared(servers, told, parts):
                yield function(told, part) if found is None else found
        else:
            yield from (function(told, part) for part in parts)


def _shared(
    servers: list[Server], told: dict[str, Any], parts: Iterator[list[Any]]
) -> Iterator[tuple[list[Any], list[Any] | None]]:
    """Yields each part with its results, or with None where the function raises."""
    idle: SimpleQueue[Server] = SimpleQueue()
    for server in servers:
        idle.put(server)

    def ask(part: list[Any]) -> list[Any] | None:
        server = idle.get()
        try:
            return _answer(server, json.dumps([told, part]))
        finally:
            idle.put(server)

    pool = ThreadPoolExecutor(len(servers))
    asked: deque[tuple[list[Any], Future[list[Any] | None]]] = deque()
    try:
        for part in parts:
            asked.append((part, pool.submit(ask, part)))
            if len(asked) == _AHEAD * len(servers):
                first, answer = asked.popleft()
                yield first, answer.result()
        for part, answer in asked:
            yield part, answer.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _answer(server: Server, question: str) -> list[Any] | None:
    assert server.stdin, "pipes were asked for"
    assert server.stdout, "pipes were asked for"
    try:
        server.stdin.write(question + "\n")
        server.stdin.flush()
        line = server.stdout.readline()
    except (OSError, ValueError):  # the pipe is broken or closed
        line = ""
    if not line:
        raise DataError(
            f"a process that computes a part ended early (status {server.wait()}): was there too "
            "little memory?"
        )
    return json.loads(line)


@contextmanager
def _servers(function: Function, count: int) -> Iterator[list[Server]]:
    """Starts processes that answer by a function, gives those that could begin, and ends them."""
    where = json.dumps([sys.path, function.__module__, function.__name__])
    started: list[Server] = []
    try:
        with suppress(OSError):  # there are then fewer, or none
            for _ in range(count):
                started.append(_started(where))
        yield [server for server in started if server.stdout and server.stdout.readline()]
    finally:
        for server in started:
            server.kill()
            server.wait()
            for pipe in (server.stdin, server.stdout):
                assert pipe, "pipes were asked for"
                with suppress(OSError):  # what was not read is lost
                    pipe.close()


def _started(where: str) -> Server:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # errors are raised anew by the one that asks
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the one that asks
    )
