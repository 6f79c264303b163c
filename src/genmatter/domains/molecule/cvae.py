r"""Autoregressive conditional variational auto-encoder of SELFIES.

.. math::
    \log p(x|c) \ge \mathrm{E}_{q(z|x,c)} \log p(x|z,c) - \beta\, \mathrm{KL}(q \parallel p(z))

An LSTM reads the tokens x with the properties c; another writes them one by one, and is told z and
c at every step. Training hides properties by chance, and the networks are told which.

With :math:`\beta = 1` this is the ELBO. With a small :math:`\beta` a latent says nearly all of a
molecule, and copies are good; but the prior knows little of where such latents lie, and samples
are not. With a large one the latent says little and the prior is right about it: the decoder
knows from the tokens before and the properties. So the networks are told :math:`\beta` and trained
at all of a range: one model that samples at one end of it, and encodes, moves and decodes at the
other, with all rates between them a matter of a sampling option.

References:
    | Generating sentences from a continuous space (Bowman et al., 2016)
    | https://arxiv.org/abs/1511.06349
    | Molecular generative model based on conditional variational autoencoder (Lim et al., 2018)
    | https://doi.org/10.1186/s13321-018-0286-7
    | Multi-rate VAE: train once, get the full rate-distortion curve (Bae et al., 2023)
    | https://arxiv.org/abs/2212.03905
"""

__all__ = ["MoleculeCVAE", "build"]

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.following import Follower
from genmatter.domains.molecule.network import MoleculeEncoder, TokenDecoder
from genmatter.domains.molecule.openings import Openings
from genmatter.domains.molecule.represent import MoleculeBatch, MoleculeTokens
from genmatter.domains.molecule.sequences import FORCINGS, Sequences
from genmatter.domains.molecule.shown import Levels, Shown, hidden, reordered, spliced
from genmatter.domains.molecule.syntax import Grammar
from genmatter.domains.molecule.tally import Tally
from genmatter.domains.molecule.terms import penalties
from genmatter.errors import ConfigError
from genmatter.generative.decoding import Choice
from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE
from genmatter.maths.gaussian import ramp
from genmatter.nn.mlp import mlp
from genmatter.spine import Generative, Loss

_LEAST = 1.001  # times the lowest level is that level, whatever its rounding


@dataclass(frozen=True)
class Showing:
    """What training shows instead of its examples, and how.

    Args:
        hide: Chance that each property is hidden.
        reorder: Share of the molecules that are written in another order.
        splice: Share of the sequences to be copied that are made of parts of two.
        words: Share of the tokens shown to the decoder that are blank.
        forcing: How its own tokens are shown.
        share: epoch -> share of true tokens.
    """

    hide: float
    reorder: float
    splice: float
    words: float
    forcing: str
    share: Callable[[float], float]


