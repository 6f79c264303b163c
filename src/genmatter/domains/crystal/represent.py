"""Crystals as padded tensors, and what sampling asks for as crystals of which little is known."""

__all__ = ["MOST_ELEMENT", "CrystalBatch", "CrystalTensors", "elements_of"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.domains.crystal.canonical import Setting, setting
from genmatter.domains.crystal.chemistry import rank
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.observables import density, volume_per_atom
from genmatter.domains.crystal.wishes import composition, number_of, wanted
from genmatter.errors import ConfigError, RepresentationError
from genmatter.loading.batch import Batch
from genmatter.maths.lattice import parameters, vectors
from genmatter.maths.noise import generator
from genmatter.spine import Representation

MOST_ELEMENT = 118
"""The largest atomic number."""
_DERIVED = {"density": density, "volume_per_atom": volume_per_atom}
"""Properties of every cell, of sets whose file does not say them."""


@dataclass(frozen=True)
class CrystalBatch(Batch):
    """Crystals, padded to the largest; what is unknown of one is NaN, or 0 in a label."""

    atom_types: Tensor
    """Atomic numbers, [n, atoms]."""
    frac_coords: Tensor
    """Fractional coordinates, [n, atoms, 3]."""
    lattice: Tensor
    """Lattice vectors as rows, [n, 3, 3], angstrom."""
    lengths: Tensor
    """Of these vectors, [n, 3], angstrom."""
    angles: Tensor
    """Between them, [n, 3], radian."""
    num_atoms: Tensor
    """[n]."""
    mask: Tensor
    """[n, atoms], set at the places of atoms."""
    elements: Tensor
    """Which elements there are, by atomic number, [n, 119] of 0 and 1; NaN where unknown."""
    space_group: Tensor
    """Its number, [n]."""
    properties: Tensor
    """What is known of each crystal, in standard deviations of the data, [n, properties]."""
    wanted: Tensor
    """What the model is told of these, [n, properties]."""

    padding: ClassVar[dict[str, Any]] = {"atom_types": 0, "frac_coords": 0.0}

    @classmethod
    def of(cls, structures: Iterable[Any]) -> "CrystalBatch":
        """Takes pymatgen's structures, with their atoms in the order and cells that these have.

        Raises:
            RepresentationError: One has no atoms, an element of no number or no volume.
        """
        found = Crystals.of_structures(structures)
        check(found)
        cells = zip(found.each_numbers(), found.each_frac(), found.lattice.numpy(), strict=True)
        # a left-handed cell is the right-handed one of the opposite vectors
        turned = [Setting(z, x * np.sign(np.linalg.det(m)), m) for z, x, m in cells]
        types, frac, lengths, angles, mask = padded(turned)
        none = torch.zeros(len(found), 0)
        return cls(
            atom_types=types,
            frac_coords=frac,
            lattice=vectors(lengths, angles).float(),
            lengths=lengths.float(),
            angles=angles.float(),
            num_atoms=found.counts,
            mask=mask,
            elements=elements_of(types),
            space_group=torch.zeros(len(found), dtype=torch.long),
            properties=none,
            wanted=none,
        )

    def crystals(self) -> Crystals:
        """Returns atoms and cells; gradients flow through coordinates, lengths and angles."""
        x = self.frac_coords[self.mask].double()
        return Crystals(
            self.atom_types[self.mask],
            x - x.detach().floor(),
            self.mask.sum(1),
            vectors(self.lengths.double(), self.angles.double()),
        )

    def _plain(self) -> Crystals:
        return self.replace(**{k: x.detach() for k, x in self.tensors.items()}).crystals()

    def to_structure(self) -> list[Any]:
        """Returns pymatgen's structures."""
        return self._plain().structures()

    def to_atoms(self) -> list[Any]:
        """Returns ASE's atoms."""
        from ase import Atoms

        found = self._plain()
        cells = zip(found.each_numbers(), found.each_frac(), found.lattice.numpy(), strict=True)
        return [Atoms(z, cell=cell, scaled_positions=x, pbc=True) for z, x, cell in cells]


@dataclass(frozen=True)
class CrystalTensors(Representation[Crystals, CrystalBatch]):
    """Each crystal in one setting (`canonical`), with its lattice in one orientation."""

    elements: tuple[int, ...]
    """Atomic numbers in the training split."""
    counts: tuple[float, ...]
    """The share of crystals that have 0, 1, 2 .. atoms."""
    lengths: tuple[float, float]
    """Mean and standard deviation of lengths over the cube root of the number of atoms."""
    columns: tuple[str, ...]
    """Properties that a file says of its crystals."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Of `properties`, over the training split."""
    groups: bool
    """Whether space groups are known."""

    @classmethod
    def fit(cls, objects: Crystals, config: Any) -> "CrystalTensors":
        columns = tuple(k for k, v in objects.columns.items() if v.isfinite().sum() > 1)
        known = [
            objects.columns[k] if k in columns else _DERIVED[k](objects) for k in _all(columns)
        ]
        sizes = objects.counts.double()
        scaled = objects.lengths / sizes[:, None] ** (1 / 3)
        counts = torch.bincount(objects.counts) / max(len(objects), 1)
        return cls(
            elements=tuple(objects.numbers.unique().tolist()),
            counts=tuple(counts.double().tolist()),
            lengths=(float(scaled.mean()), float(scaled.std())),
            columns=columns,
            means=tuple(float(x[x.isfinite()].mean()) for x in known),
            scales=tuple(max(float(x[x.isfinite()].std()), 1e-6) for x in known),
            groups=config.data.space_groups,
        )

    @property
    def properties(self) -> tuple[str, ...]:
        """The columns of the file, and what cells say of themselves."""
        return _all(self.columns)

    @property
    def longest(self) -> int:
        """Atoms of the largest training crystal."""
        return len(self.counts) - 1

    def encode(self, objects: Crystals) -> CrystalBatch:
        """Writes crystals, each in its setting.

        Raises:
            RepresentationError: One has no atoms, an element of no number or no volume.
        """
        check(objects)
        cells = zip(
            objects.each_numbers(), objects.each_frac(), objects.lattice.numpy(), strict=True
        )
        types, frac, lengths, angles, mask = padded([setting(*cell) for cell in cells])
        known = self._known(objects)
        return CrystalBatch(
            atom_types=types,
            frac_coords=frac,
            lattice=vectors(lengths, angles).float(),
            lengths=lengths.float(),
            angles=angles.float(),
            num_atoms=objects.counts.clone(),
            mask=mask,
            elements=elements_of(types),
            space_group=self._groups(objects),
            properties=known,
            wanted=known,
        )

    def decode(self, batch: CrystalBatch) -> Crystals:
        """Reads atoms and cells; gradients flow through coordinates, lengths and angles."""
        shift, scale = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.scales))
        told = batch.properties.double() * scale + shift
        columns = {name: told[:, k] for k, name in enumerate(self.columns)}
        return replace(batch.crystals(), columns=columns)

    def prompt(self, n: int, config: Any) -> CrystalBatch:
        """Returns crystals of which only what is asked for is known, and how many atoms they have.

        Where a formula is asked for, formula units take turns from row to row. Otherwise numbers
        of atoms are as frequent as in the data, or take turns where they are given.

        Raises:
            ConfigError: What is asked for is unknown to the model, or contradicts itself.
        """
        s = config.sampling
        types = self._types(n, s)
        mask = types >= 0
        types = types.clamp_min(0)
        unknown = torch.full((n, len(self.means)), torch.nan)
        told = wanted(s.target, self.properties)
        wishes = [
            (told.get(name, float("nan")) - mean) / scale
            for name, mean, scale in zip(self.properties, self.means, self.scales, strict=True)
        ]
        if s.space_group and not self.groups:
            raise ConfigError(
                "the model was told no space groups: train crystal/vae with --space_groups"
            )
        if not 0 <= s.space_group <= 230:
            raise ConfigError(f"there is no space group {s.space_group}: there are 1 to 230")
        nothing = torch.full((n, 3), torch.nan)
        place = torch.full((*mask.shape, 3), torch.nan).masked_fill(~mask[..., None], 0.0)
        return CrystalBatch(
            atom_types=types,
            frac_coords=place,
            lattice=nothing[..., None].expand(-1, 3, 3).clone(),
            lengths=nothing,
            angles=nothing.clone(),
            num_atoms=mask.sum(1),
            mask=mask,
            elements=self._asked(types, s),
            space_group=torch.full((n,), s.space_group),
            properties=unknown,
            wanted=torch.tensor(wishes).expand(n, -1).clone(),
        )

    def sizes(self, objects: Crystals) -> Tensor:
        """Returns how many atoms each crystal has."""
        return objects.counts

    def _types(self, n: int, s: Any) -> Tensor:
        """Returns the types at each place: 0 where there may be any, -1 where there is none."""
        if s.formula:
            if s.num_atoms:
                raise ConfigError("give either a formula and its units or a number of atoms")
            rows = [self._written(composition(s.formula), k) for k in s.formula_units]
            return _rows([rows[i % len(rows)] for i in range(n)])
        least = max(len(set(s.chemical_system)), 1)
        if s.num_atoms:
            if min(s.num_atoms) < least:
                few = f"{least} atom{'s' * (least > 1)}"
                raise ConfigError(f"there have to be at least {few}, got {min(s.num_atoms)}")
            sizes = torch.tensor(s.num_atoms)[torch.arange(n) % len(s.num_atoms)]
        else:
            sizes = self._usual(n, least)
        return (torch.arange(int(sizes.max())) < sizes[:, None]).long() - 1

    def _usual(self, n: int, least: int) -> Tensor:
        """Returns numbers of atoms at even quantiles of those of the data, in no order."""
        shares = torch.tensor(self.counts, dtype=torch.float64)
        shares[:least] = 0
        if not shares.any():
            raise ConfigError(f"training crystals have at most {self.longest} atoms, not {least}")
        below = shares.cumsum(0)
        even = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        sizes = torch.searchsorted(below, even * below[-1])
        return sizes[torch.randperm(n, generator=generator("num_atoms", n))]

    def _written(self, formula: dict[int, int], units: int) -> list[int]:
        """Returns the atoms of some units of a formula, in the order of the setting."""
        if units < 1:
            raise ConfigError(f"a cell has at least one formula unit, got {units}")
        self._known_elements(formula)
        order = sorted(formula, key=lambda z: rank()[z])
        return [z for z in order for _ in range(formula[z] * units)]

    def _known_elements(self, numbers: Sequence[int] | dict[int, int]) -> None:
        if new := [SYMBOLS[z] for z in numbers if z not in self.elements]:
            names = [SYMBOLS[z] for z in self.elements]
            raise ConfigError(f"no training crystal has {', '.join(new)}{closest(new[0], names)}")

    def _asked(self, types: Tensor, s: Any) -> Tensor:
        """Returns which elements there are to be, where this is known."""
        if s.formula:
            return elements_of(types)
        asked = torch.full((len(types), MOST_ELEMENT + 1), torch.nan)
        if s.chemical_system:
            numbers = [number_of(name) for name in s.chemical_system]
            self._known_elements(numbers)
            asked[:] = 0.0
            asked[:, numbers] = 1.0
        return asked

    def _known(self, objects: Crystals) -> Float[Tensor, "n properties"]:
        unknown = torch.full((len(objects),), torch.nan, dtype=torch.float64)
        values = [
            _DERIVED[k](objects) if k not in self.columns else objects.columns.get(k, unknown)
            for k in self.properties
        ]
        shift, scale = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.scales))
        return ((torch.stack(values, 1) - shift) / scale).float()

    def _groups(self, objects: Crystals) -> Tensor:
        if not self.groups:
            return torch.zeros(len(objects), dtype=torch.long)
        return features(objects, "space groups", keep=True)["space_group"].long()


