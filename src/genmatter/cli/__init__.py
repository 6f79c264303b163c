"""The command line: `genmatter VERB RECIPE|RUN [FLAGS]`. It parses, calls one verb, prints.

Of several processes that `torchrun` started, the first one speaks.
"""

__all__ = ["VERBS", "main"]

import contextlib
import io
import os
import sys

from genmatter import config as configs
from genmatter.cli import on_recipes, on_runs
from genmatter.cli.parsing import VERBS
from genmatter.errors import ConfigError, GenmatterError, TrainingStoppedError

HANDLERS = on_recipes.HANDLERS | on_runs.HANDLERS
ALONE = {"report"}
"""Verbs that one process does by itself."""


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; an error that a user can cause is one line, and exit code 2."""
    speaks = _place() == 0
    try:
        with contextlib.nullcontext() if speaks else contextlib.redirect_stdout(io.StringIO()):
            return _run(sys.argv[1:] if argv is None else argv)
    except GenmatterError as error:
        if speaks:
            print(f"genmatter: {error}", file=sys.stderr)
        return 128 + error.signal if isinstance(error, TrainingStoppedError) else 2
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        if speaks:
            print("genmatter: interrupted", file=sys.stderr)
        return 130


def _place() -> int:
    """Returns the number of this process among those that work together."""
    return int(os.environ.get("RANK", "0")) if _world() > 1 else 0


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _run(argv: list[str]) -> int:
    from genmatter import __version__

    verb, *rest = argv or ["help"]
    if verb in {"help", "-h", "--help"}:
        _usage()
    elif verb in {"-V", "--version"}:
        print(f"genmatter {__version__}")
    elif verb not in VERBS:
        raise ConfigError(f"there is no verb {verb!r}{configs.closest(verb, VERBS)}")
    elif verb in ALONE and _world() > 1:
        raise ConfigError(f"{verb} is the work of one process: start it without torchrun")
    else:
        HANDLERS[verb](rest)
    return 0


def _usage() -> None:
    print("genmatter VERB RECIPE|RUN [FLAGS]        (VERB --help tells its flags)\n")
    for name, what in VERBS.items():
        print(f"  {name:12} {what}")
    print("\nFor example:\n  genmatter train polymer/vae --run runs/mine --epochs 20")
    print("  genmatter sample runs/mine -n 1000")
