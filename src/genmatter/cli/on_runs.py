"""The verbs that take a run."""

__all__ = ["HANDLERS"]

import argparse
import itertools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from genmatter.cli.parsing import of_run, parser_for
from genmatter.errors import ConfigError

if TYPE_CHECKING:
    from genmatter.api import Found
    from genmatter.spine import Score

_MANY = "a file, train, valid or test; or one object: 5, test:5, FILE:5, or its text"
_ONE = "5, test:5, train:5 or FILE:5; or the object as text, such as a SMILES"


def sample(argv: list[str]) -> None:
    parser = parser_for("sample")
    parser.add_argument("-n", type=int, default=100, help="how many sound objects (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the file to write; its suffix is its format")
    parser.add_argument(
        "--steer", default="", metavar="NAME=NUMBER",
        help="what a differentiable observable should be; or FILE.py:FUNCTION=NUMBER",
    )  # fmt: skip
    parser.add_argument("--width", type=float, help="how closely, as a standard deviation")
    known, sampling = of_run(parser, argv)
    from genmatter import api

    found = api.sample(
        known.run, known.n, seed=known.seed, out=known.out, steer=known.steer,
        width=known.width, **sampling,
    )  # fmt: skip
    print(f"{len(found.objects)} samples of {found.drawn} drawn", end="")
    print(f", {sum(found.rejected.values())} rejected")
    for reason, count in found.rejected.most_common():
        print(f"  {count:8} {reason}")
    for it in found.outcomes:
        print(f"{it.name}: wanted {it.wanted:g}, got {it.mean:.4g} +- {it.std:.2g}", end="")
        print(f", mean absolute error {it.error:.3g}")
    if found.sound is not None:
        print(f"{found.sound:.1%} of the samples are sound beside the training data")


def evaluate(argv: list[str]) -> None:
    parser = parser_for("evaluate")
    parser.add_argument("-n", type=int, default=2000, help="how many samples (%(default)s)")
    parser.add_argument("--samples", help="a file of anybody's samples, instead of the run's own")
    parser.add_argument("--seed", type=int, default=0)
    known, sampling = of_run(parser, argv)
    from genmatter import api

    table = api.evaluate(known.run, known.n, samples=known.samples, seed=known.seed, **sampling)
    print(_aligned(table))


