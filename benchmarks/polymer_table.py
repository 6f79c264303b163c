"""Quality of `polymer/vae`, over three seeds, as the table in `docs/domains/polymer.md`.

    python -m benchmarks.polymer_table                    simulated chains, 10,000 / 10,000
    python -m benchmarks.polymer_table --data FILE.npz    a file's chains, split in blocks

Every figure is that of raw samples. The table is printed, and kept in the page it belongs to
where `--write` is given.
"""

import argparse
import dataclasses
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

from genmatter import api
from genmatter.api.evaluation import FLOOR, TRAIN, Table, scores
from genmatter.config import replaced, resolve
from genmatter.recipes import find
from genmatter.run import Run

RECIPE = "polymer/vae"
SEEDS = (0, 1, 2)
PAGE = Path(__file__).parent.parent / "docs" / "domains" / "polymer.md"


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of polymer/vae")
    parser.add_argument("--data", default="", help="a file of chains; simulates without it")
    parser.add_argument("--clash", type=float, default=0.0, help="distance of a clash")
    parser.add_argument("--presets", nargs="+", default=["default", "gaussian", "walkthrough"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    told = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for preset in told.presets:
        for seed in told.seeds:
            table, seconds = one(preset, seed, told.data, told.clash)
            for name, row in table.items():
                key = f"**{RECIPE}**, {preset}" if name == "samples" else name
                values = {k: s.value for k, s in row.items()}
                extra = {"training, s": seconds} if name == "samples" else {}
                if name == "samples" or preset == told.presets[0]:
                    rows.setdefault(key, []).append(values | extra)
            print(f"{preset} seed {seed}: {rows[f'**{RECIPE}**, {preset}'][-1]}", flush=True)
    text = markdown(rows)
    print(text)
    if told.write:
        keep(text, "file" if told.data else "simulated")


def one(preset: str, seed: int, data: str, clash: float) -> tuple[Table, float]:
    """Trains one model, and scores as many samples as there are test chains.

    Every preset sees the same chains: those of the default config, or of the file.
    """
    cls: Any = find(RECIPE)
    config = resolve(cls, preset="" if preset == "default" else preset, seed=seed)
    chains = replaced(cls().data, {"source": data, "clash": clash})
    config = dataclasses.replace(config, data=chains)  # pyright: ignore[reportCallIssue]
    with tempfile.TemporaryDirectory() as folder:
        it = api.train(RECIPE, config, run=Path(folder) / "run")
        seconds = Run(Path(folder) / "run").read_history()[-1]["seconds"]
        return scores(it, it.sample(len(it.splits.test)).objects), seconds


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


def keep(text: str, name: str) -> None:
    """Writes the table between its marks in the page."""
    page = PAGE.read_text()
    marks = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
    PAGE.write_text(re.sub(marks, lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
