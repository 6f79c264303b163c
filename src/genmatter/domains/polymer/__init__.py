"""Bead-spring polymers: chains of beads on springs, in the plane or in space.

An object is the positions of the beads of one chain, `[beads, dim]`, in the data's own unit of
length; energies are in kT. Where a chain lies and how it is turned does not matter, its
handedness does. The names of the walkthrough that this kind of matter is known from can be
imported from here.

References:
    | Deep Learning for Molecules and Materials (White, 2021), whose chains these are
    | https://dmol.pub/dl/VAE.html
"""

import importlib
from typing import Any

_NAMES = (
    "Decoder", "Encoder", "PolymerDecoder", "PolymerEncoder", "PolymerVAE", "align_principal",
    "center_com", "find_principal_axis", "make_2d_rotation", "meaning_of_beta",
    "radius_of_gyration", "vae_loss",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # configs are read without torch, and they pass through here
    if name in _NAMES:
        return getattr(importlib.import_module("genmatter.domains.polymer.reference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
