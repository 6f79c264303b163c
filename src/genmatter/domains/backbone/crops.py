r"""Crops: the residues nearest to a random one, such that all are shown about equally often.

With :math:`A_{sj}` saying whether residue j is among the k nearest to s, a seed drawn with the
weights p shows j with the chance :math:`P_j = \sum_s p_s A_{sj}`. Residues at the rim are in few
neighbourhoods, so even seeds show them less. Iterative proportional fitting,

.. math:: p_s \leftarrow p_s \frac1L \sum_j \frac{A_{sj}}{P_j},

climbs to the weights with the largest :math:`\sum_j \ln P_j`, which are the even
:math:`P_j = k / L` where any weights give that. Often none do (near k = L a crop leaves out a few
residues, and these are at the rim): then a loss that weighs residues by :math:`1 / P_j` still has
the mean of one over whole proteins.

References:
    | On a least squares adjustment of a sampled frequency table (Deming & Stephan, 1940)
    | An iterative procedure for obtaining maximum-likelihood estimates (Vardi, Shepp & Kaufman,
    | 1985), for the convergence of this form
"""

__all__ = ["SpatialCrop", "inclusion", "neighbourhoods", "seed_weights"]

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_MOST = 20_000  # rounds of fitting
_CLOSE = 1e-10  # change of a weight, as a share of the even one, at which it ends


def neighbourhoods(
    ca: Float[Tensor, "*n L 3"], k: int, mask: Bool[Tensor, "*n L"] | None = None
) -> Bool[Tensor, "*n L L"]:
    """Returns which k residues are nearest to each, itself among them: [s, j] is j near s.

    Masked residues are near none, so that a protein of fewer than k shows all that it has.
    """
    d = torch.linalg.vector_norm(ca[..., :, None, :] - ca[..., None, :, :], dim=-1)
    d = d - 1e6 * torch.eye(ca.shape[-2], dtype=d.dtype, device=d.device)
    if mask is not None:
        d = d.masked_fill(~mask[..., None, :], torch.inf)
    near = d.topk(k, largest=False).indices
    found = torch.zeros_like(d, dtype=torch.bool).scatter(-1, near, value=True)
    return found if mask is None else found & mask[..., None, :]


def seed_weights(near: Bool[Tensor, "L L"]) -> Float[Tensor, " L"]:
    """Returns the weights of seeds, solved to convergence; they sum to 1."""
    a = near.double()
    p = torch.full((len(a),), 1 / len(a), dtype=torch.float64)
    for _ in range(_MOST):
        new = p * (a @ (1 / (p @ a))) / len(a)
        if (new - p).abs().max() < _CLOSE / len(a):
            return new
        p = new
    return p


def inclusion(
    weights: Float[Tensor, "*n L"], near: Bool[Tensor, "*n L L"]
) -> Float[Tensor, "*n L"]:
    """Returns the chance that each residue is shown."""
    return (weights[..., None, :] @ near.to(weights)).squeeze(-2)


class SpatialCrop:
    """Crops of conformers, with the weights of their proteins' reference conformers.

    Neighbourhoods are those of each conformer itself, and so are the chances that are returned.
    The weights of a protein are solved when it is first asked for: sampling never does. Seeds of
    proteins that are not known, -1, are even.

    Args:
        references: CA atoms of each protein that is known, [residues, 3] each.
        ratio: Share of a protein's residues that a crop shows; at least one is shown.
    """

    def __init__(self, references: list[Float[Tensor, "_ 3"]], ratio: float) -> None:
        self.references, self.ratio = references, ratio
        self._weights: dict[int, Float[Tensor, " L"]] = {}

    def __call__(
        self, trans: Float[Tensor, "n L 3"], mask: Bool[Tensor, "n L"], protein: Int[Tensor, " n"]
    ) -> tuple[Bool[Tensor, "n L"], Float[Tensor, "n L"]]:
        shown, share = torch.zeros_like(mask), torch.ones_like(trans[..., 0])
        kinds = torch.stack([protein, mask.sum(1)], 1)
        for kind in kinds.unique(dim=0):
            rows = (kinds == kind).all(1).nonzero()[:, 0]
            index, size = kind.tolist()
            near = neighbourhoods(trans[rows, :size], self._count(size))
            weights = self.weights(index, size).to(trans)
            seeds = torch.multinomial(weights, len(rows), replacement=True)
            shown[rows, :size] = near[torch.arange(len(rows), device=seeds.device), seeds]
            chance = inclusion(weights.expand(len(rows), size), near)
            share[rows, :size] = chance.clamp_min(torch.finfo(chance.dtype).tiny)
        return shown, share

    def weights(self, protein: int, size: int) -> Float[Tensor, " L"]:
        """Returns the weights of the seeds of a protein of so many residues."""
        if protein < 0:
            return torch.full((size,), 1 / size, dtype=torch.float64)
        if protein not in self._weights:
            near = neighbourhoods(self.references[protein], self._count(size))
            self._weights[protein] = seed_weights(near)
        return self._weights[protein]

    def _count(self, size: int) -> int:
        return max(int(size * self.ratio), 1)