class MoleculeCVAE(Generative[MoleculeBatch]):
    """A VAE of token sequences that is told properties, and the weight of its KL.

    Args:
        vae: Over what is shown.
        predictor: z and what is told of the level -> properties.
        representation: Names and scales of the properties.
        levels: The weights of the KL that the model works at, and where it does what.
        showing: What training shows.
        warm: epoch -> share of the KL's weight that is charged.
    """

    watched = True

    def __init__(
        self,
        vae: VAE,
        predictor: nn.Module,
        representation: MoleculeTokens,
        levels: Levels,
        showing: Showing,
        warm: Callable[[float], float],
    ) -> None:
        super().__init__()
        self.vae, self.predictor = vae, predictor
        self.names = representation.properties
        self.register_buffer("means", torch.tensor(representation.means))
        self.register_buffer("scales", torch.tensor(representation.scales))
        self.levels, self.showing, self.warm = levels, showing, warm

    means: Tensor
    scales: Tensor

    def loss(self, batch: MoleculeBatch, epoch: float) -> Loss:
        """Returns the terms of the VAE, each in nats per molecule.

        `reconstruction` is minus the log-probability of the tokens, `kl` that to N(0, I), and
        `free_bits` what its units lack to their allowance; `information` is minus the mutual
        information of molecule and latent over the batch, and `collapse` what that lacks to its
        target; `properties` is minus the log-density of the properties around what is predicted
        of them, with a width of one standard deviation, up to a constant. In training the KL's
        weight differs from one molecule to the next.
        """
        if self.training:
            batch, level, real = self._taught(batch)
        else:
            real = torch.ones(len(batch), dtype=torch.bool, device=batch.wanted.device)
            level = self.levels.at(self.levels.end, len(batch), batch.wanted.device)
        found = self.vae.loss(self.levels.show(batch, level, real), epoch)
        weight = self.warm(epoch) * level
        charged = {k: weight for k in ("kl", "free_bits") if k in found.terms}
        return Loss(found.terms, {**found.weights, **charged})

    def _taught(self, batch: MoleculeBatch) -> tuple[MoleculeBatch, Tensor, Tensor]:
        """Returns what training shows, its levels, and which rows are told to be of the data.

        What is to be copied is shown as it will be asked for: without properties, and as any
        sequence. Of what they take for the data's, networks recall what they know by heart.
        """
        level = self.levels.drawn(len(batch), batch.wanted.device)
        copied = level <= self.levels.least * _LEAST
        hide = torch.full_like(level, self.showing.hide)
        any_ = copied if self.showing.splice else torch.zeros_like(copied)
        batch = hidden(batch, torch.where(any_, 1.0, hide) if self.showing.hide else hide)
        batch, same = reordered(batch, self.showing.reorder)
        batch, whole = spliced(batch, self.showing.splice * copied)
        return batch, level, whole & same & ~any_

    def course(self, epoch: float) -> dict[str, float]:
        """Returns the largest weight of the KL, and the share of true tokens that are shown."""
        return {
            "beta": self.warm(epoch) * self.levels.end,
            "teacher_forcing": self.showing.share(epoch),
        }

    @torch.no_grad()
    def sample(self, given: MoleculeBatch) -> MoleculeBatch:
        """Draws latents from the prior, and tokens at them and the properties that are known."""
        drawn = self.vae.sample(self._shown(given, self.levels.draw))
        return _plain(drawn, given)

    def begin(self, batches: Iterable[MoleculeBatch]) -> None:
        """Fits what tokens take of each property, where the decoder is told."""
        self.vae.begin(batches)

    def finish(self, batches: Iterable[MoleculeBatch]) -> None:
        """Fits the prior to latents of the level at which samples are drawn, if it has parts."""
        self.vae.finish(self._shown(batch, self.levels.draw) for batch in batches)

    @torch.no_grad()
    def diagnostics(self, batch: MoleculeBatch) -> dict[str, float]:
        """Says how much the latent is used where molecules are drawn, and where encoded."""
        found = self.vae.diagnostics(self._copied(batch))
        if self.levels.latent == self.levels.draw:
            return found
        drawn = self.vae.diagnostics(self._shown(batch, self.levels.draw))
        return found | {f"drawn_{k}": v for k, v in drawn.items() if "unit_" not in k}

    def to_latent(self, batch: MoleculeBatch) -> Tensor:
        """Returns the mean of q(z|x), where latents say most."""
        return self.vae.to_latent(self._copied(batch))

    def from_latent(self, z: Tensor, given: MoleculeBatch) -> MoleculeBatch:
        """Returns the likeliest tokens at a latent, one after the other."""
        with torch.no_grad():
            copy = self.vae.from_latent(z, self._copied(given))
        return _plain(copy, given)

    def log_likelihood(self, batch: MoleculeBatch, importance: int = 1) -> Tensor:
        """Returns a bound on log p(x|c) of each molecule, in nats; c is what is known of it."""
        return self.vae.log_likelihood(self._shown(batch, self.levels.end), importance)

    def predict(self, z: Tensor) -> dict[str, Tensor]:
        """Returns the properties that latents of molecules have, in their units."""
        level = self.levels.at(self.levels.latent, len(z), z.device)
        found = self.predictor(torch.cat([z, self.levels.written(level)], -1))
        return dict(zip(self.names, (found * self.scales + self.means).unbind(-1), strict=True))

    def _shown(self, batch: MoleculeBatch, beta: float, *, known: bool = True) -> Shown:
        n, device = len(batch), batch.wanted.device
        real = torch.full((n,), known, device=device)
        return self.levels.show(batch, self.levels.at(beta, n, device), real)

    def _copied(self, batch: MoleculeBatch) -> Shown:
        """Shows molecules that are to be copied by their latent alone, as far as the model can.

        Properties are hidden where training hides some. Where it splices, the networks are told
        that these may be any sequences: of what they take for the data's they recall molecules
        that they know by heart, and copy others worse.
        """
        one = torch.ones(len(batch), device=batch.wanted.device)
        batch = hidden(batch, one) if self.showing.hide else batch
        return self._shown(batch, self.levels.latent, known=not self.showing.splice)


def _plain(batch: Any, given: MoleculeBatch) -> MoleculeBatch:
    """Returns what was written, with what was known before."""
    return MoleculeBatch(
        batch.tokens, batch.mask, given.wanted, given.properties, given.others[:, :0]
    )


