"""What the bag recipes can be told."""

from dataclasses import dataclass
from typing import ClassVar

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class BagDataConfig:
    bags: int = 200


@dataclass(frozen=True, kw_only=True)
class BagSamplingConfig:
    charge: float | None = None
    steps: int = 4


@dataclass(frozen=True, kw_only=True)
class BagVAEConfig(Config):
    """Toy VAE of bags."""

    aliases: ClassVar = {"learning_rate": "lr"}

    data: BagDataConfig = BagDataConfig()
    sampling: BagSamplingConfig = BagSamplingConfig()
    hidden_dim: int = 8


@dataclass(frozen=True, kw_only=True)
class BagFlowConfig(Config):
    """Toy flow in the latent space of the VAE."""

    stage = "bag/vae"
    data: BagDataConfig = BagDataConfig()
    sampling: BagSamplingConfig = BagSamplingConfig()
    hidden_dim: int = 8


_TINY = {"data": BagDataConfig(bags=80), "optim": Optim(epochs=2, batch_size=16)}
BagVAEConfig.presets = {"tiny": BagVAEConfig(**_TINY)}
BagFlowConfig.presets = {"tiny": BagFlowConfig(**_TINY)}
RECIPES = {"vae": BagVAEConfig, "flow": BagFlowConfig}
