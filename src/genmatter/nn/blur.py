r"""What noise makes of a pair energy.

Let two points be a vector :math:`\Delta` apart that is normal around :math:`\mu` with standard
deviation s in each direction, but for an energy u(r) between them. Of all that could be,

.. math:: H(\mu, s) = \mathrm{E}\, e^{-u(\lvert\Delta\rvert)}
          = 1 - \int (1 - e^{-u(\rho)})\, K_s(\rho, r)\, d\rho, \qquad r = \lvert\mu\rvert,

is the share that the energy lets be. It multiplies the density of noisy states, and
:math:`\partial_r \ln H` is the blurred force. K is the density of the distance: Rice's in the
plane, and in space Maxwell's, off its centre.
"""

__all__ = ["BlurredForce", "TableEnergy"]

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmatter.nn.radial import Logarithmic, Scale, looked_up, place

_WIDE, _FAR = 8.0, 4.0  # noise and distance, in reaches, beyond which nothing is left of it


class TableEnergy(nn.Module):
    """An energy by straight lines between the places of a table, in kT; zero beyond the last."""

    def __init__(self, scale: Scale, places: int) -> None:
        super().__init__()
        self.scale = scale
        self.values = nn.Parameter(torch.zeros(places))

    def forward(self, r2: Float[Tensor, "n pairs"]) -> Float[Tensor, "n pairs"]:
        """Returns energies at squared distances."""
        share = self.scale(r2.clamp_min(1e-12).sqrt())
        # in ones Adam would be long to reach the height of a stiff wall
        values = torch.cat([10 * self.values[:-1], self.values.new_zeros(1)])
        return looked_up(values[None, None], torch.zeros_like(share[0]).long(), share)


class BlurredForce(nn.Module):
    """The blurred force of a learned energy, by straight lines between places in a table.

    Args:
        energy: The pair energy u, of squared distances.
        reach: The distance beyond which u is zero.
        space: Dimensions of space, 2 or 3.
        levels: Its places along the noise, even in the logarithm.
        places: Its places along the distance, even in the logarithm.
        nodes: Nodes of the integral. Noise less than one and a half of their spacing, which they
            would not resolve, blurs like that much.
    """

    at: Tensor
    chance: Tensor
    slope: Tensor
    far: Tensor
    fall: Tensor
    most: Tensor

    def __init__(
        self, energy: nn.Module, reach: float, space: int,
        levels: int = 24, places: int = 64, nodes: int = 192,
    ) -> None:  # fmt: skip
        super().__init__()
        low = 1.5 * reach / nodes
        self.energy, self.low = energy, low
        self.of_s, self.of_r = Logarithmic(low, _WIDE * reach), Logarithmic(low, _FAR * reach)
        s = torch.logspace(math.log10(low), math.log10(self.of_s.high), levels).double()
        r = torch.logspace(math.log10(low), math.log10(self.of_r.high), places).double()
        r, s = r[:, None], s[:, None, None]
        at = (torch.arange(nodes).double() + 0.5) * reach / nodes
        chance, slope = _kernel(at, r, s, space)
        # beyond the reach, where the energy is zero
        away = reach + 9 * s * (torch.arange(nodes).double() + 0.5) / nodes
        far, fall = _kernel(away, r, s, space)
        parts = {
            "at": at, "chance": chance * reach / nodes, "slope": slope * reach / nodes,
            "far": (far * 9 * s / nodes).sum(-1), "fall": (fall * 9 * s / nodes).sum(-1),
            "most": (reach - r[:, 0]).clamp_min(low) / s[..., 0].square(),
        }  # fmt: skip
        for name, value in parts.items():
            self.register_buffer(name, value.float(), persistent=False)
        self._last: tuple[list[tuple[int, int]], Tensor] | None = None

    def table(self) -> Float[Tensor, "levels places"]:
        """Returns the blurred force at all places; the last one again while nothing is learned."""
        free = any(p.requires_grad for p in self.energy.parameters())
        if free and torch.is_grad_enabled():
            return self._table()
        now = [(p.data_ptr(), p._version) for p in self.energy.parameters()]
        if self._last is None or self._last[0] != now:
            self._last = now, self._table()
        return self._last[1]

    def _table(self) -> Float[Tensor, "levels places"]:
        """Returns the blurred force at all places.

        Where little is let be, H and its slope are sums of what is, and elsewhere one less what
        is not: neither is then a small difference. No force is larger than what would push a
        point out of the reach at once.
        """
        u = self.energy(self.at.square()[None])[0].clamp(-20, 60)
        m, let = -torch.expm1(-u), torch.exp(-u)
        gone = self.chance @ m
        kept, slope = self.chance @ let + self.far, self.slope @ let + self.fall
        rare = slope / kept.clamp_min(1e-30)
        usual = -(self.slope @ m) / (1 - gone).clamp_min(0.1)
        force = torch.where(gone > 0.8, rare, usual)
        return force.clamp(max=self.most)

    def forward(
        self, s: Float[Tensor, "#n pairs"], r: Float[Tensor, "n pairs"]
    ) -> Float[Tensor, "n pairs"]:
        """Returns forces, of pairs that are r apart under noise s; positive ones push apart."""
        table = self.table()
        levels, places = table.shape
        row, up = place(self.of_s(s), levels)
        k, w = place(self.of_r(r), places)
        flat, corner = table.flatten(), row * places + k
        near, far = (torch.lerp(flat[c], flat[c + 1], w) for c in (corner, corner + places))
        inside = (r < self.of_r.high) & (s < self.of_s.high)
        # towards distance zero the force falls off in proportion
        return torch.lerp(near, far, up.expand_as(near)) * inside * (r / self.low).clamp(max=1)


def _kernel(at: Tensor, r: Tensor, s: Tensor, space: int) -> tuple[Tensor, Tensor]:
    """Returns K at distances `at`, and its derivative with respect to r."""
    near = torch.exp(-((at - r) / s).square() / 2)
    x = at * r / s.square()
    if space == 2:
        k = at / s.square() * near * torch.special.i0e(x)
        return k, k * (at * torch.special.i1e(x) / torch.special.i0e(x) - r) / s.square()
    k = at / (r * s * math.sqrt(2 * math.pi)) * near * -torch.expm1(-2 * x)
    coth = 1 + 2 / torch.expm1(2 * x).clamp_min(1e-300)
    return k, k * ((at * coth - r) / s.square() - 1 / r)
