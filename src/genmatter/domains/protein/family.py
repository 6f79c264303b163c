"""A family that never was, of which everything is known: contacts, couplings, likelihoods.

Its sites meet along the chain and in nested hairpins. Couplings join oil to oil, opposite charges
and large to small residues, and have a random part that no scale explains. Three sites of a
catalytic triad hardly vary. Six subfamilies favour other residues at one half of the sites each.
Sequences are independent, so that a split by chance leaks nothing.
"""

__all__ = ["SUBFAMILIES", "TRIAD", "Family", "simulated"]

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int8
from torch import Tensor

from genmatter.domains.protein.aminoacids import CHARGE, FREQUENCY, HYDROPATHY, VOLUME
from genmatter.domains.protein.potts import Pair, Potts
from genmatter.domains.protein.sequences import ALPHABET
from genmatter.errors import ConfigError
from genmatter.maths.noise import generator

SUBFAMILIES = 6
TRIAD = "HDS"
"""The residues of the triad, in the order of the chain."""
_PLACES = (0.26, 0.46, 0.87)  # about where they lie along a serine protease
_LEAST = 16

# kT: what a standard deviation of each part of a coupling or a field is
_OIL, _CHARGES, _SIZES, _RANDOM = 0.45, 0.8, 0.35, 0.45
_CHAIN = 0.5  # share of a coupling between neighbours along the chain
_FIELD, _SUBFAMILY, _HELD = 1.2, 1.3, 8.0


@dataclass(frozen=True, eq=False)
class Family:
    """The law of a simulated family; sequences are in numbers of `ALPHABET`."""

    potts: Potts
    """States are amino acids: numbers of `ALPHABET` less 1."""
    contacts: tuple[Pair, ...]
    """Sites that meet in hairpins, from 0."""
    triad: tuple[int, ...]
    """The sites of the catalytic triad, from 0."""

    @property
    def motif(self) -> tuple[str, ...]:
        """The triad's residues by the numbers of their sites, from 1."""
        return tuple(f"{one}{site + 1}" for one, site in zip(TRIAD, self.triad, strict=True))

    def sample(self, n: int, *key: int | str) -> tuple[Int8[Tensor, "n sites"], Tensor]:
        """Draws sequences, and the subfamily of each from 0."""
        x, c = self.potts.sample(n, generator("protein family", *key))
        return (x + 1).to(torch.int8), c

    def log_prob(self, residues: Int8[Tensor, "n sites"]) -> Tensor:
        """Returns log p of each sequence in nats; -inf where it has a gap."""
        x = residues.long() - 1
        found = self.potts.log_prob(x.clamp_min(0))
        return found.masked_fill((x < 0).any(1), -torch.inf)


@lru_cache(maxsize=4)
def simulated(sites: int, seed: int) -> Family:
    """Returns the family of a seed.

    Raises:
        ConfigError: Sequences would be too short to have hairpins and a triad.
    """
    if sites < _LEAST:
        raise ConfigError(f"simulated sequences have at least {_LEAST} sites, got sites={sites}")
    g = generator("protein family", sites, seed)
    contacts = _hairpins(0, sites, g)
    triad = tuple(int(share * sites) for share in _PLACES)
    chain = [(i, i + 1) for i in range(sites - 1)]
    strength = torch.tensor([_CHAIN] * len(chain) + [1.0] * len(contacts), dtype=torch.float64)
    fields = _fields(sites, triad, g)
    potts = Potts(
        fields,
        (*chain, *contacts),
        _couplings(len(strength), g) * strength[:, None, None],
        torch.full((SUBFAMILIES,), 1 / SUBFAMILIES, dtype=torch.float64),
    )
    return Family(potts, contacts, triad)


def _hairpins(start: int, stop: int, g: torch.Generator) -> tuple[Pair, ...]:
    """Returns the contacts of strands that fold back on each other, nested and side by side."""
    size = stop - start
    if size < 6:
        return ()
    rungs = min(int(torch.randint(3, 7, (), generator=g)), (size - 4) // 2 + 1)
    pairs = tuple((start + k, stop - 1 - k) for k in range(rungs))
    inner = (start + rungs, stop - rungs)
    if inner[1] - inner[0] < 18:
        return pairs + _hairpins(*inner, g)
    middle = sum(inner) // 2 + int(torch.randint(-3, 4, (), generator=g))
    return pairs + _hairpins(inner[0], middle, g) + _hairpins(middle, inner[1], g)


def _standard(scale: Tensor) -> Tensor:
    x = scale[1:].double()
    return (x - x.mean()) / x.std()


def _couplings(n: int, g: torch.Generator) -> Tensor:
    """Returns J of n pairs, [n, 20, 20], of which each row and column sums to 0."""
    oil, size = _standard(HYDROPATHY), _standard(VOLUME)
    charge = CHARGE[1:].double()
    known = (
        _OIL * oil[:, None] * oil
        - _CHARGES * charge[:, None] * charge
        - _SIZES * size[:, None] * size
    )
    part = 0.5 + torch.rand(n, 1, 1, dtype=torch.float64, generator=g)
    j = part * known + _RANDOM * _normal(n, 20, 20, g=g)
    return j - j.mean(1, keepdim=True) - j.mean(2, keepdim=True) + j.mean((1, 2), keepdim=True)


def _fields(sites: int, triad: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Returns h, [subfamilies, sites, 20]."""
    h = FREQUENCY[1:].log() + _FIELD * _normal(sites, 20, g=g)
    own = _SUBFAMILY * _normal(SUBFAMILIES, sites, 20, g=g)
    chosen = torch.rand(SUBFAMILIES, sites, dtype=torch.float64, generator=g).argsort(1)
    h = h + own * (chosen < sites // 2)[..., None]
    for one, site in zip(TRIAD, triad, strict=True):
        h[:, site] = torch.zeros(20, dtype=torch.float64)
        h[:, site, ALPHABET.index(one) - 1] = _HELD
    return h


def _normal(*shape: int, g: torch.Generator) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=g)
