r"""Rigid bodies diffuse: rotations by Brownian motion, translations by a variance-preserving SDE.

For t in [0, 1] and Brownian motions W, with a rotation's increments in its own frame,

.. math::
    R_t = R_0 \exp(\hat v), \quad v \sim \mathrm{IGSO(3)}(\sigma(t)), \quad
    \sigma(t) = \ln(t\, e^{\sigma_{\max}} + (1 - t)\, e^{\sigma_{\min}}), \\
    dx = -\tfrac12 b(t)\, x\, dt + \sqrt{b(t)}\, dW, \quad
    b(t) = b_{\min} + t\, (b_{\max} - b_{\min}).

A rotation's score is a vector of its own frame, :math:`\partial_\omega \ln f(\omega)\, v /
\omega` at :math:`v = \ln(R_0^T R_t)`. Translations are in angstrom outside; they diffuse times
`coordinate_scaling`, and their score is with respect to them so scaled. A level t is a number, or
a tensor of the leading axes of what it goes with; scores are finite where t is above 0.

At t = 0 translations are the data, and rotations the data blurred by the smallest sigma, which
samples keep. Back in time by steps dt goes the reversed SDE, with noise, or the probability flow,
which has the same marginals and half the score.

References:
    | SE(3) diffusion model with application to protein backbone generation (Yim et al., 2023)
    | https://arxiv.org/abs/2302.02277
    | Score-based generative modeling through SDEs (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

__all__ = ["R3Diffuser", "SE3Diffuser", "SO3Diffuser"]

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.config import closest
from genmatter.errors import ConfigError
from genmatter.maths import igso3, rigid, rotation
from genmatter.maths.rigid import Rigid
from genmatter.maths.rotation import Matrix, Vector

Level = float | Float[Tensor, "..."]
Mask = Tensor | None
"""Of each body: 1 or true where it diffuses."""
Bodies = Rigid | Float[Tensor, "*batch 7"]

_SE3 = {"diffuse_rot": True, "diffuse_trans": True, "so3": None, "r3": None}
_SO3 = {
    "schedule": "logarithmic", "min_sigma": 0.1, "max_sigma": 1.5,
    "num_sigma": 1000, "num_omega": 1000, "use_cached_score": False, "cache_dir": None,
}  # fmt: skip
_R3 = {"min_b": 0.1, "max_b": 20.0, "coordinate_scaling": 0.1}


class SO3Diffuser:
    """Brownian motion of rotations.

    Args:
        so3_conf: `min_sigma` and `max_sigma` of the logarithmic `schedule`. The size of a table
            of scores and the folder that keeps it may be said and do nothing: there is none,
            since scores are in closed form.

    Raises:
        ConfigError: A key is not known, or the schedule is another.
    """

    def __init__(self, so3_conf: Any = None) -> None:
        conf = _read(so3_conf, _SO3, "so3")
        self.schedule: str = conf["schedule"]
        if self.schedule != "logarithmic":
            raise ConfigError(f"so3.schedule should be 'logarithmic', got {self.schedule!r}")
        self.min_sigma, self.max_sigma = conf["min_sigma"], conf["max_sigma"]
        if not 0 < self.min_sigma < self.max_sigma:
            raise ConfigError(
                "so3.min_sigma should be above 0 and below so3.max_sigma, got "
                f"{self.min_sigma:g} and {self.max_sigma:g}"
            )

    def sigma(self, t: Level) -> Tensor:
        """Returns the width of the noise at t."""
        t = _level(t)
        low, high = t.new_tensor([self.min_sigma, self.max_sigma])
        return (t * high.exp() + (1 - t) * low.exp()).log()

    def diffusion_coef(self, t: Level) -> Tensor:
        r"""Returns g, whose square is :math:`d \sigma^2 / dt = 2 \sigma \sigma'`."""
        sigma = self.sigma(t)
        low, high = sigma.new_tensor([self.min_sigma, self.max_sigma])
        return (2 * sigma * (high.exp() - low.exp()) * (-sigma).exp()).sqrt()

    def score(self, v: Vector, t: Level) -> Vector:
        """Returns the score of noise v, the vector of the rotation from data to state."""
        return igso3.score_vector(v, self.sigma(_along(t, v, 1)))

    def calc_score(self, rots_t: Matrix, rots_0: Matrix, t: Level) -> Vector:
        """Returns the score of states, given the data that they come from."""
        return self.score(rotation.log(rots_0.mT @ rots_t), t)

    def score_scaling(self, t: Level) -> Tensor:
        """Returns the root mean square of a component of the score."""
        return igso3.score_scaling(self.sigma(t))

    def forward_marginal(self, rots_0: Matrix, t: Level) -> tuple[Matrix, Vector]:
        """Draws states at t, and returns their scores too."""
        sigma = self.sigma(_along(t, rots_0, 2)).expand(rots_0.shape[:-2])
        v = igso3.sample_vector(sigma)
        return rots_0 @ rotation.exp(v), igso3.score_vector(v, sigma)

    def reverse(
        self, rots_t: Matrix, score: Vector, t: Level, dt: float, *,
        noise_scale: float = 1.0, flow: bool = False,
    ) -> Matrix:  # fmt: skip
        """Goes from t to t - dt along a geodesic: a step of a random walk, or of the flow."""
        g = self.diffusion_coef(_along(t, score, 1))[..., None]
        if flow:
            return rots_t @ rotation.exp(g.square() * score * dt / 2)
        noise = noise_scale * dt**0.5 * torch.randn_like(score)
        return rots_t @ rotation.exp(g.square() * score * dt + g * noise)

    def sample_ref(self, *shape: int) -> Matrix:
        """Draws rotations evenly."""
        return rotation.random_matrix(*shape)


class R3Diffuser:
    """The variance-preserving SDE of translations.

    Args:
        r3_conf: `min_b`, `max_b`, and `coordinate_scaling`, which makes angstrom numbers of unit
            variance. It is an attribute that may be set when data have been seen.

    Raises:
        ConfigError: A key is not known, or a number has the wrong sign or order.
    """

    def __init__(self, r3_conf: Any = None) -> None:
        conf = _read(r3_conf, _R3, "r3")
        self.min_b, self.max_b = conf["min_b"], conf["max_b"]
        self.coordinate_scaling = conf["coordinate_scaling"]
        if not 0 <= self.min_b < self.max_b:
            raise ConfigError(
                "r3.min_b should be at least 0 and below r3.max_b, got "
                f"{self.min_b:g} and {self.max_b:g}"
            )
        if self.coordinate_scaling <= 0:
            raise ConfigError(
                f"r3.coordinate_scaling should be above 0, got {self.coordinate_scaling:g}"
            )

    def b_t(self, t: Level) -> Tensor:
        """Returns the rate of the noise's variance."""
        return self.min_b + _level(t) * (self.max_b - self.min_b)

    def diffusion_coef(self, t: Level) -> Tensor:
        """Returns the square root of the rate."""
        return self.b_t(t).sqrt()

    def marginal_b_t(self, t: Level) -> Tensor:
        """Returns the integral of the rate from 0 to t."""
        t = _level(t)
        return t * self.min_b + t.square() * (self.max_b - self.min_b) / 2

    def conditional_var(self, t: Level) -> Tensor:
        """Returns the variance of a scaled coordinate at t, given the data."""
        return -torch.expm1(-self.marginal_b_t(t))

    def score_scaling(self, t: Level) -> Tensor:
        """Returns one over the standard deviation: what a component of the score has for one."""
        return self.conditional_var(t).rsqrt()

    def score(self, trans_t: Vector, trans_0: Vector, t: Level) -> Vector:
        """Returns the score of states, given the data that they come from, both in angstrom."""
        keep, var = self._marginal(t, trans_t)
        return self.coordinate_scaling * (keep * trans_0 - trans_t) / var

    def calc_trans_0(self, score: Vector, trans_t: Vector, t: Level) -> Vector:
        """Returns the data, in angstrom, of which states have that score."""
        keep, var = self._marginal(t, trans_t)
        return (trans_t + var * score / self.coordinate_scaling) / keep

    def forward_marginal(self, trans_0: Vector, t: Level) -> tuple[Vector, Vector]:
        """Draws states at t, in angstrom, and returns their scores too."""
        keep, var = self._marginal(t, trans_0)
        noise = torch.randn_like(trans_0)
        trans_t = keep * trans_0 + var.sqrt() * noise / self.coordinate_scaling
        return trans_t, -noise / var.sqrt()

    def reverse(
        self, trans_t: Vector, score: Vector, t: Level, dt: float, *,
        noise_scale: float = 1.0, flow: bool = False,
    ) -> Vector:  # fmt: skip
        """Goes from t to t - dt, in angstrom: a step of Euler's of the SDE, or of the flow."""
        b = self.b_t(_along(t, trans_t, 1))[..., None]
        force = score / self.coordinate_scaling
        if flow:
            return trans_t + b * (trans_t + force) * dt / 2
        noise = noise_scale * (b * dt).sqrt() * torch.randn_like(trans_t)
        return trans_t + b * (trans_t / 2 + force) * dt + noise / self.coordinate_scaling

    def sample_ref(self, *shape: int) -> Vector:
        """Draws translations from the end of the way, a normal law, in angstrom."""
        return torch.randn(*shape, 3) / self.coordinate_scaling

    def _marginal(self, t: Level, like: Vector) -> tuple[Tensor, Tensor]:
        t = _along(t, like, 1)[..., None]
        keep = (-self.marginal_b_t(t) / 2).exp()
        return keep, self.conditional_var(t)


