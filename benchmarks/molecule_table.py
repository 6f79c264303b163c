"""Quality of molecule/cvae, as the tables in `docs/domains/molecule.md`.

    python -m benchmarks.molecule_table                    molecules of the grammar, three seeds
    python -m benchmarks.molecule_table --data FILE        those of a file
    python -m benchmarks.molecule_table RUN ...            finished runs, which are scored again
    python -m benchmarks.molecule_table --preset tiny --seeds 0 --samples 64 --draws 64

Figures are of draws at temperature 1 among which only slips are drawn again, and `valid` says how
many those are. As many samples as test molecules, of every row alike, are compared, since some
scores depend on how many there are. Tables are printed, and kept in the
page where `--write` is given.
"""

import argparse
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.polymer_table import keep, markdown
from genmatter import api
from genmatter.api.evaluation import references
from genmatter.api.trained import Trained
from genmatter.domains.molecule.metrics import conditional_error
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.properties import compute
from genmatter.maths.noise import stream

RECIPE = "molecule/cvae"
PAGE = Path(__file__).parent.parent / "docs" / "domains" / "molecule.md"
SAMPLES = (
    "valid", "fcd", "unique@1k", "novelty", "int_div", "snn", "scaffolds", "fragments", "qed",
    "sa", "w1_tpsa", "w1_logp", "w1_qed", "kl",
)  # fmt: skip
"""Scores of the first table."""
COST = ("training, s", "samples in a second")
COPIES = ("exact", "tokens", "similarity")
"""Scores of the second one, beside what latents say."""
TARGETS = (30.0, 50.0, 70.0, 120.0)
"""TPSA that is asked for, in square angstrom; the last is beyond the data."""
BEST_OF, GUIDANCE = 8, (1.0, 4.0)
SEEDS = (0, 1, 2)
CHOOSING = 1024
"""Molecules whose latents are told apart, which bounds the mutual information."""

Row = dict[str, float]
Rows = dict[str, Row]


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of molecule/cvae")
    parser.add_argument("finished", nargs="*", type=Path, help="runs to score; trains without")
    parser.add_argument("--data", default="", help="a file of molecules; a grammar without it")
    parser.add_argument("--preset", default="")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--fields", nargs="*", default=[], help="FIELD=VALUE of the config")
    parser.add_argument("--runs", default="", help="a folder to keep runs in, and go on with")
    parser.add_argument("--samples", type=int, default=2000, help="molecules of each row")
    parser.add_argument("-n", "--draws", type=int, default=10_000, help="draws for each target")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    told = parser.parse_args()
    home = tempfile.TemporaryDirectory()
    found: dict[str, dict[str, list[Row]]] = {kind: {} for kind in TABLES}
    for number, run in enumerate(told.finished or _trained(told, Path(told.runs or home.name))):
        for kind in told.tables:
            rows_of = TABLES[kind]
            count = told.draws if kind == "targets" else told.samples
            for name, row in rows_of(Path(run), count).items():
                if number == 0 or name.startswith("**"):
                    found[kind].setdefault(name, []).append(row)
            print(f"\n{run}, {kind}\n{markdown(found[kind])}", flush=True)
    for kind, rows in found.items():
        if told.write and rows:
            keep(markdown(rows), f"{'file' if told.data else 'grammar'} {kind}", PAGE)


def _trained(told: argparse.Namespace, home: Path) -> Iterable[Path]:
    """Yields the run of each seed, trained or gone on with."""
    fields = {k: yaml.safe_load(v) for k, v in (part.split("=", 1) for part in told.fields)}
    if told.data:
        fields["source"] = told.data
    for seed in told.seeds:
        run = home / f"molecule-{seed}"
        run.mkdir(parents=True, exist_ok=True)
        api.train(RECIPE, run=run, preset=told.preset, resume=True, seed=seed, **fields)
        yield run


def samples(run: Path, n: int) -> Rows:
    """Scores draws at each level and at one latent, and what they stand beside."""
    plain = _loaded(run)
    splits = plain.splits
    splits = dataclasses.replace(splits, test=_spread(splits.test, n))
    n = len(splits.test)
    rows: Rows = {}
    for name, changes in _ways(plain).items():
        it, start = _loaded(run, **changes), time.process_time()
        drawn = it.fair(n)
        rate = n / (time.process_time() - start)
        rows[name] = _row(it, drawn, splits) | {"samples in a second": rate}
    history = plain.run.read_history() if plain.run else []
    rows[f"**{RECIPE}**"]["training, s"] = history[-1]["seconds"] if history else math.nan
    for name, objects in references(plain.domain, splits, n).items():
        rows[name] = _row(plain, _spread(objects, n), splits)
    columns = (*SAMPLES, *COST)
    return {name: {k: row[k] for k in columns if k in row} for name, row in rows.items()}


