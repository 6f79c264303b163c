"""Molecules as rows of tokens and their properties, one by one, as the reference's loader does.

No row is cut: a sequence without its END is that of another molecule.
"""

__all__ = ["MoleculeDataset"]

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.formats import read, read_molecules
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.represent import MoleculeBatch, MoleculeTokens
from genmatter.domains.molecule.rows import content, number
from genmatter.domains.molecule.tokens import PAD, SPECIAL, START
from genmatter.errors import ConfigError, DataError
from genmatter.loading import split

Items = Mapping[str, Tensor]


class MoleculeDataset(Dataset[dict[str, Tensor]]):
    """Molecules, each a dictionary of `tokens` and `properties`.

    Special tokens are numbered as in the reference; `[BLANK]` follows, for a symbol that is not
    shown, and then the symbols in order. A data set's own numbers are read by what they stand
    for. TPSA is on the scale of a data set's `tpsa_mean` and `tpsa_std`, or of these molecules.

    Args:
        molecules: A set, or a file: the reference's JSON, whose SELFIES and `tpsa` are taken as
            they stand there, or another kind that this domain reads.
        max_length: Places of a row, START and END among them.
        longer: What becomes of longer rows: an error (`refuse`), or they are left out (`skip`),
            with a warning and their number in `left_out`.
        representation: The tokens and scales of a model; those of preset `reference`, learned
            from all of these molecules, by default.

    Raises:
        DataError: The file cannot be read, a row is no molecule, or a row is too long.
        ConfigError: There is no such way with longer rows.
        RepresentationError: A molecule has a symbol that the representation lacks.
    """

    def __init__(
        self, molecules: Molecules | Path | str, max_length: int = 80,
        longer: str = "refuse", representation: MoleculeTokens | None = None,
    ) -> None:  # fmt: skip
        if longer not in ("refuse", "skip"):
            raise ConfigError(f"longer should be refuse or skip, got {longer!r}")
        path = None if isinstance(molecules, Molecules) else Path(molecules)
        objects = molecules if isinstance(molecules, Molecules) else _read(Path(molecules))
        _refuse_none(objects)
        self.representation = representation or _fitted(objects, path)
        batch, self.max_length = self.representation.encode(objects), max_length
        fits = batch.sizes + 1 <= max_length
        self.left_out = int((~fits).sum())
        _say(batch.sizes + 1, max_length, longer)
        rows = fits.nonzero()[:, 0]
        self.molecules, self._batch = objects[rows], batch[rows]

    @property
    def token_to_idx(self) -> dict[str, int]:
        """The number of each token."""
        return {name: k for k, name in self.idx_to_token.items()}

    @property
    def idx_to_token(self) -> dict[int, str]:
        """What each number stands for."""
        pieces = self.representation.pieces[len(SPECIAL) :]
        return dict(enumerate([*SPECIAL, *map("".join, pieces)]))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, `[BLANK]` among them."""
        return self.representation.size

    @property
    def tpsa_mean(self) -> float:
        """The TPSA that is 0 in `properties`, in square angstrom."""
        return self.representation.means[self.representation.properties.index("tpsa")]

    @property
    def tpsa_std(self) -> float:
        """The difference in TPSA that is 1 there."""
        return self.representation.scales[self.representation.properties.index("tpsa")]

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns `tokens` [max_length], from START to END and padded, and `properties` [k]."""
        index = range(len(self))[index]
        tokens = torch.full((self.max_length,), PAD)
        tokens[0], shown = START, self._batch.tokens[index]
        size = int(self._batch.sizes[index])
        tokens[1 : size + 1] = shown[:size]
        return {"tokens": tokens, "properties": self._batch.properties[index]}

    def batch(self, items: Items) -> MoleculeBatch:
        """Returns items that a loader has put together as what a model takes: without START."""
        tokens, known = items["tokens"][:, 1:], items["properties"]
        told = known[:, : len(self.representation.conditions)]
        none = tokens.new_zeros(len(tokens), 0, 0)
        return MoleculeBatch(tokens, tokens != PAD, told, known, none)[:]

    def split(
        self, valid: float = 0.1, test: float = 0.1, seed: int = 67
    ) -> tuple[Subset[Any], Subset[Any], Subset[Any]]:
        """Returns molecules to train on, to validate on and to test on.

        They are dealt out by chance; rows of one molecule, which may be written in several ways,
        stay together.

        Raises:
            DataError: There are too few molecules for these shares.
        """
        kinds = {s: k for k, s in enumerate(dict.fromkeys(self.molecules.smiles))}
        kind = torch.tensor([kinds[s] for s in self.molecules.smiles])
        parts = split.random(len(kinds), valid, test, seed, what="molecules")
        train, between, last = (
            Subset(self, torch.isin(kind, part).nonzero()[:, 0].tolist()) for part in parts
        )
        return train, between, last


def _read(path: Path) -> Molecules:
    if not _is_json(path):
        return read_molecules(path)
    texts = read(path).texts
    known = any("tpsa" in told for told in _told(path).get("molecules") or [])
    objects = read_molecules(path, columns=("tpsa",) if known else ())
    # as they stand there: the tokens of a data set are not those of canonical SMILES
    return replace(objects, written=np.array(texts, dtype=object))


def _is_json(path: Path) -> bool:
    return ".json" in [suffix.lower() for suffix in path.suffixes[-2:]]


def _told(path: Path) -> dict[str, Any]:
    return json.loads(content(path))


def _refuse_none(objects: Molecules) -> None:
    none = [k for k, smiles in enumerate(objects.smiles, 1) if not smiles]
    if none:
        raise DataError(
            f"{len(none)} of {len(objects)} rows are no molecules, row {none[0]} first: "
            "`genmatter data molecule/cvae --data FILE --out NEW` says why, and leaves them out"
        )


def _fitted(objects: Molecules, path: Path | None) -> MoleculeTokens:
    found = MoleculeTokens.fit(objects, MoleculeCVAEConfig.presets["reference"])
    told = _told(path) if path is not None and _is_json(path) else {}
    if not {"tpsa_mean", "tpsa_std"} <= told.keys():
        return found
    mean, scale = (number(told[k], f"{path}: {k}") for k in ("tpsa_mean", "tpsa_std"))
    if not scale > 0:
        raise DataError(f"{path}: tpsa_std should be above 0, got {scale:g}")
    return replace(found, means=(mean,), scales=(scale,))


def _say(lengths: Tensor, most: int, longer: str) -> None:
    """Refuses rows that are too long, or says how many are left out."""
    over = lengths > most
    if not over.any():
        return
    many = f"{int(over.sum())} of {len(lengths)} molecules have more than {most} tokens with START"
    many = f"{many} and END, the longest {int(lengths.max())}"
    if longer == "refuse":
        where = int(over.nonzero()[0]) + 1
        raise DataError(
            f"{many}, row {where} first: give max_length={int(lengths.max())}, or longer='skip'"
        )
    warnings.warn(f"{many}: they are left out", stacklevel=3)
