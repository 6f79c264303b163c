"""How drawing went: what was kept, and why the rest was not."""

__all__ = ["draws"]

from genmatter.api.results import Samples
from genmatter.reporting.page import Block, Table, Text


def draws(found: Samples) -> list[Block]:
    """Says how many draws it took, and what was wrong with those that were left out."""
    kept = len(found.objects)
    if not found.rejected:
        return [Text(f"{kept:,} samples in as many draws: none was left out.")]
    rows = [("kept", kept), *found.rejected.most_common(), ("all draws", found.drawn)]
    cells = [[why, n, f"{n / found.drawn:.1%}"] for why, n in rows]
    return [Table(["what became of draws", "draws", "share"], cells)]
