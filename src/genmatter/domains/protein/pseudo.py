r"""A Potts model of a family, fitted by pseudo-likelihood, and sampled by Gibbs chains.

.. math:: \min_{h, J}\; -\frac{1}{N} \sum_n w_n \sum_i \log p(x^n_i \mid x^n_{\setminus i})
    + \frac{\lambda}{N} \sum_{i < j} \lVert J_{ij} \rVert^2

All sites are fitted at once, with :math:`J_{ij}(a, b) = J_{ji}(b, a)`, from the logarithms of the
sites' own frequencies. :math:`\lambda = 0.01\,(q - 1)(L - 1)` of q states and L sites, as in
EVcouplings. States that a site hardly ever has are not coupled, and have a field only.

References:
    | Improved contact prediction in proteins: using pseudolikelihoods to infer Potts models
    | (Ekeberg et al., 2013) https://doi.org/10.1103/PhysRevE.87.012707
    | Mutation effects predicted from sequence co-variation (Hopf et al., 2017)
    | https://doi.org/10.1038/nbt.3769
"""

__all__ = ["PseudoPotts", "fit"]

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from genmatter.domains.protein.sequences import ALPHABET, Sequences
from genmatter.maths.noise import generator, seed_of

STATES = len(ALPHABET)
_BATCH, _BETAS = 512, (0.9, 0.99)


@dataclass(frozen=True, eq=False)
class PseudoPotts:
    """Fields and couplings of a fitted model, in single precision."""

    fields: Float[Tensor, "sites states"]
    couplings: Float[Tensor, "width width"]
    """J between coupled states, symmetric, 0 within a site."""
    columns: Int[Tensor, " width"]
    """Which site and state each is: site * 21 + state."""

    def _shown(self, x: Int8[Tensor, "n sites"]) -> Float[Tensor, "n width"]:
        return one_hot(x)[:, self.columns]

    def energies(self, x: Int8[Tensor, "n sites"]) -> Float[Tensor, " n"]:
        """Returns minus the logarithm of what is p(x) but for a constant, in kT."""
        seen = self._shown(x)
        h = self.fields[torch.arange(x.shape[1]), x.long()].sum(1)
        return -(h + ((seen @ self.couplings) * seen).sum(1) / 2)

    def pseudo_log_likelihood(self, x: Int8[Tensor, "n sites"]) -> Float[Tensor, " n"]:
        """Returns the sum over sites of log p(x_i | all others), in nats."""
        logits = self._logits(self._shown(x)).log_softmax(-1)
        return logits.gather(-1, x.long()[..., None]).sum((1, 2))

    def _logits(self, seen: Float[Tensor, "n width"]) -> Float[Tensor, "n sites states"]:
        flat = self.fields.flatten().repeat(len(seen), 1)
        flat.index_add_(1, self.columns, seen @ self.couplings)
        return flat.view(len(seen), *self.fields.shape)

    def sample(
        self, start: Int8[Tensor, "n sites"], sweeps: int, key: int | str = 0
    ) -> Int8[Tensor, "n sites"]:
        """Returns the ends of Gibbs chains that begin at sequences, each of so many sweeps.

        All chains move at once, site by site, in another order in each sweep.
        """
        g = torch.Generator().manual_seed(seed_of("gibbs", key))
        x = start.long().clone()
        n, sites = x.shape
        table, offsets = self._table(), torch.arange(sites) * STATES
        for _ in range(sweeps):
            noise = torch.rand(sites, n, STATES, generator=g).log_().neg_()
            for i in torch.randperm(sites, generator=g).tolist():
                logits = self.fields[i] + nn.functional.embedding_bag(
                    x + offsets, table[i], mode="sum"
                )
                # the first of exponential waiting times: a draw without cumulative sums
                x[:, i] = (logits - noise[i].log()).argmax(-1)
        return x.to(torch.int8)

    def _table(self) -> Float[Tensor, "sites both states"]:
        """Returns what each state of any site adds to the logits of each site."""
        sites = len(self.fields)
        full = torch.zeros(sites * STATES, sites * STATES)
        full[self.columns[:, None], self.columns] = self.couplings
        return full.view(sites * STATES, sites, STATES).transpose(0, 1).contiguous()


def one_hot(x: Int8[Tensor, "n sites"]) -> Float[Tensor, "n both"]:
    """Returns sequences as zeros and ones, [n, sites * 21]."""
    return nn.functional.one_hot(x.long(), STATES).flatten(1).float()


def fit(
    sequences: Sequences, epochs: int = 10, decay: float = 0.01, lr: float = 0.03,
    least: float = 2.0, key: int | str = 0,
) -> PseudoPotts:  # fmt: skip
    r"""Fits a model to sequences, whose weights count.

    Args:
        sequences: A family, of mean weight 1.
        epochs: Passes over the sequences; the step size falls to 0 along a half cosine.
        decay: :math:`\lambda / ((q - 1)(L - 1))`.
        lr: Step size of Adam at its highest.
        least: How many sequences, by their weights, need to have a state for it to be coupled.
        key: Of the order of the sequences.
    """
    x, (n, sites) = sequences.residues, sequences.residues.shape
    w = (torch.ones(n) if sequences.weights is None else sequences.weights).float()
    counts = torch.einsum("n,nb->b", w, one_hot(x))
    columns = (counts >= least).nonzero()[:, 0]
    h = ((counts.view(sites, STATES) + 0.5 / STATES) / (n + 0.5)).log()
    j = torch.zeros(len(columns), len(columns))
    site = columns // STATES
    apart = (site[:, None] != site).float()
    penalty = 2 * decay * (STATES - 1) * (sites - 1) / n
    order, step, total = generator("pseudo", key), 0, epochs * -(-n // _BATCH)
    state = [torch.zeros_like(p) for p in (h, h, j, j)]
    for _ in range(epochs):
        for rows in torch.randperm(n, generator=order).split(_BATCH):
            seen = one_hot(x[rows])
            rest = PseudoPotts(h, j, columns)._logits(seen[:, columns]).softmax(-1).flatten(1)
            rest = (rest - seen) * (w[rows, None] / len(rows))
            both = seen[:, columns].T @ rest[:, columns]
            both = (both + both.T) * apart + penalty * j
            rate = lr * 0.5 * (1 + math.cos(math.pi * step / total))
            step += 1
            _adam(h, rest.sum(0).view_as(h), state[0], state[1], step, rate)
            _adam(j, both, state[2], state[3], step, rate)
    return PseudoPotts(h, j, columns)


def _adam(p: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, rate: float) -> None:
    """Takes one step of Adam in place."""
    one, two = _BETAS
    m.lerp_(grad, 1 - one)
    v.lerp_(grad.square(), 1 - two)
    scale = (v / (1 - two**step)).sqrt_().add_(1e-8)
    p.addcdiv_(m, scale, value=-rate / (1 - one**step))
