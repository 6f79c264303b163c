"""Learns generative models of matter, samples new matter, and says how far to trust it.

import genmatter

run = genmatter.train("polymer/vae", epochs=20)
chains = genmatter.load("runs/polymer-vae").sample(100).objects
"""

__version__ = "0.1.0"

__all__ = ["__version__"]

import importlib
from typing import Any

_VERBS = (
    "data", "doctor", "encode", "evaluate", "interpolate", "load", "neighbours", "optimise",
    "reconstruct", "report", "sample", "score", "score_variants", "search", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, so the verbs are looked up when they are asked for
    if name in _VERBS:
        return getattr(importlib.import_module("genmatter.api"), name)
    raise AttributeError(f"module 'genmatter' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_VERBS])
