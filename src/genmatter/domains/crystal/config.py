"""What the crystal recipes can be told."""

__all__ = [
    "RECIPES",
    "REFERENCE_WEIGHTS",
    "CrystalCompositionConfig",
    "CrystalDataConfig",
    "CrystalDecoderConfig",
    "CrystalEncoderConfig",
    "CrystalLatentDiffusionConfig",
    "CrystalLossConfig",
    "CrystalSamplingConfig",
    "CrystalVAEConfig",
]

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class CrystalDataConfig:
    """Crystals to learn from: files, a data set by name, or the prototypes that come along."""

    source: Annotated[str, arg(name="data")] = ""
    """File, folder or zip (.cif .vasp .extxyz .csv .parquet), `mp_20` or `perov_5`; prototypes
    are filled with ions when empty."""
    cif_column: str = "cif"
    """Which column of a table holds CIFs."""
    columns: tuple[str, ...] = ()
    """Columns of the table to take for properties; empty takes all that hold numbers."""
    crystals: int = 12_000
    """How many crystals are made of prototypes, at most."""
    data_seed: int = 0
    """Seed of the prototypes and of the split."""
    split: Literal["given", "composition", "random"] = "given"
    """What the file's column `split` says, and where it has none as `composition`: crystals of one
    reduced formula together; or dealt out one by one."""
    valid_fraction: float = 0.1
    """Share of the crystals that chooses the best weights."""
    test_fraction: float = 0.1
    """Share of the crystals to score against."""
    max_atoms: int = 20
    """Crystals of more atoms in the primitive cell are left out."""
    elements: tuple[str, ...] = ()
    """Crystals of other elements are left out; empty keeps all."""
    max_volume: float = 0.0
    """Crystals of more cubic angstrom per atom are left out; 0 keeps any."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Leave out structures that match an earlier one of the same composition, or keep them."""
    space_groups: bool = True
    """Find the space group of every crystal, 3 ms each, so that crystal/latent_diffusion draws it
    before the structure; said when crystal/vae is trained."""


@dataclass(frozen=True, kw_only=True)
class CrystalSamplingConfig:
    """How samples are drawn; these may change after training."""

    formula: str = ""
    """Atoms of a formula unit, such as LiFeO2; any where empty. Kept exactly."""
    formula_units: tuple[int, ...] = (1,)
    """How many units a cell has; several take turns."""
    num_atoms: tuple[int, ...] = ()
    """How many atoms a cell has; several take turns. As in the data where empty."""
    chemical_system: tuple[str, ...] = ()
    """Elements that there are to be, all of them and no others (crystal/latent_diffusion)."""
    space_group: int = 0
    """Number of the wanted space group; 0 leaves it open (crystal/latent_diffusion)."""
    target: tuple[str, ...] = ()
    """What is wanted of samples: NAME=VALUE of properties (crystal/latent_diffusion)."""
    guidance: float = 1.0
    """How much more than the data what is asked for counts; 1 is the model as it learned."""
    sampler: Literal["ode", "sde"] = "ode"
    """Follow the flow, or go back up a little between its steps with noise."""
    steps: int = 50
    """Network calls of a sample."""
    churn: float = 0.5
    """Share of a step by which the sde goes back up before the next one."""
    temperature: float = 1.0
    """Scale of the noise that samples begin from."""
    settle: int = 30
    """Steps in which atoms that are too close for their elements are moved apart; 0 leaves them
    (crystal/latent_diffusion)."""
    level: float = 0.0
    """Noise, in standard deviations of the latents, that the decoder takes latents to have."""
    templates: bool = True
    """Draw after training crystals of the same pattern, where there are any
    (crystal/latent_diffusion)."""
    choice: float = 1.0
    """Temperature at which space groups and templates are drawn: below 1 the likeliest of them
    more often, as is best where a structure is predicted (crystal/latent_diffusion)."""
    symmetrise: float = 0.5
    """How far atoms and lattice vectors are moved at most, angstrom, so that a crystal has the
    symmetries of the one it is drawn after (crystal/latent_diffusion); 0 leaves them."""
    relax: int = 0
    """How many crystals are brought to rest, the first ones: of those that an evaluation scores,
    of samples, of the steps between two (with the extra `relax`)."""
    hull: str = ""
    """File of reference energies (`formula`, `energy_per_atom`), to tell which are stable."""


