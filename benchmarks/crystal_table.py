"""Quality of both crystal recipes, as the tables in `docs/domains/crystal.md`.

    python -m benchmarks.crystal_table                     prototypes, three seeds
    python -m benchmarks.crystal_table --data FILE         the crystals of a file
    python -m benchmarks.crystal_table --vae RUN [--flow RUN]   finished runs, scored again
    python -m benchmarks.crystal_table --latents 2 4 8 16       first stages of narrower latents
    python -m benchmarks.crystal_table --preset tiny --seeds 0 --samples 40 --targets 4

Samples are raw draws, as many of each row; reconstructions are of the whole test split. Tables are
printed, and kept in the page where `--write NAME` is given.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.polymer_table import keep, markdown
from genmatter import api
from genmatter.api.evaluation import references
from genmatter.api.trained import Trained
from genmatter.config import replaced
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.elements import SYMBOLS
from genmatter.domains.crystal.matching import structure_prediction
from genmatter.maths.noise import stream

VAE, FLOW = "crystal/vae", "crystal/latent_diffusion"
PAGE = Path(__file__).parent.parent / "docs" / "domains" / "crystal.md"
SCORES = (
    "valid_structure", "valid_composition", "apart", "spaced", "amd_recall", "amd_precision",
    "w1_density", "w1_elements", "space_groups", "unique", "novel_formula", "novel_structure",
)  # fmt: skip
CHOICE = 0.2
"""Temperature of choices at which structures are predicted too."""
SMALL, EACH = 8, 20
"""Atoms of the crystals that are predicted, at most, and how many are proposed for each."""

Row = dict[str, float]
Rows = dict[str, Row]


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of the crystal recipes")
    parser.add_argument("--data", default="", help="a file of crystals; prototypes without it")
    parser.add_argument("--vae", type=Path, nargs="*", default=[], help="finished first stages")
    parser.add_argument("--flow", type=Path, nargs="*", default=[], help="finished second stages")
    parser.add_argument("--preset", default="")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs="+", default=(), help="of the stages")
    parser.add_argument("--fields", nargs="*", default=[], help="FIELD=VALUE of the first stage")
    parser.add_argument("--sampling", nargs="*", default=[], help="OPTION=VALUE of samples")
    parser.add_argument("--runs", default="", help="a folder to keep runs in, and go on with")
    parser.add_argument("--samples", type=int, default=1000, help="crystals of each row")
    parser.add_argument("--targets", type=int, default=100, help="structures to predict")
    parser.add_argument(
        "--latents",
        type=int,
        nargs="+",
        default=[],
        metavar="UNITS",
        help="only copies of first stages with so many latents of an atom",
    )
    parser.add_argument("--write", default="", help="the name of the tables in the docs")
    told = parser.parse_args()
    if len(told.epochs) not in ((0, 1) if told.latents else (0, 2)):
        parser.error("--epochs: a number for each stage")
    with tempfile.TemporaryDirectory() as home:
        if told.latents:
            rows = latents(told, Path(told.runs or home))
            print(markdown(rows))
            if told.write:
                keep(markdown(rows), f"{told.write} latents", PAGE)
            return
        stages = _stages(told, Path(told.runs or home))
        found: dict[str, dict[str, list[Row]]] = {}
        for number, (first, second) in enumerate(stages):
            for kind, rows in _tables(told, first, second).items():
                for name, row in rows.items():
                    if number == 0 or name.startswith("**"):
                        found.setdefault(kind, {}).setdefault(name, []).append(row)
                print(f"\n{first}, {kind}\n{markdown(found[kind])}", flush=True)
        for kind, rows in found.items():
            if told.write:
                keep(markdown(rows), f"{told.write} {kind}", PAGE)


def _stages(told: argparse.Namespace, home: Path) -> Any:
    """Yields both runs of each seed, trained or gone on with."""
    if told.vae:
        flows = [*told.flow, *[None] * len(told.vae)]
        yield from zip(told.vae, flows, strict=False)
        return
    fields = _fields(told)
    lengths = [{"epochs": n} for n in told.epochs] or [{}, {}]
    for seed in told.seeds:
        first, second = home / f"vae-{seed}", home / f"flow-{seed}"
        how: dict[str, Any] = {"preset": told.preset, "seed": seed, "resume": True}
        for run in (first, second):
            run.mkdir(parents=True, exist_ok=True)
        api.train(VAE, run=first, **how, **lengths[0], **fields)
        data = {
            k: v for k, v in fields.items() if k in ("source", "split", "crystals", "space_groups")
        }
        api.train(FLOW, run=second, parent=first, **how, **lengths[1], **data)
        yield first, second


def latents(told: argparse.Namespace, home: Path) -> dict[str, list[Row]]:
    """Says how well first stages of several numbers of latents copy, a row for each number."""
    how: dict[str, Any] = {"preset": told.preset, "resume": True, **_fields(told)}
    if told.epochs:
        how["epochs"] = told.epochs[0]
    rows: dict[str, list[Row]] = {}
    for units in told.latents:
        chart = units >= 4  # below that there is no room for one
        for seed in told.seeds:
            run = home / f"vae-{units}-{seed}"
            run.mkdir(parents=True, exist_ok=True)
            api.train(VAE, run=run, seed=seed, latent_dim=units, chart=chart, **how)
            rows.setdefault(f"{units} an atom", []).append(copies(run)[f"**{VAE}**"])
    return rows


def _fields(told: argparse.Namespace) -> dict[str, Any]:
    return _read(told.fields) | ({"source": told.data} if told.data else {})


def _read(texts: list[str]) -> dict[str, Any]:
    """Reads FIELD=VALUE."""
    return {k: yaml.safe_load(v) for k, v in (text.split("=", 1) for text in texts)}


def _tables(told: argparse.Namespace, first: Path, second: Path | None) -> dict[str, Rows]:
    sampling, kinds = _read(told.sampling), {"copies": copies(first)}
    if second is not None:
        kinds["samples"] = samples(first, second, told.samples, sampling)
        if told.targets:
            kinds["prediction"] = prediction(second, told.targets, sampling)
    return kinds


def copies(run: Path) -> Rows:
    """Says how well the test split is read back, and what latents tell."""
    it = api.load(run)
    scores = {k: s.value for k, s in it.reconstruct(it.splits.test).scores.items()}
    known = it.representation.decode(it.representation.encode(it.splits.test))
    floor = {k: s.value for k, s in it.domain.match(it.splits.test, known).items()}
    with stream(0, "copies"):
        told = it.model.diagnostics(next(it.batches(it.splits.test)))
    cost = {"bits of an atom": told["bits_atom"], "training, s": _seconds(it)}
    return {f"**{VAE}**": scores | cost, "as tensors": floor}


def samples(first: Path, second: Path, n: int, sampling: dict[str, Any]) -> Rows:
    """Scores draws of the flow, of the plain prior, and what they stand beside."""
    it, rows = api.load(second, **sampling), {}
    start = time.process_time()
    drawn = it.fair(n)
    rate = n / (time.process_time() - start)
    cost = {"training, s": _seconds(it), "samples in a second": rate}
    rows[f"**{FLOW}**"] = _scores(it, drawn) | cost
    rows["**plain prior**"] = _scores(it, api.load(first).fair(n))
    for name, objects in references(it.domain, it.splits, n).items():
        rows[name] = _scores(it, objects)
    return rows


def _scores(it: Trained, objects: Crystals) -> Row:
    found = it.domain.score(objects, it.splits)
    return {k: found[k].value for k in SCORES if k in found}


def prediction(run: Path, n: int, sampling: dict[str, Any]) -> Rows:
    """Predicts structures of held-out compositions, beside what needs no model of structures."""
    it = api.load(run, **sampling)
    test = it.splits.test
    small = (test.counts <= SMALL).nonzero()[:, 0]
    targets = test[small[torch.linspace(0, len(small) - 1, min(n, len(small))).long()]]
    blind = [_blind(targets[torch.tensor([k] * EACH)], k) for k in range(len(targets))]
    sharp: dict[str, Any] = {**sampling, "choice": CHOICE}
    rows = {
        f"**{FLOW}**": _proposed(it, targets),
        f"**the same, --choice {CHOICE:g}**": _proposed(api.load(run, **sharp), targets),
        "training crystals nearest by formula": _nearest(it, targets),
        "random coordinates in the true cell": blind,
    }
    return {
        name: {k: s.value for k, s in structure_prediction(targets, each).items()}
        | {"volume error": _volume_error(targets, each)}
        for name, each in rows.items()
    }


def _proposed(it: Trained, targets: Crystals) -> list[Crystals]:
    """Draws some structures of the formula of each target."""
    given = [it.representation.prompt(EACH, _asking(it, z)) for z in targets.each_numbers()]
    with stream(0, "prediction"), torch.no_grad():
        found = it.representation.decode(it.model.sample(type(given[0]).cat(given)))
    return [found[rows] for rows in torch.arange(len(found)).split(EACH)]


def _nearest(it: Trained, targets: Crystals) -> list[Crystals]:
    """Returns the templates that are nearest to each target, with its elements in their places."""
    model: Any = it.model
    batch = it.representation.encode(targets)
    with torch.no_grad():
        near = model.templates.near(model.composition.counts(batch.atom_types))
    found = []
    for k, row in enumerate(near):
        best = row.topk(min(EACH, max(int(row.isfinite().sum()), 1))).indices
        some = batch[torch.full((len(best),), k)]
        told = model.templates.taken(best, row[best].isfinite(), some)
        found.append(it.representation.decode(told.crystals))
    return found


def _asking(it: Trained, numbers: Any) -> Any:
    formula = "".join(f"{SYMBOLS[z]}{int((numbers == z).sum())}" for z in sorted(set(numbers)))
    return replaced(it.config, {"formula": formula})


def _volume_error(targets: Crystals, each: list[Crystals]) -> float:
    """Returns the median of by how much the volume is off, as a logarithm."""
    pairs = zip(targets.volumes, each, strict=True)
    return float(torch.cat([(x.volumes / v).log().abs() for v, x in pairs]).median())


def _blind(x: Crystals, seed: int) -> Crystals:
    with stream(seed, "blind"):
        frac = torch.rand(x.frac.shape, dtype=x.frac.dtype)
    return Crystals(x.numbers, frac, x.counts, x.lattice)


def _seconds(it: Trained) -> float:
    history = it.run.read_history() if it.run else []
    return history[-1]["seconds"] if history else math.nan


if __name__ == "__main__":
    main()
