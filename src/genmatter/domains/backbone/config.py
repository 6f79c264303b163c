"""What the backbone recipe can be told."""

__all__ = [
    "RECIPES",
    "BackboneDataConfig",
    "BackboneDiffusionConfig",
    "BackboneSamplingConfig",
    "EmbedConfig",
    "IpaConfig",
    "PeptideConfig",
    "R3Config",
    "So3Config",
]

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class PeptideConfig:
    """A capped peptide to simulate where no data are given."""

    simulator: Literal["openmm", "torsions"] = "openmm"
    """Langevin dynamics with implicit solvent, or independent residues with random torsions."""
    sequence: str = "AAAAA"
    """Residues between the caps, one letter each."""
    temperature: float = 400.0
    """Kelvin."""
    nanoseconds: float = 1.0
    """Length of each replica; one nanosecond of AAAAA takes 50 seconds on one core."""
    replicas: int = 3
    """Independent trajectories."""
    force_field: str = "amber99sbildn.xml,amber99_obc.xml"
    """OpenMM's files, the implicit solvent's last."""
    save_ps: float = 1.0
    """Time between two frames."""
    conformers: int = 600
    """Frames of each replica of random torsions."""


@dataclass(frozen=True, kw_only=True)
class BackboneDataConfig:
    """Frames of molecular dynamics to learn from: files, or a simulation."""

    source: Annotated[str, arg(name="data")] = ""
    """Folder with NAME_R1.npy, ..., or a multi-model .pdb or .cif file; simulates when empty."""
    atlas_csv: str = ""
    """Table name,seqres of the proteins; atlas.csv in the folder or above it by default."""
    train_split: str = ""
    """Table of each trajectory's frames for training, validation and test (frame_splits.csv)."""
    suffix: str = ""
    """What follows the replica's number in the names of files."""
    pdb: str = ""
    """Topology of the trajectories (.pdb or .cif)."""
    traj: tuple[str, ...] = ()
    """Trajectories, each a replica (.xtc .dcd .trr .nc .h5 .npy)."""
    proteins: tuple[str, ...] = ()
    """Names of those to take from the folder; all where empty."""
    frame_ps: float = 0.0
    """Picoseconds between two frames; 0 asks the files, of which .npy and .dcd may not know."""
    frame_interval: int = 0
    """Take every so manieth frame; 0 takes all."""
    test_replicas: tuple[int, ...] = ()
    """Numbers of the replicas to test on; the last of each protein where empty."""
    valid_fraction: float = 0.1
    """Share of each training replica, at its end, that is watched during training."""
    gap: int = 10
    """Frames dropped before that share."""
    data_seed: int = 0
    """Seed of simulations."""
    peptide: PeptideConfig = PeptideConfig()


@dataclass(frozen=True, kw_only=True)
class So3Config:
    """Noise of rotations, on the reference's logarithmic schedule."""

    min_sigma: float = 0.02
    """Width at t = 0, radian (the reference: .1)."""
    max_sigma: float = 1.5
    """Width at t = 1, radian."""


@dataclass(frozen=True, kw_only=True)
class R3Config:
    """Noise of translations."""

    min_b: float = 0.1
    """Beta at t = 0."""
    max_b: float = 20.0
    """Beta at t = 1."""


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """How residues and pairs are first written."""

    index_embed_size: int = 32
    """Width of a place along the chain, and of a level."""
    num_bins: int = 22
    """Bins of a distance between CA atoms."""
    min_bin: float = 1e-5
    """The shortest distance, angstrom."""
    max_bin: float = 20.0
    """The longest, angstrom."""
    residue_types: bool = True
    """Look at the types of residues."""


@dataclass(frozen=True, kw_only=True)
class IpaConfig:
    """The blocks of the network."""

    c_hidden: int = 16
    """Width of a head of the attention in space."""
    c_skip: int = 64
    """Width at which the attention along the sequence sees the first residues again."""
    no_heads: int = 4
    """Heads of the attention in space (the reference: 12)."""
    no_qk_points: int = 4
    """Points that a head compares."""
    no_v_points: int = 8
    """Points that a head collects."""
    seq_tfmr_num_heads: int = 4
    """Heads of the attention along the sequence."""
    seq_tfmr_num_layers: int = 0
    """Its layers in a block (the reference: 2); 0 for none."""
    num_blocks: int = 3
    """Blocks (the reference: 4)."""
    reach: int = 2
    """Neighbours along the chain whose links a block looks at, on either side; 0 for none."""
    edge_transition: bool = False
    """Update pairs between blocks: takes most of the time and memory."""


@dataclass(frozen=True, kw_only=True)
class BackboneSamplingConfig:
    """How conformers are drawn; these may change after training."""

    sampler: Literal["sde", "ode", "reverse"] = "sde"
    """Flow with noise added back, the flow alone, or Euler's steps of the reverse process."""
    steps: int = 20
    """Network calls of a conformer."""
    churn: float = 0.25
    """Share of a step by which the sde goes back up before the next one; more of it makes bonds
    sharper and ensembles narrower."""
    noise_scale: float = 1.0
    """Scale of the noise added on the way; 1 is for ensembles, .1 for design."""
    latent_steps: int = 20
    """Steps of the flow to and from the latent, at two network calls each."""
    protein: str = ""
    """Which of the proteins in the data; all in turn where empty."""
    new_sequence: str = ""
    """Sample another sequence, one letter for each residue, instead."""
    motif: str = ""
    """Residues to hold fixed, by number and chain: 3-6,9 or A3-6."""
    motif_from: str = ""
    """File with the motif's coordinates; those of a training frame where empty."""
    pair: str = ""
    """Two residues, such as 3,8: the distance of their CA becomes the observable `distance`."""
    target: str = ""
    """File with a conformer: the distance from it becomes the observable `rmsd`."""


