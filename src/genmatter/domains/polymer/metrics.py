r"""How good sampled chains are: `[n, beads, space]` to numbers, in the plane and in space.

Observables are numbers of each chain, and differentiable, so that shapes can be optimised for
them. Scores compare a set of chains with the test set. All of them are blind to rigid motions
and to mirror images.
"""

__all__ = [
    "CLASH",
    "OBSERVABLES",
    "asphericity",
    "bond_lengths",
    "clash_distance",
    "end_to_end",
    "faults",
    "match",
    "mean_bond",
    "mean_turn",
    "pair_distances",
    "score",
    "shortest_nonbonded",
    "turn_angles",
]

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from genmatter.errors import DataError
from genmatter.evaluation.compare import c2st, energy_distance, wasserstein
from genmatter.evaluation.sets import novelty, subset
from genmatter.maths.geometry import align_principal, centre, radius_of_gyration
from genmatter.maths.superpose import rmsd
from genmatter.spine import Observable, Score

Chains = Float[Tensor, "n beads space"]
PerChain = Float[Tensor, " n"]
Energy = Callable[[Chains], PerChain]
"""The potential energy of each chain, in kT."""

CLASH = 0.12
"""Two beads at least two bonds apart clash below this, in the walkthrough's unit of length."""

_LANDMARKS = 32
"""Longer chains are compared through this many evenly spaced beads: pairs grow as the square."""


def end_to_end(x: Chains) -> PerChain:
    """Returns the distance from the first bead to the last."""
    return vector_norm(x[:, -1] - x[:, 0], dim=-1)


def asphericity(x: Chains) -> PerChain:
    r"""Returns 0 for a round cloud of beads and 1 for beads on a line.

    With :math:`\lambda` the :math:`d` eigenvalues of the gyration tensor :math:`S`,
    :math:`A = \frac{\sum_{i<j} (\lambda_i - \lambda_j)^2}{(d - 1) (\sum_i \lambda_i)^2}
    = \frac{d \operatorname{tr} S^2 - (\operatorname{tr} S)^2}{(d - 1) (\operatorname{tr} S)^2}`;
    in space it is also the relative shape anisotropy of Theodorou & Suter (1985).

    References:
        The shapes of random walks (Rudnick & Gaspari, Science 237, 384, 1987).
    """
    y = centre(x)
    gyration = y.mT @ y / x.shape[1]
    trace = gyration.diagonal(dim1=-2, dim2=-1).sum(-1).square()
    anisotropy = x.shape[-1] * gyration.square().sum((-2, -1)) - trace
    return anisotropy / ((x.shape[-1] - 1) * trace.clamp_min(torch.finfo(x.dtype).tiny))


def bond_lengths(x: Chains) -> Float[Tensor, "n bonds"]:
    """Returns the distances between neighbours along the chain."""
    return vector_norm(x.diff(dim=1), dim=-1)


def mean_bond(x: Chains) -> PerChain:
    """Returns the mean bond length."""
    return bond_lengths(x).mean(-1)


def turn_angles(x: Chains) -> Float[Tensor, "n turns"]:
    r"""Returns the angles between successive bonds, in :math:`[0, \pi]`; 0 goes straight on.

    References:
        | How futile are mindless assessments of roundoff (Kahan, 2006): this
        | formula, unlike the arc cosine, is exact near 0 and pi, with a bounded gradient.
        | https://people.eecs.berkeley.edu/~wkahan/Mindless.pdf
    """
    u, v = _directions(x)
    return 2 * torch.atan2(vector_norm(u - v, dim=-1), vector_norm(u + v, dim=-1))


def mean_turn(x: Chains) -> PerChain:
    """Returns the mean angle between successive bonds, in radian."""
    return turn_angles(x).mean(-1)


