"""The verbs that take a recipe, and those that take nothing."""

__all__ = ["HANDLERS"]

from collections.abc import Callable
from pathlib import Path

from genmatter import config as configs
from genmatter.cli.parsing import Parser, of_recipe, parser_for
from genmatter.errors import RunError
from genmatter.recipes import find, find_all
from genmatter.run import Run


def list_recipes(argv: list[str]) -> None:
    Parser(prog="genmatter list").parse_args(argv)
    for name, cls in find_all().items():
        print(f"{name:20} {(cls.__doc__ or '').splitlines()[0]}")
        print(f"{'':20} presets: default, {', '.join(cls.presets)}")


def show(argv: list[str]) -> None:
    known, config = of_recipe(parser_for("show", "recipe"), argv)
    print(configs.dump(config(), known.recipe), end="")


def data(argv: list[str]) -> None:
    parser = parser_for("data", "recipe")
    parser.add_argument("--out", help="a file name: NAME_train, NAME_valid, NAME_test are written")
    known, config = of_recipe(parser, argv)
    resolved = config()
    from genmatter import api
    from genmatter.recipes import build_domain

    splits = api.data(known.recipe, resolved, out=known.out)
    domain = build_domain(known.recipe, resolved)
    for name, value in domain.facts(splits).items():
        print(f"{name:24} {value}")
    for caution in domain.cautions(splits):
        print(f"caution: {caution}")


def train(argv: list[str]) -> None:
    parser = parser_for("train", "recipe")
    places = "--run", "-o", "--out", "--save_dir", "--save-dir"
    parser.add_argument(*places, metavar="FOLDER", help="the folder to fill; -o under torchrun")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument("--verbose", action="store_true", help="print all that each epoch records")
    known, config = of_recipe(parser, argv)
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
        known.recipe, resolved, run=folder, resume=known.resume, overwrite=known.overwrite,
        verbose=known.verbose,
    )  # fmt: skip
    rows = Run(Path(folder)).read_history()
    best = min(rows, key=lambda row: row["valid/total"])
    size = sum(p.numel() for p in it.model.parameters())
    print(f"trained {known.recipe}: {size:,} parameters, {rows[-1]['epoch']:.0f} epochs")
    print(
        f"in {rows[-1]['seconds']:.1f} s; best validation loss {best['valid/total']:.4f}", end=""
    )
    print(f" after epoch {best['epoch']:.0f}")
    print(f"run folder: {folder}")


def doctor(argv: list[str]) -> None:
    Parser(prog="genmatter doctor").parse_args(argv)
    from genmatter import api

    for name, value in api.doctor().items():
        print(f"{name:18} {value}")


HANDLERS: dict[str, Callable[[list[str]], None]] = {
    "list": list_recipes, "show": show, "data": data, "train": train, "doctor": doctor,
}  # fmt: skip
"""What each verb does."""
