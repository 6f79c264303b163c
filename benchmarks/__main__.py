"""`make bench`: prints the table, and keeps it in `docs/benchmarks.md`."""

import re
from pathlib import Path

import torch

from benchmarks import engine, polymer, polymer_diffusion
from benchmarks.harness import markdown

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Runs every comparison on one thread."""
    torch.set_num_threads(1)
    text = markdown([r for part in (polymer, polymer_diffusion, engine) for r in part.ratios()])
    print(text)
    page = PAGE.read_text()
    new = re.sub(
        r"(<!-- table -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{text}\n{m[2]}", page, flags=re.S
    )
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
