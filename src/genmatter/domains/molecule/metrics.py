r"""How good sampled molecules are: the measures of MOSES and GuacaMol, written on RDKit.

What is no molecule ("") counts in `valid` and nowhere else. All others are compared with the test
set, from 10,000 of each at most. SELFIES are valid by construction, and a model that repeats the
training set does well in most of the others: read them together, and beside the floor.

Where no sample is a molecule each score has its worst value; distances, which have none, are then
those of a molecule without atoms, of which each property is 0.

References:
    | Molecular Sets (MOSES): a benchmarking platform for molecular generation models
    | (Polykovskiy et al., 2020) https://arxiv.org/abs/1811.12823
    | GuacaMol: benchmarking models for de novo molecular design (Brown et al., 2019)
    | https://doi.org/10.1021/acs.jcim.8b00839
"""

__all__ = ["MOST", "conditional_error", "match", "score", "similarity"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from selfies import split_selfies
from torch import Tensor

from genmatter.domains.molecule import chemnet, divergence
from genmatter.domains.molecule.alerts import passes
from genmatter.domains.molecule.molecules import Molecules, no_log
from genmatter.domains.molecule.parts import Parts, cosine, fingerprints, parts, tanimoto
from genmatter.domains.molecule.properties import PROPERTIES, table
from genmatter.errors import DataError
from genmatter.evaluation.compare import wasserstein
from genmatter.evaluation.sets import novel, subset, unique
from genmatter.spine import Score

MOST = 10_000
"""Molecules of each set that are compared."""

_TRANSPORTED = ("logp", "sa", "qed", "mw", "tpsa")
_MEANS = {"qed": 0.0, "sa": 10.0}  # and what they are at worst


def score(samples: Molecules, test: Molecules, train: Molecules) -> dict[str, Score]:
    """Compares molecules with the test set; novelty is against the training set.

    Args:
        samples: Any molecules; "" is none.
        test: Molecules that no model has seen.
        train: Molecules to be no copies of.

    Returns:
        Scores by name. `fcd` is left out where the package `fcd` is not installed; it comes with
        `pip install 'genmatter[fcd]'`.

    Raises:
        DataError: The test set holds no molecule.
    """
    valid, unseen = _sound(samples), _sound(test)
    if not len(unseen):
        raise DataError("the test set holds no molecule to compare with")
    x, y = _some(valid, "samples"), _some(unseen, "test")
    with no_log():
        found = _against(x, y)
    shares = {"valid": Score(len(valid) / max(len(samples), 1), 1.0, f"n={len(samples)}")}
    return shares | _distinct(valid, train) | found


def _sound(x: Molecules) -> Molecules:
    return x[torch.tensor([s != "" for s in x.smiles], dtype=torch.bool)]


def _some(x: Molecules, key: str) -> Molecules:
    rows = subset(torch.arange(len(x)), MOST, "molecule", key)
    return x[rows.sort().values]


def _distinct(valid: Molecules, train: Molecules) -> dict[str, Score]:
    """Counts different molecules among the first thousand and ten thousand, and new ones."""
    found = {}
    for name, k in (("unique@1k", 1000), ("unique@10k", 10_000)):
        first = valid.smiles[:k].tolist()
        found[name] = Score(unique(first) if first else 0.0, 1.0, f"n={len(first)}")
    different = set(valid.smiles)
    new = novel(different, set(train.smiles)) if different else 0.0
    return found | {"novelty": Score(new, 1.0, f"n={len(different)}")}


def _against(x: Molecules, y: Molecules) -> dict[str, Score]:
    """Returns what compares samples with test molecules, and tells how many of both there are."""
    a, b = (parts(z.smiles.tolist()) for z in (x, y))
    found = _made_of(a, b) | _diversity(a, b) | _alerts(x, y) | _properties(x, y)
    found |= {"kl": _divergence(x, y)}
    if chemnet.installed():
        found |= {"fcd": _frechet(x, y)}
    told = f"n={len(x)}, {len(y)} of test"
    return {k: replace(s, unit=f"{s.unit}, {told}" if s.unit else told) for k, s in found.items()}


def _made_of(a: Sequence[Parts], b: Sequence[Parts]) -> dict[str, Score]:
    """Compares nearest neighbours, and how often each scaffold and each fragment is there."""
    near = [rows.amax(1) for rows in tanimoto(fingerprints(a), fingerprints(b))] if a else []
    scaffolds = (Counter(p.scaffold for p in z if p.scaffold) for z in (a, b))
    fragments = (Counter(f for p in z for f in p.fragments) for z in (a, b))
    return {
        "snn": Score(torch.cat(near).double().mean().item() if near else 0.0, 1.0, "Tanimoto"),
        "scaffolds": Score(cosine(*scaffolds) if a else 0.0, 1.0, "cosine"),
        "fragments": Score(cosine(*fragments) if a else 0.0, 1.0, "cosine"),
    }


def _diversity(a: Sequence[Parts], b: Sequence[Parts]) -> dict[str, Score]:
    r"""Returns :math:`1 - \langle T^p \rangle^{1/p}` over all pairs, those of one with itself too.

    This is the paper's; the code of MOSES takes the root of each molecule's mean first.
    """
    (one, two), (best_one, best_two) = map(_dissimilar, (a, b))
    return {"int_div": Score(one, best_one), "int_div2": Score(two, best_two)}


def _dissimilar(found: Sequence[Parts]) -> tuple[float, float]:
    if not found:
        return 0.0, 0.0
    bits, pairs = fingerprints(found), len(found) ** 2
    sums = torch.zeros(2, dtype=torch.float64)
    for rows in tanimoto(bits, bits):
        sums += torch.stack([rows.double().sum(), rows.double().square().sum()])
    mean, square = (sums / pairs).tolist()
    return 1 - mean, 1 - square**0.5


def _alerts(x: Molecules, y: Molecules) -> dict[str, Score]:
    """Counts molecules without alerts; the best is what the test set has."""
    a, b = (passes(z.smiles.tolist()) for z in (x, y))
    return {k: Score(_mean(a[k].double(), 0.0), _mean(b[k].double()), "share") for k in b}


def _mean(x: Float[Tensor, " n"], otherwise: float = 0.0) -> float:
    return x.mean().item() if len(x) else otherwise


def _properties(x: Molecules, y: Molecules) -> dict[str, Score]:
    """Compares distributions of properties, and means of which the best is the test set's."""
    a, b = (table(z.smiles, _TRANSPORTED) for z in (x, y))
    nothing = torch.zeros(1, dtype=torch.float64)
    apart = {
        f"w1_{k}": Score(wasserstein(a[k] if len(x) else nothing, b[k]), 0.0, "sd")
        for k in _TRANSPORTED
    }
    means = {
        k: Score(_mean(a[k], worst), _mean(b[k]), PROPERTIES[k].unit)
        for k, worst in _MEANS.items()
    }
    return apart | means


def _divergence(x: Molecules, y: Molecules) -> Score:
    """Returns the score of GuacaMol over descriptors and nearest neighbours, of distinct ones."""
    if not len(x):
        return Score(0.0, 1.0)
    return Score(divergence.score(*map(_descriptors, (x, y))), 1.0)


def _descriptors(x: Molecules) -> Mapping[str, Float[Tensor, " n"]]:
    distinct = Molecules.of(list(dict.fromkeys(x.smiles.tolist())))
    found = table(distinct.smiles, (*divergence.CONTINUOUS, *divergence.COUNTS))
    return found | {"internal_similarity": _nearest_other(distinct)}


def _nearest_other(x: Molecules) -> Float[Tensor, " n"]:
    """Returns the similarity of each molecule to the most similar other; 0 of a single one."""
    bits, first, found = fingerprints(parts(x.smiles.tolist())), 0, []
    for rows in tanimoto(bits, bits):
        itself = torch.arange(len(rows))
        rows[itself, first + itself] = 0.0
        found.append(rows.amax(1))
        first += len(rows)
    return torch.cat(found).double()


def _frechet(x: Molecules, y: Molecules) -> Score:
    a, b = (chemnet.numbers(z.smiles.tolist()) for z in (x, y))
    if not len(a):
        a = chemnet.numbers([""])
    return Score(chemnet.squared_distance(a, b), 0.0)


def match(objects: Molecules, copies: Molecules) -> dict[str, Score]:
    """Compares molecules with their reconstructions, one to one; "" is nothing like any.

    `exact` is the share with the same canonical SMILES. Of SELFIES symbols `tokens` is one minus
    the edit distance, and `positions` the share of places with the same symbol, each over the
    longer of both.

    Raises:
        DataError: There are not as many copies as objects.
    """
    if len(objects) != len(copies):
        raise DataError(
            f"{len(copies)} reconstructions cannot be matched with {len(objects)} molecules: "
            "expected one to one"
        )
    symbols = [[list(split_selfies(s)) for s in z.selfies] for z in (objects, copies)]
    pairs = list(zip(*symbols, strict=True))
    found = {
        "exact": _equal(objects, copies).double(),
        "tokens": torch.tensor([_kept(a, b) for a, b in pairs], dtype=torch.float64),
        "positions": torch.tensor([_in_place(a, b) for a, b in pairs], dtype=torch.float64),
        "similarity": _similarity(objects, copies),
    }
    units = {"exact": "share", "similarity": "Tanimoto"}
    return {k: Score(_mean(v), 1.0, units.get(k, "share of symbols")) for k, v in found.items()}


def _equal(objects: Molecules, copies: Molecules) -> Bool[Tensor, " n"]:
    both = zip(objects.smiles, copies.smiles, strict=True)
    return torch.tensor([a == b != "" for a, b in both], dtype=torch.bool)


def _in_place(a: Sequence[str], b: Sequence[str]) -> float:
    return sum(map(str.__eq__, a, b)) / max(len(a), len(b), 1)


def _kept(a: Sequence[str], b: Sequence[str]) -> float:
    """Returns one minus Levenshtein's distance over the length of the longer one."""
    longest = max(len(a), len(b))
    if a == b or not longest:
        return float(longest > 0)
    above = list(range(len(b) + 1))
    for i, symbol in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (symbol != other)))
        above = row
    return 1 - above[-1] / longest


