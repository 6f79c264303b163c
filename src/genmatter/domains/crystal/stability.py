r"""How far sampled crystals are from rest, and how many are stable, different and new.

`relaxed_*` are of the first samples, as many as `relax` says: how far CHGNet moves their atoms,
what energy they gain and come to, and how many come to rest. With reference energies, of a file,
`stable` are those within 0.1 eV per atom of its convex hull, and `sun` those that are stable,
different from each other and match no training crystal. Without such a file nobody can say what
is stable, and neither is told.
"""

__all__ = ["STABLE", "check", "finished", "score", "titled"]

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from genmatter.domains.crystal import matching, relaxing
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.hull import Hull
from genmatter.errors import ConfigError
from genmatter.spine import Score

STABLE = 0.1
"""eV per atom above the hull, up to which a crystal counts as stable."""


def check(relax: int, hull: str) -> None:
    """Refuses what cannot be told.

    Raises:
        ConfigError: Stability is asked for without relaxation, or a number is below 0.
        DataError: The file of the hull is not there, or is none.
        MissingExtraError: Crystals are to be relaxed, and CHGNet is not installed.
    """
    if relax < 0:
        raise ConfigError(f"cannot relax {relax} crystals")
    if hull and not relax:
        raise ConfigError(
            f"energies above the hull of {hull!r} are of relaxed crystals: say how many with "
            "--relax"
        )
    if relax:
        relaxing.require()
    if hull:
        Hull.read(Path(hull))


def finished(x: Crystals, relax: int) -> Crystals:
    """Brings the first crystals to rest, and says of each what `relaxing.Relaxed` says.

    It does so in the columns `relaxed_energy` and `relaxed_gain` (eV per atom),
    `relaxed_displacement` (angstrom) and `relaxed_converged` (0 or 1); NaN of all others.

    Raises:
        MissingExtraError: CHGNet is not installed.
    """
    if not relax:
        return x
    found = relaxing.relaxed(x[:relax], what="relax")
    columns = {
        "relaxed_energy": found.energy,
        "relaxed_gain": found.gain,
        "relaxed_displacement": found.displacement,
        "relaxed_converged": found.converged.double(),
    }
    some = replace(found.crystals, columns=dict(found.crystals.columns) | columns)
    return Crystals.cat([some, x[relax:]])


def titled(x: Crystals, titles: Sequence[str]) -> list[str]:
    """Returns titles to which the energies are added of crystals that were brought to rest."""
    energy = x.columns.get("relaxed_energy")
    if energy is None or len(energy) != len(titles):
        return list(titles)
    told = [f"{e:.3f} eV per atom" if e == e else "" for e in energy.tolist()]
    return [", ".join(filter(None, pair)) for pair in zip(titles, told, strict=True)]


def score(samples: Crystals, train: Crystals, relax: int, hull: str = "") -> dict[str, Score]:
    """Relaxes the first samples, and compares them with a hull where there is one.

    Raises:
        ConfigError: What `check` raises.
        DataError: The file of the hull is not there, or is none.
        MissingExtraError: CHGNet is not installed.
    """
    check(relax, hull)
    if not relax:
        return {}
    known = Hull.read(Path(hull)) if hull else None
    some = samples[: min(relax, len(samples))]
    found = relaxing.relaxed(some, what="relax")
    told = found.energy.isfinite()
    unit = f"n={int(told.sum())} of {len(some)}"
    mean = lambda v: v[told].mean().item() if told.any() else float("nan")
    scores = {
        "relaxed_displacement": Score(mean(found.displacement), 0.0, f"angstrom, {unit}"),
        "relaxed_gain": Score(
            mean(found.gain), 0.0, f"eV per atom, to {mean(found.energy):.3f}, {unit}"
        ),
        "relaxed_converged": _share(found.converged),
    }
    if known is None:
        return scores
    stable = known.above(found.crystals, found.energy) <= STABLE  # NaN is not
    first = matching.groups(found.crystals) == torch.arange(len(some))
    new = ~matching.known(found.crystals, train)
    return scores | {"stable": _share(stable), "sun": _share(stable & first & new)}


def _share(which: Bool[Tensor, " n"]) -> Score:
    return Score(which.double().mean().item(), 1.0, f"share, n={len(which)}")
