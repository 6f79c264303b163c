r"""p(x | z, c): a distribution of token sequences, and how it is shown sequences in training.

Scheduled sampling shows the decoder its own tokens in place of some true ones. Token by token it
draws each from what it has just said; in parallel it draws all of them in a first pass over the
true ones, and shows the mixture in a second one.

References:
    | Scheduled sampling for sequence prediction with recurrent neural networks (Bengio et al.,
    | 2015) https://arxiv.org/abs/1506.03099
    | Parallel scheduled sampling (Duckworth et al., 2019) https://arxiv.org/abs/1906.04331
"""

__all__ = ["Forcing", "Sequences"]

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmatter.domains.molecule.network import TokenDecoder
from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.domains.molecule.shown import Shown
from genmatter.domains.molecule.tokens import BLANK, END, PAD, START
from genmatter.generative.decoding import Choice, Ends, State, Step, beam, draw


@dataclass(frozen=True)
class Lesson:
    """A decoder, what it reads, and the tokens that it is to write."""

    decoder: TokenDecoder
    z: Tensor
    told: Tensor
    true: Tensor
    """The token before each place."""
    blank: float
    """Share of the tokens that are shown as BLANK."""

    def logits(self, shown: Tensor) -> Tensor:
        """Returns the logits at every place, where some of what is shown is blank."""
        return self.decoder(self.dimmed(shown), self.z, self.told)

    def dimmed(self, shown: Tensor) -> Tensor:
        """Blanks tokens by chance, but what begins a sequence (Bowman et al., 2016)."""
        if not self.blank:
            return shown
        gone = (torch.rand(shown.shape, device=shown.device) < self.blank) & (shown != START)
        return shown.masked_fill(gone, BLANK)


Forcing = Callable[[Lesson, float], Tensor]
"""Lesson, share of true tokens -> logits."""


def before(tokens: Tensor) -> Tensor:
    """Returns the token before each place."""
    return nn.functional.pad(tokens.long()[:, :-1], (1, 0), value=START)


def full(lesson: Lesson, share: float) -> Tensor:
    """Shows true tokens."""
    del share
    return lesson.logits(lesson.true)


def parallel(lesson: Lesson, share: float) -> Tensor:
    """Draws every token in a pass over the true ones, and shows a mixture in a second pass."""
    with torch.no_grad():
        logits = lesson.logits(lesson.true)
        drawn = Choice()(logits.flatten(0, 1)).view_as(lesson.true)
    return lesson.logits(_mixed(lesson.true, before(drawn), share))


def sequential(lesson: Lesson, share: float) -> Tensor:
    """Shows each token drawn from the logits just before, or the true one."""
    true, found = lesson.true, []
    state, shown = lesson.decoder.first(lesson.z, lesson.told), true[:, 0]
    for place in range(true.shape[1]):
        logits, state = lesson.decoder.step(lesson.dimmed(shown), state)
        found.append(logits)
        if place + 1 < true.shape[1]:
            shown = _mixed(true[:, place + 1], Choice()(logits.detach()), share)
    return torch.stack(found, 1)


FORCINGS: dict[str, Forcing] = {"full": full, "parallel": parallel, "sequential": sequential}
"""The ways to show sequences, by name."""


def _mixed(true: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Shows true tokens with a probability of `share`; what begins a sequence always."""
    keep = (torch.rand(true.shape, device=true.device) < share) | (true == START)
    return torch.where(keep, true, drawn)


@dataclass(frozen=True)
class Sequences:
    """Token sequences at some latents. PAD, START and BLANK are never written.

    Args:
        decoder: What says the next token.
        z: Latents [n, units].
        given: What is told of each molecule.
        longest: Tokens at which a sequence is given up.
        choice: How tokens are drawn.
        width: Of a beam search; 0 draws.
        guidance: How far logits move from those without properties to those with, and beyond.
        forcing: What training shows; true tokens otherwise.
        share: Share of true tokens among them.
        blank: Share of the tokens shown that are blank.
    """

    decoder: TokenDecoder
    z: Tensor
    given: Shown
    longest: int
    choice: Choice
    width: int = 0
    guidance: float = 1.0
    forcing: Forcing = full
    share: float = 1.0
    blank: float = 0.0

    def log_prob(self, batch: MoleculeBatch) -> Tensor:
        """Returns the log-probability of each sequence up to END, in nats."""
        return -self.surprise(batch).sum(1)

    def surprise(self, batch: MoleculeBatch) -> Tensor:
        """Returns minus the log-probability of each token, [n, places].

        It is 0 where padded, and where a token is blank: of that nothing is known.
        """
        told = self.given.told
        lesson = Lesson(self.decoder, self.z, told, before(batch.tokens), self.blank)
        logits = self.forcing(lesson, self.share)
        counted = batch.mask & (batch.tokens != BLANK)
        targets = torch.where(counted, batch.tokens, END).long()
        each = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), reduction="none"
        )
        return each.view_as(counted) * counted

    def sample(self) -> Shown:
        """Draws sequences, or searches the likeliest ones."""
        return self.likeliest(self.width) if self.width else self._batch(self._drawn(self.choice))

    def mode(self) -> Shown:
        """Takes the likeliest token each time, or searches."""
        if self.width > 1:
            return self.likeliest(self.width)
        return self._batch(self._drawn(Choice(0.0)))

    def likeliest(self, width: int) -> Shown:
        """Returns what a beam search of that width finds."""
        return self._batch(beam(*self._steps, self._ends, width))

    def _drawn(self, choice: Choice) -> Tensor:
        return draw(*self._steps, self._ends, choice)

    @property
    def _steps(self) -> tuple[Step, State]:
        r"""Returns what says the next token, and what it begins with.

        With guidance w the logits are :math:`l(\varnothing) + w (l(c) - l(\varnothing))`, of
        the decoder that is told nothing and the one that is told c (as Ho & Salimans, 2022, have
        it for scores, https://arxiv.org/abs/2207.12598).
        """
        told, k = self.given.told, 2 * self.given.wanted.shape[1]
        first = self.decoder.first(self.z, told)
        if self.guidance == 1 or not bool(told[:, k // 2 : k].any()):
            return self.decoder.step, first
        untold = told.clone()
        untold[:, :k] = 0.0
        size = len(first)

        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            with_, state_with = self.decoder.step(tokens, state[:size])
            without, state_without = self.decoder.step(tokens, state[size:])
            logits = with_ + (self.guidance - 1) * (with_ - without).nan_to_num()
            return logits, (*state_with, *state_without)

        return step, (*first, *self.decoder.first(self.z, untold))

    @property
    def _ends(self) -> Ends:
        return Ends(START, END, PAD, self.longest)

    def _batch(self, tokens: Tensor) -> Shown:
        return self.given.replace(tokens=tokens, mask=tokens != PAD)
