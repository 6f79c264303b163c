"""Molecules as the bytes of a file of each kind."""

__all__ = [
    "csv_file",
    "json_file",
    "parquet_file",
    "sdf_file",
    "selfies_file",
    "smi_file",
    "tsv_file",
]

import csv
import io
import json
import math
from functools import partial
from typing import Any

import numpy as np
import selfies
from rdkit import Chem
from rdkit.Chem.rdDepictor import Compute2DCoords
from rdkit.Chem.rdMolDescriptors import CalcTPSA

from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.records import END, PAD, START
from genmatter.errors import DataError

SPECIAL = {"[PAD]": PAD, "[START]": START, "[END]": END}
"""Tokens of a data set that are no symbols."""


def _separated(molecules: Molecules, delimiter: str) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    table.writerow(["smiles", "selfies", *molecules.columns])
    numbers = [[_digits(v) for v in values.tolist()] for values in molecules.columns.values()]
    table.writerows(zip(molecules.smiles, _known(molecules), *numbers, strict=True))
    return text.getvalue().encode()


csv_file = partial(_separated, delimiter=",")
tsv_file = partial(_separated, delimiter="\t")


def _digits(value: float) -> str:
    """Returns a number with all its digits; nothing where it is unknown."""
    return "" if math.isnan(value) else repr(value)


def parquet_file(molecules: Molecules) -> bytes:
    """Returns SMILES, SELFIES and columns as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: values.numpy() for name, values in molecules.columns.items()}
    named = {"smiles": molecules.smiles.tolist(), "selfies": _known(molecules), **columns}
    file = io.BytesIO()
    parquet.write_table(pa.table(named), file)
    return file.getvalue()


def smi_file(molecules: Molecules) -> bytes:
    """Returns a line for each: SMILES, a tab, and its number as a name."""
    return "".join(f"{s}\t{k}\n" for k, s in enumerate(molecules.smiles, 1)).encode()


def sdf_file(molecules: Molecules) -> bytes:
    """Returns a record for each, laid out in the plane, with its columns as data fields."""
    columns = {name: values.tolist() for name, values in molecules.columns.items()}
    return "".join(
        _record(smiles, {name: _digits(values[k]) for name, values in columns.items()})
        for k, smiles in enumerate(molecules.smiles)
    ).encode()


def _record(smiles: str, fields: dict[str, str]) -> str:
    mol = Chem.MolFromSmiles(smiles)
    # a double bond whose sides are not known must not get them from the drawing
    Chem.FindPotentialStereoBonds(mol)
    Compute2DCoords(mol)
    data = "".join(f">  <{name}>\n{text}\n\n" for name, text in fields.items() if text)
    return f"{Chem.MolToMolBlock(mol)}{data}$$$$\n"


def selfies_file(molecules: Molecules) -> bytes:
    """Returns a SELFIES in each line; `[nop]`, which is nothing, for what is no molecule."""
    return "".join(f"{text or '[nop]'}\n" for text in _strict(molecules)).encode()


def json_file(molecules: Molecules) -> bytes:
    """Returns a tokenised data set: symbols as numbers, each row ended and filled up."""
    texts = _strict(molecules)
    rows = [list(selfies.split_selfies(text)) for text in texts]
    symbols = [*SPECIAL, *sorted({s for row in rows for s in row})]
    number = {s: k for k, s in enumerate(symbols)}
    longest = max(map(len, rows), default=0) + 2
    columns = {name: values.tolist() for name, values in molecules.columns.items()}
    told = lambda k: {name: v[k] for name, v in columns.items() if not math.isnan(v[k])}
    areas = [CalcTPSA(Chem.MolFromSmiles(s)) if s else None for s in molecules.smiles]
    known = np.array([a for a in areas if a is not None] or [0.0])
    content: dict[str, Any] = {
        "tokenized_sequences": [
            [START, *(number[s] for s in row), END] + [PAD] * (longest - len(row) - 2)
            for row in rows
        ],
        "token_to_idx": number,
        "idx_to_token": {str(k): s for s, k in number.items()},
        "vocab_size": len(symbols),
        "max_length": longest,
        "molecules": [
            {"selfies": text, "tpsa": area, **told(k)}
            for k, (text, area) in enumerate(zip(texts, areas, strict=True))
        ],
        "tpsa_mean": float(known.mean()),
        "tpsa_std": float(known.std()),
    }
    return json.dumps(content).encode()


def _known(molecules: Molecules) -> list[str]:
    """Returns SELFIES; "" of what cannot be written so."""
    if molecules.written is not None:
        return molecules.selfies
    return [_selfies(s) or "" for s in molecules.smiles]


def _strict(molecules: Molecules) -> list[str]:
    found = _known(molecules)
    for smiles, text in zip(molecules.smiles, found, strict=True):
        if smiles and not text:
            raise DataError(f"{smiles} cannot be written as SELFIES; choose another kind of file")
    return found


def _selfies(smiles: str) -> str | None:
    try:
        return selfies.encoder(smiles) if smiles else ""
    except selfies.EncoderError:
        return None