def score(argv: list[str]) -> None:
    parser = parser_for("score")
    parser.add_argument("source", nargs="?", default="test", help="a file, train, valid or test")
    parser.add_argument("--importance", type=int, default=1, help="draws of the latent")
    parser.add_argument("--mutants", help="a file of variants, such as A42G, to score instead")
    parser.add_argument("--scan", action="store_true", help="or score every single change")
    parser.add_argument("--dms", help="a file of variants and what was measured, to compare with")
    parser.add_argument("--column", default="", help="the column of that; all of numbers without")
    parser.add_argument("--wild", default="", help=f"what changes, if not the focus: {_ONE}")
    parser.add_argument("--with", dest="others", nargs="+", default=[], help="more runs, averaged")
    parser.add_argument("--draws", type=int, default=64, help="latents of the wild type")
    parser.add_argument("--out", help="the CSV file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    if known.mutants or known.scan or known.dms:
        _score_variants(known)
        return
    columns = api.score(known.run, known.source, importance=known.importance, out=known.out)
    for name, values in columns.items():
        known = values[values.isfinite()]
        print(f"{name:24} {known.mean():10.4f} +- {known.std():.4f} over {len(known)}")


def _score_variants(known: argparse.Namespace) -> None:
    if sum(map(bool, (known.mutants, known.scan, known.dms))) > 1:
        raise ConfigError("--mutants, --scan and --dms exclude each other")
    from genmatter import api

    found = api.score_variants(
        known.run, known.mutants or known.dms, others=known.others, wild=known.wild,
        draws=known.draws, measured=known.column, out=known.out,
    )  # fmt: skip
    names, reasons = found.variants.names, Counter(why for why in found.variants.reasons if why)
    by = f"{len(found.runs)} run{'s' * (len(found.runs) > 1)}"
    print(f"{len(found.score)} of {len(names)} variants scored, by {by}")
    for why, count in reasons.most_common():
        print(f"  {count:8} not scored: {why}")
    for assay in found.assays:
        print(f"rank correlation with {assay.name}, {assay.count} variants")
        for name, value in assay.spearman.items():
            print(f"  {name:24} {value:8.3f}")


def reconstruct(argv: list[str]) -> None:
    parser = parser_for("reconstruct")
    parser.add_argument("source", nargs="?", default="test", help=_MANY)
    parser.add_argument("--out", help="the file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    found = api.reconstruct(known.run, known.source, out=known.out)
    for name, value in found.scores.items():
        print(f"{name:24} {value.value:.4g} {value.unit} (best {value.best:g})")


def encode(argv: list[str]) -> None:
    parser = parser_for("encode")
    parser.add_argument("source", nargs="?", default="test", help=_MANY)
    parser.add_argument("--out", help="the .npz file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    z = api.encode(known.run, known.source, out=known.out)
    print(f"{len(z)} latents of shape {tuple(z.shape[1:])}")


def interpolate(argv: list[str]) -> None:
    parser = parser_for("interpolate")
    parser.add_argument("a", nargs="?", default="test:0", help=_ONE)
    parser.add_argument("b", nargs="?", default="test:1")
    parser.add_argument("--steps", type=int, default=8, help="objects, both ends included")
    parser.add_argument("--path", choices=["straight", "spherical"], default="straight")
    parser.add_argument("--out", help="the file to write")
    known, sampling = of_run(parser, argv)
    from genmatter import api

    objects, alphas = api.interpolate(
        known.run, known.a, known.b, steps=known.steps, path=known.path, out=known.out, **sampling
    )
    print(f"{len(objects)} objects at alpha {', '.join(f'{s:.2f}' for s in alphas.tolist())}")


def optimise(argv: list[str]) -> None:
    parser = parser_for("optimise")
    parser.add_argument("observable", help="an observable, or FILE.py:FUNCTION")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--minimise", dest="goal", action="store_const", const="minimise")
    either.add_argument("--maximise", dest="goal", action="store_const", const="maximise")
    either.add_argument("--target", dest="goal", type=float, help="the value to hit")
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--prior", type=float, default=0.02, help="weight of the prior's nats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the file to write")
    known = parser.parse_args(argv)
    goal = "minimise" if known.goal is None else known.goal
    from genmatter import api

    found = api.optimise(
        known.run, known.observable, goal, out=known.out, starts=known.starts,
        steps=known.steps, lr=known.lr, prior=known.prior, seed=known.seed,
    )  # fmt: skip
    begun, ended = found.values[0].mean(), found.reached[found.success].mean()
    print(f"{int(found.success.sum())} of {known.starts} walks end sound and nearer to the goal")
    print(f"property: {begun:.4f} at the start, {ended:.4f} at the end of those (means)")
    print(f"best of {found.random_draws} random samples that are sound: {found.random_best:.4f}")


def neighbours(argv: list[str]) -> None:
    parser = parser_for("neighbours")
    parser.add_argument("a", nargs="?", default="test:0", help=_ONE)
    parser.add_argument("--distance", type=float, default=1.0, help="in the latent's units")
    parser.add_argument("-n", type=int, default=20, help="how many different ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the file to write")
    known, sampling = of_run(parser, argv)
    from genmatter import api

    found = api.neighbours(
        known.run, known.a, known.distance, known.n, seed=known.seed, out=known.out, **sampling
    )
    itself = sum(t for t, same in zip(found.times, found.same, strict=True) if same)
    print(f"{len(found.objects)} different objects at distance {found.distance:g}", end="")
    print(f", in {found.tried} directions; {itself} of those lead to the object itself")


def search(argv: list[str]) -> None:
    parser = parser_for("search")
    parser.add_argument("wishes", nargs="+", help="qed=max, sa=min, tpsa=60, 'sa<=3', ...")
    parser.add_argument(
        "--method", default="cma", help="gradient, cma, greedy or random (%(default)s)"
    )
    parser.add_argument("--calls", type=int, default=2000, help="objects to measure (%(default)s)")
    parser.add_argument("--start", default="", help=f"where to begin: {_ONE}")
    parser.add_argument("--population", type=int, default=0, help="walks or points at once")
    parser.add_argument("-k", type=int, default=20, help="how many to write (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the file to write; its suffix is its format")
    known, sampling = of_run(parser, argv)
    told = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    if sampling and told != [known.run, *known.wishes]:  # a value of theirs looks like a wish
        raise ConfigError("wishes come right after the run, before any flag")
    from genmatter import api

    found = api.search(
        known.run, known.wishes, known.method, start=known.start, out=known.out, seed=known.seed,
        calls=known.calls, population=known.population, k=known.k, **sampling,
    )  # fmt: skip
    for name, it in found.items():
        print(f"{name:14} {it.calls:6} measured, best: {_said(it)}")


def _said(it: "Found") -> str:
    """Says what is true of the best object that a search found."""
    values = ", ".join(f"{name} {it.best(name):.4g}" for name in it.values)
    return values if len(it.cost) else "none keeps every bound"


def report(argv: list[str]) -> None:
    parser = parser_for("report")
    parser.add_argument("others", nargs="*", help="runs of the same domain to set beside it")
    parser.add_argument("-n", type=int, default=2000, help="samples to score, if none were")
    parser.add_argument("--out", help="the page; comparison-RUN-RUN.html for several runs")
    known = parser.parse_intermixed_args(argv)
    from genmatter import api

    print(f"report: {api.report(known.run, *known.others, n=known.n, out=known.out)}")


def _aligned(table: "dict[str, dict[str, Score]]") -> str:
    """Writes scores as text, a column a score."""
    names = list(dict.fromkeys(k for row in table.values() for k in row))
    width = max(map(len, table)) + 2
    first = {k: s for row in reversed(table.values()) for k, s in row.items()}
    lines = [" " * width + "".join(f"{k:>{max(len(k), 9) + 2}}" for k in names)]
    lines.append(
        f"{'best':{width}}" + "".join(f"{first[k].best:>{max(len(k), 9) + 2}g}" for k in names)
    )
    for row, values in table.items():
        cells = (
            f"{values[k].value:{max(len(k), 9) + 2}.4f}"
            if k in values
            else " " * (max(len(k), 9) + 2)
            for k in names
        )
        lines.append(f"{row:{width}}" + "".join(cells))
    return "\n".join(lines)


HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "sample": sample, "evaluate": evaluate, "score": score, "reconstruct": reconstruct,
    "encode": encode, "interpolate": interpolate, "neighbours": neighbours, "optimise": optimise,
    "search": search, "report": report,
}  # fmt: skip
"""What each verb does."""
