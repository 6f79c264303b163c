"""The reference's training module and its other names.

Its loss, its keys and its defaults are as documented, and what is wrong in its code is right here:
rotations are drawn evenly, each crystal is moved and turned by itself, errors of fractional
coordinates are those along the shortest way, and nothing is written into what is given.
"""

__all__ = [
    "CrystalBatch", "DiagonalGaussianDistribution", "TransformerDecoder", "TransformerEncoder",
    "VAEModule",
]  # fmt: skip

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genmatter.config import closest, load, restore
from genmatter.domains.crystal.config import REFERENCE_WEIGHTS, CrystalVAEConfig
from genmatter.domains.crystal.distribution import DiagonalGaussianDistribution
from genmatter.domains.crystal.network import TransformerDecoder, TransformerEncoder
from genmatter.domains.crystal.represent import CrystalBatch, CrystalTensors
from genmatter.domains.crystal.vae import CrystalVAE, build
from genmatter.errors import CheckpointError, ConfigError, RunError
from genmatter.nn.packed import Places
from genmatter.run import Run
from genmatter.training import checkpoint
from genmatter.training.module import checkpoints, module_class

_Module: Any = module_class()
_SIZES = ("d_model", "nhead", "num_layers", "dim_feedforward", "dropout", "index")
_RECIPE = "crystal/vae"


