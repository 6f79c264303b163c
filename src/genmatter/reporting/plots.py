"""Figures that serve every kind of matter: arrays in, `Figure` out.

| figure | shows | file |
|---|---|---|
| `curves` | what a training recorded | `course.py` |
| `courses` | what several trainings recorded | `course.py` |
| `trace` | an optimisation from many starts | `course.py` |
| `distributions` | observables of several sets of objects | `spread.py` |
| `latent_map` | where objects lie in a latent space | `spread.py` |
| `steered` | what samples reached, where values were wanted | `wanted.py` |
| `search` | what methods found, by how often they asked | `wanted.py` |
| `parity` | numbers of copies beside those of what was copied | `parity.py` |
| `scores` | how far samples and simple models are from perfect | `dots.py` |

What is not a number is unknown, and left out. No figure is given away to a window, so that
drawing works without a display and keeps nothing alive. Save one inside `style.style()`.
"""

__all__ = [
    "courses", "curves", "distributions", "latent_map", "parity", "scores", "search", "steered",
    "trace",
]  # fmt: skip

from genmatter.reporting.course import courses, curves, trace
from genmatter.reporting.dots import scores
from genmatter.reporting.parity import parity
from genmatter.reporting.spread import distributions, latent_map
from genmatter.reporting.wanted import search, steered
