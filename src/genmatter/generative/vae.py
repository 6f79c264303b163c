r"""Variational auto-encoders: a posterior, a likelihood and a prior.

.. math:: \log p(x) \ge \mathrm{E}_{q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \parallel p(z))

The right side is the ELBO, in nats per example. `VAE` serves every domain: its encoder returns
:math:`q(z|x)`, its decoder :math:`p(x|z)`, and that is where domains differ. A latent is a
vector for each example, or for each place of an example whose batch has a mask.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013)
    | https://arxiv.org/abs/1312.6114
"""

__all__ = ["VAE", "Conditional", "Penalty"]

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from genmatter.generative.prior import MixturePrior
from genmatter.loading.batch import Batch
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.maths.information import information
from genmatter.spine import Generative, Loss

Weight = Callable[[float], float]
"""Of an epoch; `inf` means the end."""


@runtime_checkable
class Conditional(Protocol):
    """The distribution of batches at some latent point: p(x | z)."""

    def log_prob(self, batch: Any) -> Tensor: ...
    def sample(self) -> Any: ...
    def mode(self) -> Any: ...


Penalty = Callable[[DiagonalGaussian, Tensor, Any], Tensor]
"""A further term of the objective, of q, z and the batch: one value per example."""


class VAE(Generative):
    """One model for every domain; they differ in the networks and in p(x | z).

    Args:
        encoder: batch -> q(z|x).
        decoder: z, batch of what is given, epoch -> p(x|z).
        shape: batch of what is given -> shape of its latent.
        prior: The distribution of latents; the objective charges the KL to N(0, I) anyway, which
            a prior is until `finish` fits it.
        beta: epoch -> weight of the KL; 1 makes the objective the negative ELBO.
        free_bits: Nats of each latent unit, on average over a batch, that cost nothing.
        penalties: Further terms, by name, each with its weight at an epoch.
        temperature: Standard deviation of the prior that is sampled.
        noise: Whether samples are drawn from p(x|z), or are its mode.
        start: Sets the networks from the training batches, before any gradient.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: Callable[[Any], tuple[int, ...]],
        prior: MixturePrior,
        beta: Weight = lambda epoch: 1.0,
        *,
        free_bits: float = 0.0,
        penalties: Mapping[str, tuple[Weight, Penalty]] | None = None,
        temperature: float = 1.0,
        noise: bool = True,
        start: Callable[[Iterable[Any]], None] = lambda batches: None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.shape, self.beta = shape, beta
        self.free_bits, self.temperature, self.noise = free_bits, temperature, noise
        self.penalties, self.start = dict(penalties or {}), start
        self.parts = nn.ModuleDict(
            {k: p for k, (_, p) in self.penalties.items() if isinstance(p, nn.Module)}
        )

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Sets the networks where there is a way to."""
        self.start(batches)

    def loss(self, batch: Batch, epoch: float) -> Loss:
        """Returns the terms `reconstruction`, `kl`, `free_bits` if there are any, and penalties.

        `free_bits` is what the units of the latent lack to their allowance, so that its sum
        with `kl` is what the objective charges, and `kl` stays what it is (Kingma et al., 2016,
        https://arxiv.org/abs/1606.04934, equation 15).
        """
        q = self.encoder(batch)
        z = q.rsample()
        units = q.kl_per_unit()
        terms = {
            "reconstruction": -self.decoder(z, batch, epoch).log_prob(batch),
            "kl": _per_example(units.sum(-1), batch),
        }
        weights = {"kl": self.beta(epoch)}
        if self.free_bits:
            lack = (self.free_bits - _mean(units, batch)).relu().sum() * _places(units, batch)
            terms["free_bits"], weights["free_bits"] = lack, weights["kl"]
        for name, (weight, penalty) in self.penalties.items():
            terms[name], weights[name] = penalty(q, z, batch), weight(epoch)
        return Loss(terms, weights)

    @torch.no_grad()
    def sample(self, given: Batch) -> Batch:
        """Draws z from the prior and x from p(x|z)."""
        p = self.decoder(self.temperature * self.prior.sample(self.shape(given)), given, math.inf)
        return p.sample() if self.noise else p.mode()

    @torch.no_grad()
    def finish(self, batches: Iterable[Batch]) -> None:
        """Fits the prior to a draw from the posterior of each example."""
        self.prior.fit(torch.cat([_rows(self.encoder(b).rsample(), b) for b in batches]))

    def to_latent(self, batch: Batch) -> Tensor:
        """Returns the mean of q(z|x)."""
        return self.encoder(batch).mean

    def from_latent(self, z: Tensor, given: Batch) -> Batch:
        """Returns the mode of p(x|z); gradients reach z where p(x|z) lets them."""
        return self.decoder(z, given, math.inf).mode()

    def log_likelihood(self, batch: Batch, importance: int = 1) -> Tensor:
        r"""Returns a lower bound on log p(x) of each example, in nats.

        It is :math:`\log \frac1k \sum_{i \le k} p(x|z_i) p(z_i) / q(z_i|x)` with k draws: the ELBO
        (of one draw) for k = 1, and tighter above.

        References:
            | Importance Weighted Autoencoders (Burda et al., 2016)
            | https://arxiv.org/abs/1509.00519
        """
        q = self.encoder(batch)
        bounds = []
        for _ in range(importance):
            z = q.rsample()
            ratio = _per_example(self.prior.log_prob(z) - q.log_prob(z), batch)
            bounds.append(self.decoder(z, batch, math.inf).log_prob(batch) + ratio)
        return torch.stack(bounds).logsumexp(0) - math.log(importance)

    @torch.no_grad()
    def diagnostics(self, batch: Batch) -> dict[str, float]:
        r"""Says how much the latent is used.

        Returns:
            `kl` and `kl_unit_i`, in nats; `active_units`, those whose posterior mean varies by
            more than .01 over the batch (Burda et al., 2016); `mutual_information` of x and z,
            :math:`\mathrm{E} \log q(z|x) / \langle q(z|x') \rangle_{x'}`, which is at most
            :math:`\ln n` for n examples (Hoffman & Johnson, 2016), if rows have one latent each.
        """
        q = self.encoder(batch)
        units = _mean(q.kl_per_unit(), batch)
        found = {"kl": _per_example(q.kl_to_standard(), batch).mean().item()}
        spread = _mean((q.mean - _mean(q.mean, batch)).square(), batch)
        found["active_units"] = float((spread > 0.01).sum())
        if q.mean.ndim == 2:
            found["mutual_information"] = information(q, q.rsample()).mean().item()
        return found | {f"kl_unit_{i}": kl for i, kl in enumerate(units.tolist())}


def _per_example(x: Tensor, batch: Batch) -> Tensor:
    """Sums over the places of each example, where there are places."""
    return x if x.ndim == 1 else (x * batch.tensors["mask"]).sum(1)


def _mean(x: Tensor, batch: Batch) -> Tensor:
    """Averages over examples and their real places."""
    return _rows(x, batch).mean(0)


def _rows(x: Tensor, batch: Batch) -> Tensor:
    """Returns the latent vectors of examples or their real places, one in a row."""
    return x if x.ndim == 2 else x[batch.tensors["mask"]]


def _places(x: Tensor, batch: Batch) -> Tensor:
    """Returns how many latent vectors each example has."""
    return x.new_ones(len(x)) if x.ndim == 2 else batch.tensors["mask"].sum(1).to(x)