def _similarity(objects: Molecules, copies: Molecules) -> Float[Tensor, " n"]:
    """Returns the similarity of each molecule to its copy; 0 where one of them is none."""
    there = torch.tensor(
        [a != "" != b for a, b in zip(objects.smiles, copies.smiles, strict=True)],
        dtype=torch.bool,
    )
    found = torch.zeros(len(objects), dtype=torch.float64)
    if there.any():
        a, b = (fingerprints(parts(z[there].smiles.tolist())) for z in (objects, copies))
        both = (a * b).sum(1)
        found[there] = (both / (a.sum(1) + b.sum(1) - both).clamp_min(1)).double()
    return found


def similarity(objects: Molecules, to: Molecules) -> Float[Tensor, " n"]:
    """Returns the Tanimoto similarity of each molecule to one, by Morgan fingerprints; 0 of "".

    Raises:
        DataError: `to` is not one molecule.
    """
    if len(to) != 1 or not to.smiles[0]:
        raise DataError(f"similarity is to one molecule, got {len(to)}")
    return _similarity(objects, to[torch.zeros(len(objects), dtype=torch.long)])


def conditional_error(values: Float[Tensor, " n"], target: float, unit: str = "") -> Score:
    """Returns the mean absolute error of the values that are known; NaN where none is.

    Args:
        values: A property of samples that were asked for; NaN of what is no molecule.
        target: What was asked for.
        unit: That of the property.
    """
    known = values[~values.isnan()].double()
    return Score(_mean((known - target).abs(), torch.nan), 0.0, unit)
