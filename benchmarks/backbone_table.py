"""Quality of backbone/diffusion, as the tables in `docs/domains/backbone.md`.

    python -m benchmarks.backbone_table FOLDER                 every protein in it, three seeds
    python -m benchmarks.backbone_table FOLDER --proteins CLN025_300K --seeds 0 --fields epochs=50

FOLDER holds NAME_R1.npy, ... of each protein with atlas.csv, as `genmatter data backbone --out
FOLDER` writes them. Each protein gets a model of its own, which learns from all its replicas but
the last. Figures are of raw samples, as many as there are test frames; the table is printed, and
kept in the page where `--write` is given.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.polymer_table import keep, markdown
from genmatter import api
from genmatter.api.evaluation import scores
from genmatter.domains.backbone.archive import read

PAGE = Path(__file__).parent.parent / "docs" / "domains" / "backbone.md"
FRAMES = (
    "torsion_js", "ramachandran_js", "ca_pair_js", "rmsf_r", "rmsf_amplitude", "ca_valid",
    "cn_valid", "clash", "psi_error", "w1_rg", "pca_w2", "tica_w2", "novelty",
)  # fmt: skip
"""Scores of the first table."""
ENSEMBLES = (
    "pairwise_rmsd", "rmsf", "global_rmsf_r", "protein_rmsf_r", "rmwd", "md_pca_w2",
    "joint_pca_w2", "pc_sim", "weak_contacts", "transient_contacts",
)  # fmt: skip
"""Scores of the second one."""
SEEDS = (0, 1, 2)


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description="Quality of backbone/diffusion")
    parser.add_argument("folder", help="NAME_R1.npy, ... with atlas.csv")
    parser.add_argument("--proteins", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--fields", nargs="*", default=[], help="FIELD=VALUE of the config")
    parser.add_argument("--runs", default="", help="a folder to keep runs in, and go on with")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    told = parser.parse_args()
    home = tempfile.TemporaryDirectory()
    runs = Path(told.runs or home.name)
    fields = {k: yaml.safe_load(v) for k, v in (part.split("=") for part in told.fields)}
    names = told.proteins or list(dict.fromkeys(t.protein.name for t in read(Path(told.folder))))
    for name in names:
        rows = measured(told.folder, name, told.seeds, fields, runs)
        for kind, columns in {"frames": FRAMES, "ensembles": ENSEMBLES}.items():
            text = markdown(chosen(rows, columns))
            print(f"\n{name}, {kind}\n{text}", flush=True)
            if told.write:
                keep(text, f"{name} {kind}", PAGE)


def measured(
    folder: str, name: str, seeds: list[int], fields: dict[str, Any], runs: Path
) -> dict[str, list[dict[str, float]]]:
    """Returns the scores of each row, of each seed."""
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        told = {"seed": seed, "source": folder, "proteins": (name,)} | fields
        run = runs / f"{name}-{seed}"
        run.mkdir(parents=True, exist_ok=True)
        it = api.train("backbone/diffusion", run=run, resume=True, **told)
        seconds = it.run.read_history()[-1]["seconds"]  # pyright: ignore[reportOptionalMemberAccess]
        start = time.perf_counter()
        samples = it.sample(n := len(it.splits.test)).objects
        spent = (time.perf_counter() - start) / n * 1e3
        for row, found in scores(it, samples).items():
            key = "**backbone/diffusion**" if row == "samples" else row
            values = {k: s.value for k, s in found.items()}
            if row == "samples":
                values |= {"training, s": seconds, "ms a conformer": spent}
                print(f"{name} seed {seed}: {values}", flush=True)
            if row == "samples" or seed == seeds[0]:
                rows.setdefault(key, []).append(values)
    return rows


def chosen(
    rows: dict[str, list[dict[str, float]]], columns: tuple[str, ...]
) -> dict[str, list[dict[str, float]]]:
    """Returns the scores that a table shows; what a conformer costs belongs to the first."""
    more = ("training, s", "ms a conformer") if columns is FRAMES else ()
    names = (*columns, *more)
    return {r: [{k: v[k] for k in names if k in v} for v in each] for r, each in rows.items()}


if __name__ == "__main__":
    main()
