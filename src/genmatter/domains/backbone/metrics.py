r"""How good sampled conformers are: sets of `[n, residues, 5, 3]` of one protein to numbers.

All scores compare as many frames of each set as the smallest of them has, 500 at most: finite
sets of one law are apart, the more the fewer frames there are, so that n belongs to each value and
is told with it. Where there is no perfect value, the best is what the test frames themselves have.
"""

__all__ = ["CA_CLASH", "doubts", "faults", "overlapping", "score"]

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from genmatter.domains.backbone import ensemble, kinetics
from genmatter.domains.backbone.observables import (
    alphas,
    ca_bonds,
    left_handed,
    link_angles,
    link_bonds,
    omega,
    oxygen_psi,
    pair_distances,
    phi,
    psi,
    radius_of_gyration,
    shortest_nonbonded,
)
from genmatter.errors import DataError
from genmatter.evaluation.compare import (
    correlation,
    histograms,
    jensen_shannon,
    transport,
    wasserstein,
)
from genmatter.evaluation.sets import subset
from genmatter.maths.residues import BACKBONE_RADII
from genmatter.maths.superpose import mean_cloud, pairwise_rmsd, superpose
from genmatter.spine import Score

Backbones = Float[Tensor, "n residues 5 3"]
Same = Float[Tensor, "n residues 5 3"]
Mask = Bool[Tensor, " residues"]

CA_CLASH = 3.0
"""Two CA at least two residues apart clash below this, in angstrom."""

CA_BOND = (3.8, 0.4)
"""Distance of the CA of neighbours, and how far it may be off; cis links are off."""

LINK = (1.33, 0.1)
"""Length of the peptide bond, and how far it may be off."""

OVERLAP = 1.5
"""How far van der Waals spheres may overlap: AlphaFold's tolerance (supplement 1.9.11)."""

_CIS = math.pi / 2
_KNOWN = 5000  # training frames that are searched for the nearest


def faults(objects: Backbones) -> list[str]:
    """Says why each conformer is none at all; "" where it is one."""
    finite = objects.isfinite().flatten(1).all(1).tolist()
    return ["" if good else "not finite" for good in finite]


def doubts(objects: Backbones) -> list[str]:
    """Says why each conformer could hardly stand in a trajectory; "" where it could."""
    bonds = (ca_bonds(objects) - CA_BOND[0]).abs().amax(1) > CA_BOND[1]
    close = shortest_nonbonded(objects) < CA_CLASH
    return [
        fault or ("a CA-CA bond not within 3.8 +- 0.4 A" if bond else "")
        or ("two CA closer than 3 A" if clash else "")
        for fault, bond, clash in zip(
            faults(objects), bonds.tolist(), close.tolist(), strict=True
        )
    ]  # fmt: skip


def score(
    samples: Float[Tensor, "n *sizes_of_samples"],
    test: Float[Tensor, "m *sizes"],
    train: Float[Tensor, "k *sizes_of_train"],
    *,
    seed: int | str = 0,
    series: Sequence[Float[Tensor, "_ _ _ _"]] = (),
    lag: int = 10,
    most: int = 500,
) -> dict[str, Score]:
    """Compares conformers of one protein with the test frames.

    Conformers that are not finite count in `finite` and nowhere else; with fewer than four
    finite ones there is no other score.

    Args:
        samples: Conformers, `[n, residues, 5, 3]` in angstrom.
        test: Frames of replicas that no model has seen.
        train: Frames to be as mobile as, and not to be copies of.
        seed: Key of the frames that are drawn from larger sets.
        series: Trajectories in the order of time, with frames that follow each other, which
            say what is slow; where there are none, `tica_w2` is left out.
        lag: Frames over which slow means remembered.
        most: Frames compared.

    Raises:
        DataError: Sets are not of one protein, or have fewer than three residues.
    """
    _same_shape(samples, test, train)
    finite = samples.isfinite().flatten(1).all(1)
    share = finite.double().mean().item() if len(finite) else math.nan
    found = {"finite": Score(share, 1.0)}
    if finite.sum() < 4:
        return found
    n = min(int(finite.sum()), len(test), len(train), most)
    named = {"samples": samples[finite], "test": test, "train": train}
    x, y, known = (subset(s, n, name, seed).double() for name, s in named.items())
    scores = _torsions(x, y) | _distances(x, y) | _fluctuations(x, y, known) | _links(x, y)
    scores |= _handedness(x, y) | _principal(x, y, test.double())
    if series:
        scores |= _slow(x, y, [s.double() for s in series], lag)
    scores |= _novelty(x, y, subset(train, _KNOWN, "known", seed).double())
    for name, s in scores.items():
        told = f"{s.unit}, n={n}" if s.unit else f"n={n}"
        found[name] = Score(s.value, s.best, told)
    return found


