r"""How good sampled crystals are: the measures of CDVAE and those that came after.

| name | what it says |
|---|---|
| `valid*`, `spaced`, `apart` | see `validity` |
| `amd_recall`, `amd_precision` | shares of test crystals near a sample, and the other way round |
| `w1_density`, `w1_elements` | Wasserstein distances of density (g/cm^3) and number of elements |
| `w1_volume` | that of the volume per atom, in the test set's standard deviations |
| `space_groups` | Jensen-Shannon distance of the shares of space groups, at 0.1 angstrom |
| `element_shares` | Jensen-Shannon distance of the shares of elements |
| `unique` | different structures, over all |
| `novel_formula` | samples whose reduced formula training does not have, over all |
| `novel_structure` | samples that match no training crystal of their formula, over all |

What is no crystal counts in the denominator of every share. Coverage is of fingerprints, which
are average minimum distances and element fractions, and not those of CDVAE (CrystalNN and Magpie,
which take 127 ms for each): a crystal is near another if its average minimum distances are
within 0.1 on average, over :math:`(V/N)^{1/3}`, and its composition within 1 in the L1 norm of
element fractions. So it has its own name.

References:
    | Crystal diffusion variational autoencoder for periodic material generation
    | (Xie, Fu, Ganea, Barzilay & Jaakkola, 2022) https://arxiv.org/abs/2110.06197
    | Average minimum distances of periodic point sets (Widdowson et al., 2022)
    | https://doi.org/10.46793/match.87-3.529W
"""

__all__ = ["MOST", "match", "of_formula", "score", "similarity"]

from collections import Counter
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from scipy.stats import wasserstein_distance
from torch import Tensor

from genmatter.domains.crystal import matching, validity
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import reduced
from genmatter.domains.crystal.features import features
from genmatter.domains.crystal.fingerprint import K
from genmatter.domains.crystal.observables import density, of_elements, volume_per_atom
from genmatter.errors import DataError
from genmatter.evaluation.compare import jensen_shannon, wasserstein
from genmatter.evaluation.sets import subset
from genmatter.spine import Score

MOST = 2000
"""Crystals of each set that are compared."""
NEAR_AMD, NEAR_COMPOSITION = 0.1, 1.0
"""How far crystals that cover each other are apart, on average and in all."""


def score(samples: Crystals, test: Crystals, train: Crystals) -> dict[str, Score]:
    """Compares crystals with the test set; novelty is against the training set.

    Args:
        samples: Any crystals; what is none counts as a failure.
        test: Crystals that no model has seen.
        train: Crystals to be no copies of.

    Raises:
        DataError: There is no sample, or no test crystal.
    """
    if not len(samples) or not len(test):
        raise DataError(f"{len(samples)} samples cannot be compared with {len(test)} crystals")
    x, y = _some(samples, "samples"), _some(test, "test")
    sound = torch.tensor([not f for f in validity.faults(x)], dtype=torch.bool)
    return _valid(x) | _coverage(x, y) | _distributions(x[sound], y) | _new(x, sound, train)


def _some(x: Crystals, key: str) -> Crystals:
    rows = subset(torch.arange(len(x)), MOST, "crystal", key)
    return x[rows.sort().values]


def _valid(x: Crystals) -> dict[str, Score]:
    structure, composition = validity.valid_structure(x), validity.valid_composition(x)
    held = {
        "valid": structure & composition,
        "valid_structure": structure,
        "valid_composition": composition,
        "spaced": validity.spaced(x),
        "apart": validity.apart(x),
    }
    return {name: _share(which) for name, which in held.items()}


def _share(which: Bool[Tensor, " n"]) -> Score:
    return Score(which.double().mean().item(), 1.0, f"share, n={len(which)}")


def _coverage(x: Crystals, y: Crystals) -> dict[str, Score]:
    """Returns which share of the test crystals samples are near to, and of samples to them."""
    near = torch.zeros(len(y), dtype=torch.bool)
    hit = torch.zeros(len(x), dtype=torch.bool)
    a, b, c, d = _prints(x), _prints(y), _fractions(x), _fractions(y)
    for rows in torch.arange(len(x)).split(256):
        close = torch.cdist(a[rows], b, p=1) / K < NEAR_AMD
        close &= torch.cdist(c[rows], d, p=1) < NEAR_COMPOSITION
        near |= close.any(0)
        hit[rows] = close.any(1)
    return {"amd_recall": _share(near), "amd_precision": _share(hit)}


def _prints(x: Crystals) -> Float[Tensor, "n k"]:
    known = features(x)
    found = torch.stack([known[f"amd_{k}"] for k in range(K)], 1)
    return torch.where(found.isfinite(), found, 1e6)  # near to nothing


