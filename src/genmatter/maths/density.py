r"""Densities of one real number, with quantile functions through which gradients flow.

A sample is :math:`x = F^{-1}(u)`, with :math:`u` uniform: at fixed :math:`u` it is a smooth
function of the parameters, which is what an optimisation in a latent space needs.
"""

__all__ = ["Density", "PiecewiseLinear", "SoftplusMixture"]

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Values = Float[Tensor, "*batch"]


@runtime_checkable
class Density(Protocol):
    """A distribution of a real number for each place of a batch."""

    def log_prob(self, x: Tensor) -> Tensor: ...
    def cdf(self, x: Tensor) -> Tensor: ...
    def quantile(self, u: Tensor) -> Tensor: ...
    def typical(self) -> Tensor: ...


@dataclass(frozen=True)
class PiecewiseLinear:
    r"""A density that is linear between the nodes of an even grid over `[low, high]`.

    Its values at the nodes are :math:`e^{\ell_k} / Z`; :math:`Z` is the trapezoid rule, exact
    here. The cumulative distribution is piecewise quadratic, and has a closed inverse.

    References:
        | Neural Importance Sampling (Müller et al., 2019), section 4.1
        | https://arxiv.org/abs/1808.03856
    """

    logits: Float[Tensor, "*batch nodes"]
    low: float
    high: float

    @classmethod
    def periodic(cls, logits: Float[Tensor, "*batch nodes"]) -> "PiecewiseLinear":
        r"""Returns a density on the circle, cut at :math:`\pm\pi`, the first node."""
        return cls(torch.cat([logits, logits[..., :1]], -1), -math.pi, math.pi)

    @property
    def width(self) -> float:
        """The distance between two nodes."""
        return (self.high - self.low) / (self.logits.shape[-1] - 1)

    def log_prob(self, x: Values) -> Values:
        """Returns the log-density, in nats."""
        k, s = self._cell(x)
        left, right = self._at(self.logits, k), self._at(self.logits, k + 1)
        return torch.logaddexp(left + torch.log1p(-s), right + s.log()) - self._log_norm()

    def cdf(self, x: Values) -> Values:
        """Returns the probability below `x`."""
        p, (k, s) = self._density(), self._cell(x)
        left, right = self._at(p, k), self._at(p, k + 1)
        return self._at(self._mass(p), k) + self.width * s * (left + (right - left) * s / 2)

    def quantile(self, u: Values) -> Values:
        """Returns where the probability below is `u`: a root of a quadratic in each cell."""
        p = self._density()
        mass = self._mass(p)
        k = (
            torch.searchsorted(mass.detach(), u.detach()[..., None].contiguous(), right=True)[
                ..., 0
            ]
            - 1
        )
        k = k.clamp(0, p.shape[-1] - 2)
        left, right = self._at(p, k), self._at(p, k + 1)
        rest = ((u - self._at(mass, k)) / self.width).clamp_min(0)
        # the form of the root that neither cancels nor divides by a slope of zero
        tiny = torch.finfo(p.dtype).tiny ** 0.5
        root = (left.square() + 2 * (right - left) * rest).clamp_min(tiny).sqrt()
        s = (2 * rest / (left + root)).clamp(0, 1)
        return self.low + self.width * (k + s)

    def typical(self) -> Values:
        """Returns the mode; between nodes, that of a parabola through three logits.

        The highest node itself would move in jumps as the parameters change.
        """
        k = self.logits.detach().argmax(-1).clamp(1, self.logits.shape[-1] - 2)
        a, b, c = (self._at(self.logits, k + i) for i in (-1, 0, 1))
        bend = (2 * b - a - c).clamp_min(1e-6)
        return self.low + self.width * (k + ((c - a) / (2 * bend)).clamp(-1, 1))

    def _cell(self, x: Values) -> tuple[Tensor, Values]:
        t = ((x - self.low) / self.width).clamp(0, self.logits.shape[-1] - 1)
        k = t.detach().floor().clamp_max(self.logits.shape[-1] - 2)
        eps = torch.finfo(t.dtype).eps
        return k.long(), (t - k).clamp(eps, 1 - eps)

    def _at(self, values: Float[Tensor, "*batch nodes"], k: Tensor) -> Values:
        return values.gather(-1, k[..., None])[..., 0]

    def _log_norm(self) -> Values:
        ends = self.logits[..., [0, -1]]
        # the trapezoid rule counts the ends half: take half of them off the sum of all
        total = self.logits.logsumexp(-1)
        half = torch.log1p(-((ends - total[..., None]).exp().sum(-1) / 2).clamp_max(0.5))
        return total + half + math.log(self.width)

    def _density(self) -> Float[Tensor, "*batch nodes"]:
        return (self.logits - self._log_norm()[..., None]).exp()

    def _mass(self, p: Float[Tensor, "*batch nodes"]) -> Float[Tensor, "*batch nodes"]:
        cells = (p[..., 1:] + p[..., :-1]) * (self.width / 2)
        return torch.nn.functional.pad(cells.cumsum(-1), (1, 0))


@dataclass(frozen=True)
class SoftplusMixture:
    r"""A positive number :math:`x = s \ln(1 + e^y)`, with y from a mixture of Gaussians.

    So x has the tails of a log-normal near zero, and of a normal far from it.
    """

    logits: Float[Tensor, "*batch parts"]
    mean: Float[Tensor, "*batch parts"]
    std: Float[Tensor, "*batch parts"]
    scale: float

    @staticmethod
    def inverse(x: Values, scale: float) -> Values:
        """Returns y."""
        t = x / scale
        return t + torch.log(-torch.expm1(-t))  # ln(e^t - 1), without the large exponential

    def log_prob(self, x: Values) -> Values:
        """Returns the log-density with respect to `x`, in nats."""
        y = self.inverse(x, self.scale)
        return self._log_prob(y) + x / self.scale - y - math.log(self.scale)

    def cdf(self, x: Values) -> Values:
        """Returns the probability below `x`."""
        return self._cdf(self.inverse(x, self.scale))

    def quantile(self, u: Values) -> Values:
        r"""Returns where the probability below is `u`, by bisection.

        One step of Newton, whose value changes nothing, gives the gradient
        :math:`\partial y = (\partial u - \partial F) / p` of the implicit function.
        """
        with torch.no_grad():
            reach = 6 * self.std
            low, high = (self.mean - reach).amin(-1), (self.mean + reach).amax(-1)
            for _ in range(30):
                middle = (low + high) / 2
                below = self._cdf(middle) < u
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            y = (low + high) / 2
            slope = self._log_prob(y).exp().clamp_min(1e-12)
        gap = u - self._cdf(y) if torch.is_grad_enabled() else y.new_zeros(())
        return self.scale * torch.nn.functional.softplus(y + (gap - gap.detach()) / slope)

    def typical(self) -> Values:
        """Returns the value at the mean of y: close to the median, and cheaper."""
        y = (self.logits.softmax(-1) * self.mean).sum(-1)
        return self.scale * torch.nn.functional.softplus(y)

    def _standard(self, y: Values) -> Float[Tensor, "*batch parts"]:
        return (y[..., None] - self.mean) / self.std

    def _log_prob(self, y: Values) -> Values:
        parts = self.logits.log_softmax(-1) - self.std.log() - self._standard(y).square() / 2
        return parts.logsumexp(-1) - math.log(2 * math.pi) / 2

    def _cdf(self, y: Values) -> Values:
        return (self.logits.softmax(-1) * torch.special.ndtr(self._standard(y))).sum(-1)
