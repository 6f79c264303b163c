"""Substructures that chemists would rather not see: PAINS and BRENK, from RDKit's catalogues.

References:
    | New substructure filters for removal of pan assay interference compounds (PAINS)
    | (Baell & Holloway, 2010) https://doi.org/10.1021/jm901137j
    | Lessons learnt from assembling screening libraries for drug discovery for neglected diseases
    | (Brenk et al., 2008) https://doi.org/10.1002/cmdc.200700139
"""

__all__ = ["CATALOGUES", "passes"]

from collections.abc import Iterable, Sequence
from functools import cache

import torch
from jaxtyping import Bool
from rdkit import Chem
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams
from torch import Tensor
from tqdm import tqdm

from genmatter.domains.molecule.memory import Memory

_FOUND: Memory[tuple[bool, ...]] = Memory(100_000)

CATALOGUES = ("pains", "brenk")
"""PAINS (480 patterns) and BRENK (105)."""


def passes(smiles: Sequence[str]) -> dict[str, Bool[Tensor, " n"]]:
    """Says by catalogue which molecules have none of its patterns; what is none has none."""
    found = _FOUND.complete(smiles, lambda new: [_clean(s) for s in _shown(new)])
    rows = torch.tensor([found[s] for s in smiles], dtype=torch.bool).view(-1, len(CATALOGUES))
    return dict(zip(CATALOGUES, rows.unbind(1), strict=True))


def _shown(smiles: list[str]) -> Iterable[str]:
    return tqdm(smiles, "alerts", unit="molecule", disable=None, leave=False)


def _clean(smiles: str) -> tuple[bool, ...]:
    mol = Chem.MolFromSmiles(smiles)
    return tuple(not _catalogue(name).HasMatch(mol) for name in CATALOGUES)


@cache
def _catalogue(name: str) -> FilterCatalog:
    wanted = FilterCatalogParams()
    wanted.AddCatalog(getattr(FilterCatalogParams.FilterCatalogs, name.upper()))
    return FilterCatalog(wanted)
