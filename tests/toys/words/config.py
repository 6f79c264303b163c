"""What the recipe of words can be told."""

from dataclasses import dataclass

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class WordsDataConfig:
    words: int = 2000


@dataclass(frozen=True, kw_only=True)
class WordsSamplingConfig:
    target: tuple[str, ...] = ()
    unique: bool = True
    best_of: int = 1


@dataclass(frozen=True, kw_only=True)
class WordsVAEConfig(Config):
    """Toy VAE of words."""

    data: WordsDataConfig = WordsDataConfig()
    sampling: WordsSamplingConfig = WordsSamplingConfig()
    hidden_dim: int = 32
    latent_dim: int = 6


WordsVAEConfig.presets = {
    "tiny": WordsVAEConfig(
        data=WordsDataConfig(words=160), hidden_dim=8, optim=Optim(epochs=2, batch_size=16)
    )
}
RECIPES = {"vae": WordsVAEConfig}