@dataclass(frozen=True, kw_only=True)
class CrystalEncoderConfig:
    """The transformer that reads a crystal."""

    d_model: Annotated[int, arg(name="encoder.d_model")] = 128
    """Width of an atom (the reference: 512)."""
    nhead: Annotated[int, arg(name="encoder.nhead")] = 4
    """Heads of the attention (the reference: 8)."""
    num_layers: Annotated[int, arg(name="encoder.num_layers")] = 3
    """Layers (the reference: 8)."""
    dim_feedforward: Annotated[int, arg(name="encoder.dim_feedforward")] = 512
    """Width of the hidden layer of each (the reference: 2048)."""
    dropout: Annotated[float, arg(name="encoder.dropout")] = 0.0
    """Share of the numbers between layers that training hides."""


@dataclass(frozen=True, kw_only=True)
class CrystalDecoderConfig:
    """The transformer that reads latents."""

    d_model: Annotated[int, arg(name="decoder.d_model")] = 128
    """Width of an atom (the reference: 512)."""
    nhead: Annotated[int, arg(name="decoder.nhead")] = 4
    """Heads of the attention (the reference: 8)."""
    num_layers: Annotated[int, arg(name="decoder.num_layers")] = 3
    """Layers (the reference: 8)."""
    dim_feedforward: Annotated[int, arg(name="decoder.dim_feedforward")] = 512
    """Width of the hidden layer of each (the reference: 2048)."""
    dropout: Annotated[float, arg(name="decoder.dropout")] = 0.0
    """Share of the numbers between layers that training hides."""


@dataclass(frozen=True, kw_only=True)
class CrystalLossConfig:
    """Weights of the objective's terms, each a mean over the atoms of a crystal."""

    atom_types: float = 1.0
    """Of the cross-entropy of types, nats per atom."""
    frac_coords: float = 100.0
    """Of the squared error of fractional coordinates, along the shortest way (reference: 10)."""
    lengths: float = 10.0
    """Of the squared error of lengths over the cube root of the number of atoms, angstrom^2
    (reference: 1)."""
    angles: float = 100.0
    """Of the squared error of angles, radian^2 (reference: 10)."""
    kl: float = 1e-3
    """Of the KL to N(0, I), nats per atom (the reference: 1e-5)."""
    properties: float = 0.1
    """Of the squared error of properties that are told from the latent, in their deviations."""


REFERENCE_WEIGHTS = CrystalLossConfig(frac_coords=10.0, lengths=1.0, angles=10.0, kl=1e-5)
"""Those of the reference."""


@dataclass(frozen=True, kw_only=True)
class CrystalVAEConfig(Config):
    """Transformer VAE of crystals, with a latent for each atom."""

    aliases: ClassVar[dict[str, str]] = {"learning_rate": "lr"}

    data: CrystalDataConfig = CrystalDataConfig()
    sampling: CrystalSamplingConfig = CrystalSamplingConfig()
    optim: Optim = Optim(
        epochs=60, batch_size=128, lr=2e-3, schedule="cosine", warmup_steps=100, grad_clip=1.0,
        weight_decay=0.01, ema=0.999, keep="last",
    )  # fmt: skip
    encoder: CrystalEncoderConfig = CrystalEncoderConfig()
    decoder: CrystalDecoderConfig = CrystalDecoderConfig()
    latent_dim: int = 16
    """Latent units of an atom (the reference: 8)."""
    weights: CrystalLossConfig = CrystalLossConfig()
    chart: bool = True
    """Begin with latents that are linear in coordinates and lattice."""
    periodic: bool = True
    """Turn queries and keys by the coordinates of atoms."""
    index: bool = False
    """Tell atoms their place in the order of the setting (the reference does)."""
    noise: float = 0.4
    """Most noise, in standard deviations of the latents, that the decoder learns to undo."""
    translate: bool = False
    """Move each training crystal by a random vector."""
    rotate: bool = False
    """Turn the lattice of each training crystal at random before it is read."""