class SE3Diffuser:
    """Both at once. Bodies are `Rigid`, or seven numbers each, and come back as they came.

    Args:
        se3_conf: A mapping, or an object with attributes: `so3`, `r3`, and whether either of
            `diffuse_rot` and `diffuse_trans` is to happen. What is not said has its default.

    Raises:
        ConfigError: A key is not known, or a value cannot be used.
    """

    def __init__(self, se3_conf: Any = None) -> None:
        conf = _read(se3_conf, _SE3, "the diffuser")
        self.diffuse_rot, self.diffuse_trans = (
            bool(conf["diffuse_rot"]),
            bool(conf["diffuse_trans"]),
        )
        self.so3, self.r3 = SO3Diffuser(conf["so3"]), R3Diffuser(conf["r3"])

    def forward_marginal(
        self, rigids_0: Bodies, t: Level, diffuse_mask: Mask = None
    ) -> dict[str, Any]:
        """Draws states at t of bodies `[..., N]`; those that do not diffuse stay, of score 0.

        Returns:
            `rigids_t`, `rot_score` and `trans_score` `[..., N, 3]`, and what divides them in a
            loss, of the axes of t: `rot_score_scaling`, `trans_score_scaling`.
        """
        rots, trans = _rigid(rigids_0)
        rot_score, trans_score = torch.zeros_like(trans), torch.zeros_like(trans)
        if self.diffuse_rot:
            rots, rot_score = self.so3.forward_marginal(rots, t)
        if self.diffuse_trans:
            trans, trans_score = self.r3.forward_marginal(trans, t)
        rot_scaling, trans_scaling = self.score_scaling(t)
        return {
            "rigids_t": _moved(rigids_0, Rigid(rots, trans), diffuse_mask),
            "rot_score": _kept(torch.zeros_like(rot_score), rot_score, diffuse_mask),
            "trans_score": _kept(torch.zeros_like(trans_score), trans_score, diffuse_mask),
            "rot_score_scaling": rot_scaling.to(trans),
            "trans_score_scaling": trans_scaling.to(trans),
        }

    def calc_rot_score(self, rots_t: Matrix, rots_0: Matrix, t: Level) -> Vector:
        """Returns the score of rotations, given the data that they come from."""
        return self.so3.calc_score(rots_t, rots_0, t)

    def calc_trans_score(self, trans_t: Vector, trans_0: Vector, t: Level) -> Vector:
        """Returns the score of translations, given the data that they come from."""
        return self.r3.score(trans_t, trans_0, t)

    def calc_trans_0(self, trans_score: Vector, trans_t: Vector, t: Level) -> Vector:
        """Returns the data of which translations have that score."""
        return self.r3.calc_trans_0(trans_score, trans_t, t)

    def score_scaling(self, t: Level) -> tuple[Tensor, Tensor]:
        """Returns the root mean square of a component of either score; 1 where none diffuses."""
        rot, trans = self.so3.score_scaling(t), self.r3.score_scaling(t)
        return (
            rot if self.diffuse_rot else torch.ones_like(rot),
            trans if self.diffuse_trans else torch.ones_like(trans),
        )

    def reverse(
        self, rigid_t: Bodies, rot_score: Vector, trans_score: Vector, t: Level, dt: float,
        diffuse_mask: Mask = None, center: bool = True, noise_scale: float = 1.0, *,
        flow: bool = False,
    ) -> Any:  # fmt: skip
        """Goes from t to t - dt, but for bodies that do not diffuse.

        The centroid of bodies `[..., N]` goes to the origin with `center`, unless some do not
        diffuse: they then say where the origin is. `noise_scale` multiplies the noise; less than
        1 favours what is likely, and 0 is not the probability flow, which `flow` asks for.
        """
        rots, trans = _rigid(rigid_t)
        how = {"noise_scale": noise_scale, "flow": flow}
        if self.diffuse_rot:
            rots = self.so3.reverse(rots, rot_score, t, dt, **how)
        if self.diffuse_trans:
            trans = self.r3.reverse(trans, trans_score, t, dt, **how)
            trans = _centred(trans, diffuse_mask) if center else trans
        return _moved(rigid_t, Rigid(rots, trans), diffuse_mask)

    def sample_ref(self, *shape: int, as_tensor_7: bool = False) -> Any:
        """Draws bodies from the end of the way, which know nothing of the data."""
        found = Rigid(self.so3.sample_ref(*shape), self.r3.sample_ref(*shape))
        return found.to_tensor_7() if as_tensor_7 else found