class Decoder(nn.Module):
    """z, what is shown, epoch -> p(x|z)."""

    def __init__(
        self, net: TokenDecoder, showing: Showing, longest: int, choice: Choice, beam: int,
        guidance: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.net, self.showing, self.longest = net, showing, longest
        self.choice, self.beam, self.guidance = choice, beam, guidance

    def forward(self, z: Tensor, given: Shown, epoch: float) -> Sequences:
        s = self.showing
        free = {"forcing": FORCINGS[s.forcing], "share": s.share(epoch), "blank": s.words}
        return Sequences(
            self.net, z, given, self.longest, self.choice, self.beam, self.guidance,
            **free if self.training else {},
        )  # fmt: skip


def build(config: MoleculeCVAEConfig, representation: MoleculeTokens) -> MoleculeCVAE:
    """Returns an untrained model."""
    c, r, s = config, representation, config.sampling
    _check(c)
    least, most = c.beta_least or c.beta_end, c.beta_most or c.beta_end
    levels = Levels(
        least=least, end=c.beta_end, most=most, draw=s.beta or most, latent=s.latent_beta or least
    )
    share = lambda epoch: ramp(
        epoch, c.teacher_forcing_start, c.teacher_forcing_end, c.optim.epochs
    )
    showing = Showing(
        c.hide_conditions, c.reorder, c.splice, c.word_dropout, c.teacher_forcing, share
    )
    embed = nn.Embedding(r.size, c.embedding_dim)
    nn.init.normal_(embed.weight, std=c.embedding_dim**-0.5)  # they are the output's weights too
    places = min(c.places, r.longest)
    told = 2 * len(r.conditions) + 1 + levels.size
    encoder = MoleculeEncoder(
        embed, told, c.hidden_dim, c.latent_dim, c.num_layers, c.dropout,
        both=c.bidirectional, places=places,
    )  # fmt: skip
    follower = Follower(Grammar(r.pieces))
    tally = Tally(follower, len(r.conditions)) if c.tally else None
    wide = c.decoder_dim or c.hidden_dim
    writer = TokenDecoder(
        embed, told, wide, c.latent_dim, c.num_layers, c.dropout, places=places, follower=follower,
        tally=tally, openings=Openings(follower.grammar, wide) if c.syntax else None,
    )  # fmt: skip
    choice = Choice(s.temperature, s.top_k, s.top_p)
    predictor = mlp(c.latent_dim + levels.size, c.hidden_dim, len(r.properties))
    decoder = Decoder(writer, showing, s.longest or r.longest * 3 // 2, choice, s.beam, s.guidance)
    vae = VAE(
        encoder=encoder,
        decoder=decoder,
        shape=lambda given: (len(given), c.latent_dim),
        prior=MixturePrior(c.latent_dim, c.prior_parts),
        free_bits=c.free_bits,
        penalties=penalties(c, predictor, levels),
        start=tally.fit if tally is not None else lambda batches: None,
        temperature=s.latent_temperature,
    )
    warm = lambda epoch: ramp(
        epoch, c.beta_start / max(c.beta_end, 1e-12), 1.0, c.beta_warmup_epochs
    )
    return MoleculeCVAE(vae, predictor, r, levels, showing, warm)


def _check(c: MoleculeCVAEConfig) -> None:
    """Refuses what cannot be meant.

    Raises:
        ConfigError: Weights, shares or the target of the mutual information are impossible.
    """
    if not 0 <= c.beta_least <= c.beta_end:
        raise ConfigError(f"beta_least should be from 0 to beta_end, got {c.beta_least}")
    if c.beta_most and c.beta_most < c.beta_end:
        raise ConfigError(f"beta_most should be at least beta_end, got {c.beta_most}")
    if c.beta_most > c.beta_end and not c.beta_end > 0:
        raise ConfigError("a range of weights needs a beta_end above 0")
    if c.conditions and not c.hide_conditions and c.sampling.guidance != 1:
        raise ConfigError(
            "a model that is always told its properties cannot be guided away from what it draws "
            f"without: with hide_conditions 0 guidance should be 1, got {c.sampling.guidance:g}"
        )
    most = math.log(c.optim.batch_size)
    if c.lambda_collapse and c.mi_target >= most:
        raise ConfigError(
            f"mi_target is {c.mi_target:g}, but among {c.optim.batch_size} molecules of a batch "
            f"the mutual information is at most ln({c.optim.batch_size}) = {most:.2f}"
        )
    for name in ("hide_conditions", "reorder", "splice", "word_dropout", "dropout"):
        if not 0 <= getattr(c, name) <= 1:
            raise ConfigError(f"{name} is a share from 0 to 1, got {getattr(c, name)}")