def _same_shape(samples: Tensor, test: Tensor, train: Tensor) -> None:
    wanted, given = tuple(test.shape[1:]), tuple(samples.shape)
    if given[1:] != wanted or train.shape[1:] != test.shape[1:] or wanted[1:] != (5, 3):
        raise DataError(
            f"conformers of shape {given} cannot be scored against test frames of shape "
            f"{tuple(test.shape)} and training frames of shape {tuple(train.shape)}: expected "
            "[n, residues, 5, 3] of one protein"
        )
    if wanted[0] < 3:
        raise DataError(f"a backbone of {wanted[0]} residues cannot be scored: it takes 3 or more")


def _torsions(x: Backbones, y: Same) -> dict[str, Score]:
    """Compares torsions in 100 bins, and phi and psi of a residue together in 50 x 50."""
    turns = [torch.cat([phi(z), psi(z)], 1) for z in (x, y)]
    counts = [histograms(t, -math.pi, math.pi, 100) for t in turns]
    cells = [histograms(_cell(z), 0.0, 2500.0, 2500) for z in (x, y)]
    return {"torsion_js": _apart(counts), "ramachandran_js": _apart(cells)}


def _apart(counts: Sequence[Float[Tensor, "columns bins"]]) -> Score:
    return Score(_mean(jensen_shannon(*counts)), 0.0, "sqrt nat")


def _cell(x: Backbones) -> Float[Tensor, "n inner"]:
    """Returns the number of the cell of phi and psi that each residue is in."""
    a, b = (
        ((t + math.pi) * (50 / (2 * math.pi))).floor().clamp(0, 49)
        for t in (phi(x)[:, :-1], psi(x)[:, 1:])
    )
    return 50 * a + b + 0.5


def _fluctuations(x: Backbones, y: Same, known: Same) -> dict[str, Score]:
    """Compares how far each CA moves after superposition on the set's own mean."""
    a, b, c = (ensemble.rmsf(_on_mean(z)) for z in (x, y, known))
    return {
        "rmsf_r": Score(correlation(a, b), 1.0),
        "rmsf_amplitude": Score((a.mean() / c.mean()).item(), 1.0, "of training"),
        "w1_rg": Score(wasserstein(radius_of_gyration(x), radius_of_gyration(y)), 0.0, "sd"),
    }


def _on_mean(x: Backbones) -> Float[Tensor, "n residues 3"]:
    ca = alphas(x)
    return superpose(ca, mean_cloud(ca))


def _links(x: Backbones, y: Same) -> dict[str, Score]:
    """Compares peptide links: their geometry, flatness and whether the oxygen fits it."""
    shares = {
        "ca_valid": lambda z: _within(ca_bonds(z), CA_BOND).all(1),
        "cn_valid": lambda z: _within(link_bonds(z), LINK).all(1),
        "cn_bonds": lambda z: _within(link_bonds(z), LINK),
        "cis": lambda z: omega(z).abs() < _CIS,
    }
    units = {"cn_bonds": "share of bonds", "cis": "share of links"}
    found = {
        k: Score(_mean(of(x)), _mean(of(y)), units.get(k, "share")) for k, of in shares.items()
    }
    (a, b), (c, d) = link_angles(x), link_angles(y)
    pooled = {
        "w1_cn": (link_bonds(x), link_bonds(y)), "w1_ca_c_n": (a, c), "w1_c_n_ca": (b, d),
    }  # fmt: skip
    found |= {
        k: Score(wasserstein(u.flatten(), v.flatten()), 0.0, "sd") for k, (u, v) in pooled.items()
    }
    return found | {"psi_error": Score(_mean(_psi_gap(x)), _mean(_psi_gap(y)), "degrees")}


def _mean(x: Tensor) -> float:
    return x.double().mean().item()


def _within(x: Tensor, band: tuple[float, float]) -> Tensor:
    return (x - band[0]).abs() <= band[1]


