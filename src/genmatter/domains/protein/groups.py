r"""Groups of sequences in the latent space: a Gaussian for each, that is sampled and recognised.

Groups are clusters, or the sequences that bear the same label. A group of few has the shape of all
groups in the mean, :math:`\Sigma_g = (n_g S_g + k S) / (n_g + k)` with k latent units.

References:
    | Regularized discriminant analysis (Friedman, 1989), for the shared shape
    | https://doi.org/10.1080/01621459.1989.10478752
    | Silhouettes: a graphical aid to the interpretation and validation of cluster analysis
    | (Rousseeuw, 1987) https://doi.org/10.1016/0377-0427(87)90125-7
"""

__all__ = ["MOST_CLUSTERS", "Groups", "clustered"]

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

MOST_CLUSTERS = 12
"""Clusters, at most, where nobody says how many."""
_LOOKED_AT = 2000  # latents whose silhouettes are compared
_RIDGE = 1e-4
_STARTS: Any = 4  # of k-means; scikit-learn's types know but "auto"


class Groups(nn.Module):
    """At most `most` Gaussians of latents; a group without members has no share."""

    share: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, size: int, most: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(most))
        self.register_buffer("mean", torch.zeros(most, size))
        self.register_buffer("scale", torch.eye(size).repeat(most, 1, 1))

    @property
    def count(self) -> int:
        """How many groups have members."""
        return int((self.share > 0).sum())

    @torch.no_grad()
    def fit(self, z: Float[Tensor, "n size"], member: Int[Tensor, " n"]) -> None:
        """Fits each group to its members.

        Args:
            z: Latents.
            member: The group of each, from 0; -1 of those that are in none.
        """
        known, size = z[member >= 0].double(), z.shape[1]
        member = member[member >= 0]
        if not len(known):
            return
        count = torch.bincount(member, minlength=len(self.share)).double()
        mean = torch.zeros(len(count), size, dtype=known.dtype, device=known.device)
        mean.index_add_(0, member, known)
        mean /= count.clamp_min(1)[:, None]
        gap = known - mean[member]
        pooled = gap.T @ gap / len(known) + _RIDGE * torch.eye(size).to(known)
        for g in count.nonzero()[:, 0].tolist():
            own = gap[member == g]
            covariance = (own.T @ own + size * pooled) / (len(own) + size)
            self.scale[g] = torch.linalg.cholesky(covariance).to(self.scale)
        self.mean.copy_(mean)
        self.share.copy_(count / len(known))

    def sample(self, member: Int[Tensor, " n"]) -> Float[Tensor, "n size"]:
        """Draws a latent of each group that is named."""
        noise = torch.randn(len(member), self.mean.shape[1], device=self.mean.device)
        return self.mean[member] + (self.scale[member] @ noise[..., None])[..., 0]

    def nearest(self, z: Float[Tensor, "n size"]) -> Int[Tensor, " n"]:
        """Returns the group that each latent most probably belongs to."""
        gap = (z - self.mean[:, None]).mT
        unit = torch.linalg.solve_triangular(self.scale, gap, upper=False)
        log_det = self.scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (self.share.log() - log_det - unit.square().sum(1).T / 2).argmax(1)


def clustered(z: Float[Tensor, "n size"], clusters: int) -> Int[Tensor, " n"]:
    """Returns the cluster of each latent by k-means, from 0, the largest first.

    Args:
        z: Latents.
        clusters: How many; 0 takes from 2 to MOST_CLUSTERS those of the highest mean silhouette.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    x, seed = z.double().cpu().numpy(), int(torch.randint(2**31 - 1, ()))
    some = torch.randperm(len(x))[:_LOOKED_AT].numpy()
    most = min(clusters or MOST_CLUSTERS, len(x) - 1)
    best, found = -math.inf, None
    for k in [most] if clusters else range(2, most + 1):
        fitted = KMeans(k, n_init=_STARTS, random_state=seed).fit(x if clusters else x[some])
        score = 0.0 if clusters else float(silhouette_score(x[some], fitted.labels_))
        if found is None or score > best:
            best, found = score, fitted
    if found is None:
        return torch.zeros(len(x), dtype=torch.long)
    member = torch.from_numpy(found.predict(x)).long()
    rank = torch.bincount(member).argsort(descending=True, stable=True).argsort()
    return rank[member].to(z.device)
