r"""How far descriptors of molecules are from those of others, as GuacaMol measures it.

The score is the mean of :math:`e^{-KL(P | Q)}` over descriptors, P being the law of the reference
and Q that of the samples: 1 is perfect, 0 the worst. Laws of counts are histograms in ten bins
over the reference, all others sums of normal laws on a thousand points.

Where we deviate: counts beyond the reference fall into the bin at that end, rather than out, and
similarities are of fingerprints of 1024 bits rather than 4096.

References:
    | GuacaMol: benchmarking models for de novo molecular design (Brown et al., 2019)
    | https://doi.org/10.1021/acs.jcim.8b00839
"""

__all__ = ["CONTINUOUS", "COUNTS", "continuous", "counts", "score"]

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.evaluation.compare import histograms

Samples = Float[Tensor, " n"]
Reference = Float[Tensor, " m"]

CONTINUOUS = ("bertz", "logp", "mw", "tpsa")
COUNTS = ("hba", "hbd", "rotatable_bonds", "aliphatic_rings", "aromatic_rings")
_POINTS, _BINS = 1000, 10
_FLOOR = 1e-10  # of a density, so that divergences are finite


def score(samples: Mapping[str, Samples], reference: Mapping[str, Reference]) -> float:
    """Returns the mean over all descriptors; those that are no counts are continuous."""
    of = {name: counts if name in COUNTS else continuous for name in reference}
    parts = [math.exp(-of[k](samples[k].double(), reference[k].double())) for k in reference]
    return sum(parts) / len(parts)


def continuous(x: Samples, y: Reference) -> float:
    """Returns KL(y | x) of numbers."""
    both = torch.cat([x, y])
    low, high = both.min().item(), both.max().item()
    at = torch.linspace(low, high, _POINTS, dtype=torch.float64)
    narrowest = (high - low) / _POINTS or 1.0
    return _divergence(_density(y, at, narrowest), _density(x, at, narrowest))


def _density(x: Samples, at: Float[Tensor, " points"], narrowest: float) -> Tensor:
    """Returns a sum of normal laws of Scott's width, which is no less than a step of the grid."""
    spread = x.std().item() if len(x) > 1 else 0.0
    width = max(spread * len(x) ** -0.2, narrowest)
    laws = torch.exp(-(((at[:, None] - x) / width) ** 2) / 2)
    return laws.mean(1) / (width * math.sqrt(2 * math.pi))


def counts(x: Samples, y: Reference) -> float:
    """Returns KL(y | x) of whole numbers."""
    low = y.min().item()
    high = max(y.max().item(), low + 1)
    p, q = (histograms(z[:, None], low, high, _BINS)[0] / len(z) for z in (y, x))
    width = (high - low) / _BINS
    return _divergence(p / width, q / width)


def _divergence(p: Float[Tensor, " points"], q: Float[Tensor, " points"]) -> float:
    p, q = ((d + _FLOOR) / (d + _FLOOR).sum() for d in (p, q))
    return (p * (p / q).log()).sum().clamp_min(0).item()
