"""Variants of one sequence: what is asked for, what of it can be scored, and why not the rest.

A variant is written as its changes, `A42G` or `A42G:L55K`: the residue of the wild type, its
number, and what is there instead; `A42-` and `A42del` are deletions, which are gaps. Insertions
(`42insK`), stops (`A42*`) and residues in no column of the model are named, and have no score.
"""

__all__ = [
    "all_single",
    "differences",
    "exchanged",
    "heat",
    "potts_differences",
    "read_variants",
    "site_differences",
]

import csv
import gzip
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.protein.baselines import LONGEST, potts
from genmatter.domains.protein.sequences import ALPHABET, GAP, Numbering, Sequences
from genmatter.domains.protein.statistics import frequencies
from genmatter.errors import DataError
from genmatter.spine import Variants

_CHANGE = re.compile(r"(?:p\.)?([A-Z])(-?\d+)([A-Z]|-|del|\*|=)")
_INSERTION = re.compile(r"(?:p\.)?[A-Z]?-?\d+(?:_[A-Z]?-?\d+)?ins[A-Z]+")
_WILD = {"wt", "_wt", "wild type", "wildtype", "="}
_COLUMNS = ("mutant", "mutation", "mutations", "variant", "variants")
_PSEUDO = 0.5  # sequences of no residue in particular that frequencies are mixed with


@dataclass(frozen=True)
class _Asked:
    """One line of a file."""

    name: str
    where: str
    measured: tuple[str, ...] = ()


def read_variants(path: Path, wild: Sequences) -> Variants[Sequences]:
    """Reads variants of a sequence: a table with a column `mutant`, or a variant in each line.

    Other columns of numbers are measurements.

    Args:
        path: The file; .gz is unpacked.
        wild: A set of the one sequence.

    Raises:
        DataError: There is no such file, a line reads otherwise, or a variant does not match the
            wild type or its numbers.
    """
    rows, columns = _rows(path)
    numbers = {name: [_number(row.measured[k]) for row in rows] for k, name in enumerate(columns)}
    measured = {
        name: torch.tensor(values, dtype=torch.float64)
        for name, values in numbers.items()
        if any(math.isfinite(v) for v in values)
    }
    return _variants(rows, wild, measured)


def all_single(wild: Sequences) -> Variants[Sequences]:
    """Returns every exchange of one residue of a sequence for another one."""
    numbering, text = wild.numbering, wild.texts[0]
    old = dict(zip(numbering.positions, text, strict=True))
    if numbering.focus and numbering.wild_type == text:
        old = {numbering.first + k: one for k, one in enumerate(numbering.sequence)}
    rows = [
        _Asked(f"{one}{number}{new}", "")
        for number, one in old.items()
        for new in ALPHABET[1:]
        if one in ALPHABET[1:] and new != one
    ]
    return _variants(rows, wild, {})


def _rows(path: Path) -> tuple[list[_Asked], list[str]]:
    """Returns the lines of a file, and the names of their columns beside the variant's."""
    lines = list(_lines(path))
    if not lines:
        raise DataError(f"{path} is empty")
    head = [cell.strip() for cell in lines[0][1]]
    at = next((k for k, cell in enumerate(head) if cell.lower() in _COLUMNS), None)
    if at is None and (len(head) > 1 or not _reads(head[0])):
        raise DataError(
            f"{path} has no column 'mutant'{closest('mutant', head)}; without a head it holds one "
            "variant in each line, such as A42G or A42G:L55K"
        )
    others = [k for k in range(len(head)) if k != at] if at is not None else []
    rows = []
    for number, cells in lines[at is not None :]:
        where = f"{path}: line {number}"
        if len(cells) != len(head):
            raise DataError(f"{where} has {len(cells)} cells, but the first line has {len(head)}")
        measured = tuple(cells[k].strip() for k in others)
        rows.append(_Asked(cells[at or 0].strip(), where, measured))
    return rows, [head[k] for k in others]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}")
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
        first = text.partition("\n")[0]
        reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
        yield from ((reader.line_num, row) for row in reader if row)
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a table ({error})") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parts(name: str) -> list[str]:
    return [part.strip() for part in re.split(r"[:;,/+]", name) if part.strip()]


def _reads(name: str) -> bool:
    """Says whether a text is a variant."""
    known = lambda part: _CHANGE.fullmatch(part) or _INSERTION.fullmatch(part)
    return name.lower() in _WILD or (bool(_parts(name)) and all(map(known, _parts(name))))


def _variants(
    rows: Iterable[_Asked], wild: Sequences, measured: dict[str, Tensor]
) -> Variants[Sequences]:
    """Makes the sequences that can be scored."""
    names, reasons, made = [], [], []
    for row in rows:
        changes, why = _changes(row, wild)
        names.append(row.name)
        reasons.append(why)
        if not why:
            residues = wild.residues[0].clone()
            for column, state in changes.items():
                residues[column] = state
            made.append(residues)
    residues = torch.stack(made) if made else wild.residues[:0]
    objects = Sequences.of(residues, wild.numbering)
    return Variants(wild, objects, tuple(names), tuple(reasons), measured)


