"""What the networks are shown of a batch: a level of detail, hidden properties, splices."""

__all__ = ["Levels", "Shown", "hidden", "reordered", "spliced"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.domains.molecule.represent import MoleculeBatch
from genmatter.domains.molecule.tokens import END, PAD
from genmatter.nn.embed import bumps

_NODES = 6  # bumps that a level is written with
_LOWEST, _HIGHEST = 0.35, 0.55  # shares of the molecules that training shows at the two ends


@dataclass(frozen=True)
class Shown(MoleculeBatch):
    """A batch with all that the networks are told of each row."""

    told: Tensor
    """Properties, whether each is known, whether the molecule is one, and its level."""
    level: Tensor
    """Weight of the KL, [n]."""


@dataclass(frozen=True)
class Levels:
    """The weights of the KL that a model works at.

    Args:
        least: The lowest.
        end: Where it is validated: 1 for the ELBO.
        most: The highest.
        draw: Where samples are drawn.
        latent: Where molecules are encoded and decoded.
    """

    least: float
    end: float
    most: float
    draw: float
    latent: float

    @property
    def size(self) -> int:
        """How many numbers write a level."""
        return _NODES if self.least < self.most else 0

    def at(self, beta: float, n: int, device: torch.device) -> Float[Tensor, " n"]:
        """Returns the same level for each row."""
        return torch.full((n,), beta, device=device)

    def drawn(self, n: int, device: torch.device) -> Float[Tensor, " n"]:
        """Draws levels: most the lowest or the highest, others evenly in their logarithm.

        The two ends are what the model is used at.
        """
        if not self.size:
            return self.at(self.end, n, device)
        u = torch.rand(n, device=device)
        between = ((u - _LOWEST) / (1 - _LOWEST - _HIGHEST)).clamp(0, 1)
        return self.least * (self.most / self.least) ** between

    def written(self, level: Float[Tensor, " n"]) -> Float[Tensor, "n size"]:
        """Returns levels as networks read them."""
        if not self.size:
            return level.new_zeros(len(level), 0)
        u = (level / self.least).log() / math.log(self.most / self.least)
        return bumps(u, self.size)

    def show(
        self, batch: MoleculeBatch, level: Float[Tensor, " n"], real: Bool[Tensor, " n"]
    ) -> Shown:
        """Returns a batch with what the networks are told."""
        known = batch.wanted.isfinite().to(batch.wanted)
        told = [batch.wanted.nan_to_num(), known, real[:, None].to(known), self.written(level)]
        return Shown(**batch.tensors, told=torch.cat(told, -1), level=level)


def reordered(batch: MoleculeBatch, share: float) -> tuple[MoleculeBatch, Bool[Tensor, " n"]]:
    """Shows a share of the molecules in another order of their atoms, where there are any.

    Returns:
        The batch, and which rows are as they were.
    """
    n, count, _ = batch.others.shape
    device = batch.tokens.device
    same = torch.rand(n, device=device) >= share
    if not count:
        return batch, torch.ones_like(same)
    which = torch.randint(count, (n,), device=device)
    other = batch.others[torch.arange(n, device=device), which]
    places = max(batch.tokens.shape[1], other.shape[1])
    widened = lambda x: nn.functional.pad(x, (0, places - x.shape[1]), value=PAD)
    tokens = torch.where(same[:, None], widened(batch.tokens), widened(other))
    most = int((tokens != PAD).sum(1).max()) if n else 0
    tokens = tokens[:, :most]
    return batch.replace(tokens=tokens, mask=tokens != PAD), same


def hidden(batch: MoleculeBatch, chance: Float[Tensor, " n"]) -> MoleculeBatch:
    """Hides all properties of a row with its chance, and each of the others with it too."""
    shape, device = batch.wanted.shape, batch.wanted.device
    whole = torch.rand(len(batch), 1, device=device) < chance[:, None]
    gone = whole | (torch.rand(shape, device=device) < chance[:, None])
    return batch.replace(wanted=batch.wanted.masked_fill(gone, torch.nan))


def spliced(
    batch: MoleculeBatch, chance: Float[Tensor, " n"]
) -> tuple[MoleculeBatch, Bool[Tensor, " n"]]:
    """Puts the end of another row behind the beginning of some, each by its own chance.

    Any sequence of tokens is a SELFIES, so these are molecules too, if odd ones, of which nothing
    is known. They are shown so that networks learn to write down and read any sequence, rather
    than those that they know by heart. Both are cut at about the same place.

    Returns:
        The batch, and which rows are as they were.
    """
    n, places = batch.tokens.shape
    device = batch.tokens.device
    real = torch.rand(n, device=device) >= chance
    if n < 2 or real.all():
        return batch, torch.ones_like(real)
    other = torch.randperm(n, device=device)
    lengths = batch.mask.sum(1)  # with END
    cut = (torch.rand(n, device=device) * (lengths - 1)).long() + 1
    begin = (cut + torch.randint(-2, 3, (n,), device=device)).clamp(min=0)
    begin = torch.minimum(begin, lengths[other] - 1)  # END at least is left
    at = torch.arange(places, device=device)
    source = (at - cut[:, None] + begin[:, None]).clamp(0, places - 1)
    behind = at >= cut[:, None]
    over = at - cut[:, None] + begin[:, None] >= places
    tail = batch.tokens[other].gather(1, source).masked_fill(over, PAD)
    tokens = torch.where(behind, tail, batch.tokens)
    tokens = torch.where(real[:, None], batch.tokens, tokens)
    tokens[:, -1] = torch.where(tokens[:, -1] != PAD, END, PAD)  # what became too long ends here
    gone = ~real[:, None]
    return batch.replace(
        tokens=tokens,
        mask=tokens != PAD,
        wanted=batch.wanted.masked_fill(gone, torch.nan),
        properties=batch.properties.masked_fill(gone, torch.nan),
    ), real
