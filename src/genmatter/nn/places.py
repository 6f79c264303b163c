r"""Linear maps with weights of each place of a sequence.

A sequence that a vector is to hold, token by token, is written into it by
:math:`\sum_t W_t x_t` and read out of it by :math:`W_t z`: what recurrent layers would have to
learn to count for. Places beyond the last one that has weights share that one's.
"""

__all__ = ["PlaceReader", "PlaceWriter"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class PlaceReader(nn.Module):
    """The sum of what each place adds to a vector.

    Args:
        places: How many have weights of their own.
        inputs: Numbers of a place.
        outputs: Numbers of the vector.
    """

    def __init__(self, places: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(places, inputs, outputs) / inputs**0.5 / 3)

    def forward(
        self, x: Float[Tensor, "n places inputs"], mask: Bool[Tensor, "n places"]
    ) -> Float[Tensor, "n outputs"]:
        weight = _along(self.weight, x.shape[1])
        return torch.einsum("nti,tio->no", x * mask[..., None], weight)


class PlaceWriter(nn.Module):
    """What each place reads from a vector.

    Args:
        places: How many have weights of their own.
        inputs: Numbers of the vector.
        outputs: Numbers of a place.
    """

    def __init__(self, places: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(places, inputs, outputs) / inputs**0.5)

    def forward(
        self, z: Float[Tensor, "n inputs"], places: int
    ) -> Float[Tensor, "n {places} outputs"]:
        """Returns what so many places read."""
        return torch.einsum("ni,tio->nto", z, _along(self.weight, places))

    def at(self, z: Float[Tensor, "n inputs"], place: int) -> Float[Tensor, "n outputs"]:
        """Returns what one place reads."""
        return z @ self.weight[min(place, len(self.weight) - 1)]


def _along(weight: Tensor, places: int) -> Tensor:
    """Returns the weights of so many places."""
    where = torch.arange(places, device=weight.device).clamp(max=len(weight) - 1)
    return weight[where]