def _directions(
    x: Chains,
) -> tuple[Float[Tensor, "n turns space"], Float[Tensor, "n turns space"]]:
    unit = torch.nn.functional.normalize(x.diff(dim=1), dim=-1)
    return unit[:, :-1], unit[:, 1:]


def shortest_nonbonded(x: Chains) -> PerChain:
    """Returns the smallest distance between beads at least two bonds apart."""
    gaps = range(2, x.shape[1])
    return torch.stack([vector_norm(x[:, k:] - x[:, :-k], dim=-1).amin(-1) for k in gaps]).amin(0)


def pair_distances(x: Chains) -> Float[Tensor, "n pairs"]:
    """Returns the distances between all pairs of beads, the upper triangle row by row."""
    i, j = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    return vector_norm(x[:, i] - x[:, j], dim=-1)


OBSERVABLES: tuple[Observable[Tensor], ...] = (
    Observable("radius_of_gyration", "length", radius_of_gyration, differentiable=True),
    Observable("end_to_end", "length", end_to_end, differentiable=True),
    Observable("asphericity", "", asphericity, differentiable=True),
    Observable("mean_bond", "length", mean_bond, differentiable=True),
    Observable("mean_turn", "radian", mean_turn, differentiable=True),
    Observable("shortest_nonbonded", "length", shortest_nonbonded, differentiable=True),
)
"""The numbers that each chain has, in the order in which they are shown."""


def clash_distance(train: Chains, quantile: float = 0.001) -> float:
    """Returns the distance below which two beads clash, for chains of unknown physics.

    One training chain in a thousand comes closer. Unlike the smallest distance of all, this
    neither shrinks with the number of chains nor hangs on a single bad frame.
    """
    return torch.quantile(shortest_nonbonded(train), quantile).item()


def faults(objects: Chains, clash: float = CLASH) -> list[str]:
    """Says why each chain is no physical one; "" where it is."""
    finite = objects.isfinite().flatten(1).all(1).tolist()
    clear = (shortest_nonbonded(objects) >= clash).tolist()
    reason = f"two beads closer than {clash:.3g}"
    return [
        "not finite" if not good else "" if free else reason
        for good, free in zip(finite, clear, strict=True)
    ]


def score(
    samples: Float[Tensor, "n _ _"],
    test: Float[Tensor, "m _ _"],
    train: Float[Tensor, "k _ _"],
    energy: Energy | None = None,
    clash: float = CLASH,
) -> dict[str, Score]:
    """Compares chains with the test set; novelty is against the training set.

    `energy` is the potential that the test chains were simulated with, if that is known.
    Chains that are not finite count in `finite` and nowhere else; with fewer than four finite
    ones there is no other score.

    Raises:
        DataError: Chains differ from the test set's in beads or dimension.
    """
    _same_shape(samples, test)
    finite = samples.isfinite().flatten(1).all(1)
    scores = {"finite": Score(finite.double().mean().item(), 1.0)}
    if finite.sum() < 4:
        return scores
    x, y = samples[finite].double(), test.double()
    scores |= _observed(x, y) | _shapes(x, y, train.double())
    scores |= _clashes(x, y, clash) | (_energies(x, y, energy) if energy else {})
    return scores


def _same_shape(samples: Tensor, test: Tensor) -> None:
    if samples.ndim != 3 or samples.shape[1:] != test.shape[1:] or samples.shape[1] < 3:
        wanted, given = tuple(test.shape[1:]), tuple(samples.shape)
        raise DataError(
            f"samples of shape {given} cannot be scored: expected [chains, beads, dimensions] "
            f"with (beads, dimensions) = {wanted} as in the test set, and at least 3 beads"
        )


def _observed(x: Chains, y: Float[Tensor, "m beads space"]) -> dict[str, Score]:
    """Compares distributions of single observables; bonds and angles are pooled."""
    observables = {
        "w1_rg": radius_of_gyration,
        "w1_end_to_end": end_to_end,
        "w1_bond": lambda chains: bond_lengths(chains).flatten(),
        "w1_angle": lambda chains: turn_angles(chains).flatten(),
    }
    return {k: Score(wasserstein(of(x), of(y)), 0.0, "sd") for k, of in observables.items()}


