"""What the polymer recipes can be told."""

__all__ = [
    "LONG_PATHS",
    "RECIPES",
    "PolymerDataConfig",
    "PolymerDiffusionConfig",
    "PolymerDiffusionSamplingConfig",
    "PolymerSamplingConfig",
    "PolymerVAEConfig",
    "PotentialConfig",
]

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from genmatter.config import Config, Optim

LONG_PATHS = "https://github.com/whitead/dmol-book/raw/main/data/long_paths.npz"
"""Where the walkthrough's own data lie (2,048 frames, CC BY-NC 3.0)."""


@dataclass(frozen=True, kw_only=True)
class PotentialConfig:
    """Energy of a simulated chain, in kT and the chain's own unit of length."""

    bond_stiffness: float = 4.66
    """k in k/2 (b - b0)^2, kT per length^2."""
    bond_rest: float = 0.235
    """b0, length."""
    angle_stiffness: float = 0.109
    """k in k/2 (|phi| - phi0)^2 with phi the turn angle, kT per radian^2."""
    angle_rest: float = 1.06
    """phi0, radian."""
    lj_epsilon: float = 0.054
    """Depth of the Lennard-Jones well between beads at least two bonds apart, kT."""
    lj_sigma: float = 0.158
    """Its diameter, length; it is cut at 2.5 of these."""


@dataclass(frozen=True, kw_only=True)
class PolymerDataConfig:
    """Chains to learn from: a file, or a simulation."""

    source: Annotated[str, arg(name="data")] = ""
    """File (.npz .npy .extxyz .xyz .lammpstrj .dump) or https address; simulates when empty."""
    array: str = ""
    """Which array of an .npz file, where it holds several."""
    simulator: Literal["exact", "langevin"] = "exact"
    """Independent Boltzmann samples, or frames of Langevin trajectories, one for each block."""
    potential: PotentialConfig = PotentialConfig()
    beads: int = 12
    """Beads of a simulated chain."""
    dim: Literal[2, 3] = 2
    """Dimensions of the space that a simulated chain lives in."""
    chains: int = 10_000
    """Simulated chains to train on."""
    valid_chains: int = 2_000
    """Simulated chains that choose the best weights."""
    test_chains: int = 10_000
    """Simulated chains to score against."""
    dt: float = 0.0025
    """Time step of Langevin dynamics; .005 blows up about once in 5 million steps."""
    friction: float = 1.0
    """Its friction, per unit of time."""
    stride: int = 200
    """Its steps between two frames."""
    data_seed: int = 0
    """Seed of simulation and of a random split."""
    split: Literal["blocks", "random"] = "blocks"
    """How the frames of a file or trajectory are split; random leaks where they are correlated."""
    blocks: int = 10
    """Blocks along a trajectory, each dealt out to all splits."""
    gap: int = 10
    """Frames dropped between two blocks of different splits."""
    valid_fraction: float = 0.1
    """Share of a file's frames that chooses the best weights; 0 takes the test frames."""
    test_fraction: float = 0.2
    """Share of a file's frames to score against."""
    clash: float = 0.0
    """Distance below which two beads clash; 0 takes .76 lj_sigma, or asks a file's own chains."""


@dataclass(frozen=True, kw_only=True)
class PolymerSamplingConfig:
    """How samples are drawn; these may change after training."""

    temperature: float = 1.0
    """Scale of the latent's noise: below 1 samples are more typical and less diverse."""
    draw: Literal["sample", "mode"] = "sample"
    """Draw chains from the likelihood with its noise, or take its mode."""
    reject_clashes: bool = False
    """Draw again where two beads clash. Biases the radius of gyration up."""


