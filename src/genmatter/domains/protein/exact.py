"""How good sequences of the simulated family are, against its law rather than a test set.

| score | what it is | perfect |
|---|---|---|
| `law_nats` | mean of -log p per residue, by the law, of sequences without gaps | the entropy |
| `contact_r`, `contact_slope` | what two sites in contact have in common, against the law's | 1 |
| `subfamilies` | how much the shares of the subfamilies have in common with the law's | 1 |
"""

__all__ = ["against"]

from functools import lru_cache

import torch
from torch import Tensor

from genmatter.domains.protein.family import Family
from genmatter.domains.protein.sequences import GAP, Sequences
from genmatter.domains.protein.statistics import one_hot
from genmatter.spine import Score

_DRAWN = 20_000
"""Sequences over which what is unsure of subfamilies is averaged."""


def against(samples: Sequences, law: Family) -> dict[str, Score]:
    """Compares sequences with a law; none of what has a gap in every sequence.

    Args:
        samples: Sequences of the family's length.
        law: That of a simulated family.
    """
    whole = samples[(samples.residues != GAP).all(1)]
    if not len(whole):
        return {}
    told = f"n={len(whole)}"
    nats = -law.log_prob(whole.residues).mean().item() / whole.sites
    x, y = law.potts.connected(), _connected(whole, law)
    contact = torch.tensor([p in {*law.contacts} for p in law.potts.pairs])
    u, v = ((z[contact] - z[contact].mean()).flatten() for z in (x, y))
    r = (u @ v / (u.norm() * v.norm()).clamp_min(1e-30)).item()
    post = law.potts.log_joint(whole.residues.long() - 1).softmax(1).mean(0)
    return {
        "law_nats": Score(nats, entropy(law), f"nats/residue, {told}"),
        "contact_r": Score(r, 1.0, told),
        "contact_slope": Score((u @ v / (u @ u)).item(), 1.0, told),
        "subfamilies": Score(torch.minimum(post, law.potts.shares).sum().item(), 1.0, "share"),
    }


def _connected(s: Sequences, law: Family) -> Tensor:
    x = one_hot(s).double().view(len(s), s.sites, -1)[:, :, 1:]
    f = x.mean(0)
    return torch.stack(
        [x[:, i].T @ x[:, j] / len(s) - f[i][:, None] * f[j] for i, j in law.potts.pairs]
    )


@lru_cache(maxsize=4)
def entropy(law: Family) -> float:
    """Returns the entropy of a family's law, in nats per residue."""
    drawn, _ = law.sample(_DRAWN, "entropy")
    return law.potts.entropy(drawn.long() - 1) / law.potts.sites
