"""Data sets of the field by name, from the addresses at which they were published.

Each file is known by what git calls it in the repository of Xie et al., which is a checksum of
its content: what is fetched is what was published, or refused.

References:
    | Crystal diffusion variational autoencoder for periodic material generation
    | (Xie, Fu, Ganea, Barzilay & Jaakkola, 2022) https://arxiv.org/abs/2110.06197
    | New cubic perovskites for one- and two-photon water splitting using the computational
    | materials repository (Castelli et al., 2012) https://doi.org/10.1039/C2EE22341D
    | Commentary: The Materials Project (Jain et al., 2013) https://doi.org/10.1063/1.4812323
"""

__all__ = ["NAMED", "fetched"]

import hashlib
from pathlib import Path

from genmatter.errors import DataError
from genmatter.loading.fetch import fetch

_COMMIT = "f857f598d6f6cca5dc1ea0582d228f12dcc2c2ea"
_ADDRESS = f"https://raw.githubusercontent.com/txie-93/cdvae/{_COMMIT}/data"

NAMED: dict[str, dict[str, str]] = {
    "mp_20": {
        "train": "b1c9d498565ac2fd8d075a51ff2ef5e51ba6c21f",
        "val": "7efe4d7ebeb4f460ceaad35e5326c42111d9c9a1",
        "test": "5dc643041df53f5ce4970a79930ad262b4f07acd",
    },
    "perov_5": {
        "train": "0769074b5d51d293b765c4371b8f55c468c9c9f2",
        "val": "4a2c8dde98347dd0e01fa83dcf3982c2abe98f9f",
        "test": "d3c5d5af4b27a2a139149f2bb73c8a3dba9d8ac1",
    },
    "carbon_24": {
        "train": "5e7ae970fbad8ddc46b6963e8cd6e425f11783a6",
        "val": "b3e29b927883642426ca1d9632d00359b412742b",
        "test": "9beca843fde489de1fe288b32f9e3ff710d42803",
    },
}
"""The SHA-1 of each split's file as a git blob, by data set."""


def fetched(name: str) -> dict[str, Path]:
    """Returns local copies of the tables of a data set by split, fetched the first time.

    Raises:
        DataError: They cannot be fetched, or are not what was published.
    """
    found = {}
    for split, blob in NAMED[name].items():
        address = f"{_ADDRESS}/{name}/{split}.csv"
        path = fetch(address)
        if _blob(path) != blob:
            path.unlink()
            raise DataError(
                f"what {address} holds is not the published file (git blob {blob}): it was "
                "changed or damaged on its way, and has been thrown away"
            )
        found[split] = path
    return found


def _blob(path: Path) -> str:
    """Returns what git calls a file of this content."""
    raw = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