_OPTIM = Optim(
    epochs=40, lr=4e-3, schedule="cosine", warmup_steps=50, weight_decay=0.2, grad_clip=10.0,
    ema=0.995,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PolymerVAEConfig(Config):
    """Variational auto-encoder of bead-spring polymers."""

    aliases: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "num_epochs": "epochs",
        "latent": "latent_dim",
        "hidden": "hidden_dim",
        "beta_end": "beta",
    }

    data: PolymerDataConfig = PolymerDataConfig()
    sampling: PolymerSamplingConfig = PolymerSamplingConfig()
    optim: Optim = _OPTIM
    representation: Literal["cartesian", "internal"] = "internal"
    """Aligned coordinates with Gaussian noise, or chains that grow bond by bond."""
    mirror: bool = False
    """Take mirror images for the same shape."""
    latent_dim: int = 6
    """Latent dimensions."""
    hidden_dim: int = 96
    """Width of the hidden layers."""
    linear_start: bool = False
    """Start as the best linear encoder and decoder, in closed form (cartesian)."""
    posterior: Literal["softplus", "log_variance"] = "softplus"
    """How the encoder's last layer gives its width."""
    beta: float = 1.0
    """Weight of the KL (1: the ELBO); with fixed noise, of the walkthrough's mean over mean."""
    beta_start: float = 0.0
    """Its value at the start of the warm-up."""
    beta_warmup_epochs: float = 0.0
    """Epochs over which it rises."""
    free_bits: float = 0.0
    """Nats of each latent dimension, on average over a batch, that cost nothing."""
    prior_parts: int = 16
    """Gaussians, at most, of the prior that is fitted after training; 0 leaves it at N(0, 1)."""
    noise: Literal["fixed", "learned"] = "learned"
    """Width of the cartesian decoder: learned, or the one that beta means in the walkthrough."""
    sketch: float = 1.0
    """Nats that half a squared mean bond of error in the latent's sketch costs (internal)."""
    sketch_start: float = 4.0
    """The same at the start, from where it falls over the first 60% of the epochs (internal)."""
    memory: int = 4
    """Beads back that the growing network sees (internal)."""
    grid: int = 96
    """Nodes of the density of an angle (internal)."""