def _psi_gap(x: Backbones) -> Float[Tensor, "n links"]:
    """Returns how far the psi of the oxygen is from that of the next nitrogen, in degrees."""
    gap = oxygen_psi(x)[:, :-1] - psi(x)
    return torch.atan2(gap.sin(), gap.cos()).abs().rad2deg()


def _distances(x: Backbones, y: Same) -> dict[str, Score]:
    """Compares CA distances in 50 bins from the smallest to the largest, and counts clashes."""
    a, b = pair_distances(x), pair_distances(y)
    low, high = torch.minimum(a.amin(0), b.amin(0)), torch.maximum(a.amax(0), b.amax(0))
    clash, best = (_mean(d.amin(1) < CA_CLASH) for d in (a, b))
    return {
        "ca_pair_js": _apart([histograms(d, low, high, 50) for d in (a, b)]),
        "clash": Score(clash, best, f"share below {CA_CLASH:g} A"),
        "clash_all": Score(_mean(overlapping(x)), _mean(overlapping(y)), "share"),
    }


def _present(x: Backbones) -> Bool[Tensor, "n residues 5"]:
    """Returns which atoms there are: all but the CB of glycine, which is zeros."""
    there = (x != 0).any(-1)
    return torch.cat([torch.ones_like(there[:, :, :4]), there[:, :, 4:]], -1)


def overlapping(x: Backbones) -> Bool[Tensor, " n"]:
    """Says in which conformers atoms of residues two or more apart overlap.

    They do where two are closer than the sum of their van der Waals radii less 1.5 angstrom.
    """
    there = _present(x)
    limit = BACKBONE_RADII.to(x)[:, None] + BACKBONE_RADII.to(x) - OVERLAP
    reach = ((x - x[:, :, 1:2]).norm(dim=-1) * there).amax()
    far = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(2)
    ca = alphas(x)
    near = (torch.cdist(ca, ca) < 2 * reach + limit.amax() + 0.1) & far
    rows, i, j = near.nonzero().T
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for row, first, second in zip(*(t.split(2**16) for t in (rows, i, j)), strict=True):
        a, b = (row, first), (row, second)
        close = torch.cdist(x[a], x[b]) < limit
        close &= there[a][:, :, None] & there[b][:, None]
        found[row[close.flatten(1).any(1)]] = True
    return found


def _handedness(x: Backbones, y: Same) -> dict[str, Score]:
    """Looks for mirror images, of residues by their CB and of the chain by the sign of phi."""
    chiral = _present(y)[:, :, 4].any(0)
    if not chiral.any():
        return {}
    has = chiral & _present(x)[:, :, 4]
    found = {"left_handed": Score(_mean(left_handed(x)[has]), 1.0, "share of residues")}
    if chiral[1:].any():
        a, b = (_mean(phi(z)[:, chiral[1:]] > 0) for z in (x, y))
        found["phi_positive"] = Score(a, b, "share of residues")
    return found


def _principal(x: Backbones, y: Same, test: Float[Tensor, "m residues 5 3"]) -> dict[str, Score]:
    """Compares CA on the two components in which the test frames vary most."""
    ca = alphas(test)
    mean = mean_cloud(ca)
    axes = ensemble.principal_components(superpose(ca, mean), 2)
    a, b = (superpose(alphas(z), mean).flatten(1) @ axes.T for z in (x, y))
    return {"pca_w2": Score(transport(a, b) / len(mean) ** 0.5, 0.0, "A")}


def _slow(
    x: Backbones, y: Same, series: Sequence[Float[Tensor, "_ _ 5 3"]], lag: int
) -> dict[str, Score]:
    """Compares the two slowest coordinates, whose unit is their deviation over the series."""
    slow = kinetics.slow_components([kinetics.features(s) for s in series], lag)
    a, b = (slow.of(kinetics.features(z)) for z in (x, y))
    return {"tica_w2": Score(transport(a, b), 0.0, f"sd at lag {lag}")}


def _novelty(x: Backbones, y: Same, known: Float[Tensor, "k residues 5 3"]) -> dict[str, Score]:
    """Compares the distance from the nearest training frame with that of test frames."""
    a, b = (pairwise_rmsd(alphas(z), alphas(known)).amin(1).median() for z in (x, y))
    return {"novelty": Score((a / b).item(), 1.0)}
