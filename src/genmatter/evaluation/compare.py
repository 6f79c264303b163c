r"""Distances between two distributions, from samples :math:`a \sim A` and :math:`b \sim B`.

`b` is the reference (the test set): its spread is the unit of length. Each function is
deterministic: what it draws, it draws from its own keyed stream.
"""

__all__ = [
    "c2st",
    "correlation",
    "energy_distance",
    "histograms",
    "jensen_shannon",
    "normal_transport",
    "spread",
    "transport",
    "wasserstein",
]

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from genmatter.evaluation.sets import subset
from genmatter.maths.noise import stream

Features = Float[Tensor, "n features"]
Reference = Float[Tensor, "m features"]


def spread(x: Float[Tensor, "n *features"]) -> Float[Tensor, "*features"]:
    """Returns the standard deviation of each column, as a divisor.

    A column that is constant to rounding (a rigid bond) has no spread to be measured in; it
    gets the size of its values instead, or 1 where they are 0.
    """
    std, size = x.double().std(0, correction=0), x.double().abs().mean(0)
    fallback = torch.where(size > 0, size, 1.0)
    return torch.where(std > 1e-6 * size, std, fallback)


def wasserstein(a: Float[Tensor, " n"], b: Float[Tensor, " m"], quantiles: int = 2000) -> float:
    r"""Returns :math:`W_1(A, B) / \sigma_B` of two scalar observables; 0 is perfect.

    In one dimension :math:`W_1 = \int_0^1 |F_A^{-1}(q) - F_B^{-1}(q)|\, dq`, here the mean over
    the midpoints of equal intervals of :math:`q`.

    References:
        Villani, Topics in Optimal Transportation (2003), theorem 2.18.
    """
    q = (torch.arange(quantiles, dtype=torch.float64, device=a.device) + 0.5) / quantiles
    gap = _quantile(a, q) - _quantile(b, q)
    return (gap.abs().mean() / spread(b)).item()


