"""SE(3) score-matching diffusion of protein backbones (`generative.frames`)."""

__all__ = ["build", "network", "se3"]

import torch

from genmatter.domains.backbone.config import BackboneDiffusionConfig
from genmatter.domains.backbone.crops import SpatialCrop
from genmatter.domains.backbone.network import Embedder, IpaScore
from genmatter.domains.backbone.represent import BackboneFrames
from genmatter.errors import ConfigError
from genmatter.generative.bodies import FramePath
from genmatter.generative.diffusers import SE3Diffuser
from genmatter.generative.frame_loss import Weights
from genmatter.generative.frames import FrameDiffusion
from genmatter.generative.walks import FrameODE, FrameSDE, ReverseSDE, Walk
from genmatter.maths.residues import BACKBONE_IDEAL, aatype

_LEAST = {"sde": 1, "ode": 1, "reverse": 2}


def build(config: BackboneDiffusionConfig, representation: BackboneFrames) -> FrameDiffusion:
    """Returns an untrained model."""
    c = config
    if not 0 < c.crop_ratio <= 1:
        raise ConfigError(f"crop_ratio is {c.crop_ratio}, but a share is above 0 and at most 1")
    if not 0 < c.min_t < 1:
        raise ConfigError(f"min_t is {c.min_t}, but levels lie between 0 and 1")
    references = [representation.reference(k)[:, 1] for k in range(len(representation.names))]
    weights = Weights(
        c.rot_loss_weight if c.diffuse_rot else 0.0,
        c.trans_loss_weight if c.diffuse_trans else 0.0,
        c.psi_loss_weight, c.links_loss_weight, c.links_below, c.trans_target == "clean",
    )  # fmt: skip
    return FrameDiffusion(
        network(c, representation.coord_scale),
        FramePath(se3(c, representation.coord_scale), c.min_t, c.time_power),
        _walk(c),
        BACKBONE_IDEAL[int(aatype("A")), :3].to(torch.float32),
        weights,
        conditioned=c.self_conditioning,
        motif=c.motif_rate,
        crop=SpatialCrop(references, c.crop_ratio) if c.crop_ratio < 1 else None,
        latent_steps=c.sampling.latent_steps,
    )


def se3(c: BackboneDiffusionConfig, scale: float) -> SE3Diffuser:
    """Returns the noise, with the data's unit of length."""
    r3 = {"min_b": c.r3.min_b, "max_b": c.r3.max_b, "coordinate_scaling": scale}
    so3 = {"min_sigma": c.so3.min_sigma, "max_sigma": c.so3.max_sigma}
    told = {"diffuse_rot": c.diffuse_rot, "diffuse_trans": c.diffuse_trans, "so3": so3, "r3": r3}
    return SE3Diffuser(told)


def network(c: BackboneDiffusionConfig, scale: float) -> IpaScore:
    """Returns the network."""
    e, i = c.embed, c.ipa
    embedder = Embedder(
        c.node_embed_size, c.edge_embed_size, e.index_embed_size, e.num_bins, e.min_bin, e.max_bin,
        embed_self_conditioning=c.self_conditioning > 0, residue_types=e.residue_types,
    )  # fmt: skip
    return IpaScore(
        scale, embedder, c.node_embed_size, c.edge_embed_size, i.c_hidden, i.c_skip, i.no_heads,
        i.no_qk_points, i.no_v_points, i.seq_tfmr_num_heads, i.seq_tfmr_num_layers, i.num_blocks,
        i.reach, edge_transition=i.edge_transition, turn=c.diffuse_rot, move=c.diffuse_trans,
    )  # fmt: skip


def _walk(c: BackboneDiffusionConfig) -> Walk:
    s = c.sampling
    if s.steps < _LEAST[s.sampler]:
        raise ConfigError(
            f"steps is {s.steps}, but the sampler {s.sampler} takes at least {_LEAST[s.sampler]}"
        )
    match s.sampler:
        case "sde":
            return FrameSDE(s.steps, s.noise_scale, s.churn)
        case "ode":
            return FrameODE(s.steps, s.noise_scale)
        case "reverse":
            return ReverseSDE(s.steps, s.noise_scale)
