"""What the protein recipes can be told."""

__all__ = ["RECIPES", "ProteinDataConfig", "ProteinSamplingConfig", "ProteinVAEConfig"]

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from genmatter.config import Config, Optim


@dataclass(frozen=True, kw_only=True)
class ProteinDataConfig:
    """An alignment of one family to learn from: a file, or an exact simulator's."""

    source: Annotated[str, arg(name="data")] = ""
    """Alignment (.fasta .a2m .a3m .sto, or with .gz); empty simulates a family."""
    labels: str = ""
    """Table (.csv .tsv) of what is known of the sequences, by their names."""
    id_column: str = ""
    """Its column of names; the first one when empty."""
    columns: tuple[str, ...] = ()
    """Its columns to take, of numbers or of texts."""
    focus: str = ""
    """Name of a sequence: only columns where it has a residue are kept, by its numbering."""
    motif: tuple[str, ...] = ()
    """Residues that should be kept, such as H57 D102 S195, by the numbers of the columns."""
    column_gaps: float = 0.3
    """Columns with a larger share of gaps are left out."""
    sequence_gaps: float = 0.5
    """Sequences with a larger share of gaps are left out."""
    ambiguous: Literal["gap", "drop"] = "gap"
    """Take residues that nobody knows (X B Z J) for gaps, or leave their sequences out."""
    identity: float = 0.8
    """Share of equal residues from which sequences count as one another's copies; 0: never."""
    split: Literal["auto", "cluster", "random"] = "auto"
    """Deal out clusters whole, or single sequences; auto: clusters of files, but single simulated
    sequences, which are independent."""
    cluster_identity: float = 0.6
    """Share of equal residues from which two sequences are in one cluster."""
    valid_fraction: float = 0.1
    """Share of the sequences that chooses the best weights."""
    test_fraction: float = 0.1
    """Share of the sequences to score against."""
    sequences: int = 20_000
    """How many sequences are simulated."""
    sites: int = 64
    """How long they are."""
    data_seed: int = 0
    """Seed of the simulated family and of the split."""


@dataclass(frozen=True, kw_only=True)
class ProteinSamplingConfig:
    """How samples are drawn; these may change after training."""

    temperature: float = 1.0
    """Divides the logits of residues: below 1 samples are more typical."""
    latent_temperature: float = 1.0
    """Scale of the latent's spread about the means of the prior."""
    draw: Literal["sample", "mode"] = "sample"
    """Draw residues from their distribution, or take the likeliest: a consensus."""
    copy: Literal["mode", "sample"] = "mode"
    """The same where latents are decoded that were encoded or moved."""
    cluster: int = 0
    """Draw within this cluster of the latent map, from 1; 0 draws from all."""
    within: str = ""
    """Draw as the sequences of a label lie: COLUMN=TEXT of the table of labels."""


@dataclass(frozen=True, kw_only=True)
class ProteinVAEConfig(Config):
    """Variational auto-encoder of aligned protein sequences, with couplings of sites."""

    aliases: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "num_epochs": "epochs",
        "hidden_dim": "encoder_dim",
    }

    data: ProteinDataConfig = ProteinDataConfig()
    sampling: ProteinSamplingConfig = ProteinSamplingConfig()
    optim: Optim = Optim(
        epochs=25, batch_size=256, lr=3e-3, schedule="cosine", warmup_steps=50, ema=0.99,
        keep="best",
    )  # fmt: skip
    latent_dim: int = 16
    """Latent dimensions."""
    encoder_dim: int = 256
    """Width of the encoder's hidden layer."""
    decoder_dims: tuple[int, ...] = (256,)
    """Widths of the decoder's hidden layers."""
    dictionary: int = 0
    """Profiles of residues that all sites share and mix, as in DeepSequence; 0: each its own."""
    dropout: float = 0.1
    """Share of the numbers between layers that training hides."""
    couplings: int = 8
    """Earlier sites, at most, that a residue depends on beside the latent; 0: on none."""
    evidence: float = 5.0
    """How far above the noise two sites' coupling has to stand, in its standard deviations."""
    coupling_scale: float = 0.3
    """Standard deviation of couplings before anything is seen, kT; 0 leaves them free."""
    weight_scale: float = 0.1
    """Standard deviation of the decoder's last weights, in the same sense."""
    site_frequencies: bool = True
    """Start the logits at those of the training split's residues."""
    beta: float = 1.0
    """Weight of the KL after the warm-up; 1 makes it the negative ELBO."""
    beta_start: float = 0.0
    """Weight of the KL at the start."""
    beta_warmup_epochs: float = 5.0
    """Epochs over which it rises."""
    free_bits: float = 0.0
    """Nats of each latent unit, on average over a batch, that cost nothing."""
    predict: tuple[str, ...] = ()
    """Columns of the table of labels that are told from the latent too."""
    lambda_predict: float = 1.0
    """Weight of the error of these, in standard deviations."""
    prior_parts: int = 64
    """Gaussians, at most, of the prior that is fitted after training; 0 leaves it at N(0, 1)."""
    clusters: int = 0
    """Clusters of the latent map; 0 takes as many, up to 12, as are told apart best."""


ProteinVAEConfig.presets = {
    "lecture": ProteinVAEConfig(
        optim=Optim(epochs=30, batch_size=128, lr=1e-3, ema=0.0, keep="last"),
        latent_dim=32,
        decoder_dims=(256,),
        dropout=0.0,
        couplings=0,
        coupling_scale=0.0,
        weight_scale=0.0,
        site_frequencies=False,
        beta_warmup_epochs=0.0,
        beta_start=1.0,
        prior_parts=0,
    ),
    "map": ProteinVAEConfig(latent_dim=2),
    "deepsequence": ProteinVAEConfig(
        latent_dim=30,
        encoder_dim=1500,
        decoder_dims=(100, 500),
        dictionary=40,
        dropout=0.0,
        couplings=0,
        prior_parts=0,
    ),
    "tiny": ProteinVAEConfig(
        data=ProteinDataConfig(sequences=400, sites=24, valid_fraction=0.2, test_fraction=0.3),
        optim=Optim(epochs=2, batch_size=64, lr=3e-3),
        latent_dim=4,
        encoder_dim=32,
        decoder_dims=(32,),
        couplings=2,
        prior_parts=4,
    ),
}  # fmt: skip

RECIPES = {"vae": ProteinVAEConfig}
"""The recipes of this domain, by the name that follows `protein/`."""
