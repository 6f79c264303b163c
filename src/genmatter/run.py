"""A run folder: the only thing that a training leaves behind.

config.yaml           what was asked for, recipe first; `--config` repeats it
representation.json   what was learned from the data without gradients
history.jsonl         one line per epoch, written as it happens
checkpoints/last      everything that `--resume` needs
checkpoints/best      the averaged weights of the best validation score
model                 the weights that the run keeps
samples.*, scores.json, report.html, ...
"""

__all__ = ["Run", "write_json", "write_text"]

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genmatter.errors import RunError


@dataclass(frozen=True)
class Run:
    """Where the parts of a run are."""

    path: Path

    @classmethod
    def at(cls, place: str | Path) -> "Run":
        """Returns the run in a folder or, for a recipe's name, in the folder it trains into."""
        usual = Path("runs") / str(place).replace("/", "-")
        return cls(usual if not Path(place).exists() and usual.is_dir() else Path(place))

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def representation(self) -> Path:
        return self.path / "representation.json"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def parent(self) -> "Run | None":
        """The run that a second stage started from, as far as the child keeps it."""
        return Run(self.path / "parent") if (self.path / "parent").is_dir() else None

    @property
    def recipe(self) -> str:
        """The recipe that was trained here.

        Raises:
            RunError: There is no run here.
        """
        if not self.config.is_file():
            raise RunError(f"{str(self.path)!r} is not a run folder: it has no config.yaml")
        found = yaml.safe_load(self.config.read_text())
        if not isinstance(found, dict) or "recipe" not in found:
            raise RunError(f"{str(self.config)!r} names no recipe")
        return found["recipe"]

    def refuse_if_taken(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Says what stands in the way of a training here, and changes nothing.

        Raises:
            RunError: A run is in the way and neither flag says what to do with it, or there is
                nothing to resume, or the folder holds something else.
        """
        if resume and not self.config.is_file():
            raise RunError(f"there is no run to resume in {str(self.path)!r}")
        if self.config.is_file() and not (resume or overwrite):
            raise RunError(f"{str(self.path)!r} holds a run: add --resume or --overwrite")
        if not self.config.is_file() and self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(f"{str(self.path)!r} is not empty and holds no run: choose another")

    def claim(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Makes the folder ready for a training.

        Raises:
            RunError: Something is in the way, or the folder cannot be written.
        """
        self.refuse_if_taken(resume=resume, overwrite=overwrite)
        if self.config.is_file() and not resume:
            shutil.rmtree(self.path)
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write to {str(self.path)!r}: {error.strerror}") from None

    def describe(self, config: str, representation: dict[str, Any]) -> None:
        """Writes what was asked for and what the data taught."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config, config)
        write_json(self.representation, representation)

    def read_history(self) -> list[dict[str, float]]:
        """Returns the rows of the history, the last one left out where a kill cut it."""
        if not self.history.is_file():
            return []
        rows = []
        for line in self.history.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def cut_history(self, step: int) -> None:
        """Drops the rows that lie behind a step, for a resumed training writes them again."""
        rows = [r for r in self.read_history() if r["step"] <= step]
        write_text(self.history, "".join(json.dumps(r) + "\n" for r in rows))

    def append_history(self, row: dict[str, float]) -> None:
        """Adds a row."""
        with self.history.open("a") as file:
            file.write(json.dumps(row) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise RunError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=True) + "\n")