def _shapes(
    x: Chains, y: Float[Tensor, "m beads space"], train: Float[Tensor, "k beads space"]
) -> dict[str, Score]:
    """Compares distributions of whole shapes, from 10,000 chains at most."""
    x, y = subset(x, 10_000, "samples"), subset(y, 10_000, "test")
    a, b, known = (pair_distances(_landmarks(chains)) for chains in (x, y, train))
    tried, unseen = subset(a, 2000, "samples"), subset(b, 2000, "test")
    return {
        "energy_distance": Score(energy_distance(a, b), 0.0, "sd", unbiased=True),
        "c2st": Score(c2st(_features(x), _features(y)), 0.5, "accuracy"),
        "novelty": Score(novelty(tried, unseen, known), 1.0),
    }


def _landmarks(x: Chains) -> Float[Tensor, "n landmarks space"]:
    if x.shape[1] <= _LANDMARKS:
        return x
    return x[:, torch.linspace(0, x.shape[1] - 1, _LANDMARKS, device=x.device).round().long()]


def _features(x: Chains) -> Float[Tensor, "n features"]:
    """Returns what a classifier is shown of each chain."""
    u, v = _directions(x)
    bonds = bond_lengths(x)
    numbers = [shortest_nonbonded(x), radius_of_gyration(x), bonds.amin(1), bonds.amax(1)]
    logs = pair_distances(_landmarks(x)).clamp_min(1e-12).log()  # beads may coincide
    return torch.cat([logs, torch.stack(numbers, 1), (u * v).sum(-1)], 1)


def _clashes(x: Chains, y: Float[Tensor, "m beads space"], clash: float) -> dict[str, Score]:
    a, b = ((shortest_nonbonded(z) < clash).double().mean().item() for z in (x, y))
    return {"clash": Score(a, b, f"share below {clash:.3g}")}


def _energies(x: Chains, y: Float[Tensor, "m beads space"], energy: Energy) -> dict[str, Score]:
    """Medians and tails: one clash in thousands would decide a mean (1e11 kT and more)."""
    a, b = energy(x).nan_to_num(nan=torch.inf), energy(y)
    high = torch.quantile(b, 0.999)
    return {
        "energy_gap": Score((a.median() - b.median()).item(), 0.0, "kT, of medians"),
        "energy_high": Score(
            (a > high).double().mean().item(), 0.001, f"share above {high:.3g} kT"
        ),
    }


def match(
    objects: Float[Tensor, "n beads space"], copies: Float[Tensor, "m _ _"]
) -> dict[str, Score]:
    """Compares chains with their reconstructions, one to one; lengths in the data's unit.

    `rmsd` is the mean after the best rigid motion. `reconstruction_mse` is the walkthrough's
    measure, the squared error per coordinate after both were aligned by themselves: it also
    counts as an error where noise turns the principal axes.

    Raises:
        DataError: There are not as many copies as objects, or they differ in beads or dimension.
    """
    if objects.shape != copies.shape:
        raise DataError(
            f"reconstructions of shape {tuple(copies.shape)} cannot be matched with chains of "
            f"shape {tuple(objects.shape)}: expected one to one"
        )
    finite = copies.isfinite().flatten(1).all(1)
    scores = {"finite": Score(finite.double().mean().item(), 1.0)}
    if not finite.any():
        return scores
    x, y = objects[finite].double(), copies[finite].double()
    error = align_principal(centre(x)) - align_principal(centre(y))
    return scores | {
        "rmsd": Score(rmsd(x, y).mean().item(), 0.0, "length"),
        "reconstruction_mse": Score(error.square().mean().item(), 0.0, "length^2"),
    }
