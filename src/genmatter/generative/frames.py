r"""Diffusion of rigid bodies: rotations by Brownian motion, translations by a VP process.

At a level t each body's rotation is :math:`R_0 \exp \hat v`, v from IGSO(3) of width
:math:`\sigma_R`, and its translation :math:`\alpha x_0 + \sigma_x \epsilon`. A network answers
with clean bodies. Of the translations they are the mean :math:`\hat x_0`; of the rotations they
stand for a score, :math:`\nabla \log f(\hat R_0^T R_t; \sigma_R)`, which is fitted to the score
of the noise that was there, and so becomes that of the marginal law.

The bodies that are diffused have their noise without its mean, since nothing tells where they are;
where some are held fixed, these are the origin.

References:
    | SE(3) diffusion model with application to protein backbone generation (Yim et al., 2023)
    | https://arxiv.org/abs/2302.02277
"""

__all__ = ["Crop", "FrameBatch", "FrameDiffusion", "FramePath", "Level", "Weights"]

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.generative.bodies import (
    Bodies,
    Clean,
    FrameBatch,
    FramePath,
    Free,
    Level,
    mean_free,
    origin,
)
from genmatter.generative.frame_loss import Crop, Weights, link_error, stretches
from genmatter.generative.steering import pulled
from genmatter.generative.walks import Walk, ends, flow
from genmatter.maths import igso3, rotation
from genmatter.maths.geometry import nearest_rotation
from genmatter.spine import Generative, Loss

_PAIRS = 1_000_000  # pairs of residues that a network is given at once


