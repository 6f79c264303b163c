r"""What of a latent is left to be drawn once the types of all atoms are known.

A unit of the latent is of one of three kinds, which the data tell. It is *said* by the element of
its atom, where it hardly differs among atoms of one element. It is *shared*, where it hardly
differs among the atoms of one crystal, as what is known of the cell. Else it is the atom's *own*.
What is said is no variable, and what is shared is one variable of the crystal, not one of each
atom. So a flow draws coordinates of atoms and a cell, and nothing twice.
"""

__all__ = ["Layout"]

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genmatter.domains.crystal.represent import MOST_ELEMENT

HARDLY = 0.05
"""Share of the variance of a unit up to which it hardly differs."""


class Layout(nn.Module):
    """Latents of crystals <-> states, in which what is drawn has mean 0 and spread 1.

    Args:
        latent: Latent units of an atom.
    """

    said: Tensor
    shared: Tensor
    own: Tensor
    usual: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("said", torch.zeros(latent, dtype=torch.bool))
        self.register_buffer("shared", torch.zeros(latent, dtype=torch.bool))
        self.register_buffer("own", torch.ones(latent, dtype=torch.bool))
        self.register_buffer("usual", torch.zeros(MOST_ELEMENT + 1, latent))
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("scale", torch.ones(latent))

    @torch.no_grad()
    def fit(
        self, latents: Iterable[tuple[Float[Tensor, "_ _ latent"], Int[Tensor, "_ _"]]]
    ) -> None:
        """Takes from the latents of crystals and their types, where 0 is no atom."""
        many = list(latents)
        z = torch.cat([x[types > 0] for x, types in many])
        types = torch.cat([types[types > 0] for _, types in many])
        middle = torch.cat([(x - _mean(x, types > 0))[types > 0] for x, types in many])
        count = torch.bincount(types, minlength=MOST_ELEMENT + 1)[:, None]
        total = torch.zeros_like(self.usual).index_add(0, types, z)
        self.usual.copy_(torch.where(count > 0, total / count.clamp_min(1), z.mean(0)))
        whole = z.var(0, correction=0).clamp_min(1e-9)
        self.said.copy_((z - self.usual[types]).square().mean(0) <= HARDLY * whole)
        self.shared.copy_(~self.said & (middle.square().mean(0) <= HARDLY * whole))
        self.own.copy_(~(self.said | self.shared))
        each = torch.cat([_mean(x, types > 0)[:, 0] for x, types in many])
        self.shift.copy_(torch.where(self.shared, each.mean(0), z.mean(0)))
        spread = torch.where(self.shared, each.std(0, correction=0), whole.sqrt())
        self.scale.copy_(spread.clamp_min(1e-3))

    def state(
        self, z: Float[Tensor, "n atoms latent"], mask: Bool[Tensor, "n atoms"]
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns states: 0 in what is said, the mean over atoms in what is shared."""
        return self.along((z - self.shift) / self.scale, mask)

    def latents(
        self, x: Float[Tensor, "n atoms latent"], types: Int[Tensor, "n atoms"]
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns latents, with what types say of them; 0 where there is no atom."""
        z = torch.where(self.said, self.usual[types], x * self.scale + self.shift)
        return z * (types > 0)[..., None]

    def along(
        self, x: Float[Tensor, "n atoms latent"], mask: Bool[Tensor, "n atoms"]
    ) -> Float[Tensor, "n atoms latent"]:
        """Returns the state that is nearest to any numbers."""
        return torch.where(self.shared, _mean(x, mask), x * self.own) * mask[..., None]

    def noise(
        self, like: Float[Tensor, "n atoms latent"], mask: Bool[Tensor, "n atoms"]
    ) -> Float[Tensor, "n atoms latent"]:
        """Draws a state of normal noise, one number of each crystal in what is shared."""
        eps = torch.randn_like(like) * mask[..., None]
        all_ = _mean(eps, mask) * mask.sum(1)[:, None, None].sqrt()
        return torch.where(self.shared, all_, eps * self.own) * mask[..., None]

    def errors(
        self, gap: Float[Tensor, "n atoms latent"], mask: Bool[Tensor, "n atoms"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Returns the mean squares of what is of atoms and of what they share."""
        each = _mean(gap.square(), mask)[:, 0]
        own, shared = (
            (each * kind).sum(1) / kind.sum().clamp_min(1) for kind in (self.own, self.shared)
        )
        return own, shared


def _mean(x: Tensor, mask: Bool[Tensor, "n atoms"]) -> Float[Tensor, "n 1 latent"]:
    """Returns the mean over the atoms of each crystal."""
    total = (x * mask[..., None]).sum(1, keepdim=True)
    return total / mask.sum(1)[:, None, None].clamp_min(1)