class VAEModule(_Module):
    """Trains a VAE on `CrystalBatch`es: a LightningModule, where there is one.

    Where Lightning is not installed it is a `torch.nn.Module` with the same methods, for a loop
    of one's own.

    Args:
        encoder: A `TransformerEncoder`, or its sizes as a mapping or an object with attributes.
        decoder: A `TransformerDecoder`, or its sizes.
        latent_dim: Latent units of an atom.
        loss_weights: Of `atom_types`, `frac_coords`, `lengths`, `angles` and `kl`, those that
            differ from the defaults.
        lr: Step size of AdamW.
        augment: Whether training moves and turns each crystal.

    Raises:
        ConfigError: A key is not known.
    """

    def __init__(
        self, encoder: Any = None, decoder: Any = None, latent_dim: int = 8,
        loss_weights: Any = None, lr: float = 1e-4, *, augment: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        known = asdict(REFERENCE_WEIGHTS)
        weights = known | _plain(loss_weights, list(known))
        reader = _made(TransformerEncoder, encoder)
        writer = _made(TransformerDecoder, decoder)
        self.told = {"latent_dim": latent_dim, "loss_weights": weights, "lr": lr,
                     "augment": augment}  # fmt: skip
        self.sizes = {"encoder": reader.sizes, "decoder": writer.sizes}
        self.lr, self.latent_dim = lr, latent_dim
        self.model = CrystalVAE(
            reader, writer, latent_dim, weights, translate=augment, rotate=augment
        )

    @property
    def encoder(self) -> TransformerEncoder:
        """The network that reads crystals."""
        return self.model.encoder

    @property
    def decoder(self) -> TransformerDecoder:
        """The network that reads latents."""
        return self.model.decoder

    def encode(self, batch: CrystalBatch) -> dict[str, Any]:
        """Returns `posterior`, and `mask` and `num_atoms` of the batch."""
        posterior = self.model.posterior(batch)
        return {"posterior": posterior, "mask": batch.mask, "num_atoms": batch.num_atoms}

    def decode(self, encoded: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns what latents stand for.

        Args:
            encoded: What `encode` returns, with latents `x` [n, atoms, latent]; without them the
                mean of the posterior is decoded.

        Returns:
            `atom_types`, logits [n, atoms, 119] by atomic number; `frac_coords` [n, atoms, 3];
            `lengths` [n, 3], angstrom; `angles` [n, 3], radian; `mask`; `num_atoms`.
        """
        z = encoded["x"] if "x" in encoded else encoded["posterior"].mode()
        mask = encoded["mask"]
        places = Places.of(mask)
        found = self.model.decoded(places.pack(z), places, z.new_zeros(len(z)))
        count = mask.sum(1)
        return {
            "atom_types": places.unpack(found.logits),
            "frac_coords": places.unpack(found.frac),
            "lengths": found.lengths * count[:, None] ** (1 / 3),
            "angles": found.angles,
            "mask": mask,
            "num_atoms": count,
        }

    def reconstruct(self, decoder_out: Mapping[str, Tensor], batch: CrystalBatch) -> CrystalBatch:
        """Returns the likeliest crystals of what was decoded; the batch is left as it is."""
        return self.model.settled(
            decoder_out["atom_types"], decoder_out["frac_coords"], decoder_out["lengths"],
            decoder_out["angles"], _unknown(batch),
        )  # fmt: skip

    @torch.no_grad()
    def sample(
        self, batch: CrystalBatch, return_atoms: bool = False, return_structures: bool = False
    ) -> Any:
        """Draws latents from N(0, 1) for as many atoms as crystals of a batch have, and decodes.

        Args:
            batch: Only `num_atoms` and `mask` are looked at.
            return_atoms: Return ASE's atoms.
            return_structures: Return pymatgen's structures.
        """
        found = self.model.sample(_unknown(batch))
        if return_atoms and return_structures:
            raise ConfigError("return either atoms or structures")
        if return_atoms:
            return found.to_atoms()
        return found.to_structure() if return_structures else found

    def forward(self, batch: CrystalBatch) -> dict[str, Any]:
        """Encodes, draws and decodes; returns what `encode` and `decode` do."""
        encoded = self.encode(batch)
        return encoded | self.decode(encoded | {"x": encoded["posterior"].sample()})

    def calculate_loss(self, batch: CrystalBatch) -> dict[str, Tensor]:
        """Returns `total_loss` and its terms, in the mean over a batch."""
        found = self.model.loss(batch, 0.0)
        return {"total_loss": found.total.mean()} | {k: v.mean() for k, v in found.terms.items()}

    def training_step(self, batch: CrystalBatch, batch_idx: int = 0) -> Tensor:
        return self._logged("train", batch)

    def validation_step(self, batch: CrystalBatch, batch_idx: int = 0) -> Tensor:
        return self._logged("val", batch)

    def _logged(self, stage: str, batch: CrystalBatch) -> Tensor:
        found = self.calculate_loss(batch)
        values = {f"{stage}_{name}": x.detach() for name, x in found.items()}
        self.log_dict(values, batch_size=len(batch), sync_dist=stage == "val")
        return found["total_loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def configure_callbacks(self) -> list[Any]:
        """Keeps the best checkpoint and the last, unless the Trainer is told otherwise."""
        return checkpoints(self.trainer, "val_total_loss", best=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the module is made of, as plain values."""
        checkpoint["hyper_parameters"] = self.told | self.sizes

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", *, weights_only: bool = True
    ) -> "VAEModule":
        """Makes the module that a Trainer saved, or that of a run. Nothing is executed.

        Args:
            checkpoint_path: A file of a Trainer, or the folder of a finished run of crystal/vae.
            map_location: Where its tensors go.
            weights_only: Accepted, and taken to be true.

        Raises:
            CheckpointError: The file holds more than tensors and plain values, or other ones.
        """
        del weights_only
        path = Path(checkpoint_path)
        if path.is_dir():
            return cls._of_run(Run.at(path)).to(map_location)
        try:
            found = torch.load(path, map_location=map_location, weights_only=True)
            module = cls(**found["hyper_parameters"])
            module.load_state_dict(found["state_dict"])
        except FileNotFoundError:
            raise CheckpointError(f"there is no checkpoint {str(path)!r}") from None
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{str(path)!r} is no checkpoint of a VAEModule of genmatter: {reason}"
            ) from None
        return module

    @classmethod
    def _of_run(cls, run: Run) -> "VAEModule":
        """Returns the model of a run of crystal/vae, whatever its config."""
        if run.recipe != _RECIPE:
            raise RunError(f"{str(run.path)!r} holds a run of {run.recipe}, not of {_RECIPE}")
        config = load(run.config.read_text(), CrystalVAEConfig(), _RECIPE, str(run.config))
        representation = restore(CrystalTensors, json.loads(run.representation.read_text()))
        module = cls(config.encoder, config.decoder, config.latent_dim, config.weights)
        module.model = build(config, representation)
        module.model.load_state_dict(checkpoint.read(run.model)[0])
        return module


def _made(cls: Any, told: Any) -> Any:
    """Returns a network, or makes it of its sizes."""
    return told if isinstance(told, nn.Module) else cls(**_plain(told, list(_SIZES)))


def _plain(told: Any, known: list[str]) -> dict[str, Any]:
    """Reads a mapping, or the attributes of an object; `_target_` says nothing."""
    if told is None:
        return {}
    if not isinstance(told, Mapping):
        return {k: getattr(told, k) for k in known if hasattr(told, k)}
    for key in told:
        if key not in known and key != "_target_":
            raise ConfigError(f"there is no key {key!r}{closest(str(key), known)}")
    return {k: told[k] for k in known if k in told}


def _unknown(batch: CrystalBatch) -> CrystalBatch:
    """Returns crystals of which only the number of atoms is known."""
    return batch.replace(atom_types=torch.zeros_like(batch.atom_types))
