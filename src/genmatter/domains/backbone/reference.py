"""The reference's training module, and its other names.

Its loss and its keys are as documented, and what is wrong in its code is right here: the network's
own first answer is trained on, validation looks at all levels, crops are weighed by how often
they show a residue, and the unit of length is taken from the data, once.
"""

__all__ = [
    "BackboneUpdate", "Embedder", "InvariantPointAttention", "IpaScore", "MDGenDataset",
    "R3Diffuser", "SE3Diffuser", "SE3Module", "SO3Diffuser", "ScoreNetwork", "TorsionAngles",
    "atom14_to_atom37", "atom14_to_frames", "atom37_to_torsions", "compute_backbone",
]  # fmt: skip

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genmatter.domains.backbone.mdgen import MDGenDataset
from genmatter.domains.backbone.network import Embedder, IpaScore, TorsionAngles
from genmatter.domains.backbone.score import ScoreNetwork
from genmatter.errors import ConfigError
from genmatter.generative.diffusers import R3Diffuser, SE3Diffuser, SO3Diffuser
from genmatter.maths import rigid
from genmatter.maths.atoms import (
    atom14_to_atom37,
    atom14_to_frames,
    atom37_to_torsions,
    compute_backbone,
)
from genmatter.nn.ipa import BackboneUpdate, InvariantPointAttention
from genmatter.training.module import checkpoints, module_class

_Module: Any = module_class()
_WEIGHTS = ("rot_loss_weight", "trans_loss_weight", "psi_loss_weight")
_CONDITIONED = 0.5  # share of the steps that look at the network's own first answer