def _loaded(run: Path, **sampling: Any) -> Trained:
    """Returns a run that draws raw samples."""
    return api.load(run, unique=False, **sampling)


def _ways(it: Trained) -> dict[str, dict[str, float]]:
    """Returns sampling options: the default ones, one latent for all, and lower levels."""
    found: dict[str, dict[str, float]] = {f"**{RECIPE}**": {}}
    found["**the same, without z**"] = {"latent_temperature": 0.0}
    for level in _levels(it)[:-1]:
        found[f"**the same, drawn at beta {level:g}**"] = {"beta": level}
    return found


def _levels(it: Trained) -> list[float]:
    """Returns weights of the KL that the model works at: the lowest, that of the ELBO, the top."""
    model: Any = it.model
    return sorted({model.levels.least, model.levels.end, model.levels.most})


def _spread(x: Molecules, n: int) -> Molecules:
    """Returns `n` of some molecules at most, at even steps."""
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).long()]


def _row(it: Trained, objects: Molecules, splits: Any) -> Row:
    return {name: score.value for name, score in it.domain.score(objects, splits).items()}


def latents(run: Path, n: int) -> Rows:
    """Says how much latents tell at each level, and how well they are read back."""
    rows: Rows = {}
    plain = _loaded(run)
    test, end = _spread(plain.splits.test, n), plain.model.levels.end  # pyright: ignore[reportAttributeAccessIssue]
    for level in _levels(plain):
        it = _loaded(run, beta=level)
        with stream(0, "latents"):
            found = it.model.diagnostics(next(it.batches(test[:CHOOSING])))
        units, copied = sum(name.startswith("kl_unit_") for name in found), level == _lowest(it)
        scores = it.reconstruct(test).scores if copied else {}
        row, kind = {name: s.value for name, s in scores.items() if name in COPIES}, "drawn_"
        if copied or "drawn_kl" not in found:
            kind = ""
        row["active units"] = found[f"{kind}active_units"] / units
        row |= {k.replace("_", " "): found[kind + k] for k in ("kl", "mutual_information")}
        name = f"**{'copied' if copied else 'drawn'} at beta {level:g}**"
        rows[name] = row | (_bounds(it, test) if level == end else {})
    return rows


def _lowest(it: Trained) -> float:
    model: Any = it.model
    return float(model.levels.latent)


def _bounds(it: Trained, test: Molecules) -> Row:
    """Returns bounds on the log-likelihood of a test molecule, in nats."""
    model: Any = it.model
    found: Row = {}
    for name, importance in (("elbo", 1), ("iwae of 16", 16)):
        with torch.no_grad(), stream(0, "bounds"):
            each = [model.log_likelihood(batch, importance) for batch in it.batches(test)]
        found[name] = torch.cat(each).mean().item()
    return found


def targets(run: Path, n: int) -> Rows:
    """Returns the mean absolute error of TPSA at each target, in square angstrom.

    Ways that choose among several draws are of fewer objects.
    """
    if "tpsa" not in vars(_loaded(run).config)["conditions"]:
        return {}
    free = _loaded(run).sample(n).objects
    ways: dict[str, tuple[dict[str, Any], int]] = {
        "**raw**": ({}, n),
        **{f"**raw, guidance {w:g}**": ({"guidance": w}, n) for w in GUIDANCE},
        f"**best of {BEST_OF}**": ({"best_of": BEST_OF}, n // BEST_OF),
    }
    rows: Rows = {"**not asked for**": {}, **{name: {} for name in ways}}
    for value in TARGETS:
        wish = {"target": (f"tpsa={value:g}",)}
        made = (_loaded(run, **wish, **way).sample(k).objects for way, k in ways.values())
        drawn = [free, *made]
        for row, objects in zip(rows.values(), drawn, strict=True):
            row[f"{value:g}"] = conditional_error(compute(objects.smiles, "tpsa"), value).value
    return rows


TABLES: dict[str, Callable[[Path, int], Rows]] = {
    "samples": samples,
    "latents": latents,
    "targets": targets,
}


if __name__ == "__main__":
    main()
