"""What the molecule recipe can be told."""

__all__ = ["RECIPES", "MoleculeCVAEConfig", "MoleculeDataConfig", "MoleculeSamplingConfig"]

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class MoleculeDataConfig:
    """Molecules to learn from: a file, or the grammar that comes along."""

    source: Annotated[str, arg(name="data")] = ""
    """File (.csv .tsv .parquet .smi .sdf .json, or with .gz); a grammar makes them when empty."""
    smiles_column: str = "smiles"
    """Which column of a table holds SMILES."""
    columns: tuple[str, ...] = ()
    """Columns of the file to take for properties, before RDKit's of the same name."""
    molecules: int = 20_000
    """How many molecules the grammar makes."""
    data_seed: int = 67
    """Seed of the grammar and of the split."""
    split: Literal["random", "scaffold"] = "random"
    """Deal out molecules at random, or Bemis-Murcko scaffolds whole."""
    valid_fraction: float = 0.1
    """Share of the molecules that chooses the best weights."""
    test_fraction: float = 0.1
    """Share of the molecules to score against."""
    max_length: int = 0
    """Molecules of more SELFIES symbols are left out; 0 keeps any."""
    max_atoms: int = 100
    """Molecules of more heavy atoms are left out."""
    elements: tuple[str, ...] = ()
    """Molecules of other elements are left out; empty keeps all."""
    stereo: bool = True
    """Keep stereo centres and double bonds' sides, or take molecules that differ so for one."""
    neutralise: bool = False
    """Add and remove protons until charges are gone, where that can be."""


@dataclass(frozen=True, kw_only=True)
class MoleculeSamplingConfig:
    """How samples are drawn; these may change after training."""

    target: tuple[str, ...] = ()
    """What is wanted of samples: NAME=VALUE of the properties in `conditions`, any of them."""
    temperature: float = 1.0
    """Divides the logits of the next token: below 1 samples are more typical."""
    latent_temperature: float = 1.0
    """Scale of the latent's noise."""
    top_k: int = 0
    """Take the next token from so many of the likeliest; 0 takes it from all."""
    top_p: float = 1.0
    """Take it from the fewest likeliest that have this share of the probability together."""
    beta: float = 0.0
    """Weight of the KL at which latents are drawn: the lower, the more they say; 0: highest."""
    latent_beta: float = 0.0
    """Weight at which molecules are encoded, moved and decoded; 0: the lowest."""
    beam: int = 0
    """Width of a beam search for the likeliest sequence, which draws nothing; 0 draws tokens."""
    guidance: float = 2.0
    """How much targets count: logits move so far from those without; 1 is as in the data."""
    best_of: int = 1
    """Draw so many for each that is wanted, and keep the one nearest to the targets by RDKit."""
    unique: bool = True
    """Draw again what was drawn before."""
    sound: bool = True
    """Draw again what SELFIES would write otherwise: branches cut short, symbols that are lost."""
    scaffold: str = ""
    """Draw again what lacks this substructure (SMILES or SMARTS)."""
    longest: int = 0
    """Tokens at which a sequence is given up; 0 is half more than the longest of the data."""


