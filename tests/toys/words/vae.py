"""Words as batches, and a VAE that tells their vowels from the latent."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmatter.domains.words.config import WordsVAEConfig
from genmatter.generative.prior import MixturePrior
from genmatter.generative.vae import VAE
from genmatter.loading.batch import Batch
from genmatter.maths.gaussian import DiagonalGaussian
from genmatter.nn.mlp import mlp
from genmatter.spine import Representation

LETTERS, SIZE = "aeibdl", 5


@dataclass(frozen=True)
class Words:
    texts: tuple[str, ...]

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, rows):
        return Words(tuple(self.texts[i] for i in torch.arange(len(self))[rows].tolist()))


@dataclass(frozen=True)
class WordBatch(Batch):
    x: Tensor


@dataclass(frozen=True)
class Spelled(Representation):
    letters: str

    @classmethod
    def fit(cls, objects, config):
        return cls(LETTERS)

    def encode(self, objects):
        x = [[self.letters.index(c) for c in w] for w in objects.texts]
        return WordBatch(torch.tensor(x).reshape(-1, SIZE))

    def decode(self, batch):
        return Words(tuple("".join(self.letters[i] for i in row) for row in batch.x.tolist()))

    def prompt(self, n, config):
        return WordBatch(torch.zeros(n, SIZE, dtype=torch.long))


@dataclass(frozen=True)
class Letters:
    """Independent letters, given the latent."""

    logits: Tensor

    def log_prob(self, batch):
        return -nn.functional.cross_entropy(self.logits.mT, batch.x, reduction="none").sum(1)

    def sample(self):
        return WordBatch(torch.distributions.Categorical(logits=self.logits).sample())

    def mode(self):
        return WordBatch(self.logits.argmax(-1))


class Encoder(nn.Module):
    def __init__(self, hidden, latent):
        super().__init__()
        self.net = mlp(SIZE * len(LETTERS), hidden, 2 * latent)

    def forward(self, batch):
        x = nn.functional.one_hot(batch.x, len(LETTERS)).float().flatten(1)
        mean, raw = self.net(x).chunk(2, -1)
        return DiagonalGaussian(mean, nn.functional.softplus(raw))


class Decoder(nn.Module):
    def __init__(self, latent, hidden):
        super().__init__()
        self.net = mlp(latent, hidden, SIZE * len(LETTERS))

    def forward(self, z, given, epoch):
        return Letters(self.net(z).unflatten(-1, (SIZE, len(LETTERS))))


class Told(nn.Module):
    """The error of the rank that is told from the latent."""

    def __init__(self, latent):
        super().__init__()
        self.head = nn.Linear(latent, 1)

    def forward(self, q, z, batch):
        return (self.head(z)[:, 0] - batch.x.sum(1)).square()


class Speaker(VAE):
    watched = True

    def predict(self, z):
        return {"rank": self.parts["rank"].head(z)[:, 0]}

    def course(self, epoch):
        return {"forcing": 1 / (1 + epoch)}


def build(config: WordsVAEConfig, representation: Spelled) -> Speaker:
    latent, hidden = config.latent_dim, config.hidden_dim
    told = {"rank": (lambda epoch: 0.1, Told(latent))}
    nets = Encoder(hidden, latent), Decoder(latent, hidden)
    return Speaker(
        *nets, lambda given: (len(given), latent), MixturePrior(latent, 2), lambda epoch: 0.5,
        penalties=told,
    )  # fmt: skip