class FrameDiffusion(Generative):
    """One model for every kind of matter that is made of rigid bodies.

    Args:
        net: State, level, batch, residues seen and fixed, and an earlier answer's translations
            (or zeros) -> clean bodies and psi.
        path: Where levels and states come from.
        walk: How noise is turned into samples.
        points: Atoms of a body in its frame, angstrom, [points, 3].
        weights: Of the objective's terms.
        conditioned: Share of the steps in which the network is shown its own first answer.
        motif: Share of the rows of which training fixes a stretch.
        crop: What training shows of proteins; all of them where it is None.
        latent_steps: Steps of the flow to and from the latent.
    """

    quick_latent = False
    points: Tensor

    def __init__(
        self, net: nn.Module, path: FramePath, walk: Walk, points: Float[Tensor, "points 3"],
        weights: Weights, *, conditioned: float = 0.5, motif: float = 0.1,
        crop: Crop | None = None, latent_steps: int = 10,
    ) -> None:  # fmt: skip
        super().__init__()
        self.net, self.path, self.walk, self.weights = net, path, walk, weights
        self.conditioned, self.motif, self.crop = conditioned, motif, crop
        self.latent_steps = latent_steps
        self.register_buffer("points", points)

    @property
    def network_calls(self) -> int:
        """How often a sample asks the network."""
        return self.walk.steps

    def begin(self, batches: Iterable[Any]) -> None:
        """Lets the network look at the data's geometry."""
        begin = getattr(self.net, "begin", None)
        if callable(begin):
            begin(batches)

    def loss(self, batch: FrameBatch, epoch: float) -> Loss:
        """Returns the terms `rot`, `trans` and `psi`, and `links` where these weigh anything.

        The first two are squared errors in units of the noise (of the score's size, for
        rotations), `psi` is that of sine and cosine, each a mean over the residues of a whole
        protein: those that a crop shows count by one over their chance to be shown. `links` is
        the mean squared error of the vectors between the atoms of neighbours that are shown, in
        units of their noise. Levels are an even grid over the batch with one random offset.
        """
        del epoch
        n = len(batch)
        device = batch.trans.device
        u = (torch.randperm(n, device=device) + torch.rand(1, device=device)) / max(n, 1)
        u = u.to(batch.trans)
        seen, share = self._shown(batch)
        fixed = self._held(batch, seen)
        return self._loss(batch, u, seen, fixed, share)

    def _loss(
        self, batch: FrameBatch, u: Tensor, seen: Tensor, fixed: Tensor, share: Tensor
    ) -> Loss:
        level = self.path.level(self.path.at(u))
        free = self._free(seen, fixed)
        clean = Bodies(batch.rots, batch.trans - origin(batch.trans, seen, fixed))
        state, v = self._noised(clean, level, free)
        found = self._asked(state, level, batch, seen, fixed)
        error = clean.trans - found.trans
        size = igso3.score_scaling(level.sigma_r)[:, None, None]
        gap = self._score(found, state, level) - igso3.score_vector(v, level.sigma_r[:, None])
        each = (seen & ~fixed) / share
        over = lambda x: (x * each).sum(1) / batch.mask.sum(1).clamp_min(1)
        unit = level.alpha if not self.weights.clean else torch.ones_like(level.alpha)
        terms = {
            "rot": over((gap / size).square().sum(-1)),
            "trans": over(error.square().sum(-1)) * (unit / level.sigma_x).square(),
            "psi": over((found.psi - batch.psi).square().sum(-1)),
        }
        w = self.weights
        if w.links:
            near = self._linked(batch, seen, fixed) & (level.t < w.links_below)[:, None]
            terms["links"] = link_error(found, clean, level, near, self.points)
        told = {"rot": w.rot, "trans": w.trans, "psi": w.psi, "links": w.links}
        return Loss(terms, {k: told[k] for k in terms})

    def _shown(self, batch: FrameBatch) -> tuple[Tensor, Tensor]:
        if self.crop is None or not self.training:
            return batch.mask, torch.ones_like(batch.trans[..., 0])
        return self.crop(batch.trans, batch.mask, batch.protein)

    def _held(self, batch: FrameBatch, seen: Tensor) -> Tensor:
        """Returns the residues that are fixed: in training, now and then a stretch of some."""
        if not self.training or not self.motif:
            return batch.fixed & seen
        return (batch.fixed | stretches(seen, self.motif)) & seen

    def _noised(
        self, clean: Bodies, level: Level, free: Free
    ) -> tuple[Bodies, Float[Tensor, "n L 3"]]:
        """Returns bodies at a level, and the rotation vectors that were added."""
        v = igso3.sample_vector(level.sigma_r[:, None].expand(free.turn.shape))
        v = v * free.turn[..., None]
        eps = mean_free(torch.randn_like(clean.trans), free)
        moved = level.alpha[:, None, None] * clean.trans + level.sigma_x[:, None, None] * eps
        return free.mix(Bodies(clean.rots @ rotation.exp(v), moved), clean), v

    def _free(self, seen: Tensor, fixed: Tensor) -> Free:
        """Returns what changes: what is seen and not fixed, and of that what is diffused."""
        free, diffuser = seen & ~fixed, self.path.diffuser
        alone = ~fixed.any(1, keepdim=True)
        return Free(free & diffuser.diffuse_rot, free & diffuser.diffuse_trans, alone)

    def _asked(
        self, state: Bodies, level: Level, batch: FrameBatch, seen: Tensor, fixed: Tensor
    ) -> Clean:
        """Asks the network, which in training has seen its own first answer now and then."""
        before = torch.zeros_like(state.trans)
        if self.conditioned and (not self.training or torch.rand(()) < self.conditioned):
            with torch.no_grad():
                before = self.clean(state, level, batch, seen, fixed, before).trans
        return self.clean(state, level, batch, seen, fixed, before)

    def clean(
        self, state: Bodies, level: Level, batch: FrameBatch, seen: Tensor, fixed: Tensor,
        before: Tensor,
    ) -> Clean:  # fmt: skip
        """Returns the network's answer, with its mean where that is known to be."""
        found, free = self.net(state, level, batch, seen, fixed, before), self._free(seen, fixed)
        answer = Bodies(found.rots, mean_free(found.trans, free))
        return Clean(*free.mix(answer, state), found.psi)

    def _score(self, found: Clean, state: Bodies, level: Level) -> Float[Tensor, "n L 3"]:
        v = rotation.log(found.rots.mT @ state.rots)
        return igso3.score_vector(v, level.sigma_r[:, None])

    def _linked(self, batch: FrameBatch, seen: Tensor, fixed: Tensor) -> Bool[Tensor, "n links"]:
        """Returns which bodies are linked to the next, where they are not both fixed."""
        both = lambda x: x[:, 1:] & x[:, :-1]
        return (batch.seq_idx.diff(dim=1) == 1) & both(seen) & ~both(fixed)

    @torch.no_grad()
    def sample(self, given: FrameBatch) -> FrameBatch:
        """Draws noise, and walks down the path; what is fixed stays where it is."""
        return type(given).cat([self._drawn(g, self._field(g)) for g in _parts(given)])

    def _drawn(self, given: FrameBatch, field: Callable[..., Clean]) -> FrameBatch:
        seen, fixed = given.mask, given.fixed & given.mask
        known = given.trans.nan_to_num()
        middle = origin(known, seen, fixed)
        free = self._free(seen, fixed)
        found = self.walk(field, self.path, self._noise(given, known - middle, free), free)
        where = seen[..., None]
        placed = torch.where(free.move[..., None], found.trans + middle, known)  # to the bit
        psi = torch.where((fixed & ~given.psi.isnan().any(-1))[..., None], given.psi, found.psi)
        return given.replace(
            rots=torch.where(where[..., None], found.rots, torch.eye(3).to(found.rots)),
            trans=torch.where(where, placed, torch.zeros_like(placed)),
            psi=torch.where(where, psi, torch.tensor([0.0, 1.0]).to(psi)),
        )

    def _noise(self, given: FrameBatch, known: Tensor, free: Free) -> Bodies:
        """Draws the noisy end of the path around what is known."""
        rots = rotation.random_matrix(*given.mask.shape, like=given.trans)
        far = self.path.level(torch.ones(1, device=given.trans.device)).sigma_x
        noise = Bodies(rots, mean_free(torch.randn_like(given.trans), free) * far)
        there = given.rots.isfinite().all(-1).all(-1)[..., None, None]
        return free.mix(
            noise, Bodies(torch.where(there, given.rots, torch.eye(3).to(rots)), known)
        )

    def _field(self, given: FrameBatch) -> Callable[..., Clean]:
        """Returns what a walk asks: clean bodies, of a state at a level and an earlier answer."""
        seen, fixed = given.mask, given.fixed & given.mask

        def field(state: Bodies, t: Tensor, before: Tensor) -> Clean:
            level = self.path.level(t.expand(len(given)))
            shown = before if self.conditioned else torch.zeros_like(before)
            return self.clean(state, level, given, seen, fixed, shown)

        return field

    def steer(
        self, given: FrameBatch, measure: Callable[[Any], Tensor], value: float, width: float
    ) -> FrameBatch:
        r"""Draws from :math:`p(x)\, e^{-(f(x) - y)^2 / 2 w^2}`, about.

        How is told in `generative.steering`.

        Args:
            given: What is known of each row.
            measure: The differentiable number f of each row of a batch.
            value: The y that is wanted of it.
            width: w, how closely.
        """
        steered = lambda g: self._drawn(
            g, pulled(self._field(g), self.path, g, measure, value, width)
        )
        with torch.no_grad():
            return type(given).cat([steered(g) for g in _parts(given)])

    def to_latent(self, batch: FrameBatch) -> Float[Tensor, "n L 12"]:
        """Follows the probability flow up; gives rotation matrices, row by row, and translations.

        Translations are in the noise's own width. Residues that are padded are zeros.
        """
        size = batch.mask.shape[1]
        wide = lambda z: nn.functional.pad(z, (0, 0, 0, size - z.shape[1]))
        return torch.cat([wide(self._up(b)) for b in _parts(batch)])

    def _up(self, batch: FrameBatch) -> Float[Tensor, "n L 12"]:
        seen = batch.mask
        none = torch.zeros_like(seen)
        start = Bodies(batch.rots, batch.trans - origin(batch.trans, seen, none))
        free = batch.replace(fixed=none)
        levels = ends(self.path, self.latent_steps, batch.trans)
        end = flow(self._field(free), self.path, levels, start, self._free(seen, none))
        scale = self.path.diffuser.r3.coordinate_scaling
        z = torch.cat([end.rots.flatten(-2), end.trans * scale], -1)
        return torch.where(seen[..., None], z, torch.zeros_like(z))

    def from_latent(self, z: Float[Tensor, "n L 12"], given: FrameBatch) -> FrameBatch:
        """Follows it down, from the nearest rotations; inverts `to_latent` up to the solver."""
        rows = z.split(_rows(given))
        parts = zip(rows, _parts(given), strict=True)
        return type(given).cat([self._down(z[:, : g.mask.shape[1]], g) for z, g in parts])

    def _down(self, z: Float[Tensor, "n L 12"], given: FrameBatch) -> FrameBatch:
        seen = given.mask
        none = torch.zeros_like(seen)
        eye = torch.eye(3).to(z)
        raw = torch.where(seen[..., None, None], z[..., :9].unflatten(-1, (3, 3)), eye)
        scale = self.path.diffuser.r3.coordinate_scaling
        whole = self._free(seen, none)
        trans = mean_free(z[..., 9:] / scale, whole)
        levels = ends(self.path, self.latent_steps, z).flip(0)
        plain = given.replace(fixed=none)
        field = self._field(plain)
        end = flow(field, self.path, levels, Bodies(nearest_rotation(raw), trans), whole)
        last = field(end, levels[-1], end.trans)
        hidden = seen[..., None]
        return given.replace(
            rots=torch.where(hidden[..., None], end.rots, eye),
            trans=torch.where(hidden, end.trans, torch.zeros_like(end.trans)),
            psi=torch.where(hidden, last.psi, torch.tensor([0.0, 1.0]).to(z)),
        )

    @torch.no_grad()
    def diagnostics(self, batch: FrameBatch) -> dict[str, float]:
        """Returns each term in each quarter of the way, cleanest first, and what crops show.

        The latter are the smallest and the largest chance of a residue to be in a crop.
        """
        found: dict[str, float] = {}
        if self.crop is not None:
            share = self.crop(batch.trans, batch.mask, batch.protein)[1][batch.mask]
            found = {"crop_least": share.min().item(), "crop_most": share.max().item()}
        whole, none = torch.ones_like(batch.trans[..., 0]), torch.zeros_like(batch.mask)
        for k in range(4):
            u = (k + torch.rand_like(whole[:, 0])) / 4
            terms = self._loss(batch, u, batch.mask, none, whole).terms
            found |= {f"{name}_quarter_{k + 1}": x.mean().item() for name, x in terms.items()}
        return found


def _rows(batch: FrameBatch) -> int:
    """Returns how many rows a network is given at once: its memory grows as their pairs."""
    return max(_PAIRS // batch.mask.shape[1] ** 2, 1)


def _parts(batch: FrameBatch) -> list[FrameBatch]:
    size = _rows(batch)
    return [batch[k : k + size] for k in range(0, len(batch), size)]
