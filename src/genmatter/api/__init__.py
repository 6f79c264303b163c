"""The verbs: what one does with a recipe, each a function of a run folder or a loaded run."""

__all__ = [
    "Found",
    "Neighbours",
    "Optimised",
    "Reconstruction",
    "Samples",
    "Scored",
    "Trained",
    "data",
    "doctor",
    "encode",
    "evaluate",
    "interpolate",
    "load",
    "neighbours",
    "optimise",
    "reconstruct",
    "report",
    "sample",
    "score",
    "score_variants",
    "search",
    "train",
]

from genmatter.api.around import Neighbours, neighbours
from genmatter.api.diagnose import doctor
from genmatter.api.files import (
    data,
    encode,
    evaluate,
    interpolate,
    optimise,
    reconstruct,
    sample,
    score,
)
from genmatter.api.finding import search
from genmatter.api.fitting import load, train
from genmatter.api.optimising import Optimised
from genmatter.api.oracle import Found
from genmatter.api.story import report
from genmatter.api.trained import Reconstruction, Samples, Trained
from genmatter.api.variants import Scored, score_variants