def _changes(row: _Asked, wild: Sequences) -> tuple[dict[int, int], str]:
    """Returns the new state of each column that is changed, or why there is no score.

    Raises:
        DataError: It reads otherwise, or does not match the wild type.
    """
    found: dict[int, int] = {}
    why = ""
    if row.name.lower() in _WILD:
        return found, why
    if not _reads(row.name):
        raise DataError(f"{row.where}: {row.name!r} reads neither as A42G nor as A42G:L55K")
    for part in _parts(row.name):
        match = _CHANGE.fullmatch(part)
        if not match:
            why = why or "an insertion"
            continue
        column, reason = _column(match[1], int(match[2]), wild, row.where)
        new = {"del": "-", "=": match[1]}.get(match[3], match[3])
        if new == "*":
            why = why or "a stop"
        elif new not in ALPHABET:
            raise DataError(f"{row.where}: {part}: {new} is none of the twenty amino acids")
        elif reason:
            why = why or reason
        elif column in found:
            raise DataError(f"{row.where}: {row.name} changes {match[1]}{match[2]} twice")
        else:
            found[column] = ALPHABET.index(new)
    return found, why


def _column(old: str, number: int, wild: Sequences, where: str) -> tuple[int, str]:
    """Returns the column of a residue, or why it has none.

    Raises:
        DataError: The wild type has another residue there, or no such number.
    """
    numbering = wild.numbering
    try:
        column = numbering.positions.index(number)
    except ValueError:
        return -1, _beyond(old, number, numbering, where)
    known = ALPHABET[int(wild.residues[0, column])]
    if known != old:
        has = "a gap" if known == ALPHABET[GAP] else known
        raise DataError(f"{where}: the variant says {old} at {number}, the wild type has {has}")
    return column, ""


def _beyond(old: str, number: int, numbering: Numbering, where: str) -> str:
    """Says why a residue is in no column.

    Raises:
        DataError: The focus sequence has another residue there, or no such number.
    """
    at, last = number - numbering.first, numbering.first + len(numbering.sequence) - 1
    if not numbering.focus:
        first, last = numbering.positions[0], numbering.positions[-1]
        if not first <= number <= last:
            raise DataError(f"{where}: there is no column {number}; they are {first} to {last}")
    elif not 0 <= at < len(numbering.sequence):
        raise DataError(
            f"{where}: {numbering.focus} has no residue {number}: it has {numbering.first} to "
            f"{last}"
        )
    elif numbering.sequence[at] != old:
        raise DataError(
            f"{where}: the variant says {old} at {number}, {numbering.focus} has "
            f"{numbering.sequence[at]}"
        )
    return "in no column of the model"


def site_differences(train: Sequences, variants: Variants[Sequences]) -> Float[Tensor, " n"]:
    """Returns how much likelier variants are by the frequencies of each site alone, in nats."""
    w = torch.ones(len(train)) if train.weights is None else train.weights
    n = float(w.sum() / w.max())
    f = (n * frequencies(train) + _PSEUDO / len(ALPHABET)) / (n + _PSEUDO)
    at, log_f = torch.arange(train.sites), f.log()
    score = lambda s: log_f[at, s.residues.long()].sum(1)
    return score(variants.objects) - score(variants.wild)


def potts_differences(
    train: Sequences, variants: Variants[Sequences]
) -> Float[Tensor, " n"] | None:
    """Returns the same by a Potts model; None where there are too many columns to fit one."""
    if train.sites > LONGEST:
        return None
    model = potts(train)
    energies = model.energies(variants.objects.residues)
    return (model.energies(variants.wild.residues) - energies).double()


def heat(
    variants: Variants[Sequences], scores: Float[Tensor, " n"]
) -> Float[Tensor, "sites twenty"]:
    """Returns the scores of single exchanges by site and amino acid; NaN where there is none."""
    found = torch.full((variants.wild.sites, len(ALPHABET) - 1), torch.nan, dtype=torch.float64)
    changed = variants.objects.residues != variants.wild.residues
    single = changed.sum(1) == 1
    row, site = (changed & single[:, None]).nonzero(as_tuple=True)
    state = variants.objects.residues[row, site].long() - 1
    kept = state >= 0  # deletions have no place in it
    found[site[kept], state[kept]] = scores[row[kept]].double()
    return found


def exchanged(sequences: Sequences, n: int, generator: torch.Generator) -> Sequences:
    """Returns `n` sequences, taken in turn, in each of which one residue is exchanged.

    Residues, and what is there instead, are drawn evenly; gaps stay.
    """
    x = sequences.residues[torch.arange(n) % len(sequences)].clone()
    there = (x != GAP).float()
    there[there.sum(1) == 0] = 1.0  # nothing but gaps: any column
    site = torch.multinomial(there, 1, generator=generator)[:, 0]
    old, rows = x[torch.arange(n), site].long(), torch.arange(n)
    states = len(ALPHABET) - 1
    step = torch.randint(1, states, (n,), generator=generator)
    x[rows, site] = ((old - 1 + step) % states + 1).to(x.dtype)
    return Sequences.of(x, sequences.numbering)


def differences(sequences: Sequences, to: Sequences) -> list[str]:
    """Returns how each sequence differs from one, as in A42G:L55K; "" where it does not."""
    found = []
    numbers, old = to.numbering.positions, to.texts[0]
    for text in sequences.texts:
        pairs = zip(old, numbers, text, strict=True)
        found.append(":".join(f"{a}{n}{b}" for a, n, b in pairs if a != b))
    return found
