"""The networks of the protein recipe, beside the encoder: fields of residues, and couplings."""

__all__ = ["Couplings", "ProfileDecoder"]

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class ProfileDecoder(nn.Module):
    """Logits of every residue at every site, as mixtures of profiles that all sites share.

    Args:
        latent: Latent units.
        hidden: Widths of the hidden layers.
        sites: Columns.
        states: Residues.
        profiles: How many profiles there are; 0 gives each site its own logits.
        dropout: Share of the hidden units that training hides.

    References:
        | Deep generative models of genetic variation capture the effects of mutations
        | (Riesselman et al., 2018) https://doi.org/10.1038/s41592-018-0138-4
    """

    def __init__(
        self, latent: int, hidden: Sequence[int], sites: int, states: int, profiles: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = [latent, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.sites, width = sites, profiles or states
        self.out = nn.Linear(sizes[-1], sites * width)
        self.profiles = (
            nn.Parameter(torch.randn(profiles, states) * profiles**-0.5) if profiles else None
        )

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n numbers"]:
        """Returns logits, side by side."""
        mixed = self.out(self.layers(z)).unflatten(1, (self.sites, -1))
        return (mixed if self.profiles is None else mixed @ self.profiles).flatten(1)


class Couplings(nn.Module):
    r"""What the residues before add to the logits of a site: :math:`\sum_j J_{ij}(x_i, x_j)`.

    Args:
        order: Sites in the order in which they are drawn.
        parents: The sites before that each depends on.
        states: Residues.
    """

    parents: Tensor
    rows: Tensor
    reach: Tensor

    def __init__(
        self, order: Sequence[int], parents: Sequence[Sequence[int]], states: int
    ) -> None:
        super().__init__()
        self.order, self.states = tuple(order), states
        most, sites = max(1, *map(len, parents)), len(parents)
        self.count = sum(map(len, parents))
        none = self.count * states  # a row of zeros, for sites with fewer parents than the most
        found, rows = torch.zeros(sites, most, dtype=torch.long), torch.full((sites, most), none)
        reach, pair = torch.eye(sites, dtype=torch.bool), 0
        for i, known in enumerate(parents):
            for k, j in enumerate(known):
                found[i, k], rows[i, k], reach[j, i] = j, pair * states, True
                pair += 1
        self.register_buffer("parents", found, persistent=False)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("reach", reach, persistent=False)
        self.table = nn.Parameter(torch.zeros(none + 1, states))

    def forward(self, tokens: Int[Tensor, "n sites"]) -> Float[Tensor, "n sites states"]:
        """Returns what each site's logits gain, all sites at once."""
        n, sites = tokens.shape
        at = self._at(tokens.long()[:, self.parents], slice(None))
        return self._sums(at.flatten(0, 1)).unflatten(0, (n, sites))

    def at(self, site: int, tokens: Int[Tensor, "n sites"]) -> Float[Tensor, "n states"]:
        """Returns what one site's logits gain."""
        return self._sums(self._at(tokens[:, self.parents[site]], site))

    def touched(self, changed: Bool[Tensor, "n sites"]) -> Bool[Tensor, "n sites"]:
        """Returns the sites whose probability depends on those that are changed."""
        return (changed.float() @ self.reach.float()) > 0

    def _at(self, residues: Tensor, site: int | slice) -> Tensor:
        rows = self.rows[site]
        return torch.where(rows == self.count * self.states, rows, rows + residues)

    def _sums(self, at: Tensor) -> Tensor:
        return nn.functional.embedding_bag(
            at, self.table, mode="sum", padding_idx=self.count * self.states
        )
