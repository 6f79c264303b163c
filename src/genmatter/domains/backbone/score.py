"""The reference's score network: its configuration keys, its batch keys, its answers.

The network is that of `network`; what differs from the reference's own stands with `ScoreNetwork`.
"""

__all__ = ["ScoreNetwork"]

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmatter.config import closest, replaced
from genmatter.domains.backbone.config import BackboneDiffusionConfig, EmbedConfig, IpaConfig
from genmatter.domains.backbone.diffusion import network
from genmatter.domains.backbone.network import Seen
from genmatter.errors import ConfigError
from genmatter.generative.diffusers import SE3Diffuser
from genmatter.generative.frames import FramePath
from genmatter.generative.walks import Bodies, Clean
from genmatter.maths import rigid
from genmatter.maths.atoms import compute_backbone
from genmatter.maths.rigid import Rigid

_DEFAULTS: Any = BackboneDiffusionConfig.presets["reference"]
_SIZES = ("node_embed_size", "edge_embed_size")
_EMBED = (*(f.name for f in fields(EmbedConfig)), "embed_self_conditioning")
_IPA = (*(f.name for f in fields(IpaConfig)), "c_s", "c_z", "coordinate_scaling")


class ScoreNetwork(nn.Module):
    """Embeds residues and pairs, refines their bodies, and reads scores off what has moved.

    Scores do not change where all noisy bodies move together, and turn with them: only distances
    within a protein are looked at, and both ends of the way are seen from the middle of its
    visible residues. Where some residues are fixed, these say where it lies, and the origin is
    that of the coordinates.

    Args:
        model_conf: A mapping, or an object with attributes: `node_embed_size`, `edge_embed_size`,
            `embed` and `ipa`, both of these in the same way. `embed.residue_types` lets the
            network look at the types of residues, so that it can know several proteins; then it
            reads `aatype` too. What is not said has the reference's default.
        diffuser: Its schedules, and the unit of length: `ipa.coordinate_scaling` may be said and
            does nothing.

    Raises:
        ConfigError: A key is not known, or a value cannot be used.
    """

    def __init__(self, model_conf: Any, diffuser: SE3Diffuser) -> None:
        super().__init__()
        self.diffuser, self.config = diffuser, _read(model_conf)
        self.net = network(self.config, diffuser.r3.coordinate_scaling)

    @property
    def conf(self) -> dict[str, Any]:
        """All keys with their values, as `model_conf` takes them."""
        c = self.config
        embed = asdict(c.embed) | {"embed_self_conditioning": c.self_conditioning > 0}
        return {name: getattr(c, name) for name in _SIZES} | {"embed": embed, "ipa": asdict(c.ipa)}

    def get_extra_state(self) -> Tensor:
        """Returns the unit of length, which belongs to the weights."""
        return torch.tensor(self.diffuser.r3.coordinate_scaling, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.diffuser.r3.coordinate_scaling = float(state)

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns scores, psi, bodies and atoms; residues that are masked or fixed have score 0.

        Args:
            batch: `rigids_t` [B, N, 7], `res_mask` and `fixed_mask` [B, N], `seq_idx` [B, N],
                `t` [B], `sc_ca_t` [B, N, 3] and `torsion_angles_sin_cos` [B, N, 7, 2].

        Returns:
            `rot_score` and `trans_score` [B, N, 3], `psi` [B, N, 2] as its sine and cosine,
            `rigids` [B, N, 7], `atom37` [B, N, 37, 3] and `atom14` [B, N, 14, 3].
        """
        mask, fixed = batch["res_mask"].bool(), batch["fixed_mask"].bool()
        types = batch["aatype"] if self.config.embed.residue_types else None
        seen = Seen(torch.zeros_like(mask).long() if types is None else types,
                    batch["seq_idx"], mask, fixed)  # fmt: skip
        with torch.autocast(mask.device.type, enabled=False):
            start = rigid.from_tensor_7(batch["rigids_t"])
            middle = _middle(start.trans, mask, fixed)
            state = Bodies(start.rots, start.trans - middle)
        # set when data have been seen, which may be after the network was made
        self.net.scale = self.diffuser.r3.coordinate_scaling
        level = FramePath(self.diffuser, 0.0, 1.0).level(batch["t"])
        found = self.net.refine(state, level, seen, batch["sc_ca_t"])
        with torch.autocast(mask.device.type, enabled=False):
            scores, end = self._moved(state, found, batch["t"], mask & ~fixed)
            given = batch["torsion_angles_sin_cos"][..., 2, :].to(found.psi)
            psi = torch.where(fixed[..., None], given, found.psi)
            bodies = Rigid(end.rots, end.trans + middle)
            atoms = compute_backbone(bodies, psi, types)
        # what does not diffuse stays, to the bit
        free = (mask & ~fixed)[..., None]
        rigids = torch.where(free, bodies.to_tensor_7(), batch["rigids_t"])
        placed = {"rigids": rigids, "atom37": atoms.atom37, "atom14": atoms.atom14}
        return scores | {"psi": psi} | placed

    def _moved(
        self, x: Bodies, found: Clean, t: Float[Tensor, " B"], free: Bool[Tensor, "B N"]
    ) -> tuple[dict[str, Tensor], Bodies]:
        """Returns the scores of the way from noisy bodies to clean ones, and these."""
        d, keep = self.diffuser, free[..., None]
        turn, move = keep & d.diffuse_rot, keep & d.diffuse_trans
        end = Bodies(
            torch.where(turn[..., None], found.rots, x.rots),
            torch.where(move, found.trans, x.trans),
        )
        rot = d.calc_rot_score(x.rots, end.rots, t)
        trans = d.calc_trans_score(x.trans, end.trans, t)
        none = torch.zeros_like(trans)
        scores = {
            "rot_score": torch.where(turn, rot, none),
            "trans_score": torch.where(move, trans, none),
        }
        return scores, end


def _middle(
    trans: Float[Tensor, "B N 3"], mask: Bool[Tensor, "B N"], fixed: Bool[Tensor, "B N"]
) -> Float[Tensor, "B 1 3"]:
    """Returns the middle of visible residues, or the origin where some of them are fixed."""
    shown = mask[..., None]
    middle = (trans * shown).sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp_min(1)
    held = (mask & fixed).any(1)[:, None, None]
    return torch.where(held, torch.zeros_like(middle), middle)


def _read(model_conf: Any) -> BackboneDiffusionConfig:
    """Reads a network's sizes over the reference's."""
    told = _said(model_conf, (*_SIZES, "embed", "ipa"), "model_conf")
    embed = _said(told.pop("embed", None), _EMBED, "model_conf.embed")
    ipa = _said(told.pop("ipa", None), _IPA, "model_conf.ipa")
    ipa.pop("coordinate_scaling", None)
    again = bool(embed.pop("embed_self_conditioning", True))
    widths = {name: ipa.pop(name) for name in ("c_s", "c_z") if name in ipa}
    told |= {f"embed.{k}": v for k, v in embed.items()} | {f"ipa.{k}": v for k, v in ipa.items()}
    found = replaced(replace(_DEFAULTS, self_conditioning=0.5 if again else 0.0), told)
    for name, of in zip(("c_s", "c_z"), _SIZES, strict=True):
        if widths.get(name, getattr(found, of)) != getattr(found, of):
            raise ConfigError(
                f"ipa.{name} should be {of}, {getattr(found, of)}, got {widths[name]}"
            )
    return found


def _said(conf: Any, known: Iterable[str], name: str) -> dict[str, Any]:
    """Returns what a mapping, or an object with attributes, says."""
    if not isinstance(conf, Mapping):
        return {key: getattr(conf, key) for key in known if hasattr(conf, key)}
    for key in conf:
        if key not in known:
            raise ConfigError(f"{name} has no key {key!r}{closest(str(key), known)}")
    return dict(conf)
