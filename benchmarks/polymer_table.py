"""Quality of the polymer recipes, over three seeds, as the tables in `docs/domains/polymer.md`.

    python -m benchmarks.polymer_table                    simulated chains, 10,000 / 10,000
    python -m benchmarks.polymer_table --ways             what was tried for polymer/diffusion
    python -m benchmarks.polymer_table --data FILE.npz    a file's chains, split in blocks

Every figure is that of raw samples. The table is printed, and kept in the page it belongs to
where `--write` is given. A model is written RECIPE[:PRESET][,FIELD=VALUE ...].
"""

import argparse
import dataclasses
import re
import statistics
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from genmatter import api
from genmatter.api.evaluation import FLOOR, TRAIN, Table, scores
from genmatter.config import replaced, resolve
from genmatter.recipes import find

MODELS = (
    "polymer/vae", "polymer/vae:gaussian", "polymer/vae:walkthrough",
    "polymer/diffusion", "polymer/diffusion:walkthrough",
)  # fmt: skip
WAYS = (
    "polymer/diffusion", "polymer/diffusion,sampler=ode", "polymer/diffusion,steps=10",
    "polymer/diffusion,sampler=ode,steps=10", "polymer/diffusion,antithetic=false",
    "polymer/diffusion,path=line,low=0.001,last=0.03",
    "polymer/diffusion,path=line,low=0.001,last=0.03,sampler=ode", "polymer/diffusion,tables=0",
    "polymer/diffusion:flow", "polymer/diffusion:internal",
)  # fmt: skip
SEEDS = (0, 1, 2)
PAGE = Path(__file__).parent.parent / "docs" / "domains" / "polymer.md"
RUNS = tempfile.TemporaryDirectory()


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of the polymer recipes")
    parser.add_argument("--data", default="", help="a file of chains; simulates without it")
    parser.add_argument("--clash", type=float, default=0.0, help="distance of a clash")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--ways", action="store_true", help="ways to build polymer/diffusion")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    told = parser.parse_args()
    models = WAYS if told.ways else told.models
    rows: dict[str, list[dict[str, float]]] = {}
    for model in models:
        for seed in told.seeds:
            table, cost = one(model, seed, told.data, told.clash)
            for name, row in table.items():
                key = f"**{named(model)}**" if name == "samples" else name
                values = {k: s.value for k, s in row.items()}
                if name == "samples" or model == models[0]:
                    rows.setdefault(key, []).append(values | (cost if name == "samples" else {}))
            print(f"{model} seed {seed}: {rows[f'**{named(model)}**'][-1]}", flush=True)
    text = markdown(rows)
    print(text)
    if told.write:
        keep(text, "ways" if told.ways else "file" if told.data else "simulated")


def named(model: str) -> str:
    """Returns how the table calls a model."""
    return model.replace(":", ", ").replace(",", ", ").replace("  ", " ")


def one(model: str, seed: int, data: str, clash: float) -> tuple[Table, dict[str, float]]:
    """Trains one model, and scores as many samples as there are test chains."""
    recipe, preset, fields = read(model)
    known = vars(find(recipe)().sampling)  # pyright: ignore[reportAttributeAccessIssue]
    sampling = {k: v for k, v in fields.items() if k in known}
    rest = {k: v for k, v in fields.items() if k not in known}
    run = trained(recipe, preset, tuple(rest.items()), seed, data, clash)
    it = api.load(run, **sampling)
    seconds = it.run.read_history()[-1]["seconds"]  # pyright: ignore[reportOptionalMemberAccess]
    start = time.perf_counter()
    samples = it.sample(n := len(it.splits.test)).objects
    cost = {"training, s": seconds, "10,000 samples, s": (time.perf_counter() - start) * 1e4 / n}
    return scores(it, samples), cost


def read(model: str) -> tuple[str, str, dict[str, Any]]:
    """Returns recipe, preset and fields of a model as it is written."""
    head, *parts = model.split(",")
    recipe, _, preset = head.partition(":")
    fields = {k: yaml.safe_load(v) for k, v in (part.split("=") for part in parts)}
    return recipe, preset, fields


@cache
def trained(
    recipe: str,
    preset: str,
    fields: tuple[tuple[str, Any], ...],
    seed: int,
    data: str,
    clash: float,
) -> Path:
    """Trains a model, and returns its run.

    Every preset sees the same chains: those of the default config, or of the file.
    """
    cls: Any = find(recipe)
    config = resolve(cls, preset=preset, seed=seed, **dict(fields))
    chains = replaced(cls().data, {"source": data, "clash": clash})
    config = dataclasses.replace(config, data=chains)  # pyright: ignore[reportCallIssue]
    run = Path(RUNS.name) / str(len(list(Path(RUNS.name).iterdir())))
    api.train(recipe, config, run=run)
    return run


def markdown(rows: dict[str, list[dict[str, float]]]) -> str:
    """Returns the table: means over seeds, with their spread where there are several values."""
    names = list(dict.fromkeys(k for each in rows.values() for row in each for k in row))
    order = sorted(rows, key=lambda r: (not r.startswith("**"), r not in {FLOOR, TRAIN}))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row in order:
        cells = [cell([r[k] for r in rows[row] if k in r]) for k in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """Returns a mean and, where the seeds differ, their standard deviation."""
    if not values:
        return ""
    mean = statistics.mean(values)
    spread = statistics.stdev(values) if len(set(values)) > 1 else 0.0
    return f"{mean:.3g} ± {spread:.1g}" if spread else f"{mean:.3g}"


def keep(text: str, name: str, page: Path = PAGE) -> None:
    """Writes a table between its marks in a page."""
    marks = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
    new = re.sub(marks, lambda m: f"{m[1]}{text}\n{m[2]}", page.read_text(), flags=re.DOTALL)
    page.write_text(new)


if __name__ == "__main__":
    main()
