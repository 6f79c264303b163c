"""What can be seen of sequences: what their residues add up to, and what a table says of them."""

__all__ = ["charge", "hydropathy", "isoelectric_point", "labelled", "mass", "observables"]

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.protein.aminoacids import HYDROPATHY, MASS, PK, PK_ENDS, WATER
from genmatter.domains.protein.sequences import ALPHABET, GAP, Sequences, letters
from genmatter.spine import Observable

_PH = 7.0
_AROMATIC = torch.tensor([float(one in "FWY") for one in ALPHABET], dtype=torch.float64)
_STEPS, _TOLD = 40, 8


def observables(
    columns: Sequence[str] = (), focus: bool = False
) -> tuple[Observable[Sequences], ...]:
    """Returns the numbers of each sequence, then a table's columns; sets that lack one have NaN.

    Args:
        columns: Columns of numbers.
        focus: Whether there is a focus sequence, to which the identity is told.
    """
    found = [
        Observable("hydropathy", "", hydropathy),
        Observable("net_charge", "e", charge),
        Observable("isoelectric_point", "pH", isoelectric_point),
        Observable("mass", "g/mol", mass),
        Observable("aromatics", "share", aromatics),
        Observable("residues", "", _lengths),
    ]
    if focus:
        found.append(Observable("identity_to_focus", "share", identity_to_focus))
    found += [Observable(name, "", partial(_column, name)) for name in columns]
    return tuple(found)


def _lengths(s: Sequences) -> Float[Tensor, " n"]:
    return (s.residues != GAP).sum(1).double()


def _sum(s: Sequences, scale: Float[Tensor, " states"]) -> Float[Tensor, " n"]:
    return scale[s.residues.long()].sum(1)


def hydropathy(s: Sequences) -> Float[Tensor, " n"]:
    """Returns the mean of Kyte and Doolittle's scale over the residues; NaN of none."""
    return _sum(s, HYDROPATHY) / _lengths(s)


def aromatics(s: Sequences) -> Float[Tensor, " n"]:
    """Returns the share of residues that are F, W or Y; NaN of none."""
    return _sum(s, _AROMATIC) / _lengths(s)


def mass(s: Sequences) -> Float[Tensor, " n"]:
    """Returns the mass of the chain, in g/mol."""
    return _sum(s, MASS) + WATER


def charge(s: Sequences, ph: float | Float[Tensor, " n"] = _PH) -> Float[Tensor, " n"]:
    r"""Returns the net charge in elementary charges, each group by itself.

    .. math:: q = \sum_+ \frac{1}{1 + 10^{pH - pK}} - \sum_- \frac{1}{1 + 10^{pK - pH}}
    """
    counts = torch.stack([(s.residues == ALPHABET.index(one)).sum(1) for one in PK], 1).double()
    ends = counts.new_ones(len(s), len(PK_ENDS))
    pk, sign = torch.tensor([*PK.values(), *PK_ENDS], dtype=torch.float64).T
    at = torch.as_tensor(ph, dtype=torch.float64).reshape(-1, 1)
    share = 1 / (1 + 10 ** (sign * (at - pk)))
    return (torch.cat([counts, ends], 1) * sign * share).sum(1)


def isoelectric_point(s: Sequences) -> Float[Tensor, " n"]:
    """Returns the pH at which the net charge is 0, between 0 and 14."""
    low, high = torch.zeros(len(s)).double(), torch.full((len(s),), 14.0).double()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = charge(s, middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


def identity_to_focus(s: Sequences) -> Float[Tensor, " n"]:
    """Returns the share of the focus sequence's residues that each has too; NaN without one."""
    wild = s.numbering.wild_type
    if not wild:
        return torch.full((len(s),), torch.nan, dtype=torch.float64)
    return (s.residues == letters(wild)).double().mean(1)


def _column(name: str, s: Sequences) -> Float[Tensor, " n"]:
    return s.columns.get(name, torch.full((len(s),), torch.nan, dtype=torch.float64))


def labelled(s: Sequences) -> dict[str, Float[Tensor, " n"]]:
    """Returns the labels of sequences as numbers of their kinds, from 1; NaN is unknown.

    Kinds are in the order of the alphabet, and the first ones are told in the name of each label.
    """
    found = {}
    for name, texts in s.labels.items():
        kinds = sorted({*texts} - {""})
        number = {kind: k + 1.0 for k, kind in enumerate(kinds)}
        told = ", ".join(f"{k} {kind}" for k, kind in enumerate(kinds[:_TOLD], 1))
        told += ", ..." * (len(kinds) > _TOLD)
        values = [number.get(t, torch.nan) for t in texts]
        if kinds:
            found[f"{name}: {told}"] = torch.tensor(values, dtype=torch.float64)
    return found
