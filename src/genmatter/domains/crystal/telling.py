"""Properties of crystals, told from their latents."""

__all__ = ["Properties"]

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.nn.mlp import mlp
from genmatter.nn.packed import Places


class Properties(nn.Module):
    """Tells properties of crystals from latents: a mean over atoms, and networks around it.

    Args:
        latent: Latent units of an atom.
        width: Of the networks.
        names: What is told.
        means: Of the properties, over the data.
        scales: Their standard deviations.
    """

    means: Tensor
    scales: Tensor

    def __init__(
        self, latent: int, width: int, names: Sequence[str], means: Sequence[float],
        scales: Sequence[float],
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = tuple(names)
        self.each = mlp(latent, width, width, activation=nn.SiLU)
        self.whole = mlp(width, width, len(names), activation=nn.SiLU)
        self.register_buffer("means", torch.tensor(means))
        self.register_buffer("scales", torch.tensor(scales))

    def forward(
        self, z: Float[Tensor, "places latent"], places: Places
    ) -> Float[Tensor, "n properties"]:
        """Returns them in standard deviations from the mean."""
        count = places.mask.sum(1, keepdim=True).clamp_min(1)
        return self.whole(places.total(self.each(z)) / count)

    def named(self, values: Float[Tensor, "n properties"]) -> dict[str, Float[Tensor, " n"]]:
        """Returns them by name, in their units."""
        found = values * self.scales + self.means
        return dict(zip(self.names, found.unbind(-1), strict=True))
