"""The command line: `genmatter VERB RECIPE|RUN [FLAGS]`. It parses, calls one verb, prints."""

__all__ = ["main"]

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmatter import config as configs
from genmatter.errors import ConfigError, GenmatterError, RunError, TrainingStoppedError
from genmatter.recipes import find, find_all
from genmatter.run import Run

if TYPE_CHECKING:
    from genmatter.spine import Score

VERBS = {
    "list": "the recipes and their presets",
    "show": "the config that a recipe would be trained with",
    "data": "load a recipe's data, say what they are, and write them where --out says",
    "train": "train a recipe",
    "sample": "draw new objects from a run",
    "evaluate": "score a run's samples, or anybody's, beside floor and baselines",
    "score": "give each object its likelihood bound and observables",
    "reconstruct": "encode and decode objects",
    "encode": "write the latent coordinates of objects",
    "interpolate": "write the objects between two",
    "optimise": "follow the gradient of a property in latent space",
    "report": "write the page that tells a run's whole story, or compares several",
    "doctor": "say what is installed, and check that it works",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; an error that a user can cause is one line, and exit code 2."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except GenmatterError as error:
        print(f"genmatter: {error}", file=sys.stderr)
        return 128 + error.signal if isinstance(error, TrainingStoppedError) else 2
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        print("genmatter: interrupted", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    from genmatter import __version__

    verb, *rest = argv or ["help"]
    if verb in {"help", "-h", "--help"}:
        _usage()
    elif verb in {"-V", "--version"}:
        print(f"genmatter {__version__}")
    elif verb not in VERBS:
        raise ConfigError(f"there is no verb {verb!r}{configs.closest(verb, VERBS)}")
    else:
        _HANDLERS[verb](rest)
    return 0


def _usage() -> None:
    print("genmatter VERB RECIPE|RUN [FLAGS]        (VERB --help tells its flags)\n")
    for name, what in VERBS.items():
        print(f"  {name:12} {what}")
    print("\nFor example:\n  genmatter train polymer/vae --run runs/mine --epochs 20")
    print("  genmatter sample runs/mine -n 1000")


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> Any:
        raise ConfigError(message)


def _parser(verb: str, what: str = "run") -> _Parser:
    parser = _Parser(prog=f"genmatter {verb}", description=VERBS[verb], allow_abbrev=False)
    parser.add_argument(
        what,
        help="a run folder, or the recipe trained there"
        if what == "run"
        else "such as polymer/vae",
    )
    return parser


def _recipe(argv: list[str], parser: _Parser) -> tuple[argparse.Namespace, Any]:
    """Parses what a verb on a recipe takes: its own flags, and those of the config."""
    wants_help = any(word in {"-h", "--help"} for word in argv)
    plain = [word for word in argv if word not in {"-h", "--help"}]
    if wants_help and not [word for word in plain if not word.startswith("-")]:
        parser.print_help()
        raise SystemExit(0)
    known, rest = parser.parse_known_args(plain)
    cls = find(known.recipe)
    if wants_help:
        parser.print_help()
        presets = ", ".join(cls.presets) or "none"
        print(
            f"\n  --preset NAME  one of: {presets}\n  --config FILE  a config.yaml to start from"
        )
        rest.append("--help")
    return known, lambda kept=None: configs.parse(cls, rest, known.recipe, kept)


def _sampled(parser: _Parser, argv: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parses what a verb on a run takes: its own flags, and those of `config.sampling`."""
    if any(word in {"-h", "--help"} for word in argv):
        return parser.parse_args(argv), {}
    known, rest = parser.parse_known_args(argv)
    cls = find(Run.at(known.run).recipe)
    part = getattr(cls(), "sampling", None)
    if not rest:
        return known, {}
    if part is None:
        raise ConfigError(f"there is no flag {rest[0]}")
    return known, configs.said(part, rest)


def _list(argv: list[str]) -> None:
    _Parser(prog="genmatter list").parse_args(argv)
    for name, cls in find_all().items():
        print(f"{name:20} {(cls.__doc__ or '').splitlines()[0]}")
        print(f"{'':20} presets: default, {', '.join(cls.presets)}")


def _show(argv: list[str]) -> None:
    known, config = _recipe(argv, _parser("show", "recipe"))
    print(configs.dump(config(), known.recipe), end="")


def _data(argv: list[str]) -> None:
    parser = _parser("data", "recipe")
    parser.add_argument("--out", help="a file name: NAME_train, NAME_valid, NAME_test are written")
    known, config = _recipe(argv, parser)
    resolved = config()
    from genmatter import api
    from genmatter.recipes import build_domain

    splits = api.data(known.recipe, resolved, out=known.out)
    domain = build_domain(known.recipe, resolved)
    for name, value in domain.facts(splits).items():
        print(f"{name:24} {value}")
    for caution in domain.cautions(splits):
        print(f"caution: {caution}")


def _train(argv: list[str]) -> None:
    parser = _parser("train", "recipe")
    parser.add_argument("--run", "--save_dir", "--save-dir", help="the folder to fill")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    known, config = _recipe(argv, parser)
    folder = known.run or f"runs/{known.recipe.replace('/', '-')}"
    base = None
    home = Run(Path(folder))
    if known.resume and home.begun:
        if home.recipe != known.recipe:
            raise RunError(f"{folder!r} holds a run of {home.recipe}, not of {known.recipe}")
        base = configs.load(home.config.read_text(), find(known.recipe)(), known.recipe)
    resolved = config(base)
    from genmatter import api

    it = api.train(
        known.recipe, resolved, run=folder, resume=known.resume, overwrite=known.overwrite
    )
    rows = Run(Path(folder)).read_history()
    best = min(rows, key=lambda row: row["valid/total"])
    size = sum(p.numel() for p in it.model.parameters())
    print(f"trained {known.recipe}: {size:,} parameters, {rows[-1]['epoch']:.0f} epochs")
    print(
        f"in {rows[-1]['seconds']:.1f} s; best validation loss {best['valid/total']:.4f}", end=""
    )
    print(f" after epoch {best['epoch']:.0f}")
    print(f"run folder: {folder}")


def _sample(argv: list[str]) -> None:
    parser = _parser("sample")
    parser.add_argument("-n", type=int, default=100, help="how many sound objects (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="the file to write; its suffix is its format")
    known, sampling = _sampled(parser, argv)
    from genmatter import api

    found = api.sample(known.run, known.n, seed=known.seed, out=known.out, **sampling)
    print(f"{len(found.objects)} samples of {found.drawn} drawn", end="")
    print(f", {sum(found.rejected.values())} rejected")
    for reason, count in found.rejected.most_common():
        print(f"  {count:8} {reason}")


def _evaluate(argv: list[str]) -> None:
    parser = _parser("evaluate")
    parser.add_argument("-n", type=int, default=2000, help="how many samples (%(default)s)")
    parser.add_argument("--samples", help="a file of anybody's samples, instead of the run's own")
    parser.add_argument("--seed", type=int, default=0)
    known = parser.parse_args(argv)
    from genmatter import api

    table = api.evaluate(known.run, known.n, samples=known.samples, seed=known.seed)
    print(_aligned(table))


def _score(argv: list[str]) -> None:
    parser = _parser("score")
    parser.add_argument("source", nargs="?", default="test", help="a file, train, valid or test")
    parser.add_argument("--importance", type=int, default=1, help="draws of the latent")
    parser.add_argument("--out", help="the CSV file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    columns = api.score(known.run, known.source, importance=known.importance, out=known.out)
    for name, values in columns.items():
        print(f"{name:24} {values.mean():10.4f} +- {values.std():.4f} over {len(values)}")


def _reconstruct(argv: list[str]) -> None:
    parser = _parser("reconstruct")
    parser.add_argument("source", nargs="?", default="test", help="a file, train, valid or test")
    parser.add_argument("--out", help="the file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    found = api.reconstruct(known.run, known.source, out=known.out)
    for name, value in found.scores.items():
        print(f"{name:24} {value.value:.4g} {value.unit} (best {value.best:g})")


def _encode(argv: list[str]) -> None:
    parser = _parser("encode")
    parser.add_argument("source", nargs="?", default="test", help="a file, train, valid or test")
    parser.add_argument("--out", help="the .npz file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    z = api.encode(known.run, known.source, out=known.out)
    print(f"{len(z)} latents of shape {tuple(z.shape[1:])}")


def _interpolate(argv: list[str]) -> None:
    parser = _parser("interpolate")
    parser.add_argument("a", nargs="?", default="test:0", help="5, test:5, train:5 or FILE:5")
    parser.add_argument("b", nargs="?", default="test:1")
    parser.add_argument("--steps", type=int, default=8, help="objects, both ends included")
    parser.add_argument("--path", choices=["straight", "spherical"], default="straight")
    parser.add_argument("--out", help="the file to write")
    known = parser.parse_args(argv)
    from genmatter import api

    objects, alphas = api.interpolate(
        known.run, known.a, known.b, steps=known.steps, path=known.path, out=known.out
    )
    print(f"{len(objects)} objects at alpha {', '.join(f'{s:.2f}' for s in alphas.tolist())}")


def _optimise(argv: list[str]) -> None:
    parser = _parser("optimise")
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


def _report(argv: list[str]) -> None:
    parser = _parser("report")
    parser.add_argument("others", nargs="*", help="runs of the same domain to set beside it")
    parser.add_argument("-n", type=int, default=2000, help="samples to score, if none were")
    parser.add_argument("--out", help="the page; comparison-RUN-RUN.html for several runs")
    known = parser.parse_intermixed_args(argv)
    from genmatter import api

    print(f"report: {api.report(known.run, *known.others, n=known.n, out=known.out)}")


def _doctor(argv: list[str]) -> None:
    _Parser(prog="genmatter doctor").parse_args(argv)
    from genmatter import api

    for name, value in api.doctor().items():
        print(f"{name:18} {value}")


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


_HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "list": _list, "show": _show, "data": _data, "train": _train, "sample": _sample,
    "evaluate": _evaluate, "score": _score, "reconstruct": _reconstruct, "encode": _encode,
    "interpolate": _interpolate, "optimise": _optimise, "report": _report, "doctor": _doctor,
}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