@dataclass(frozen=True, kw_only=True)
class MoleculeCVAEConfig(Config):
    """Autoregressive conditional variational auto-encoder of small molecules (SELFIES)."""

    aliases: ClassVar[dict[str, str]] = {"learning_rate": "lr", "num_epochs": "epochs"}

    data: MoleculeDataConfig = MoleculeDataConfig()
    sampling: MoleculeSamplingConfig = MoleculeSamplingConfig()
    optim: Optim = Optim(
        epochs=60, batch_size=64, lr=2e-3, schedule="cosine", warmup_steps=200, grad_clip=5.0,
        weight_decay=0.01, ema=0.999, keep="last",
    )  # fmt: skip
    seed: int = 67
    """Seed of the weights, the order of examples and the noise; the data have their own."""
    conditions: tuple[str, ...] = ("tpsa", "logp")
    """Properties that the model is told, and that samples can be asked for."""
    hide_conditions: float = 0.25
    """Chance that training hides all of them, and that of each of the others."""
    tally: bool = True
    """Tell the decoder at every step what the atoms so far leave of each of them, by about."""
    syntax: bool = True
    """Tell the decoder which branches are open, and judge rings by the size that they close."""
    predict: tuple[str, ...] = ("qed",)
    """More properties that are predicted from the latent, so that gradients reach them."""
    tokens: Literal["merged", "symbols"] = "merged"
    """Pieces of several SELFIES symbols, or single symbols."""
    merges: int = 300
    """How many pieces are learned, from the pairs that stand together most often."""
    unknown: Literal["refuse", "mask"] = "refuse"
    """What to do with a symbol that no training molecule has: an error, or a blank token."""
    embedding_dim: int = 128
    """Width of a token's embedding."""
    hidden_dim: int = 256
    """Width of the LSTM layers."""
    decoder_dim: int = 512
    """Width of the decoder's, where it differs; 0 takes `hidden_dim`."""
    latent_dim: int = 64
    """Latent dimensions."""
    num_layers: int = 1
    """LSTM layers of the encoder, and of the decoder."""
    bidirectional: bool = True
    """Whether the encoder reads from both ends."""
    places: int = 64
    """Places of a sequence, at most, that have ways of their own into the latent and out."""
    dropout: float = 0.2
    """Share of the numbers between layers that training hides."""
    word_dropout: float = 0.0
    """Share of the decoder's input tokens that training hides."""
    prior_parts: int = 0
    """Gaussians, at most, of the prior that is fitted after training; 0 leaves it at N(0, 1)."""
    orders: int = 0
    """In how many other orders of its atoms a training molecule is written, at most."""
    reorder: float = 0.5
    """Share of the training sequences that are in another order than the canonical one."""
    splice: float = 0.6
    """Share of the sequences at the lowest weight that are made of parts of two molecules."""
    beta_start: float = 0.0
    """Weight of the KL at the start."""
    beta_end: float = 1.0
    """Weight of the KL after the warm-up; 1 makes it the negative ELBO."""
    beta_least: float = 0.1
    """The model works at lower weights too, down to this one; 0: no lower than `beta_end`."""
    beta_most: float = 8.0
    """The model works at higher weights too, up to this one; 0: no higher than `beta_end`."""
    beta_warmup_epochs: float = 20.0
    """Epochs over which it rises."""
    free_bits: float = 0.0
    """Nats of each latent unit, on average over a batch, that cost nothing."""
    lambda_collapse: float = 0.1
    """Weight of what the mutual information lacks to `mi_target`."""
    lambda_mi: float = 0.01
    """Weight of the mutual information, which is rewarded."""
    mi_target: float = 4.0
    """Nats below which the mutual information is taken for collapsed; below ln(batch_size)."""
    lambda_prop: float = 0.1
    """Weight of the error of properties that are predicted from the latent."""
    teacher_forcing: Literal["full", "parallel", "sequential"] = "full"
    """Show the decoder the true tokens, or its own: all in a second pass, or one by one."""
    teacher_forcing_start: float = 0.7
    """Share of true tokens at the start."""
    teacher_forcing_end: float = 0.3
    """Share of true tokens at the end."""


RECIPES = {"cvae": MoleculeCVAEConfig}
"""The recipes of this domain, by the name that follows `molecule/`."""

MoleculeCVAEConfig.presets = {
    "reference": MoleculeCVAEConfig(
        optim=Optim(epochs=50, batch_size=128, lr=1e-4, grad_clip=1.0, ema=0.0),
        sampling=MoleculeSamplingConfig(guidance=1.0),
        conditions=("tpsa",),
        hide_conditions=0.0,
        tally=False,
        syntax=False,
        predict=(),
        tokens="symbols",
        latent_dim=128,
        num_layers=2,
        decoder_dim=0,
        dropout=0.2,
        free_bits=0.5,
        teacher_forcing="parallel",
        bidirectional=False,
        places=0,
        word_dropout=0.0,
        orders=0,
        splice=0.0,
        beta_end=0.4,
        beta_least=0.0,
        beta_most=0.0,
    ),
    "tiny": MoleculeCVAEConfig(
        data=MoleculeDataConfig(molecules=320, valid_fraction=0.2, test_fraction=0.3),
        optim=Optim(epochs=2, batch_size=64, lr=3e-3),
        merges=30,
        orders=2,
        embedding_dim=16,
        hidden_dim=32,
        decoder_dim=0,
        latent_dim=8,
        mi_target=3.0,
        num_layers=1,
    ),
}
