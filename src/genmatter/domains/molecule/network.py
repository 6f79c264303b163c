"""The networks of the molecule recipe: one reads tokens, the other says what comes next."""

__all__ = ["MoleculeEncoder", "TokenDecoder"]

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmatter.domains.molecule.following import Follower, Open
from genmatter.domains.molecule.openings import Openings
from genmatter.domains.molecule.shown import Shown
from genmatter.domains.molecule.tally import Tally
from genmatter.domains.molecule.tokens import BLANK, END, PAD, START
from genmatter.generative.decoding import State
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.nn.places import PlaceReader, PlaceWriter
from genmatter.nn.recurrent import Recurrent, backwards, last


class Head(nn.Module):
    """Mean and log-variance, by a hidden layer that what is told scales and shifts.

    References:
        | FiLM: visual reasoning with a general conditioning layer (Perez et al., 2018)
        | https://arxiv.org/abs/1709.07871
    """

    def __init__(self, inputs: int, told: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.into, self.turn = nn.Linear(inputs, hidden), nn.Linear(told, 2 * hidden)
        self.out = nn.Linear(hidden + told, 2 * latent)

    def forward(
        self, x: Float[Tensor, "n inputs"], told: Float[Tensor, "n told"]
    ) -> Float[Tensor, "n two_latent"]:
        scale, shift = self.turn(told).chunk(2, -1)
        x = nn.functional.silu(self.into(x) * (1 + scale) + shift)
        return self.out(torch.cat([x, told], -1))


class MoleculeEncoder(nn.Module):
    """q(z|x, c): tokens and properties, read by stacked LSTM layers up to the last real place.

    Args:
        embed: Of tokens.
        told: How many numbers are known of a molecule.
        hidden: Width of the layers.
        latent: Latent units.
        layers: How many layers.
        dropout: Share of the numbers that training hides.
        both: Read from the other end too, with layers of their own.
        places: Places that are read with weights of their own, beside; 0 for none.
    """

    def __init__(
        self, embed: nn.Embedding, told: int, hidden: int, latent: int, layers: int,
        dropout: float, *, both: bool, places: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed, self.dropout = embed, nn.Dropout(dropout)
        width = embed.embedding_dim + told
        self.readers = nn.ModuleList(
            Recurrent(width, hidden, layers, dropout) for _ in range(1 + both)
        )
        self.places = PlaceReader(places, embed.embedding_dim, hidden) if places else None
        parts = len(self.readers) + (self.places is not None)
        self.head = Head(parts * hidden, told, 2 * hidden, latent)

    def forward(self, batch: Shown) -> DiagonalGaussian:
        mask, told = batch.mask, batch.told
        x = self.dropout(self.embed(batch.tokens.long()))
        read = torch.cat([x, told[:, None].expand(-1, x.shape[1], -1)], -1)
        ends = [last(self.readers[0](read), mask)]
        if len(self.readers) > 1:
            ends.append(last(self.readers[1](backwards(read, mask)), mask))
        if self.places is not None:
            ends.append(self.places(x, mask))
        mean, log_variance = self.head(torch.cat(ends, -1), told).float().chunk(2, -1)
        return DiagonalGaussian(mean, (log_variance.clamp(-12, 6) / 2).exp())


class TokenDecoder(nn.Module):
    """Logits of the next token, from the tokens so far, z, and what is known of the molecule.

    Its first state comes from z, and every step reads z again: all of it alike at every place, or
    by weights of the place's own. The output has the embeddings for its weights.

    Args:
        embed: Of tokens.
        told: How many numbers are known of a molecule.
        hidden: Width of the layers.
        latent: Latent units.
        layers: How many layers.
        dropout: Share of the numbers that training hides.
        places: Places that read z with weights of their own; 0 for none.
        follower: Reads the tokens for both of the next.
        tally: Of the properties, which come first in what is told; None does without.
        openings: Of the tokens' syntax; None leaves it to the layers to count.
    """

    unwritable: Tensor

    def __init__(
        self, embed: nn.Embedding, told: int, hidden: int, latent: int, layers: int,
        dropout: float, *, places: int, follower: Follower, tally: Tally | None,
        openings: Openings | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed, self.dropout = embed, nn.Dropout(dropout)
        self.follower = follower if tally is not None or openings is not None else None
        self.openings = openings
        size, self.layers = embed.embedding_dim, layers
        self.places = PlaceWriter(places, latent, size) if places else None
        seen = size if places else latent
        self.tally = tally
        self.counted = len(tally.base) if tally is not None else 0
        left = tally.width if tally is not None else 0
        self.ending = nn.Linear(hidden, left) if left else None
        open_ = openings.width if openings is not None else 0
        self.writer = Recurrent(size + seen + told + left + open_, hidden, layers, dropout)
        self.begin = nn.Linear(latent + told, 2 * layers * hidden)
        self.out = nn.Linear(hidden + latent, size)
        self.bias = nn.Parameter(torch.zeros(embed.num_embeddings))
        self.register_buffer("unwritable", torch.zeros(embed.num_embeddings, dtype=torch.bool))
        self.unwritable[[PAD, START, BLANK]] = True

    def state(
        self, z: Float[Tensor, "n latent"], told: Float[Tensor, "n told"]
    ) -> tuple[Tensor, Tensor]:
        """Returns the states and cells of all layers before the first token."""
        both = self.begin(torch.cat([z, told], -1)).tanh()
        hidden, cells = both.unflatten(-1, (2, self.layers, -1)).unbind(1)
        return hidden, cells

    def forward(
        self, shown: Int[Tensor, "n places"], z: Float[Tensor, "n latent"],
        told: Float[Tensor, "n told"],
    ) -> Float[Tensor, "n places tokens"]:  # fmt: skip
        """Returns the logits at every place.

        Args:
            shown: The token before each place, START before the first.
            z: Latents.
            told: What is known of each molecule.
        """
        places = shown.shape[1]
        along = lambda x: x[:, None].expand(-1, places, -1)
        seen = self.places(z, places) if self.places is not None else along(z)
        ends = self.follower.follow(shown) if self.follower is not None else None
        known, left = self._read(ends, along(self.wanted(told)))
        x = torch.cat([self.embed(shown), seen.to(z.dtype), along(told), *known], -1)
        return self.logits(self.dropout(self.writer(x, self.state(z, told))), along(z), ends, left)

    def _read(self, seen: Open | None, wanted: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Returns what is told of what has been written, and what is left of the properties."""
        known, left = [], None
        if seen is not None and self.tally is not None:
            left = self.tally.written(self.tally.left(wanted, seen.kinds), wanted)
            known.append(left)
        if seen is not None and self.openings is not None:
            known.append(self.openings(seen))
        return known, left

    def logits(
        self, hidden: Float[Tensor, "*batch hidden"], z: Float[Tensor, "*batch latent"],
        seen: Open | None, left: Tensor | None,
    ) -> Float[Tensor, "*batch tokens"]:  # fmt: skip
        """Returns the logits of the next token, from the top state, z, what is open and left.

        What is no token of a molecule has -inf. Rings are judged by their size, and the end by
        what would be left.
        """
        x = self.out(torch.cat([hidden, z.to(hidden)], -1))
        bias = self.bias.masked_fill(self.unwritable, -torch.inf)
        found = nn.functional.linear(x, self.embed.weight, bias)
        if self.openings is not None and seen is not None:
            found = found + self.openings.rings(hidden, seen)
        if left is not None and self.ending is not None:
            gain = (self.ending(hidden) * left).sum(-1, keepdim=True)
            found = found + nn.functional.pad(gain, (END, found.shape[-1] - END - 1))
        return found

    def first(self, z: Float[Tensor, "n latent"], told: Float[Tensor, "n told"]) -> State:
        """Returns what `step` begins with."""
        at = torch.zeros(len(z), dtype=torch.long, device=z.device)
        follower = self.follower
        memory = follower.begin(len(z), z.device) if follower is not None else at[:, None]
        return (*self.state(z, told), z, told, at, memory)

    def wanted(self, told: Float[Tensor, "n told"]) -> Float[Tensor, "n counted"]:
        """Returns the properties that are counted, NaN where one is unknown."""
        k = self.counted
        return told[:, :k].masked_fill(told[:, k : 2 * k] == 0, torch.nan)

    def step(self, tokens: Int[Tensor, " n"], state: State) -> tuple[Tensor, State]:
        """Reads one token of each row, and returns the logits of the next one."""
        hidden, cells, z, told, at, memory = state
        seen = self.places.at(z, int(at[0])) if self.places is not None and len(at) else z
        ends = None
        if self.follower is not None:
            ends, memory = self.follower.read(tokens, memory)
        known, left = self._read(ends, self.wanted(told))
        x = torch.cat([self.embed(tokens), seen.to(z.dtype), told, *known], -1)
        top, (hidden, cells) = self.writer.step(x, (hidden, cells))
        logits = self.logits(self.dropout(top), z, ends, left)
        return logits, (hidden, cells, z, told, at + 1, memory)
