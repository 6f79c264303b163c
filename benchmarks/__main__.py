"""`make bench`: prints the tables, and keeps them in `docs/benchmarks.md`.

`python -m benchmarks backbone` makes one of them.
"""

import argparse
from pathlib import Path

import torch

from benchmarks import (
    backbone,
    crystal,
    engine,
    molecule,
    polymer,
    polymer_diffusion,
    protein,
    protein_model,
)
from benchmarks.harness import markdown
from benchmarks.polymer_table import keep

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
TABLES = {
    "polymer": (polymer, polymer_diffusion, engine),
    "backbone": (backbone,),
    "molecule": (molecule,),
    "protein": (protein, protein_model),
    "crystal": (crystal,),
}


def main() -> None:
    """Runs comparisons on one thread."""
    parser = argparse.ArgumentParser(description="Ours against plain implementations")
    parser.add_argument("tables", nargs="*", choices=list(TABLES), help="all by default")
    torch.set_num_threads(1)
    for name in parser.parse_args().tables or TABLES:
        text = markdown([r for part in TABLES[name] for r in part.ratios()])
        print(text)
        keep(text, name, PAGE)


if __name__ == "__main__":
    main()
