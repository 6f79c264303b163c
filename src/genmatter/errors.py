"""Errors that a user can cause, and so should be able to read."""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "GenmatterError",
    "MissingExtraError",
    "RecipeError",
    "RepresentationError",
    "RunError",
    "TrainingError",
    "TrainingStoppedError",
]


class GenmatterError(Exception):
    """Parent of every error that this package raises on purpose."""


class ConfigError(GenmatterError, ValueError):
    """A config names a field that does not exist or gives it a value that it cannot take."""


class DataError(GenmatterError, ValueError):
    """A file, address or simulation does not give the objects that it should."""


class RecipeError(GenmatterError, LookupError):
    """There is no recipe, preset or verb of that name, or the recipe cannot do what is asked."""


class RepresentationError(GenmatterError, ValueError):
    """An object cannot be written as a tensor, or a tensor read as an object."""


class RunError(GenmatterError, OSError):
    """A run folder is not there, not whole, or in the way."""


class CheckpointError(RunError):
    """A checkpoint is truncated, corrupted, or was not written by this package."""


class MissingExtraError(GenmatterError, ImportError):
    """An optional dependency is needed and not installed."""


class TrainingError(GenmatterError, ArithmeticError):
    """A training cannot go on, as where its loss is no longer a number."""


class TrainingStoppedError(GenmatterError):
    """A training was stopped by a signal, such as Ctrl-C, after it had written a checkpoint."""

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.signal = signal
