"""Small molecules: SELFIES strings with properties.

One object is a molecule: a canonical SMILES, and the numbers that a file may say of it. The model
sees its SELFIES, a string of symbols of which every sequence is a molecule, or pieces of several
symbols that are merged by how often they stand together. The names of the reference can be
imported from here.

Units: TPSA in square angstrom, mass in g/mol, logP in decades; likelihoods in nats per molecule.

References:
    | Self-referencing embedded strings (SELFIES): a 100% robust molecular string representation
    | (Krenn et al., 2020) https://doi.org/10.1088/2632-2153/aba947
    | Automatic chemical design using a data-driven continuous representation of molecules
    | (Gómez-Bombarelli et al., 2018) https://doi.org/10.1021/acscentsci.7b00572
"""

import importlib
from typing import Any

_NAMES = (
    "MoleculeCVAE", "MoleculeDataset", "MoleculeEncoder", "TokenDecoder",
    "collapse_penalty", "complete_vae_loss", "decoder_loss", "encoder_loss", "kl_loss",
    "mutual_information", "prop_loss", "recon_loss", "sampling_decoder",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # configs are read without torch, and they pass through here
    if name in _NAMES:
        return getattr(importlib.import_module("genmatter.domains.molecule.reference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
