r"""Diffusion and flow matching: a path, a denoiser and a sampler, each an object of its own.

A network learns one of the linear combinations of data and noise that a `Target` names, by
least squares; from its answer and the state both the data and the noise follow. So a network
serves every path, and a trained one every sampler.

References:
    | Denoising diffusion probabilistic models (Ho et al., 2020) https://arxiv.org/abs/2006.11239
    | Flow matching for generative modeling (Lipman et al., 2023) https://arxiv.org/abs/2210.02747
"""

__all__ = ["Chart", "Denoiser", "Diffusion", "Target", "data", "noise", "velocity"]

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.generative.path import Levels, Path
from genmatter.generative.sampler import (
    Estimate,
    Sampler,
    State,
    drift_of,
    flow,
    flow_with_divergence,
)
from genmatter.loading.batch import Batch
from genmatter.spine import Generative, Loss

_LOOKS = 4  # draws of the data that a state could come from
_FARTHEST = 4.0  # standard deviations of them that steering moves their mean

Target = Callable[[Path, Levels], tuple[Levels, Levels]]
r"""What a network is to say: the a and b of :math:`a x + b \epsilon`."""


def velocity(path: Path, t: Levels) -> tuple[Levels, Levels]:
    r"""Asks for :math:`dx_t/dt = \alpha' x + \sigma' \epsilon`: flow matching."""
    return path.rates(t)


def noise(path: Path, t: Levels) -> tuple[Levels, Levels]:
    r"""Asks for :math:`\epsilon`, as DDPM does."""
    del path
    return torch.zeros_like(t), torch.ones_like(t)


def data(path: Path, t: Levels) -> tuple[Levels, Levels]:
    r"""Asks for x."""
    del path
    return torch.ones_like(t), torch.zeros_like(t)


class Denoiser(nn.Module):
    """A network with what its answers mean.

    Args:
        net: States [n, ...], levels [n] or [1], the batch of what is given -> answers like states.
        path: Where levels and states come from.
        target: What the answers stand for.
    """

    def __init__(self, net: nn.Module, path: Path, target: Target) -> None:
        super().__init__()
        self.net, self.path, self.target = net, path, target

    def gap(self, x: State, eps: State, t: Float[Tensor, " n"], given: Any) -> State:
        """Returns by how much each answer is off."""
        alpha, sigma = (_like(c, x) for c in self.path(t))
        a, b = (_like(c, x) for c in self.target(self.path, t))
        answer = self.net(alpha * x + sigma * eps, t, given)
        return answer - (a * x + b * eps)

    def error(
        self, x: State, eps: State, t: Float[Tensor, " n"], given: Any
    ) -> Float[Tensor, " n"]:
        """Returns the squared error of each answer, summed over its numbers."""
        return self.gap(x, eps, t, given).square().flatten(1).sum(1)

    def forward(self, x: State, t: Tensor, given: Any) -> Estimate:
        """Returns the means of data and noise given a state at a level."""
        answer = self.net(x, t.reshape(1), given)
        (alpha, sigma), (a, b) = self.path(t), self.target(self.path, t)
        det = alpha * b - sigma * a
        return Estimate((b * x - sigma * answer) / det, (alpha * answer - a * x) / det)


@runtime_checkable
class Chart(Protocol):
    """Euclidean coordinates of batches, in which they are diffused."""

    def to_state(self, batch: Any) -> Tensor: ...
    def to_batch(self, x: Tensor, given: Any) -> Any: ...
    def log_volume(self, batch: Any) -> Tensor:
        """Returns what turns the log-density of states into that of batches, in nats."""
        ...