def _fractions(x: Crystals) -> Float[Tensor, "n elements"]:
    """Returns the share of each element in each crystal."""
    counts = torch.zeros(len(x), 119, dtype=torch.float64)
    places = x.owner * 119 + x.numbers.clamp(0, 118)
    counts.view(-1).index_add_(0, places, torch.ones(len(places), dtype=torch.float64))
    return counts / x.counts[:, None].clamp_min(1)


def _distributions(x: Crystals, y: Crystals) -> dict[str, Score]:
    """Compares samples that are crystals; of none, the distance is as of one atom in vacuum."""
    zero = torch.zeros(1, dtype=torch.float64)
    told = {f.__name__: (f(x) if len(x) else zero, f(y)) for f in _COMPARED}
    groups = [features(z)["space_group"] if len(z) else zero for z in (x, y)]
    shares = [torch.bincount(g.long(), minlength=231).double() for g in groups]
    elements = [_fractions(z).sum(0) if len(z) else torch.eye(119)[0].double() for z in (x, y)]
    unit = f"n={len(x)}, {len(y)} of test"
    return {
        "w1_density": Score(_moved(*told["density"]), 0.0, f"g/cm^3, {unit}"),
        "w1_elements": Score(_moved(*told["of_elements"]), 0.0, unit),
        "w1_volume": Score(wasserstein(*told["volume_per_atom"]), 0.0, f"sd, {unit}"),
        "space_groups": Score(jensen_shannon(*shares).item(), 0.0, f"JS, {unit}"),
        "element_shares": Score(jensen_shannon(*elements).item(), 0.0, f"JS, {unit}"),
    }


_COMPARED = (density, of_elements, volume_per_atom)


def _moved(a: Float[Tensor, " n"], b: Float[Tensor, " m"]) -> float:
    return float(wasserstein_distance(a.numpy(), b.numpy()))


def _new(x: Crystals, sound: Bool[Tensor, " n"], train: Crystals) -> dict[str, Score]:
    """Counts different crystals, and those that training does not have."""
    rows = sound.nonzero()[:, 0]
    y = x[rows]
    first = matching.groups(y)
    known = set(train.formulas)
    formula = torch.tensor([f not in known for f in y.formulas], dtype=torch.bool)
    structure = ~matching.known(y, train)
    held = {
        "unique": first == torch.arange(len(y)),
        "novel_formula": formula,
        "novel_structure": structure,
    }
    found = {}
    for name, which in held.items():
        whole = torch.zeros(len(x), dtype=torch.bool)
        whole[rows] = which
        found[name] = _share(whole)
    return found


def match(objects: Crystals, copies: Crystals) -> dict[str, Score]:
    r"""Compares crystals with their reconstructions, one to one.

    `match` is the share of pairs that pymatgen's StructureMatcher takes for the same, with its
    site tolerance named: `stol.5` is what the field reports, `stol.3` what pymatgen has by itself.
    `rms` is over the pairs that match, over :math:`(V/N)^{1/3}`; where none does, the tolerance.
    `composition` is the share whose formula is kept.

    Raises:
        DataError: There are not as many copies as objects.
    """
    same = [a == b for a, b in zip(objects.formulas, copies.formulas, strict=False)]
    found = {}
    for tolerance in (matching.CDVAE, matching.DEFAULT):
        far = matching.rms(objects, copies, tolerance)
        hit = far.isfinite()
        found[f"match {tolerance.name}"] = _share(hit)
        value = far[hit].mean().item() if hit.any() else tolerance.stol
        unit = f"(V/N)^1/3, n={int(hit.sum())}"
        found[f"rms {tolerance.name}"] = Score(value, 0.0, unit)
    return found | {"composition": _share(torch.tensor(same, dtype=torch.bool))}


def of_formula(samples: Crystals, formula: Mapping[int, int]) -> Score:
    """Returns the share of crystals that have a reduced formula, given as counts by number."""
    wanted = reduced(Counter(dict(formula)).elements())
    hit = [f == wanted for f in samples.formulas]
    return _share(torch.tensor(hit, dtype=torch.bool))


def similarity(objects: Crystals, to: Crystals) -> Float[Tensor, " n"]:
    r"""Returns how alike each crystal is to one, from 0 to 1.

    It is the share of element fractions that both have, times :math:`e^{-d / 0.1}` of the mean
    difference d of average minimum distances; 0 of what is no crystal.

    Raises:
        DataError: `to` is not one crystal.
    """
    if len(to) != 1:
        raise DataError(f"similarity is to one crystal, got {len(to)}")
    common = 1 - (_fractions(objects) - _fractions(to)).abs().sum(1) / 2
    far = (_prints(objects) - _prints(to)).abs().mean(1)
    return common * (-far / NEAR_AMD).exp()