def elements_of(types: Tensor) -> Float[Tensor, "n numbers"]:
    """Returns which atomic numbers there are in each row; 0 is none."""
    found = torch.zeros(len(types), MOST_ELEMENT + 1).scatter(1, types, 1.0)
    found[:, 0] = 0.0
    return found


def _all(columns: tuple[str, ...]) -> tuple[str, ...]:
    return (*columns, *(k for k in _DERIVED if k not in columns))


def padded(cells: Sequence[Setting]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns types, coordinates, lengths, angles (in double precision) and the mask of cells."""
    counts = torch.tensor([len(c.numbers) for c in cells], dtype=torch.long)
    size = max((len(c.numbers) for c in cells), default=1)
    mask = torch.arange(size) < counts[:, None]
    types = torch.zeros(len(cells), size, dtype=torch.long)
    frac = torch.zeros(len(cells), size, 3)
    if cells:
        types[mask] = torch.from_numpy(np.concatenate([c.numbers for c in cells]))
        frac[mask] = torch.from_numpy(np.concatenate([c.frac for c in cells])).float()
    lattice = torch.from_numpy(np.array([c.lattice for c in cells]).reshape(-1, 3, 3))
    return types, frac, *parameters(lattice), mask


def _rows(rows: list[list[int]]) -> Tensor:
    """Pads rows with -1."""
    size = max(map(len, rows))
    return torch.tensor([row + [-1] * (size - len(row)) for row in rows])


def check(x: Crystals) -> None:
    """Refuses what cannot be written.

    Raises:
        RepresentationError: One has no atoms, an element of no number or no volume.
    """
    wrong = [
        ("no atoms", x.counts == 0),
        ("an element that there is not", _any(x, (x.numbers < 1) | (x.numbers > MOST_ELEMENT))),
        ("a coordinate that is no number", _any(x, ~x.frac.isfinite().all(1))),
        ("a cell without a volume", ~(x.volumes > 0) | ~x.volumes.isfinite()),
    ]
    for what, rows in wrong:
        if rows.any():
            first = int(rows.nonzero()[0, 0])
            name = x.labels[first] or "no name"
            raise RepresentationError(f"crystal {first} ({name}) has {what}")


def _any(x: Crystals, atoms: Tensor) -> Tensor:
    """Says of which crystals any atom is so."""
    return torch.zeros(len(x), dtype=torch.long).index_add(0, x.owner, atoms.long()) > 0