class Diffusion(Generative):
    """One model for every domain whose batches have Euclidean coordinates.

    Args:
        denoiser: The network, its path and its target.
        chart: batch <-> coordinates.
        sampler: How noise is turned into samples.
        hide: batch, share -> batch in which that share of the conditions is hidden.
        hidden: The share that training hides. Latents and likelihoods know of none.
        antithetic: Show each example under a noise and its opposite. At low noise the two
            errors' leading parts cancel in the gradient, which is most of its variance.
        latent_steps: Steps of the flow to and from the latent, and of the likelihood.
    """

    exact_likelihood = True

    def __init__(
        self,
        denoiser: Denoiser,
        chart: Chart,
        sampler: Sampler,
        *,
        hide: Callable[[Any, float], Any] = lambda batch, share: batch,
        hidden: float = 0.0,
        antithetic: bool = True,
        latent_steps: int = 20,
    ) -> None:
        super().__init__()
        self.denoiser, self.chart, self.sampler = denoiser, chart, sampler
        self.hide, self.hidden = hide, hidden
        self.antithetic, self.latent_steps = antithetic, latent_steps

    @property
    def network_calls(self) -> int:
        """How often a sample asks the network."""
        return self.sampler.steps

    def loss(self, batch: Batch, epoch: float) -> Loss:
        """Returns the term `denoising`: the squared error of the target, over all numbers.

        Levels are an even grid over the batch with one random offset, dealt out at random. The
        mean of this error is no bound on a likelihood, and most of it is noise that no network
        can know.
        """
        del epoch
        x = self.chart.to_state(batch)
        if self.training:
            batch = self.hide(batch, self.hidden)
        n = len(x)
        u = (torch.randperm(n, device=x.device) + torch.rand(1, device=x.device)) / max(n, 1)
        t, eps = self.denoiser.path.at(u.to(x)), torch.randn_like(x)
        if not self.antithetic:
            return Loss({"denoising": self.denoiser.error(x, eps, t, batch)}, {})
        both = type(batch).cat([batch, batch])
        error = self.denoiser.error(torch.cat([x, x]), torch.cat([eps, -eps]), t.repeat(2), both)
        return Loss({"denoising": error.view(2, n).mean(0)}, {})

    @torch.no_grad()
    def sample(self, given: Batch) -> Batch:
        """Draws noise, and walks down the path."""
        x = torch.randn_like(self.chart.to_state(given))
        walked = self.sampler(lambda x, t: self.denoiser(x, t, given), self.denoiser.path, x)
        return self.chart.to_batch(walked, given)

    def steer(
        self, given: Batch, measure: Callable[[Any], Tensor], value: float, width: float
    ) -> Batch:
        r"""Draws from :math:`p(x)\, e^{-(f(x) - y)^2 / 2 w^2}`, about.

        At each level the mean and variance of f over the data that a state could come from are
        those over a few draws from :math:`\mathcal N(\hat x, r^2)`, :math:`r^2 = \sigma^2 /
        (\alpha^2 + \sigma^2)`. The gradient of :math:`(\bar f - y)^2 / 2 (w^2 + \mathrm{Var} f)`
        is added to the score, but moves the data by four deviations r at most: where two parts
        of a thing are about to collide, the network's own slope has no bound. All this is biased
        where f is not nearly linear over such draws.

        Args:
            given: What is known of each row.
            measure: The differentiable number f of each row of a batch.
            value: The y that is wanted of it.
            width: w, how closely.

        References:
            | Diffusion posterior sampling (Chung et al., 2023) https://arxiv.org/abs/2209.14687
            | Loss-guided diffusion models for plug-and-play controllable generation (Song et al.,
            | 2023) https://proceedings.mlr.press/v202/song23k.html
        """

        def field(x: Tensor, t: Tensor) -> Estimate:
            alpha, sigma = self.denoiser.path(t)
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                found = self.denoiser(x, t, given)
                could = [
                    found.data + sigma / torch.hypot(alpha, sigma) * torch.randn_like(x)
                    for _ in range(_LOOKS)
                ]
                f = torch.stack([measure(self.chart.to_batch(c, given)) for c in could])
                spread = width**2 + f.detach().var(0)
                cost = ((f.mean(0) - value).square() / (2 * spread)).sum()
                (slope,) = torch.autograd.grad(cost, x)
            shift = sigma.square() / alpha.clamp_min(1e-6) * slope
            most = _FARTHEST * sigma / torch.hypot(alpha, sigma)
            shift = (
                shift
                * (most / shift.flatten(1).norm(dim=1).clamp_min(1e-12)).clamp(max=1)[:, None]
            )
            data, noise = found.data.detach(), found.noise.detach()
            return Estimate(data - shift, noise + alpha / sigma * shift)

        x = torch.randn_like(self.chart.to_state(given))
        with torch.no_grad():
            return self.chart.to_batch(self.sampler(field, self.denoiser.path, x), given)

    def to_latent(self, batch: Batch) -> Tensor:
        """Follows the probability flow up to the noise that a batch comes from."""
        x = self.chart.to_state(batch)
        return flow(self._drift(batch), self._levels(x), x)

    def from_latent(self, z: Tensor, given: Batch) -> Batch:
        """Follows it down; inverts `to_latent` up to the error of the solver."""
        x = flow(self._drift(given), self._levels(z).flip(0), z)
        return self.chart.to_batch(x, given)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, importance: int = 1) -> Tensor:
        r"""Returns log p(x) of each example under the probability flow, in nats.

        :math:`\log p(x_0) = \log \mathcal{N}(x_1) + \int \nabla \cdot v\, dt`, with the exact
        divergence; its only error is the solver's. `importance` changes nothing.

        References:
            | Neural ordinary differential equations (Chen et al., 2018), theorem 1
            | https://arxiv.org/abs/1806.07366
        """
        del importance
        x = self.chart.to_state(batch)
        z, total = flow_with_divergence(self._drift(batch), self._levels(x), x)
        size = x[0].numel()
        normal = -(z.square().flatten(1).sum(1) + size * math.log(2 * math.pi)) / 2
        return normal + total + self.chart.log_volume(batch)

    def _levels(self, x: Tensor) -> Tensor:
        u = torch.linspace(0, 1, self.latent_steps + 1, dtype=x.dtype, device=x.device)
        return self.denoiser.path.at(u)

    def _drift(self, given: Any) -> Callable[[State, Tensor], State]:
        given = self.hide(given, 1.0)
        return drift_of(lambda x, t: self.denoiser(x, t, given), self.denoiser.path)

    @torch.no_grad()
    def diagnostics(self, batch: Batch) -> dict[str, float]:
        """Returns the error of the denoiser in each quarter of the way, cleanest first."""
        x = self.chart.to_state(batch)
        found = {}
        for k in range(4):
            u = (k + torch.rand(len(x), device=x.device)) / 4
            t = self.denoiser.path.at(u.to(x))
            error = self.denoiser.error(x, torch.randn_like(x), t, batch)
            found[f"denoising_quarter_{k + 1}"] = error.mean().item()
        return found


def _like(c: Float[Tensor, " n"], x: Tensor) -> Tensor:
    return c.reshape(-1, *[1] * (x.ndim - 1))
