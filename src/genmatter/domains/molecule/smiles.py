"""SMILES as RDKit reads and writes them, and why it does not."""

__all__ = ["canonical", "decoded", "no_log", "parsed"]

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import selfies
from rdkit import Chem, rdBase


def canonical(smiles: str) -> str:
    """Returns RDKit's canonical SMILES; "" of what is no molecule."""
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    return Chem.MolToSmiles(mol) if mol is not None and mol.GetNumAtoms() else ""


def decoded(text: str) -> str:
    """Returns a SMILES of the molecule that a SELFIES spells, not the canonical one.

    Raises:
        selfies.DecoderError: It has a symbol that is none.
    """
    return str(selfies.decoder(text))


def parsed(smiles: str) -> Chem.Mol:
    """Returns RDKit's molecule; to be called in a `no_log`, which ends where this raises.

    Raises:
        ValueError: It is none; the message is RDKit's, made short.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(_short(_complaints(smiles)))
    return mol


@contextmanager
def no_log() -> Iterator[None]:
    """Keeps RDKit from writing to the terminal what a caller finds out and says better."""
    logs = [line.split(":") for line in rdBase.LogStatus().splitlines()]
    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block
        for name, status in logs:  # a log that went elsewhere in between comes back silent
            if status == "enabled":
                rdBase.EnableLog(name)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _complaints(smiles: str) -> list[str]:
    """Returns what RDKit says of a text; it says so in its log only."""
    logger, heard = logging.getLogger("rdkit"), _Heard()
    rdBase.LogToPythonLogger()
    before = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [heard], False
    try:
        Chem.MolFromSmiles(smiles)
    finally:
        logger.handlers, logger.propagate = before
        rdBase.LogToCppStreams()
    return [re.sub(r"^\[[\d:]+\] (SMILES Parse Error: )?", "", line) for line in heard.lines]


def _short(lines: list[str]) -> str:
    """Returns the first complaint without what it quotes, and where the text goes wrong."""
    first = re.split(r" (?:for input|while parsing)\b", lines[0] if lines else "no molecule")[0]
    near = re.search(r"around position (\d+)", " ".join(lines))
    return first.strip()[:80] + (f" near character {near[1]}" if near else "")
