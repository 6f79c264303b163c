"""A run folder: the only thing that a training leaves behind.

config.yaml           what was asked for, recipe first; `--config` repeats it
representation.json   what was learned from the data without gradients
history.jsonl         one line per epoch, written as it happens
checkpoints/last      everything that `--resume` needs, the history included
checkpoints/best      the averaged weights of the best validation score
model                 the weights that the run keeps, written last of all
samples.*, scores.json, report.html, ...
"""

__all__ = ["Run", "write_bytes", "write_json", "write_text"]

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
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
        try:
            found = yaml.safe_load(self.config.read_text())
        except (yaml.YAMLError, UnicodeDecodeError):
            raise RunError(f"{str(self.config)!r} is damaged: it is not YAML") from None
        if not isinstance(found, dict) or "recipe" not in found:
            raise RunError(f"{str(self.config)!r} names no recipe")
        return found["recipe"]

    @property
    def begun(self) -> bool:
        """Whether there is a run here."""
        return self.config.is_file()

    def refuse_if_taken(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Refuses what `claim` would refuse, and changes nothing.

        Raises:
            RunError: A run is in the way and neither flag says what to do with it, or there is
                nothing to resume, or something else is in the way.
        """
        place = str(self.path)
        if self.begun:
            if not (resume or overwrite):
                raise RunError(f"{place!r} holds a run: add --resume or --overwrite")
        elif self.path.is_dir():
            if not self._is_blank:
                raise RunError(f"{place!r} is not empty and holds no run: choose another")
        elif self.path.exists():
            raise RunError(f"{place!r} is a file: a run takes a folder")
        elif resume:  # an empty folder says where; a name that is not there may be mistyped
            raise RunError(
                f"there is no run to resume in {place!r}: to begin one there, make the empty "
                "folder first, or leave --resume out"
            )

    def claim(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Makes the folder ready for a training.

        Raises:
            RunError: What `refuse_if_taken` refuses, or the folder cannot be written.
        """
        self.refuse_if_taken(resume=resume, overwrite=overwrite)
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if overwrite and not resume:
                self._clear()

    @property
    def _is_blank(self) -> bool:
        """Whether nothing is here but what is left of a training that was killed as it began."""
        return all(
            p == self.config.with_name("config.yaml.new")
            or (p == self.last.parent and p.is_dir() and not any(p.iterdir()))
            for p in self.path.iterdir()
        )

    def _clear(self) -> None:
        """Empties the folder in such an order that a kill leaves what can be resumed, or nothing.

        `last` alone is enough to go on from, and a config without it to begin again.
        """
        first = [self.model, self.history, self.best, self.last]
        rest = [p for p in self.path.iterdir() if p not in (*first, self.config)]
        for path in (*first, *rest, self.config):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def describe(self, config: str, representation: dict[str, Any]) -> None:
        """Writes what was asked for and what the data taught.

        A model that was trained by another config is no longer this run's, and goes.
        """
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if self.begun and self.config.read_text() != config:
                self.model.unlink(missing_ok=True)
        write_text(self.config, config)
        write_json(self.representation, representation)

    def read_history(self) -> list[dict[str, float]]:
        """Returns the rows of the history, up to where a kill or damage cut it."""
        if not self.history.is_file():
            return []
        rows = []
        for line in self.history.read_text(errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes the history anew, as a checkpoint knows it."""
        write_text(self.history, "".join(json.dumps(r) + "\n" for r in rows))

    def append_history(self, row: dict[str, float]) -> None:
        """Adds a row."""
        with _writing(self.history), self.history.open("a") as file:
            file.write(json.dumps(row) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, and so that it outlasts a power cut.

    Raises:
        RunError: It cannot be written; the old one stays as it was.
    """
    new = path.with_name(path.name + ".new")
    with _writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            _sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=True) + "\n")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Names the file that cannot be written, and the system's reason."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def _sync_folder(path: Path) -> None:
    """Makes a rename last through a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
