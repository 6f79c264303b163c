"""The report's section on samples of which something is wanted."""

__all__ = ["steered"]


from genmatter.api.trained import Trained
from genmatter.api.wishes import outcome, sound_share
from genmatter.reporting.page import Block, Table, Text

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the test split: the values that are asked for."""
DRAWN = 256


def steered(it: Trained) -> list[Block]:
    """Asks for values all over the test split, and says what came of it."""
    what = next(o for o in it.domain.observables if o.differentiable)
    known = what.of(it.splits.test)
    plain = outcome("", float("nan"), what.of(it.sample(DRAWN).objects))
    rows = []
    for share in QUANTILES:
        wanted = float(known.float().quantile(share))
        objects = it.steer(what.name, wanted, DRAWN).objects
        got = outcome(what.name, wanted, what.of(objects))
        near = it.splits.test[((known - wanted).abs() < plain.std / 10).nonzero()[:, 0]]
        sound = [sound_share(it.domain, x, it.splits.train) for x in (objects, near)]
        rows.append([f"{share:.0%}", wanted, got.mean, got.std, *(f"{s:.1%}" for s in sound)])
    words = (
        f"{DRAWN} samples each, steered by the gradient of **{what.name}** to quantiles of the "
        f"test split, to within a tenth of the {plain.std:.3g} by which samples spread. Beside "
        "their share that is sound stands that of test objects near the same value."
    )
    names = ["quantile", "wanted", "mean", "spread", "sound", "sound, test"]
    return [Text(words), Table(names, rows)]
