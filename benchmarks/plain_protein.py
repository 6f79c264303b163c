"""What others write for families of proteins: loops over one-hot rows, and Gibbs chains."""

__all__ = ["gibbs", "one_hot", "weigh"]

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmatter.domains.protein.potts import Potts


def one_hot(x: NDArray[np.int8]) -> NDArray[np.float64]:
    """Returns sequences as rows of zeros and ones, without the gap."""
    return np.eye(21)[x][:, :, 1:].reshape(len(x), -1)


def weigh(rows: NDArray[np.float64], some: int, identity: float = 0.8) -> list[float]:
    """Returns the weights of the first sequences: one over how many are like it, in a loop."""
    found = []
    for row in rows[:some]:
        found.append(1 / (rows @ row / (row @ row) > identity).sum())
    return found


def gibbs(law: Potts, n: int, sweeps: int) -> Tensor:
    """Returns the ends of Gibbs chains of the first component, which move site by site."""
    near: dict[int, list[tuple[int, Tensor]]] = {i: [] for i in range(law.sites)}
    for (i, j), coupling in zip(law.pairs, law.couplings, strict=True):
        near[i].append((j, coupling.T))
        near[j].append((i, coupling))
    x = torch.randint(law.states, (n, law.sites))
    for _ in range(sweeps):
        for i in range(law.sites):
            logits = law.fields[0, i] + sum(coupling[x[:, j]] for j, coupling in near[i])
            x[:, i] = torch.multinomial(logits.softmax(-1), 1)[:, 0]
    return x
