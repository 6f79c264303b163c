"""What the protein recipes can be told."""

__all__ = ["ProteinDataConfig"]

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg


@dataclass(frozen=True, kw_only=True)
class ProteinDataConfig:
    """An alignment of one family to learn from: a file, or an exact simulator's."""

    source: Annotated[str, arg(name="data")] = ""
    """Alignment (.fasta .a2m .a3m .sto, or with .gz); empty simulates a family."""
    labels: str = ""
    """Table (.csv .tsv) of what is known of the sequences, by their names."""
    id_column: str = ""
    """Its column of names; the first one when empty."""
    columns: tuple[str, ...] = ()
    """Its columns to take, of numbers or of texts."""
    focus: str = ""
    """Name of a sequence: only columns where it has a residue are kept, by its numbering."""
    motif: tuple[str, ...] = ()
    """Residues that should be kept, such as H57 D102 S195, by the numbers of the columns."""
    column_gaps: float = 0.3
    """Columns with a larger share of gaps are left out."""
    sequence_gaps: float = 0.5
    """Sequences with a larger share of gaps are left out."""
    ambiguous: Literal["gap", "drop"] = "gap"
    """Take residues that nobody knows (X B Z J) for gaps, or leave their sequences out."""
    identity: float = 0.8
    """Share of equal residues from which sequences count as one another's copies; 0: never."""
    split: Literal["auto", "cluster", "random"] = "auto"
    """Deal out clusters whole, or single sequences; auto: clusters of files, but single simulated
    sequences, which are independent."""
    cluster_identity: float = 0.6
    """Share of equal residues from which two sequences are in one cluster."""
    valid_fraction: float = 0.1
    """Share of the sequences that chooses the best weights."""
    test_fraction: float = 0.1
    """Share of the sequences to score against."""
    sequences: int = 20_000
    """How many sequences are simulated."""
    sites: int = 64
    """How long they are."""
    data_seed: int = 0
    """Seed of the simulated family and of the split."""