class SE3Module(_Module):
    """Trains a `ScoreNetwork` on batches of `MDGenDataset`: a LightningModule, where there is one.

    Where Lightning is not installed it is a `torch.nn.Module` with the same methods, for a loop
    of one's own. It takes the unit of length from the batches, and keeps it with the weights.

    Args:
        model_conf: The network's sizes.
        se3_conf: The noise.
        lr: Step size of Adam.
        rot_loss_weight: Weight of the rotations' term.
        trans_loss_weight: Weight of the translations' term.
        psi_loss_weight: Weight of psi's term.
        training: A mapping, or an object with attributes, that says these three instead.

    Raises:
        ConfigError: A key is not known, or a value cannot be used.
    """

    def __init__(
        self, model_conf: Any = None, se3_conf: Any = None, lr: float = 1e-4,
        rot_loss_weight: float = 1.0, trans_loss_weight: float = 1.0, psi_loss_weight: float = 1.0,
        training: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.diffuser, self.lr = SE3Diffuser(se3_conf), lr
        self.model = ScoreNetwork(model_conf, self.diffuser)
        weights = rot_loss_weight, trans_loss_weight, psi_loss_weight
        said = training
        if not isinstance(training, Mapping):
            said = {name: getattr(training, name) for name in _WEIGHTS if hasattr(training, name)}
        self.weights = {
            name: float(said.get(name, value))
            for name, value in zip(_WEIGHTS, weights, strict=True)
        }

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Answers as `ScoreNetwork.forward` does, in the batch's unit of length."""
        self._measure(batch)
        return self.model(batch)

    def loss(
        self, batch: Mapping[str, Any], inclusion: Float[Tensor, "B N"] | None = None
    ) -> dict[str, Tensor]:
        r"""Returns `loss` and its terms `rot_loss`, `trans_loss` and `psi_loss`.

        Each is a sum of squares over visible residues, by their number; scores are in units of
        their scaling. The noise moves proteins as wholes too, of which a network can know
        nothing, and so no translations' term is below 3 / N.

        Args:
            batch: Of the keys that `MDGenDataset` gives.
            inclusion: The chance that a crop shows each residue. Terms divided by it are, in the
                mean over crops, those of whole proteins, of which crops show the rim less often.
        """
        found, mask = self(batch), batch["res_mask"]
        each = mask if inclusion is None else mask / inclusion
        over = lambda gap: (gap.square().sum(-1) * each).sum() / each.sum()
        terms = {
            f"{name}_loss": over(
                (found[f"{name}_score"] - batch[f"{name}_score"])
                / batch[f"{name}_score_scaling"][:, None, None]
            )
            for name in ("rot", "trans")
        }
        terms["psi_loss"] = over(found["psi"] - batch["torsion_angles_sin_cos"][..., 2, :])
        total = torch.stack([self.weights[f"{k}_weight"] * x for k, x in terms.items()]).sum()
        return {"loss": total} | terms

    def _measure(self, batch: Mapping[str, Any]) -> None:
        """Takes the unit of length from a batch, where that has it."""
        if "coord_scale" in batch:
            self.diffuser.r3.coordinate_scaling = float(batch["coord_scale"].flatten()[0])

    def training_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> Tensor:
        """Returns the loss, of which half the time the network has seen its own first answer."""
        shown = self._conditioned(batch) if torch.rand(()) < _CONDITIONED else batch
        return self._logged("train", shown, batch.get("inclusion"))

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> Tensor:
        """Returns the loss, of a network that has seen its own first answer, as in sampling."""
        return self._logged("val", self._conditioned(batch), None)

    @torch.no_grad()
    def _conditioned(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {**batch, "sc_ca_t": self(batch)["rigids"][..., 4:]}

    def _logged(self, stage: str, batch: Mapping[str, Any], inclusion: Tensor | None) -> Tensor:
        found = self.loss(batch, inclusion)
        values = {f"{stage}_{name}": x.detach() for name, x in found.items()}
        self.log_dict(values, batch_size=len(batch["t"]), sync_dist=stage == "val")
        return found["loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def configure_callbacks(self) -> list[Any]:
        """Keeps the three best checkpoints and the last, unless the Trainer is told otherwise."""
        return checkpoints(self.trainer, "val_loss", best=3)

    @torch.no_grad()
    def sample(
        self, batch: Mapping[str, Any], num_steps: int = 100, noise_scale: float = 1.0,
        min_t: float = 0.01,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Draws noise, and goes back by Euler's steps of the reverse process.

        Args:
            batch: Its masks, `seq_idx` and `torsion_angles_sin_cos` are used, and `rigids_0` (or
                else `rigids_t`) of residues that are fixed or masked, which stay there.
            num_steps: How often the network is asked, from t = 1 to `min_t`.
            noise_scale: Scale of the noise on the way: 1 is for ensembles, .1 for design.
            min_t: The cleanest level.

        Returns:
            What the network answers at that level, see `ScoreNetwork.forward`.

        Raises:
            ConfigError: There is no step, or the level is not between 0 and 1.
        """
        if num_steps < 1 or not 0 < min_t < 1:
            raise ConfigError(
                f"sampling takes a step and a level between 0 and 1, got num_steps {num_steps} "
                f"and min_t {min_t}"
            )
        self._measure(batch)
        free = batch["res_mask"].bool() & ~batch["fixed_mask"].bool()
        x = self._noise(batch.get("rigids_0", batch["rigids_t"]), free)
        told = {**batch, "rigids_t": x, "sc_ca_t": torch.zeros_like(x[..., 4:])}
        levels = torch.linspace(1, min_t, num_steps, dtype=x.dtype, device=x.device)
        dt = (1 - min_t) / max(num_steps - 1, 1)
        for t in levels[:-1]:
            found = self.model({**told, "t": t.expand(len(x))})
            x = self.diffuser.reverse(
                x, found["rot_score"], found["trans_score"], t, dt, free, noise_scale=noise_scale
            )
            told = {**told, "rigids_t": x, "sc_ca_t": found["rigids"][..., 4:]}
        return self.model({**told, "t": levels[-1].expand(len(x))})

    def _noise(self, known: Float[Tensor, "B N 7"], free: Tensor) -> Float[Tensor, "B N 7"]:
        """Draws the noisy end of the way around what stays as it is."""
        d, held = self.diffuser, rigid.from_tensor_7(known)
        drawn = rigid.Rigid(*(part.to(known) for part in d.sample_ref(*free.shape)))
        start = rigid.Rigid(
            drawn.rots if d.diffuse_rot else held.rots,
            drawn.trans if d.diffuse_trans else held.trans,
        )
        return torch.where(free[..., None], start.to_tensor_7(), known)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the module is made of, as plain values."""
        so3, r3 = self.diffuser.so3, self.diffuser.r3
        se3 = {
            "diffuse_rot": self.diffuser.diffuse_rot, "diffuse_trans": self.diffuser.diffuse_trans,
            "so3": {"min_sigma": so3.min_sigma, "max_sigma": so3.max_sigma},
            "r3": {"min_b": r3.min_b, "max_b": r3.max_b,
                   "coordinate_scaling": r3.coordinate_scaling},
        }  # fmt: skip
        told = {"model_conf": self.model.conf, "se3_conf": se3, "lr": self.lr}
        checkpoint["hyper_parameters"] = told | self.weights

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", *, weights_only: bool = True
    ) -> "SE3Module":
        """Makes the module that a Trainer saved. Nothing in the file is executed.

        Args:
            checkpoint_path: The file.
            map_location: Where its tensors go.
            weights_only: Accepted, and taken to be true.
        """
        del weights_only
        found = torch.load(checkpoint_path, map_location=map_location, weights_only=True)
        module = cls(**found["hyper_parameters"])
        module.load_state_dict(found["state_dict"])
        return module
