"""Frames of trajectories with their noise, one by one, as the reference's loader gives them.

Angstrom, centred on CA: the unit of length enters inside `R3Diffuser` alone, so that clean and
noisy bodies lie in one space.
"""

__all__ = ["MDGenDataset"]

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from genmatter.config import closest, replaced
from genmatter.domains.backbone.config import BackboneDataConfig
from genmatter.domains.backbone.conformers import Conformers, Trajectory
from genmatter.domains.backbone.crops import SpatialCrop
from genmatter.domains.backbone.data import load
from genmatter.domains.backbone.represent import BackboneFrames
from genmatter.errors import ConfigError
from genmatter.generative.diffusers import SE3Diffuser
from genmatter.generative.frames import FrameBatch
from genmatter.maths import residues
from genmatter.maths.atoms import atom14_to_atom37, atom14_to_frames, atom37_to_torsions, present
from genmatter.maths.noise import seed_of

LEVELS = 20
"""Levels t at which frames that are not trained on are looked at, in turn."""
_PARTS = {"train": "train", "val": "valid", "test": "test"}
_DATA = ("atlas_csv", "train_split", "suffix", "frame_interval")


class MDGenDataset(Dataset[dict[str, Any]]):
    """Frames of one split, each a dictionary of the reference's keys.

    In training t is uniform and a crop is drawn, both from the global stream. Else the whole
    protein is shown, and t and noise are functions of the index, t on an even grid: at t = 1
    alone all networks are alike, and none would be best. Frames stay in their files until they are
    asked for.

    Args:
        args: A mapping, or an object with attributes: `data_dir`, `atlas_csv`, `train_split`,
            `suffix`, `frame_interval` (every so manieth frame; None for all), `crop_ratio` (.95)
            and `min_t` (.01). What else it says is not looked at.
        diffuser: Makes the noise. It is given the training split's unit of length.
        mode: The split: train, val or test.

    Raises:
        ConfigError: There is no such mode, no data_dir, or a value cannot be used.
        DataError: The files are not fit to learn from.
    """

    def __init__(self, args: Any, diffuser: SE3Diffuser, mode: str = "train") -> None:
        if mode not in _PARTS:
            raise ConfigError(f"there is no mode {mode!r}{closest(mode, _PARTS)}")
        self.args, self.diffuser, self.mode = args, diffuser, mode
        self.crop_ratio = _share(args, "crop_ratio", 0.95)
        self.min_t = _share(args, "min_t", 0.01)
        config = _data(args)
        self.objects: Conformers = getattr(load(config, stream=True), _PARTS[mode])
        known = _fitted(config)
        self._told = {k: _residues(known, self.objects, k) for k in _used(self.objects)}
        self.coord_scale = known.coord_scale
        references = [known.reference(k)[:, 1] for k in range(len(known.names))]
        cropped = mode == "train" and self.crop_ratio < 1
        self._crop = SpatialCrop(references, self.crop_ratio) if cropped else None

    @property
    def coord_scale(self) -> float:
        """One over the standard deviation of CA coordinates, which the diffuser shares."""
        return self.diffuser.r3.coordinate_scaling

    @coord_scale.setter
    def coord_scale(self, value: float) -> None:
        self.diffuser.r3.coordinate_scaling = float(value)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns what is known of a frame, and the frame at a level of noise.

        Beside the reference's keys there is `inclusion` [L], the chance that a crop shows each
        residue: a loss that is to be one over whole proteins is divided by it.
        """
        index = range(len(self))[index]
        k, frame = self.objects.where[index].tolist()
        known = self._told[k]
        clean = _clean(self.objects.trajectories[k], frame, known)
        if self.mode == "train":
            t = self.min_t + (1 - self.min_t) * torch.rand(())
            noisy = self._noisy(clean, known, t)
        else:
            t = torch.linspace(self.min_t, 1, LEVELS)[index % LEVELS]
            # of a CPU alone: a loader's worker must not touch an accelerator
            with torch.random.fork_rng(devices=()):
                torch.default_generator.manual_seed(seed_of(self.mode, index))
                noisy = self._noisy(clean, known, t)
        return clean | noisy | {"coord_scale": torch.tensor(self.coord_scale)}

    def _noisy(self, clean: dict[str, Any], known: FrameBatch, t: Tensor) -> dict[str, Tensor]:
        trans = clean["rigids_0"][:, 4:]
        shown, share = known.mask, torch.ones_like(trans[None, :, 0])
        if self._crop is not None:
            shown, share = self._crop(trans[None], known.mask, known.protein)
        mask = shown[0].to(trans)
        noised = self.diffuser.forward_marginal(clean["rigids_0"], t, diffuse_mask=mask)
        none = torch.zeros_like(mask)
        told = {"t": t, "res_mask": mask, "fixed_mask": none, "inclusion": share[0]}
        return noised | told | {"sc_ca_t": torch.zeros_like(trans)}


def _clean(trajectory: Trajectory, frame: int, known: FrameBatch) -> dict[str, Any]:
    """Returns what of a frame needs no noise."""
    atom14 = trajectory.take(torch.tensor([frame]))[0]
    aatype, chain = known.aatype[0], known.chain_idx[0]
    atom37 = atom14_to_atom37(atom14, aatype)
    return {
        "rigids_0": atom14_to_frames(atom14).to_tensor_7(),
        "atom14_pos": atom14,
        "atom37_pos": atom37,
        "atom37_mask": present(atom37).to(atom37),
        "torsion_angles_sin_cos": atom37_to_torsions(atom37, aatype, chain).torsion_angles_sin_cos,
        "residx_atom14_to_atom37": residues.ATOM14_TO_ATOM37[aatype],
        "aatype": aatype,
        "seq_idx": known.seq_idx[0],
        "chain_idx": chain,
        "residue_index": known.residue_index[0],
        "centroid": _centroid(trajectory, frame),
        "name": f"{trajectory.protein.name}_R{trajectory.replica}",
        "frame_indices": torch.tensor(frame),
    }


def _centroid(trajectory: Trajectory, frame: int) -> Float[Tensor, "3"]:
    """Returns the mean of the CA atoms as they are in the file."""
    return torch.tensor(trajectory.atoms[frame, :, 1]).double().mean(0).float()


def _used(objects: Conformers) -> list[int]:
    return objects.where[:, 0].unique().tolist()


def _residues(known: BackboneFrames, objects: Conformers, k: int) -> FrameBatch:
    """Returns a row that says what the residues of a trajectory are."""
    return known.encode(objects[(objects.where[:, 0] == k).nonzero()[:1, 0]])


@lru_cache(maxsize=2)
def _fitted(config: BackboneDataConfig) -> BackboneFrames:
    """Returns what training frames say: the unit of length, and a conformer of each protein."""
    return BackboneFrames.fit(load(config, stream=True).train, None)


def _said(args: Any, name: str) -> Any:
    return args.get(name) if isinstance(args, Mapping) else getattr(args, name, None)


def _data(args: Any) -> BackboneDataConfig:
    if not _said(args, "data_dir"):
        raise ConfigError("args should have data_dir, the folder of NAME_R1.npy and so on")
    told = {name: value for name in _DATA if (value := _said(args, name)) is not None}
    told |= {"source": _said(args, "data_dir")}
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in told.items()}
    return replaced(BackboneDataConfig(), plain)


def _share(args: Any, name: str, default: float) -> float:
    value = _said(args, name)
    try:
        found = default if value is None else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not 0 < found <= 1:
        raise ConfigError(f"{name} should be above 0 and at most 1, got {value!r}")
    return found
