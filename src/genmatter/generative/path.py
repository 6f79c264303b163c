r"""Gaussian paths from data to noise: :math:`x_t = \alpha(t)\, x + \sigma(t)\, \epsilon`.

A path says how fast data are lost, and which noise levels matter: `at` spreads shares u of the
way, 0 at the cleanest level that is learned and 1 at pure noise, over t. Training draws u
evenly, and samplers walk down an even grid of it.

References:
    | Flow matching for generative modeling (Lipman et al., 2023) https://arxiv.org/abs/2210.02747
    | Stochastic interpolants (Albergo et al., 2023) https://arxiv.org/abs/2303.08797
"""

__all__ = ["Arc", "Betas", "Line", "Path"]

import abc
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

Levels = Float[Tensor, "*batch"]


class Path(nn.Module, abc.ABC):
    """How data turn into noise as t grows from 0."""

    @abc.abstractmethod
    def at(self, u: Levels) -> Levels:
        """Returns t at shares u of the way."""

    @abc.abstractmethod
    def forward(self, t: Levels) -> tuple[Levels, Levels]:
        r"""Returns :math:`\alpha` and :math:`\sigma`."""

    @abc.abstractmethod
    def rates(self, t: Levels) -> tuple[Levels, Levels]:
        r"""Returns :math:`\alpha'` and :math:`\sigma'`, per unit of t."""


class Arc(Path):
    r""":math:`x_t = \cos(t)\, x + \sin(t)\, \epsilon`, t up to a quarter turn.

    Data of unit covariance keep it all along the path. The velocity :math:`dx_t/dt` of the best
    linear model is then zero, so that a network learns only what is not Gaussian, and a solver
    that takes large steps in t errs only there. Levels are even in :math:`\ln\tan t`, the log of
    noise over signal.

    Args:
        low: Noise over signal at the cleanest level.
        high: The same at the start of sampling, where data are as good as lost.

    References:
        | Progressive distillation (Salimans & Ho, 2022), the angular parameterisation
        | https://arxiv.org/abs/2202.00512
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = math.log(low), math.log(high)

    def at(self, u: Levels) -> Levels:
        return (self.low + u * (self.high - self.low)).exp().atan()

    def forward(self, t: Levels) -> tuple[Levels, Levels]:
        return t.cos(), t.sin()

    def rates(self, t: Levels) -> tuple[Levels, Levels]:
        return -t.sin(), t.cos()


class Line(Path):
    r""":math:`x_t = (1 - t)\, x + t\, \epsilon`, with t even over its way from `low` to 1.

    References:
        Flow straight and fast (Liu et al., 2023) https://arxiv.org/abs/2209.03003
    """

    def __init__(self, low: float) -> None:
        super().__init__()
        self.low = low

    def at(self, u: Levels) -> Levels:
        return self.low + u * (1 - self.low)

    def forward(self, t: Levels) -> tuple[Levels, Levels]:
        return 1 - t, t

    def rates(self, t: Levels) -> tuple[Levels, Levels]:
        return -torch.ones_like(t), torch.ones_like(t)


class Betas(Path):
    r"""The discrete path of DDPM: :math:`\alpha_t^2 = \prod_{s \le t} (1 - \beta_s)`, t = 1 .. T.

    Betas rise linearly. Between the integers :math:`\ln\alpha^2` is interpolated, so that the ODE
    has a path to follow too.

    Args:
        steps: T.
        start: The first beta.
        end: The last one.

    References:
        | Denoising diffusion probabilistic models (Ho et al., 2020)
        | https://arxiv.org/abs/2006.11239
    """

    log_signal: Tensor

    def __init__(self, steps: int, start: float, end: float) -> None:
        super().__init__()
        self.steps = steps
        betas = torch.linspace(start, end, steps, dtype=torch.float64)
        total = nn.functional.pad(torch.log1p(-betas).cumsum(0), (1, 0))
        self.register_buffer("log_signal", total.float())

    def at(self, u: Levels) -> Levels:
        return (u * self.steps).floor().clamp(max=self.steps - 1) + 1

    def forward(self, t: Levels) -> tuple[Levels, Levels]:
        signal, _ = self._log_signal(t)
        return (signal / 2).exp(), (-torch.expm1(signal)).sqrt()

    def rates(self, t: Levels) -> tuple[Levels, Levels]:
        signal, slope = self._log_signal(t)
        alpha, sigma = self(t)
        return alpha * slope / 2, -signal.exp() * slope / (2 * sigma.clamp_min(1e-6))

    def _log_signal(self, t: Levels) -> tuple[Levels, Levels]:
        k = t.floor().clamp(0, self.steps - 1).long()
        slope = self.log_signal[k + 1] - self.log_signal[k]
        return self.log_signal[k] + slope * (t - k), slope
