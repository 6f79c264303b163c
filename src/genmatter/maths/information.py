r"""How much a latent says of what it was drawn for.

.. math:: I = \mathrm{E} \log \frac{q(z|x)}{q(z)},\qquad q(z) = \mathrm{E}_x q(z|x)

Over a batch of n examples the aggregate :math:`q(z)` is the mean of their n posteriors, which
makes it an estimate that can never be above :math:`\ln n`: it says how surely an example is found
among n by its latent.

References:
    | ELBO surgery: yet another way to carve up the variational evidence lower bound
    | (Hoffman & Johnson, 2016) http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
    | On variational bounds of mutual information (Poole et al., 2019), for the bound
    | https://arxiv.org/abs/1905.06922
"""

__all__ = ["information"]

import math

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.maths.gaussian import DiagonalGaussian

_AT_ONCE = 1024  # latents whose density under all posteriors is held in memory


def information(q: DiagonalGaussian, z: Float[Tensor, "n units"]) -> Float[Tensor, " n"]:
    r"""Returns :math:`\log q(z_i|x_i) - \log \frac1n \sum_j q(z_i|x_j)` of each latent, in nats.

    Its mean over a batch is the estimate of the mutual information. The posteriors' widths are
    in it, not only their means.

    Args:
        q: The posterior of each example.
        z: One draw from each.
    """
    mean, std, points = (_precise(x) for x in (q.mean, q.std.expand_as(q.mean), z))
    each = DiagonalGaussian(mean, std)
    under_all = [_pairs(each, part).logsumexp(1) for part in points.split(_AT_ONCE)]
    count = math.log(max(len(z), 1))
    return (each.log_prob(points) - torch.cat(under_all) + count).to(z)


def _pairs(q: DiagonalGaussian, z: Float[Tensor, "rows units"]) -> Float[Tensor, "rows n"]:
    """Returns the log-density of each point under each posterior.

    The squares are written out, so that products of matrices take the place of a number for each
    pair and unit.
    """
    weight = q.std**-2
    of_z = z.square() @ weight.mT - 2 * z @ (q.mean * weight).mT
    return q.log_prob(torch.zeros_like(q.mean)) - of_z / 2


def _precise(x: Tensor) -> Tensor:
    """Returns double precision, in which the parts of a square may cancel; MPS has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