@dataclass(frozen=True, kw_only=True)
class CrystalCompositionConfig:
    """The networks that draw elements, their numbers of atoms, and space groups."""

    width: Annotated[int, arg(name="composition.width")] = 128
    """Of their hidden layers."""
    dropout: Annotated[float, arg(name="composition.dropout")] = 0.3
    """Share of their numbers that training hides."""
    group_dropout: Annotated[float, arg(name="composition.group_dropout")] = 0.5
    """The same of the network of space groups, which sooner learns by heart."""


@dataclass(frozen=True, kw_only=True)
class CrystalLatentDiffusionConfig(Config):
    """A model of compositions, and a flow in the latent space of a crystal VAE given these."""

    stage: ClassVar[str] = "crystal/vae"
    aliases: ClassVar[dict[str, str]] = {"learning_rate": "lr"}

    data: CrystalDataConfig = CrystalDataConfig()
    sampling: CrystalSamplingConfig = CrystalSamplingConfig(level=0.1)
    optim: Optim = Optim(
        epochs=60, batch_size=128, lr=1e-3, schedule="cosine", warmup_steps=100, grad_clip=1.0,
        weight_decay=0.01, ema=0.999, keep="last",
    )  # fmt: skip
    composition: CrystalCompositionConfig = CrystalCompositionConfig()
    d_model: int = 128
    """Width of an atom."""
    nhead: int = 4
    """Heads of the attention."""
    num_layers: int = 4
    """Layers."""
    dim_feedforward: int = 512
    """Width of the hidden layer of each."""
    dropout: float = 0.0
    """Share of the numbers between layers that training hides."""
    low: float = 0.01
    """Noise over signal at the cleanest level."""
    high: float = 10.0
    """The same at the start of sampling."""
    hide_all: float = 0.4
    """Share of the training crystals of which nothing is wished."""
    hide_each: float = 0.5
    """Chance that, of the others, elements, the space group or a property is no wish."""
    hide_group: float = 0.5
    """Share of the training crystals whose space group the flow is not told."""
    hide_template: float = 0.2
    """Share of the training crystals for which the flow is given no template."""
    conditions: tuple[str, ...] = ()
    """Properties that the model is told; all that are known where empty."""


RECIPES = {"vae": CrystalVAEConfig, "latent_diffusion": CrystalLatentDiffusionConfig}
"""The recipes of this domain, by the name that follows `crystal/`."""

_TINY_DATA = CrystalDataConfig(crystals=240, valid_fraction=0.2, test_fraction=0.2)
_TINY_ENCODER = CrystalEncoderConfig(d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
_TINY_DECODER = CrystalDecoderConfig(d_model=16, nhead=2, num_layers=1, dim_feedforward=32)
CrystalVAEConfig.presets = {
    "tiny": CrystalVAEConfig(
        data=_TINY_DATA,
        optim=Optim(epochs=2, batch_size=32, lr=3e-3),
        encoder=_TINY_ENCODER,
        decoder=_TINY_DECODER,
    ),
    "mp_20/vae_dng": CrystalVAEConfig(
        data=CrystalDataConfig(source="mp_20"),
        optim=Optim(epochs=5000, batch_size=256, lr=1e-4, grad_clip=10.0, ema=0.0, keep="best"),
        encoder=CrystalEncoderConfig(d_model=512, nhead=8, num_layers=8, dim_feedforward=2048),
        decoder=CrystalDecoderConfig(d_model=512, nhead=8, num_layers=8, dim_feedforward=2048),
        latent_dim=8,
        weights=REFERENCE_WEIGHTS,
        chart=False,
        periodic=False,
        index=True,
        noise=0.0,
        translate=True,
        rotate=True,
    ),
}
CrystalLatentDiffusionConfig.presets = {
    "tiny": CrystalLatentDiffusionConfig(
        data=_TINY_DATA,
        sampling=CrystalSamplingConfig(steps=4),
        optim=Optim(epochs=2, batch_size=32, lr=3e-3),
        composition=CrystalCompositionConfig(width=16),
        d_model=16,
        nhead=2,
        num_layers=1,
        dim_feedforward=32,
    ),
}