@dataclass(frozen=True, kw_only=True)
class BackboneDiffusionConfig(Config):
    """SE(3) score-matching diffusion of protein backbones."""

    aliases: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "data_dir": "source",
        "num_epochs": "epochs",
        "rot_weight": "rot_loss_weight",
        "trans_weight": "trans_loss_weight",
        "psi_weight": "psi_loss_weight",
        "num_steps": "steps",
    }

    data: BackboneDataConfig = BackboneDataConfig()
    sampling: BackboneSamplingConfig = BackboneSamplingConfig()
    optim: Optim = Optim(
        epochs=300, batch_size=64, lr=2e-3, schedule="cosine", warmup_steps=100, grad_clip=1.0,
        ema=0.999, keep="last",
    )  # fmt: skip
    so3: So3Config = So3Config()
    r3: R3Config = R3Config()
    diffuse_rot: bool = True
    """Diffuse rotations; else they are known."""
    diffuse_trans: bool = True
    """Diffuse translations; else they are known."""
    min_t: float = 0.001
    """The cleanest level (the reference: .01)."""
    time_power: float = 3.0
    """Levels are even in the root of t of this power: 1 is the reference's even t."""
    node_embed_size: int = 128
    """Width of a residue (the reference: 256)."""
    edge_embed_size: int = 32
    """Width of a pair (the reference: 128)."""
    embed: EmbedConfig = EmbedConfig()
    ipa: IpaConfig = IpaConfig()
    self_conditioning: float = 0.5
    """Share of the steps in which the network is shown its own first answer; 0 for never."""
    crop_ratio: float = 1.0
    """Share of the residues, the nearest to a random one, that training shows."""
    motif_rate: float = 0.1
    """Share of the rows of which training holds a stretch fixed; 0 makes motifs guesswork."""
    rot_loss_weight: float = 1.0
    """Weight of the score of rotations."""
    trans_loss_weight: float = 1.0
    """Weight of the translations' term."""
    psi_loss_weight: float = 1.0
    """Weight of the sine and cosine of psi."""
    links_loss_weight: float = 1.0
    """Weight of the vectors between atoms of neighbouring residues."""
    links_below: float = 0.25
    """The t above which these cost nothing."""
    trans_target: Literal["clean", "score"] = "clean"
    """Compare clean translations in units of the noise, or scores in theirs."""


_REFERENCE = IpaConfig(no_heads=12, seq_tfmr_num_layers=2, num_blocks=4)

BackboneDiffusionConfig.presets = {
    "peptide": BackboneDiffusionConfig(),
    "reference": BackboneDiffusionConfig(
        sampling=BackboneSamplingConfig(sampler="reverse", steps=100),
        optim=Optim(epochs=100, batch_size=8, lr=1e-4, ema=0.0),
        so3=So3Config(min_sigma=0.1),
        min_t=0.01,
        time_power=1.0,
        node_embed_size=256,
        edge_embed_size=128,
        embed=EmbedConfig(residue_types=False),
        ipa=IpaConfig(no_heads=12, seq_tfmr_num_layers=2, num_blocks=4, reach=0),
        self_conditioning=0.0,
        crop_ratio=0.95,
        motif_rate=0.0,
        links_loss_weight=0.0,
        trans_target="score",
    ),
    "atlas": BackboneDiffusionConfig(
        sampling=BackboneSamplingConfig(steps=50),
        optim=Optim(
            epochs=100, batch_size=32, lr=5e-4, schedule="cosine", warmup_steps=1000,
            grad_clip=1.0, ema=0.999, keep="last", stream=True,
        ),
        node_embed_size=256,
        edge_embed_size=128,
        ipa=_REFERENCE,
        crop_ratio=0.95,
    ),
    "tiny": BackboneDiffusionConfig(
        data=BackboneDataConfig(
            peptide=PeptideConfig(simulator="torsions", sequence="AGA", conformers=100, replicas=3)
        ),
        sampling=BackboneSamplingConfig(steps=4, latent_steps=3),
        optim=Optim(epochs=2, batch_size=64, lr=2e-3),
        node_embed_size=16,
        edge_embed_size=8,
        embed=EmbedConfig(index_embed_size=8, num_bins=8),
        ipa=IpaConfig(c_hidden=4, c_skip=4, no_heads=2, no_qk_points=2, no_v_points=2,
                      seq_tfmr_num_heads=2, seq_tfmr_num_layers=1, num_blocks=2),
    ),
}  # fmt: skip

RECIPES: dict[str, type[Config]] = {"diffusion": BackboneDiffusionConfig}
"""The recipes of this domain, by the name that follows `backbone/`."""
