"""What every verb parses: a recipe with the flags of its config, or a run and its sampling's."""

__all__ = ["VERBS", "Parser", "of_recipe", "of_run", "parser_for"]

import argparse
from typing import Any

from genmatter import config as configs
from genmatter.errors import ConfigError
from genmatter.recipes import find, named
from genmatter.run import Run

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
    "neighbours": "write what lies around an object in latent space",
    "optimise": "follow the gradient of a property in latent space",
    "search": "look for objects with wished properties, where no gradient leads there",
    "report": "write the page that tells a run's whole story, or compares several",
    "doctor": "say what is installed, and check that it works",
}


class Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> Any:
        raise ConfigError(message)


def parser_for(verb: str, what: str = "run") -> Parser:
    """Returns the parser of a verb on a run or a recipe."""
    parser = Parser(prog=f"genmatter {verb}", description=VERBS[verb], allow_abbrev=False)
    parser.add_argument(
        what,
        help="a run folder, or the recipe trained there"
        if what == "run"
        else "such as polymer/vae",
    )
    return parser


def of_recipe(parser: Parser, argv: list[str]) -> tuple[argparse.Namespace, Any]:
    """Parses what a verb on a recipe takes: its own flags, and those of the config."""
    wants_help = any(word in {"-h", "--help"} for word in argv)
    plain = [word for word in argv if word not in {"-h", "--help"}]
    if wants_help and not [word for word in plain if not word.startswith("-")]:
        parser.print_help()
        raise SystemExit(0)
    known, rest = parser.parse_known_args(plain)
    known.recipe = named(known.recipe)
    cls = find(known.recipe)
    if wants_help:
        parser.print_help()
        presets = ", ".join(cls.presets) or "none"
        print(
            f"\n  --preset NAME  one of: {presets}\n  --config FILE  a config.yaml to start from"
        )
        rest.append("--help")
    return known, lambda kept=None: configs.parse(cls, rest, known.recipe, kept)


def of_run(parser: Parser, argv: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
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
