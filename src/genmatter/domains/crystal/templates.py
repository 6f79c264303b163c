r"""Training crystals after which others are drawn.

Two crystals are of one pattern where their elements, in the order of electronegativity, have the
same numbers of atoms: NaCl and MgO. Chemists draw a structure that nobody knows after one that is
known, of the same pattern and of elements that are alike. How alike two compositions are is

.. math:: K(c, r) = \exp\big(-\textstyle\sum_k \lVert A e_k(c) - A e_k(r) \rVert^2\big)

with what the periodic table says of the k-th element, e, and a matrix A that is learned: the
templates near a composition say of which space groups it may be, and A is what makes them right
(neighbourhood components analysis). A template of a space group is drawn in proportion to K.

References:
    | Neighbourhood components analysis (Goldberger et al., 2004)
    | https://papers.nips.cc/paper/2566-neighbourhood-components-analysis
    | Crystal structure prediction by machine-learned metric on element substitution (Kusaba, Liu &
    | Yoshida, 2022) https://doi.org/10.1016/j.commatsci.2022.111496
    | Retrieval-augmented diffusion models (Blattmann et al., 2022) https://arxiv.org/abs/2204.11824
"""

__all__ = ["Template", "Templates"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.composition import GROUPS
from genmatter.domains.crystal.listing import known, listed
from genmatter.domains.crystal.represent import CrystalBatch
from genmatter.maths.lattice import vectors

KEPT = ("types", "frac", "cell", "group", "elements", "patterns", "pattern")
"""What is known of templates."""
WIDTH = 16
"""Numbers of an element by which templates are compared."""


@dataclass(frozen=True)
class Template:
    """Crystals after which others are drawn, atom by atom; zeros where there are none."""

    there: Bool[Tensor, " n"]
    """Which crystals have one."""
    crystals: CrystalBatch
    """Its coordinates and cell, with the types of the crystal that is drawn after it."""
    types: Int[Tensor, "n atoms"]
    """The atomic numbers that it has itself."""


class Templates(nn.Module):
    """The training crystals, and how alike compositions are to theirs."""

    known: Tensor
    types: Tensor
    frac: Tensor
    cell: Tensor
    group: Tensor
    elements: Tensor
    patterns: Tensor
    pattern: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("known", known(), persistent=False)
        self.metric = nn.Linear(self.known.shape[1], WIDTH, bias=False)
        whole = torch.zeros(0, 1, dtype=torch.long)
        self.register_buffer("types", whole)
        self.register_buffer("frac", torch.zeros(0, 1, 3))
        self.register_buffer("cell", torch.zeros(0, 6))
        self.register_buffer("group", torch.zeros(0, dtype=torch.long))
        self.register_buffer("elements", whole.clone())
        self.register_buffer("patterns", whole.clone())
        self.register_buffer("pattern", torch.zeros(0, dtype=torch.long))
        self.register_load_state_dict_pre_hook(_sized)

    def __len__(self) -> int:
        return len(self.types)

    @torch.no_grad()
    def fit(
        self, batches: Iterable[CrystalBatch], counts: Iterable[Int[Tensor, "n elements"]]
    ) -> None:
        """Keeps crystals, whose atoms of each element are counted."""
        x = CrystalBatch.cat(list(batches))
        if not len(x):
            return
        elements, numbers, _ = listed(torch.cat(list(counts)))
        scaled = x.lengths / x.num_atoms[:, None] ** (1 / 3)
        self.types, self.frac, self.group = x.atom_types, x.frac_coords, x.space_group
        self.cell = torch.cat([scaled, x.angles], 1)
        self.elements = elements
        self.patterns, self.pattern = numbers.unique(dim=0, return_inverse=True)

    def near(
        self, counts: Int[Tensor, "n elements"], *, others: bool = False
    ) -> Float[Tensor, "n templates"]:
        """Returns ln K of each template; minus infinity of other patterns.

        Args:
            counts: Atoms of each element.
            others: Leave out templates of the very composition.
        """
        elements, numbers, _ = listed(counts)
        width = max(self.patterns.shape[1], numbers.shape[1])
        a, b = _wide(elements, width), _wide(self.elements, width)
        m, n = _wide(numbers, width), _wide(self.patterns, width)
        alike = (m[:, None] == n).all(-1)[:, self.pattern]
        x, y = self._written(a, m), self._written(b, n[self.pattern])
        far = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T
        if others:
            alike &= _key(a)[:, None] != _key(b)
        return (-far.clamp_min(0)).masked_fill(~alike, -torch.inf)

    def of_groups(self, near: Float[Tensor, "n templates"]) -> Float[Tensor, "n groups"]:
        """Returns the sum of K over the templates of each space group; 0 where there is none."""
        found = near.new_zeros(len(near), GROUPS)
        return found.index_add(1, self.group, near.exp())

    @torch.no_grad()
    def draw(
        self, near: Float[Tensor, "n templates"], batch: CrystalBatch, hide: Bool[Tensor, " n"]
    ) -> Template:
        """Draws a template of the space group of each crystal; of any where that is 0.

        Args:
            near: ln K of each template.
            batch: Types, numbers of atoms and space groups.
            hide: Crystals that are given none.
        """
        group = batch.space_group[:, None]
        log_p = near.masked_fill((group > 0) & (group != self.group), -torch.inf)
        there = log_p.isfinite().any(1) & ~hide
        row = torch.zeros(len(log_p), dtype=torch.long, device=log_p.device)
        if there.any():
            row[there] = torch.multinomial(log_p[there].softmax(1), 1)[:, 0]
        return self.taken(row, there, batch)

    def taken(
        self, row: Int[Tensor, " n"], there: Bool[Tensor, " n"], batch: CrystalBatch
    ) -> Template:
        """Returns templates by their numbers, for crystals of the same patterns."""
        mask = batch.mask & there[:, None]
        frac, types = (batch.frac_coords.new_zeros(*mask.shape, 3), torch.zeros_like(mask).long())
        size = min(mask.shape[1], self.types.shape[1])
        some, here = row[there], there.nonzero()[:, 0]
        frac[here, :size], types[here, :size] = self.frac[some, :size], self.types[some, :size]
        cell = self.cell[some]
        lengths, angles = (torch.ones_like(frac[:, 0]), torch.full_like(frac[:, 0], torch.pi / 2))
        lengths[here] = cell[:, :3] * batch.num_atoms[here, None] ** (1 / 3)
        angles[here] = cell[:, 3:]
        like: dict[str, Any] = {
            "frac_coords": frac * mask[..., None], "lengths": lengths, "angles": angles,
            "lattice": vectors(lengths, angles),
        }  # fmt: skip
        return Template(there, batch.replace(**like), types * mask)

    def _written(
        self, elements: Int[Tensor, "n most"], numbers: Int[Tensor, "n most"]
    ) -> Float[Tensor, "n c"]:
        return (self.metric(self.known)[elements] * (numbers > 0)[..., None]).flatten(1)


def _sized(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Makes room for the templates that are about to be loaded."""
    for name in KEPT:
        if (kept := state.get(prefix + name)) is not None:
            setattr(module, name, torch.empty_like(kept, device=getattr(module, name).device))


def _wide(x: Int[Tensor, "n some"], width: int) -> Int[Tensor, "n width"]:
    return nn.functional.pad(x, (0, width - x.shape[1]))


def _key(elements: Int[Tensor, "n most"]) -> Int[Tensor, " n"]:
    """Returns one number for each list of elements; of more than nine it tells the first nine."""
    first = elements[:, :9]
    return (first * 128 ** torch.arange(first.shape[1], device=first.device)).sum(1)
