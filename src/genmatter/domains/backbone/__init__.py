"""Protein backbones: frames of molecular dynamics as rigid bodies.

One object is one frame of a protein's trajectory, in angstrom. For a network it is a rigid body
for each residue, put up by N, CA and C, and the torsion psi that places the oxygen. The names of
the reference can be imported from here.

References:
    | SE(3) diffusion model with application to protein backbone generation (Yim et al., 2023)
    | https://arxiv.org/abs/2302.02277
"""

import importlib
from typing import Any

_NAMES = (
    "BackboneUpdate", "Embedder", "InvariantPointAttention", "IpaScore", "MDGenDataset",
    "R3Diffuser", "SE3Diffuser", "SE3Module", "SO3Diffuser", "ScoreNetwork", "TorsionAngles",
    "atom14_to_atom37", "atom14_to_frames", "atom37_to_torsions", "compute_backbone",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # configs are read without torch, and they pass through here
    if name in _NAMES:
        return getattr(importlib.import_module("genmatter.domains.backbone.reference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
