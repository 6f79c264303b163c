"""Processes for tests: forks of this one that believe `torchrun` has started them."""

import os
import socket
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str


def together(work, folder, world=2, limit=120.0):
    """Runs `work(rank)` in so many processes at once; what it returns is the exit code."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [_forked(work, folder, rank, world, port) for rank in range(world)]
    codes = dict.fromkeys(children)
    end = time.monotonic() + limit
    while None in codes.values() and time.monotonic() < end:
        for child in [c for c, code in codes.items() if code is None]:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    for child in [c for c, code in codes.items() if code is None]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    said = [
        [(Path(folder) / f"{kind}{r}").read_text() for kind in ("out", "err")]
        for r in range(world)
    ]
    assert None not in codes.values(), f"a process hangs: {codes}, {said}"
    return [Ended(code, *words) for code, words in zip(codes.values(), said, strict=True)]


def _forked(work, folder, rank, world, port):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that idle do no harm
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        sys.stdout = (Path(folder) / f"out{rank}").open("w")
        sys.stderr = (Path(folder) / f"err{rank}").open("w")
        code = work(rank) or 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
