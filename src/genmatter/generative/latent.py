r"""Latent space under the prior :math:`\mathcal{N}(0, I)`: lines, arcs, spheres, descents."""

__all__ = ["Descent", "around", "descend", "interpolate"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def interpolate(
    a: Float[Tensor, "*latent"],
    b: Float[Tensor, "*latent"],
    alphas: Float[Tensor, " steps"],
    path: Literal["straight", "spherical"] = "straight",
) -> Float[Tensor, "steps *latent"]:
    r"""Returns the points between two latents at shares `alphas` of the way.

    The straight path is :math:`(1 - \alpha) a + \alpha b`. The spherical one turns from `a` to
    `b` and moves evenly in norm, so that it does not cut through the middle, where a normal
    prior of many dimensions has no mass. Between parallel or opposite points, and from the
    origin, it is the straight one.

    References:
        | Animating rotation with quaternion curves (Shoemake, 1985)
        | Sampling generative networks (White, 2016) https://arxiv.org/abs/1609.04468
    """
    s = alphas.reshape(-1, *[1] * a.ndim)
    if path == "straight":
        return (1 - s) * a + s * b
    lengths = a.norm(), b.norm()
    cosine = (a * b).sum() / (lengths[0] * lengths[1]).clamp(min=1e-12)
    if cosine.abs() > 1 - 1e-6 or not all(lengths):
        return (1 - s) * a + s * b
    angle = torch.arccos(cosine)
    turned = torch.sin((1 - s) * angle) * a / lengths[0] + torch.sin(s * angle) * b / lengths[1]
    return turned / torch.sin(angle) * ((1 - s) * lengths[0] + s * lengths[1])


def around(z: Float[Tensor, "*latent"], n: int, distance: float) -> Float[Tensor, "n *latent"]:
    """Returns points at a Euclidean distance from a latent, in random directions.

    Directions are even over the sphere, from the global stream.
    """
    noise = torch.randn(n, *z.shape, device=z.device, dtype=z.dtype)
    length = noise.flatten(1).norm(dim=1).reshape(-1, *[1] * z.ndim)
    return z + distance * noise / length


@dataclass(frozen=True)
class Descent:
    """Where every start of an optimisation went."""

    z: Float[Tensor, "starts *latent"]
    """The latents at the end."""
    values: Float[Tensor, "steps starts"]
    """The property at every step, the start first."""
    path: Float[Tensor, "steps starts *latent"]


def descend(
    z: Float[Tensor, "starts *latent"],
    objective: Callable[[Tensor], tuple[Tensor, Tensor]],
    steps: int,
    lr: float,
    prior: float,
) -> Descent:
    r"""Follows the gradient of an objective in latent space with Adam, from many starts.

    What is minimised for each start is :math:`f(z) + \lambda \lVert z \rVert^2 / 2`: the second
    part is :math:`\lambda` times the negative log-density of the prior, in nats, which keeps
    the walk where the decoder has seen something.

    Args:
        z: Where to start.
        objective: Returns what to minimise, and the property to record, for every start.
        steps: Number of steps.
        lr: Step size of Adam.
        prior: The weight lambda.
    """
    z = z.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=lr)
    values, path = [], []
    for _ in range(steps):
        cost, value = objective(z)
        values.append(value.detach())
        path.append(z.detach().clone())
        adam.zero_grad()
        (cost + prior * z.flatten(1).square().sum(1) / 2).sum().backward()
        adam.step()
    with torch.no_grad():
        values.append(objective(z)[1])
    path.append(z.detach().clone())
    return Descent(z.detach(), torch.stack(values), torch.stack(path))