PolymerVAEConfig.presets = {
    "walkthrough": PolymerVAEConfig(
        data=PolymerDataConfig(
            simulator="langevin", chains=1843, valid_chains=0, test_chains=205,
            split="random", valid_fraction=0.0, test_fraction=0.1, data_seed=42,
        ),
        sampling=PolymerSamplingConfig(draw="mode"),
        optim=Optim(epochs=150, batch_size=256, lr=1e-3, ema=0.0, keep="last"),
        representation="cartesian",
        latent_dim=2,
        hidden_dim=256,
        beta=0.01,
        beta_start=0.01,
        noise="fixed",
        prior_parts=0,
    ),
    "gaussian": PolymerVAEConfig(
        optim=Optim(epochs=100, schedule="cosine", warmup_steps=50, ema=0.995, grad_clip=10.0),
        representation="cartesian",
        latent_dim=8,
        hidden_dim=256,
        beta_warmup_epochs=30.0,
    ),
    "map": PolymerVAEConfig(latent_dim=2),
    "tiny": PolymerVAEConfig(
        data=PolymerDataConfig(chains=256, valid_chains=64, test_chains=128),
        optim=Optim(epochs=2, batch_size=64, lr=3e-3),
        latent_dim=2,
        hidden_dim=32,
        grid=32,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PolymerDiffusionSamplingConfig:
    """How samples are drawn; these may change after training."""

    sampler: Literal["ode", "sde", "ancestral"] = "sde"
    """The probability flow, the flow with noise added back at each step, or DDPM's chain."""
    steps: int = 20
    """Network calls of a sample."""
    churn: float = 0.5
    """Share of a step by which the sde goes back up before the next one."""
    last: float = 0.2
    """Share of the way, 0 at the cleanest level, from which the last step goes to the data."""
    latent_steps: int = 20
    """Steps of the flow for encoding, decoding and likelihoods, at two network calls each."""
    condition: str = ""
    """What is wanted of samples: NAME=VALUE, ... of the observables in `conditions`."""
    reject_clashes: bool = False
    """Draw again where two beads clash. Biases the radius of gyration up."""


@dataclass(frozen=True, kw_only=True)
class PolymerDiffusionConfig(Config):
    """Diffusion of bead-spring polymers: flow matching with pair forces."""

    aliases: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "num_epochs": "epochs",
        "hidden": "hidden_dim",
        "T": "noise_steps",
        "timesteps": "noise_steps",
    }

    data: PolymerDataConfig = PolymerDataConfig()
    sampling: PolymerDiffusionSamplingConfig = PolymerDiffusionSamplingConfig()
    optim: Optim = Optim(
        epochs=60, lr=4e-3, schedule="cosine", warmup_steps=100, grad_clip=10.0, ema=0.999,
        keep="last",
    )  # fmt: skip
    representation: Literal["cartesian", "internal", "bonds"] = "bonds"
    """Aligned coordinates, bonds and angles, or decorrelated bond vectors with pair forces."""
    mirror: bool = False
    """Take mirror images for the same shape."""
    path: Literal["arc", "line", "betas"] = "arc"
    """From data to noise: a quarter turn, a straight line, or DDPM's steps."""
    predict: Literal["velocity", "noise", "data"] = "velocity"
    """What the network is to say of a noisy chain."""
    low: float = 0.003
    """Cleanest level: noise over signal (arc), or time (line)."""
    high: float = 30.0
    """Noisiest level: noise over signal (arc)."""
    noise_steps: int = 200
    """T (betas)."""
    beta_start: float = 1e-4
    """The first beta."""
    beta_end: float = 0.02
    """The last beta."""
    hidden_dim: int = 128
    """Width of the hidden layers."""
    layers: int = 3
    """Hidden layers."""
    tables: int = 16
    """Places of the pair forces' tables of distance; 0 leaves pair forces out (bonds)."""
    antithetic: bool = True
    """Show each chain under a noise and its opposite, at twice the cost of a step."""
    conditions: tuple[str, ...] = ()
    """Observables that samples can be asked for, such as radius_of_gyration (bonds)."""
    hide_conditions: float = 0.3
    """Chance that training hides a condition, so that the model works without it too."""


PolymerDiffusionConfig.presets = {
    "walkthrough": PolymerDiffusionConfig(
        data=PolymerVAEConfig.presets["walkthrough"].data,  # pyright: ignore[reportAttributeAccessIssue]
        sampling=PolymerDiffusionSamplingConfig(sampler="ancestral", steps=200, last=0.0),
        optim=Optim(epochs=200, batch_size=256, lr=1e-3, ema=0.0, keep="last"),
        representation="cartesian",
        path="betas",
        predict="noise",
        hidden_dim=256,
        antithetic=False,
    ),
    "flow": PolymerDiffusionConfig(
        sampling=PolymerDiffusionSamplingConfig(sampler="ode", last=0.03),
        representation="cartesian",
        path="line",
        low=0.001,
        hidden_dim=256,
    ),
    "internal": PolymerDiffusionConfig(
        sampling=PolymerDiffusionSamplingConfig(sampler="ode"),
        representation="internal",
        hidden_dim=256,
    ),
    "conditional": PolymerDiffusionConfig(conditions=("radius_of_gyration", "end_to_end")),
    "tiny": PolymerDiffusionConfig(
        data=PolymerDataConfig(chains=256, valid_chains=64, test_chains=128),
        sampling=PolymerDiffusionSamplingConfig(steps=8, latent_steps=8),
        optim=Optim(epochs=2, batch_size=64, lr=3e-3),
        hidden_dim=32,
        layers=2,
        tables=8,
    ),
}  # fmt: skip

RECIPES = {"vae": PolymerVAEConfig, "diffusion": PolymerDiffusionConfig}
"""The recipes of this domain, by the name that follows `polymer/`."""
