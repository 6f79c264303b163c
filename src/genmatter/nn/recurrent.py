"""Recurrent layers over rows of different lengths."""

__all__ = ["Recurrent", "backwards", "last"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Stacked LSTM layers, run over whole sequences or one step at a time.

    Args:
        inputs: Numbers of a place.
        width: Numbers of a state.
        layers: How many layers.
        dropout: Share of the numbers between two layers that training hides.

    References:
        | Long short-term memory (Hochreiter & Schmidhuber, 1997)
        | https://doi.org/10.1162/neco.1997.9.8.1735
    """

    def __init__(self, inputs: int, width: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.layers = width, layers
        self.dropout = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(inputs, width, layers, batch_first=True, dropout=self.dropout)

    def forward(
        self,
        x: Float[Tensor, "n places inputs"],
        state: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "n places width"]:
        """Returns the top layer's state at each place.

        Args:
            x: What is read.
            state: States and cells of all layers before the first place, [n, layers, width]
                each; zero by default.
        """
        if not len(x):  # which LSTM layers refuse; all weights still have to have a gradient
            row = x.new_zeros(1, max(x.shape[1], 1), x.shape[2])
            filled = torch.cat([x.sum(1, keepdim=True).expand(-1, row.shape[1], -1), row])
            begun = tuple(torch.cat([s, s.new_zeros(1, *s.shape[1:])]) for s in state or ())
            return self(filled, begun or None)[:0, : x.shape[1]]
        begun = tuple(s.transpose(0, 1).contiguous() for s in state) if state else None
        return self.lstm(x, begun)[0]

    def step(
        self, x: Float[Tensor, "n inputs"], state: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "n width"], tuple[Tensor, Tensor]]:
        """Reads one place, and returns the top layer's state and those of all layers."""
        hidden, cells = [], []
        for k in range(self.layers):
            w_in, w_back, b_in, b_back = (
                getattr(self.lstm, f"{name}_l{k}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h, c = state[0][:, k], state[1][:, k]
            gates = torch.addmm(nn.functional.linear(x, w_in, b_in + b_back), h, w_back.mT)
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            x = o.sigmoid() * c.tanh()
            hidden.append(x)
            cells.append(c)
            if k + 1 < self.layers:
                x = nn.functional.dropout(x, self.dropout, self.training)
        return x, (torch.stack(hidden, 1), torch.stack(cells, 1))


def backwards(
    x: Float[Tensor, "n places width"], mask: Bool[Tensor, "n places"]
) -> Float[Tensor, "n places width"]:
    """Returns each row from its last real place to its first; what is padded stays behind."""
    places = torch.arange(x.shape[1], device=x.device)
    where = mask.sum(1, keepdim=True) - 1 - places
    where = torch.where(where < 0, places, where)
    return x.gather(1, where[..., None].expand_as(x))


def last(
    x: Float[Tensor, "n places width"], mask: Bool[Tensor, "n places"]
) -> Float[Tensor, "n width"]:
    """Returns the last real place of each row."""
    where = (mask.sum(1) - 1).clamp(min=0)
    return x[torch.arange(len(x), device=x.device), where]