def _quantile(x: Float[Tensor, " n"], q: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Interpolates linearly, as `torch.quantile`, which refuses more than 2^24 values."""
    values, at = x.double().sort().values, q * (len(x) - 1)
    low = at.floor().long()
    high = (low + 1).clamp_max(len(x) - 1)
    return torch.lerp(values[low], values[high], at - low)


def histograms(
    x: Float[Tensor, "n columns"],
    low: float | Float[Tensor, " columns"],
    high: float | Float[Tensor, " columns"],
    bins: int,
) -> Float[Tensor, "columns bins"]:
    """Counts the values of each column in equal bins; those beyond a limit go to the last bin."""
    first, last = (torch.as_tensor(limit).to(x) for limit in (low, high))
    width = (last - first).clamp_min(torch.finfo(x.dtype).tiny)
    at = ((x - first) / width * bins).long().clamp(0, bins - 1)
    columns = torch.arange(x.shape[1], device=x.device)
    counts = torch.bincount((at + columns * bins).flatten(), minlength=x.shape[1] * bins)
    return counts.view(x.shape[1], bins).double()


def jensen_shannon(
    p: Float[Tensor, "*batch bins"], q: Float[Tensor, "*batch bins"]
) -> Float[Tensor, "*batch"]:
    r"""Returns the Jensen-Shannon distance of histograms: 0 is perfect, :math:`\sqrt{\ln 2}` most.

    With :math:`m = (p + q) / 2`, normalised, it is :math:`\sqrt{(KL(p | m) + KL(q | m)) / 2}` in
    natural logarithms. An empty histogram gives NaN. Finite samples of one law are apart by
    about :math:`\sqrt{(k - 1) / 4n}` of k bins, so that n and the bins belong to each value.

    References:
        | A new metric for probability distributions (Endres & Schindelin, 2003)
        | https://doi.org/10.1109/TIT.2003.813506
    """
    p, q = (h / h.sum(-1, keepdim=True) for h in (p, q))
    m = ((p + q) / 2).clamp_min(torch.finfo(p.dtype).tiny)
    half = torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)
    return (half.sum(-1) / 2).clamp_min(0).sqrt()


def transport(a: Features, b: Float[Tensor, "n features"]) -> float:
    r"""Returns :math:`W_2` between two sets of equally many points, in their unit; 0 is perfect.

    Of points of equal weight the best plan is an assignment, which is found exactly:
    :math:`W_2^2 = \min_\pi \langle \lVert a_i - b_{\pi(i)} \rVert^2 \rangle_i`.

    References:
        Villani, Topics in Optimal Transportation (2003), introduction.
    """
    cost = (a.double()[:, None] - b.double()).square().sum(-1).cpu().numpy()
    return float(cost[linear_sum_assignment(cost)].mean() ** 0.5)


def normal_transport(
    a: Float[Tensor, "n *batch space"], b: Float[Tensor, "m *batch space"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    r"""Returns the two parts of :math:`W_2^2` between the normal laws fitted to each set.

    One is of the means, :math:`\lVert \mu_a - \mu_b \rVert^2`, one of the covariances,
    :math:`\operatorname{tr}(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2})`.

    References:
        | The distance between two random vectors with given dispersion matrices
        | (Olkin & Pukelsheim, 1982) https://doi.org/10.1016/0024-3795(82)90112-4
    """
    (mean_a, cov_a), (mean_b, cov_b) = map(_moments, (a, b))
    root = _root(cov_a)
    both = _root(root @ cov_b @ root)
    traces = (cov_a + cov_b - 2 * both).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (mean_a - mean_b).square().sum(-1), traces.clamp_min(0)


def _moments(
    x: Float[Tensor, "n *batch space"],
) -> tuple[Float[Tensor, "*batch space"], Float[Tensor, "*batch space space"]]:
    x = x.double()
    y = x - x.mean(0)
    return x.mean(0), torch.einsum("n...i,n...j->...ij", y, y) / len(x)


def _root(c: Float[Tensor, "*batch space space"]) -> Float[Tensor, "*batch space space"]:
    """Returns the square root of positive semidefinite matrices."""
    values, axes = torch.linalg.eigh(c)
    return axes @ (values.clamp_min(0).sqrt()[..., None] * axes.mT)


def correlation(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Returns Pearson's r; 1 is perfect, NaN where a set is constant."""
    u, v = ((x - x.mean()).double() for x in (a, b))
    return (u @ v / (u.norm() * v.norm())).item()


def energy_distance(a: Features, b: Reference, n: int = 2000, key: int | str = 0) -> float:
    r"""Returns :math:`2 E|A - B| - E|A - A'| - E|B - B'|`; 0 is perfect.

    Each feature is divided by its standard deviation in `b`. The estimate is unbiased
    (pairs of a sample with itself are left out), so it may be slightly negative. It uses
    at most `n` rows of each set, drawn without replacement.

    References:
        | Energy statistics: a class of statistics based on distances (Székely & Rizzo, 2013)
        | https://doi.org/10.1016/j.jspi.2013.03.018
    """
    scale = spread(b)
    u = subset(a, n, "energy distance a", key).double() / scale
    v = subset(b, n, "energy distance b", key).double() / scale
    return (2 * torch.cdist(u, v).mean() - _within(u) - _within(v)).item()


def _within(x: Features) -> Float[Tensor, ""]:
    """Returns the mean distance between two different rows."""
    return torch.pdist(x).mean()


def c2st(a: Features, b: Reference, key: int | str = 0, n: int = 5000) -> float:
    """Returns how often a classifier tells a held-out sample of `a` from one of `b`.

    0.5 is perfect, 1 is telling them apart always; with enough data it approaches one half
    plus half the total variation distance from below. A network with two hidden layers of
    128 learns from at most `n` rows of each set (always as many of one as of the other) and
    is judged on as many others; features are standardised by its training rows.

    References:
        | Revisiting classifier two-sample tests (Lopez-Paz & Oquab, 2017)
        | https://arxiv.org/abs/1610.06545
    """
    half = min(len(a), len(b), 2 * n) // 2
    sets = [subset(x, 2 * half, "c2st", name, key) for x, name in ((a, "a"), (b, "b"))]
    x = torch.stack(sets).transpose(0, 1).double()  # row, set, feature
    y = torch.tensor([0.0, 1.0], device=x.device).expand(len(x), 2)
    mean, scale = x[:half].flatten(0, 1).mean(0), spread(x[:half].flatten(0, 1))
    x = ((x - mean) / scale).float()
    with stream("c2st", key):
        net = _classifier(x[:half].flatten(0, 1), y[:half].flatten())
    with torch.no_grad():
        guess = net(x[half:].flatten(0, 1)).squeeze(-1) > 0
    return (guess == (y[half:].flatten() > 0)).double().mean().item()


def _classifier(
    x: Features, y: Float[Tensor, " n"], hidden: int = 128, epochs: int = 20, batch: int = 256
) -> nn.Module:
    """Fits the log-odds of `y = 1` by AdamW at a learning rate of 2e-3."""
    net = nn.Sequential(
        *(nn.Linear(x.shape[1], hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        nn.Linear(hidden, 1),
    ).to(x.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).to(x.device).split(batch):
            loss = nn.functional.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net
