"""Molecules one behind the other: SMI, SDF, SELFIES, and tokenised JSON."""

__all__ = ["END", "PAD", "START", "sdf", "selfies_lines", "smi", "tokenised"]

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmatter.domains.molecule.rows import Rows, lines, missing, number
from genmatter.errors import DataError

PAD, START, END = 0, 1, 2
"""Numbers of the special tokens of a tokenised data set."""
_HEADS = ("smiles", "canonical_smiles", "isomeric_smiles", "smi")
_FIELD = re.compile(r"^>[^<\n]*<([^>\n]*)>[^\n]*\n([^\n]*)", re.MULTILINE)


def smi(raw: bytes, path: Path, columns: Sequence[str]) -> Rows:
    """Reads a SMILES in each line, which a name may follow; a first line may say that.

    An empty line is a row that is no molecule.

    Raises:
        DataError: It is no text, or columns are asked for.
    """
    _refuse_columns(path, columns)
    texts, numbers = [], []
    for k, line in enumerate(lines(raw, path), 1):
        # what begins with a tab is a name without a molecule
        first = "" if line.startswith("\t") else (line.split() or [""])[0]
        if k > 1 or first.lower().lstrip("#") not in _HEADS:
            texts.append(first)
            numbers.append(k)
    return Rows(texts, np.array(numbers, dtype=int))


def selfies_lines(raw: bytes, path: Path, columns: Sequence[str]) -> Rows:
    """Reads a SELFIES in each line.

    Raises:
        DataError: It is no text, or columns are asked for.
    """
    _refuse_columns(path, columns)
    texts = [line.strip() for line in lines(raw, path)]
    return Rows(texts, np.arange(1, len(texts) + 1), notation="selfies")


def _refuse_columns(path: Path, columns: Sequence[str]) -> None:
    if columns:
        raise missing(path, columns[0], ())


def sdf(raw: bytes, path: Path, columns: Sequence[str]) -> Rows:
    """Reads an SDF file, whose data fields are columns; or a single MOL file.

    Raises:
        DataError: It breaks off, a column is in no record, or is no number.
    """
    blocks, fields = [], []
    for k, record in enumerate(_records(lines(raw, path), path), 1):
        block, end, rest = record.partition("M  END\n")
        if not end:
            raise DataError(f"{path}: record {k} has no line M  END: it is damaged")
        blocks.append(block + end)
        fields.append(dict(_FIELD.findall(rest)) if columns else {})
    numbers = np.arange(1, len(blocks) + 1)
    return Rows(blocks, numbers, _columns(fields, columns, path), notation="mol", unit="record")


def _records(text: list[str], path: Path) -> Iterator[str]:
    begin, count = 0, 0
    for k, line in enumerate(text):
        if line.startswith("$$$$"):
            yield "\n".join(text[begin:k]) + "\n"
            begin, count = k + 1, count + 1
    rest = "\n".join(text[begin:]) + "\n"
    if rest.strip():
        if count or "M  END\n" not in rest:
            raise DataError(f"{path}: record {count + 1} breaks off: no $$$$ ends it")
        yield rest


def _columns(
    fields: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path
) -> dict[str, np.ndarray]:
    """Returns the numbers of records that may each name others."""
    known = dict.fromkeys(name for f in fields for name in f)
    for name in columns:
        if name not in known:
            raise missing(path, name, known)
    return {
        name: np.array(
            [number(f.get(name), f"{path}: record {k}, {name}") for k, f in enumerate(fields, 1)]
        )
        for name in columns
    }


def tokenised(raw: bytes, path: Path, columns: Sequence[str]) -> Rows:
    """Reads a JSON data set: its `molecules`, or else its `tokenized_sequences`.

    Raises:
        DataError: It is no JSON, or no such data set.
    """
    try:
        found = json.loads("\n".join(lines(raw, path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}): it is damaged") from None
    fields = _molecules(found, path)
    numbers = np.arange(1, len(fields) + 1)
    texts = [f["selfies"] for f in fields]
    return Rows(texts, numbers, _columns(fields, columns, path), notation="selfies", unit="record")


def _molecules(found: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(found, dict) or not {"molecules", "tokenized_sequences"} & found.keys():
        raise DataError(
            f"{path} is no data set of this kind: it should be an object with `molecules`, a list "
            "of {selfies, tpsa}, or with `tokenized_sequences` and `idx_to_token`"
        )
    given = found.get("molecules")
    fields: list[Any] = given if isinstance(given, list) and given else _decoded(found, path)
    for k, f in enumerate(fields, 1):
        if not isinstance(f, dict) or not isinstance(f.get("selfies"), str):
            raise DataError(f"{path}: record {k} of `molecules` has no text `selfies`")
    return fields


def _decoded(found: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Writes numbers out as the tokens that they stand for."""
    symbols = found.get("idx_to_token")
    if isinstance(symbols, list):
        symbols = {str(k): s for k, s in enumerate(symbols)}
    sequences: Any = found.get("tokenized_sequences")
    if not isinstance(symbols, dict) or not isinstance(sequences, list):
        raise DataError(f"{path} has no `idx_to_token`, so nobody knows what its tokens mean")
    rows = []
    for k, row in enumerate(sequences, 1):
        try:
            stop = row.index(END) if END in row else len(row)
            names = [symbols[str(t)] for t in row[:stop] if t not in (PAD, START)]
            rows.append({"selfies": "".join(names)})
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: record {k} has an unknown token ({error})") from None
    return rows
