"""A model of SELFIES by the book: rows of 80 symbols, and a decoder that reads one at a time."""

__all__ = [
    "LENGTH",
    "PlainCVAE",
    "build_brics",
    "learn_pairs",
    "morgan",
    "nearest",
    "plain_loss",
    "prepare",
    "rows",
    "write_pairs",
]

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import selfies
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import BRICS, rdFingerprintGenerator, rdMolDescriptors
from torch import Tensor, nn

LENGTH = 80
"""Symbols of each row, END and padding included."""
PAD, START, END = range(3)

Pair = tuple[str, str]
Bits = DataStructs.ExplicitBitVect


class PlainCVAE(nn.Module):
    """Embeddings of 128, two LSTM layers of 256 each way, 128 latents, TPSA beside each symbol."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, 128)
        self.encoder = nn.LSTM(128 + 1, 256, 2, batch_first=True, dropout=0.2)
        self.mu, self.log_variance = nn.Linear(256, 128), nn.Linear(256, 128)
        self.decoder = nn.LSTM(128 + 128 + 1, 256, 2, batch_first=True, dropout=0.2)
        self.out = nn.Linear(256, symbols)

    def forward(self, x: Tensor, tpsa: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
        told = tpsa[:, None, None].expand(-1, x.shape[1], 1)
        _, (h, _) = self.encoder(torch.cat([self.embed(x), told], -1))
        mu, log_variance = self.mu(h[-1]), self.log_variance(h[-1])
        z = mu + (log_variance / 2).exp() * torch.randn_like(mu)
        return self.decode(x, z, tpsa, share), mu, log_variance

    def decode(self, x: Tensor, z: Tensor, tpsa: Tensor, share: float) -> Tensor:
        """Returns the logits at each place, shown true symbols or the model's own by chance."""
        token, state, found = torch.full_like(x[:, 0], START), None, []
        for place in range(x.shape[1]):
            logits, state = self.step(token, z, tpsa, state)
            found.append(logits)
            token = x[:, place] if random.random() < share else logits.argmax(-1)
        return torch.stack(found, 1)

    def step(
        self, token: Tensor, z: Tensor, tpsa: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Reads one symbol, and returns the logits of the next one."""
        x = torch.cat([self.embed(token), z, tpsa[:, None]], -1)
        h, after = self.decoder(x[:, None], state)
        return self.out(h[:, 0]), after

    @torch.no_grad()
    def sample(self, tpsa: Tensor) -> Tensor:
        """Draws rows of 80 symbols, whether or not they have ended before."""
        z, state = torch.randn(len(tpsa), 128), None
        token, found = torch.full((len(tpsa),), START), []
        for _ in range(LENGTH):
            logits, state = self.step(token, z, tpsa, state)
            token = logits.softmax(-1).multinomial(1)[:, 0]
            found.append(token)
        return torch.stack(found, 1)


def plain_loss(x: Tensor, logits: Tensor, mu: Tensor, log_variance: Tensor) -> Tensor:
    """Cross-entropy and .4 of the KL, with free bits, mutual information and its lack."""
    reconstruction = nn.functional.cross_entropy(
        logits.transpose(1, 2), x, ignore_index=PAD, reduction="sum"
    ) / len(x)
    each = (mu**2 + log_variance.exp() - 1 - log_variance) / 2
    mean, variance = mu.mean(0), log_variance.exp().mean(0) + mu.var(0)
    aggregate = (mean**2 + variance - 1 - variance.log()).sum() / 2
    information = each.sum(1).mean() - aggregate
    kl = each.mean(0).clamp_min(0.5).sum()
    return reconstruction + 0.4 * kl + 0.1 * (4 - information).relu() - 0.01 * information


def rows(texts: Sequence[str]) -> tuple[Tensor, int]:
    """Returns SELFIES as rows of 80 symbols, cut where they are longer, and how many there are."""
    split = [list(selfies.split_selfies(text)) for text in texts]
    index = {s: k + 3 for k, s in enumerate(sorted({s for row in split for s in row}))}
    found = torch.full((len(split), LENGTH), PAD)
    for k, row in enumerate(split):
        ids = [index[s] for s in row[: LENGTH - 1]] + [END]
        found[k, : len(ids)] = torch.tensor(ids)
    return found, len(index) + 3


def prepare(smiles: Sequence[str]) -> list[tuple[str, str, float]]:
    """Returns canonical SMILES, SELFIES and TPSA of what RDKit can read."""
    found = []
    for text in smiles:
        mol = Chem.MolFromSmiles(text)
        if mol is not None:
            canonical = Chem.MolToSmiles(mol)
            tpsa = rdMolDescriptors.CalcTPSA(mol)
            found.append((canonical, selfies.encoder(canonical), tpsa))
    return found


def build_brics(smiles: Sequence[str], n: int) -> list[str]:
    """Returns what RDKit joins of the pieces that molecules are cut into."""
    mols = [Chem.MolFromSmiles(s) for s in smiles]
    pieces = sorted({p for mol in mols for p in BRICS.BRICSDecompose(mol)})
    built: Iterator[Chem.Mol] = BRICS.BRICSBuild([Chem.MolFromSmiles(p) for p in pieces])
    return [Chem.MolToSmiles(mol) for mol in islice(built, n)]


def morgan(smiles: Sequence[str]) -> list[Bits]:
    """Returns fingerprints of radius 2 in 1024 bits."""
    of = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024).GetFingerprint
    return [of(Chem.MolFromSmiles(s)) for s in smiles]


def nearest(a: Sequence[Bits], b: Sequence[Bits]) -> tuple[float, float]:
    """Returns the mean similarity of `a` to the nearest of `b`, and the diversity within `a`."""
    near = [max(DataStructs.BulkTanimotoSimilarity(x, b)) for x in a]
    within = [sum(DataStructs.BulkTanimotoSimilarity(x, a)) / len(a) for x in a]
    return sum(near) / len(near), 1 - sum(within) / len(within)


def learn_pairs(texts: Sequence[Sequence[str]], count: int) -> list[Pair]:
    """Returns merges, each the pair of neighbours that is met most often after those before it."""
    pairs: list[Pair] = []
    for _ in range(count):
        met = Counter(pair for text in texts for pair in pairwise(text))
        pairs.append(met.most_common(1)[0][0])
        texts = [_joined(text, pairs[-1]) for text in texts]
    return pairs


def write_pairs(texts: Sequence[Sequence[str]], pairs: Sequence[Pair]) -> list[Sequence[str]]:
    """Returns texts with all merges made in them, one after the other."""
    found = []
    for text in texts:
        for pair in pairs:
            text = _joined(text, pair)
        found.append(text)
    return found


def _joined(text: Sequence[str], pair: Pair) -> list[str]:
    found, k = [], 0
    while k < len(text):
        both = k + 1 < len(text) and (text[k], text[k + 1]) == pair
        found.append(text[k] + text[k + 1] if both else text[k])
        k += 1 + both
    return found
