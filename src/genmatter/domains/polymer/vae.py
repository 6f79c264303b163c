r"""Variational auto-encoder of bead-spring polymers.

With the `internal` representation chains grow bead by bead (`growth`), and the latent is the
sketch of their shape. Its objective is the negative ELBO plus the error of that sketch: a
decoder that sees the past can do without a latent, and the bound does not care; the sketch
says what the latent is to be about.

With the `cartesian` one the likelihood is :math:`\mathcal N(f(z), s^2)` of the aligned
coordinates, with :math:`s` learned, or the width that the walkthrough's beta stands for.
"""

__all__ = ["Beads", "CartesianDecoder", "ChainEncoder", "build"]

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmatter.domains.polymer.config import PolymerVAEConfig
from genmatter.domains.polymer.growth import Growth
from genmatter.domains.polymer.reference import (
    Decoder,
    Encoder,
    meaning_of_beta,
    start_linear,
)
from genmatter.domains.polymer.represent import Cartesian, ChainBatch, Internal
from genmatter.errors import ConfigError
from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE
from genmatter.maths.gaussian import DiagonalGaussian, ramp

_SKETCH_FALL = 0.6  # share of the epochs in which the sketch's weight goes from start to end


class ChainEncoder(nn.Module):
    """q(z|x), from whatever numbers of a chain the network is shown."""

    def __init__(self, net: Encoder, features: Callable[[ChainBatch], Tensor]) -> None:
        super().__init__()
        self.net, self.features = net, features

    def forward(self, batch: ChainBatch) -> DiagonalGaussian:
        mean, std = self.net(self.features(batch))
        return DiagonalGaussian(mean, std + 1e-6)  # softplus reaches zero in float32


@dataclass(frozen=True)
class Beads:
    """A Gaussian of the coordinates."""

    x: DiagonalGaussian

    def log_prob(self, batch: ChainBatch) -> Tensor:
        return self.x.log_prob(batch.x)

    def sample(self) -> ChainBatch:
        return ChainBatch(self.x.rsample())

    def mode(self) -> ChainBatch:
        return ChainBatch(self.x.mean)


class CartesianDecoder(nn.Module):
    """The means of coordinates, and one width for all of them, learned or given."""

    log_width: Tensor

    def __init__(self, net: Decoder, width: float, *, learned: bool) -> None:
        super().__init__()
        self.net = net
        log_width = torch.tensor([math.log(width)])
        if learned:
            self.log_width = nn.Parameter(log_width)
        else:
            self.register_buffer("log_width", log_width)

    def forward(self, z: Tensor, given: ChainBatch, epoch: float) -> Beads:
        del given, epoch
        return Beads(DiagonalGaussian(self.net(z), self.log_width.exp()))


def features(representation: Internal, batch: ChainBatch) -> Tensor:
    """Returns aligned coordinates and bonds, in mean bonds, and the angles on their circles."""
    chain = representation.split(batch)
    x = representation.rough(batch).flatten(1)
    angles = torch.cat([chain.bends, chain.turns], -1)
    return torch.cat([x, chain.bonds / representation.bond, angles.cos(), angles.sin()], -1)


def build(config: PolymerVAEConfig, representation: Cartesian | Internal) -> VAE:
    """Returns an untrained model."""
    if config.linear_start and isinstance(representation, Internal):
        raise ConfigError("a linear start needs --representation cartesian")
    make = _growing if isinstance(representation, Internal) else _cartesian
    return make(config, representation)  # pyright: ignore[reportArgumentType]


def _growing(config: PolymerVAEConfig, representation: Internal) -> VAE:
    c, r = config, representation
    decoder = Growth(r, c.latent_dim, c.hidden_dim, c.memory, c.grid)
    fall = _SKETCH_FALL * c.optim.epochs
    sketch = lambda epoch: ramp(epoch, c.sketch_start, c.sketch, fall)
    inputs = r.beads * r.dim + sum(r.widths) + sum(r.widths[1:])
    return _model(
        c, Encoder(inputs, c.hidden_dim, c.latent_dim, c.posterior),
        lambda batch: features(r, batch), decoder, c.beta, c.beta_start,
        {"sketch": (sketch, decoder.sketch_error)},
    )  # fmt: skip


def _cartesian(config: PolymerVAEConfig, representation: Cartesian) -> VAE:
    """With fixed noise beta sets the width, and the weight of the KL is 1 when it has risen."""
    c, size, fixed = config, representation.width, config.noise == "fixed"
    if fixed and c.beta <= 0:
        raise ConfigError(
            f"with fixed noise beta is its width: beta must be above 0, got {c.beta}"
        )
    width = meaning_of_beta(c.beta, size, c.latent_dim) if fixed else 0.3
    unit = c.beta if fixed else 1.0
    decoder = CartesianDecoder(Decoder(c.latent_dim, c.hidden_dim, size), width, learned=not fixed)
    encoder = Encoder(size, c.hidden_dim, c.latent_dim, c.posterior)
    model = _model(
        c, encoder, lambda batch: batch.x, decoder, c.beta / unit, c.beta_start / unit, {}
    )
    if c.linear_start:
        model.start = lambda batches: _linear(encoder, decoder, batches, width if fixed else None)
    return model


def _linear(
    encoder: Encoder, decoder: CartesianDecoder, batches: Iterable[ChainBatch], width: float | None
) -> None:
    x = torch.cat([batch.x for batch in batches])
    width = start_linear(encoder, decoder.net, x, width)
    decoder.log_width.fill_(math.log(width))


def _model(
    c: PolymerVAEConfig, encoder: Encoder, features: Callable[[ChainBatch], Tensor],
    decoder: nn.Module, beta: float, start: float, penalties: dict,
) -> VAE:  # fmt: skip
    return VAE(
        encoder=ChainEncoder(encoder, features),
        decoder=decoder,
        shape=lambda given: (len(given), c.latent_dim),
        prior=MixturePrior(c.latent_dim, c.prior_parts),
        beta=lambda epoch: ramp(epoch, start, beta, c.beta_warmup_epochs),
        free_bits=c.free_bits,
        penalties=penalties,
        temperature=c.sampling.temperature,
        noise=c.sampling.draw == "sample",
    )