def _read(conf: Any, defaults: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Reads keys of a mapping, or attributes of an object, over their defaults."""
    if isinstance(conf, Mapping):
        for key in conf:
            if key not in defaults:
                raise ConfigError(f"{name} has no key {key!r}{closest(str(key), defaults)}")
        said = conf.get
    else:
        said = lambda key, default: getattr(conf, key, default)
    return {k: _like(said(k, v), v, f"{name}.{k}") for k, v in defaults.items()}


def _like(value: Any, default: Any, name: str) -> Any:
    """Returns a number where the default is one, as YAML reads 1e-4 as text."""
    if not isinstance(default, float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} should be a number, got {value!r}") from None


def _level(t: Level) -> Tensor:
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)


def _along(t: Level, x: Tensor, axes: int) -> Tensor:
    """Gives t axes of 1 after its own, until it broadcasts with x without its last axes."""
    t = _level(t).to(x)
    return t.reshape(t.shape + (1,) * (x.dim() - axes - t.dim()))


def _rigid(bodies: Bodies) -> Rigid:
    return rigid.from_tensor_7(bodies) if isinstance(bodies, Tensor) else bodies


def _centred(trans: Vector, mask: Mask) -> Vector:
    centred = trans - trans.mean(-2, keepdim=True)
    if mask is None:
        return centred
    return torch.where(mask.bool().all(-1)[..., None, None], centred, trans)


def _kept(old: Tensor, new: Tensor, mask: Mask, axes: int = 1) -> Tensor:
    """Takes the new where the mask is true, and the old, to the bit, elsewhere."""
    return new if mask is None else torch.where(mask.bool()[(..., *[None] * axes)], new, old)


def _moved(before: Bodies, after: Rigid, mask: Mask) -> Any:
    if isinstance(before, Tensor):
        return _kept(before, after.to_tensor_7(), mask)
    return Rigid(_kept(before.rots, after.rots, mask, 2), _kept(before.trans, after.trans, mask))
