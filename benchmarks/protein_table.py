"""Quality of protein/vae, as the tables in `docs/domains/protein.md`.

    python -m benchmarks.protein_table                        the simulated family, three seeds
    python -m benchmarks.protein_table --data FILE --fields focus=NAME split=random
    python -m benchmarks.protein_table RUN ... --dms FILE --column NAME --kind beta-lactamase
    python -m benchmarks.protein_table --preset tiny --seeds 0 --samples 200

Finished runs are scored again. Weighted where sequences have weights; what is told in nats is of
the test split. Tables are printed, and kept in the page where `--write` is given.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.polymer_table import keep, markdown
from genmatter import api
from genmatter.api.evaluation import references
from genmatter.api.trained import Trained
from genmatter.domains.protein.data import family
from genmatter.domains.protein.exact import entropy
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.statistics import frequencies

RECIPE = "protein/vae"
PAGE = Path(__file__).parent.parent / "docs" / "domains" / "protein.md"
NAME = f"**{RECIPE}**"
SCORES = (
    "site_r", "pair_r", "pair_slope", "triplet_r", "triplet_slope", "motif", "identity_w1",
    "nearest_identity", "novelty", "law_nats", "contact_r", "contact_slope",
)  # fmt: skip
SEEDS = (0, 1, 2)
DRAWS, FEW = 64, 1000

Row = dict[str, float]
Rows = dict[str, Row]


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of protein/vae")
    parser.add_argument("finished", nargs="*", type=Path, help="runs to score; trains without")
    parser.add_argument("--data", default="", help="an alignment; a simulated family without it")
    parser.add_argument("--kind", default="simulated", help="what tables are called in the page")
    parser.add_argument("--preset", default="")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--fields", nargs="*", default=[], help="FIELD=VALUE of the config")
    parser.add_argument("--runs", default="", help="a folder to keep runs in, and go on with")
    parser.add_argument("--samples", type=int, default=4000, help="sequences of each row")
    parser.add_argument("--dms", default="", help="variants and what was measured of them")
    parser.add_argument("--column", default="")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    told = parser.parse_args()
    home = tempfile.TemporaryDirectory()
    runs = [Path(r) for r in told.finished or _trained(told, Path(told.runs or home.name))]
    tables: dict[str, dict[str, list[Row]]] = {"samples": {}, "likelihood": {}, "variants": {}}
    for number, run in enumerate(runs):
        it = api.load(run)
        for kind, rows in (
            ("samples", samples(it, told.samples, beside=number == 0)),
            ("likelihood", likelihood(it)),
        ):
            for name, row in rows.items():
                if number == 0 or name.startswith("**"):
                    tables[kind].setdefault(name, []).append(row)
    if told.dms:
        for name, row in variants(runs, told.dms, told.column).items():
            tables["variants"][name] = [row]
    for kind, rows in tables.items():
        if rows:
            print(f"\n{told.kind} {kind}\n{markdown(rows)}", flush=True)
        if rows and told.write:
            keep(markdown(rows), f"{told.kind} {kind}", PAGE)


def _trained(told: argparse.Namespace, home: Path) -> Iterable[Path]:
    """Yields the run of each seed, trained or gone on with."""
    fields = {k: yaml.safe_load(v) for k, v in (part.split("=", 1) for part in told.fields)}
    if told.data:
        fields["source"] = told.data
    for seed in told.seeds:
        run = home / f"protein-{seed}"
        run.mkdir(parents=True, exist_ok=True)
        api.train(RECIPE, run=run, preset=told.preset, resume=True, seed=seed, **fields)
        yield run


def samples(it: Trained, n: int, *, beside: bool) -> Rows:
    """Scores samples, and what they stand beside, which is the same for each seed."""
    sets = {NAME: it.fair(n)} | (references(it.domain, it.splits, n) if beside else {})
    rows: Rows = {}
    for name, objects in sets.items():
        scores = it.domain.score(objects, it.splits)
        rows[name] = {k: scores[k].value for k in SCORES if k in scores}
    return rows


def likelihood(it: Trained) -> Rows:
    """Returns what a residue of the test split costs, in nats, and what latents know of labels."""
    test, sites = it.splits.test, it.splits.test.sites
    few = test[torch.arange(min(FEW, len(test)))]
    rows: Rows = {NAME: {
        "ELBO": _mean(-it.bound(test)["elbo"], test) / sites,
        f"importance-weighted, {DRAWS}": _mean(-it.bound(few, DRAWS)["iwae"], few) / sites,
        "the same, without weights": float(-it.bound(test)["elbo"].mean()) / sites,
    }}  # fmt: skip
    rows[NAME] |= _neighbours(it)
    history: Any = it.run.read_history() if it.run else [{}]
    rows[NAME]["training, s"] = history[-1].get("seconds", float("nan"))
    rows["site frequencies"] = {
        "ELBO": _mean(_by_sites(it.splits.train, test), test) / sites,
        "the same, without weights": float(_by_sites(it.splits.train, test).mean()) / sites,
    }
    law = family(it.config.data)  # pyright: ignore[reportAttributeAccessIssue]
    if law is not None:
        exact = _mean(-law.log_prob(test.residues), test) / sites
        rows["the law itself"] = {"ELBO": exact, "the same, without weights": exact}
        rows["its entropy"] = {"ELBO": entropy(law)}
    return rows


def _mean(x: torch.Tensor, s: Sequences) -> float:
    w = torch.ones(len(s)) if s.weights is None else s.weights
    return float((x * w).sum() / w.sum())


def _by_sites(train: Sequences, test: Sequences) -> torch.Tensor:
    """Returns minus log p of each sequence, of sites by themselves, half a sequence for unseen."""
    w = torch.ones(len(train)) if train.weights is None else train.weights
    n = float(w.sum() / w.max())
    f = (n * frequencies(train) + 0.5 / 21) / (n + 0.5)
    return -f.log()[torch.arange(test.sites), test.residues.long()].sum(1)


def _neighbours(it: Trained) -> Row:
    """Returns the share of test sequences whose nearest training latent has their label."""
    z, zt = it.encode(it.splits.train), it.encode(it.splits.test)
    nearest = torch.cdist(zt, z).argmin(1).numpy()
    found: Row = {}
    for name, texts in it.splits.test.labels.items():
        if len({*texts}) <= 12:
            same = it.splits.train.labels[name][nearest] == texts
            found[f"nearest latent has the {name}"] = float(same.mean())
    return found


def variants(runs: list[Path], table: str, column: str) -> Rows:
    """Returns rank correlations of each run, of their mean, and of simple models."""
    found = api.score_variants(runs[0], table, others=runs[1:], measured=column, out=_nowhere())
    return {
        f"**{name}**" if name not in found.simplest else name: {"rank correlation": value}
        for name, value in found.assays[0].spearman.items()
    }


def _nowhere() -> Path:
    return Path(tempfile.mkdtemp()) / "variants.csv"


if __name__ == "__main__":
    main()
