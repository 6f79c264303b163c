"""Configs: frozen dataclasses in Python, YAML on disk, flags on the command line."""

__all__ = [
    "Config",
    "Optim",
    "closest",
    "dump",
    "flags",
    "leaves",
    "load",
    "numbers_named",
    "parse",
    "replaced",
    "resolve",
    "restore",
    "said",
]

import contextlib
import dataclasses
import difflib
import functools
import io
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import yaml

from genmatter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Optim:
    """How the parameters are fitted."""

    epochs: int = 150
    """Passes over the training set."""
    batch_size: int = 256
    """Examples per step, over all processes."""
    lr: float = 1e-3
    """Step size of Adam at its highest."""
    schedule: Literal["constant", "cosine"] = "constant"
    """How the step size changes after the warm-up: not, or to zero along a half cosine."""
    warmup_steps: int = 0
    """Steps over which the step size rises from zero."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW)."""
    grad_clip: float = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    ema: float = 0.99
    """Memory of the averaged weights, which validation and sampling use; 0 averages nothing."""
    patience: int = 0
    """Epochs without a better validation score before training stops; 0 means never."""
    keep: Literal["best", "last"] = "best"
    """Whether the run keeps the weights of the best validation score or the last ones."""
    stream: bool = False
    """Encode examples when they are needed, for data larger than memory."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every recipe can be told."""

    presets: ClassVar[dict[str, "Config"]] = {}
    aliases: ClassVar[dict[str, str]] = {}
    """Other spellings of flags, and the fields that they mean."""
    stage: ClassVar[str] = ""
    """The recipe whose run a second-stage recipe starts from."""

    parent: Path | None = None
    """That run, where there is one."""

    optim: Optim = Optim()
    seed: int = 0
    """Seed of the weights, the order of examples and the noise; the data have their own."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes an accelerator where there is one."""
    precision: Literal["32", "bf16"] = "32"
    """Numbers that the networks compute with: 32-bit floats, or bfloat16 where it is safe."""
    threads: int = 1
    """Threads on a CPU; 0 takes all, which slows small networks down on a machine that is busy."""


C = TypeVar("C", bound=Config)
D = TypeVar("D")


def dump(config: Any, recipe: str = "") -> str:
    """Returns a config as YAML, in the order in which the fields are declared.

    Where a recipe is named, the text begins with it.
    """

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        text = {k: str(v) if isinstance(v, Path) else v for k, v in items}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in text.items()}

    fields = dataclasses.asdict(config, dict_factory=plain)
    return yaml.safe_dump(
        ({"recipe": recipe} if recipe else {}) | fields, sort_keys=False, allow_unicode=True
    )


def load(text: str, base: C, recipe: str = "", path: str = "") -> C:
    """Returns `base` with the fields that a YAML text names replaced.

    Raises:
        ConfigError: The text is no mapping, names a field that is not there, gives one a value
            of the wrong type, or was written for another recipe.
    """
    where = path or type(base).__name__
    try:
        changes = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(changes, dict):
        raise ConfigError(f"{where} should hold fields and values, got {changes!r:.80}")
    other = changes.pop("recipe", recipe)
    if recipe and other != recipe:
        raise ConfigError(f"{where} is a config of {other}, not of {recipe}")
    return _merge(base, changes, where)


def resolve(
    cls: type[C], *, preset: str = "", file: Path | None = None, recipe: str = "", **fields: Any
) -> C:
    """Resolves defaults < preset < file < fields, each field a leaf by its (dotted) name.

    Raises:
        ConfigError: A preset, file, field or value is not what `cls` takes.
    """
    if preset and preset not in cls.presets:
        raise ConfigError(f"{cls.__name__} has no preset {preset!r}{closest(preset, cls.presets)}")
    base: Any = cls.presets[preset] if preset else cls()
    if file:
        if not Path(file).is_file():
            raise ConfigError(f"there is no config file {str(file)!r}")
        base = load(Path(file).read_text(), base, recipe, str(file))
    return replaced(base, fields, cls.aliases)


def replaced(config: D, fields: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> D:
    """Returns the config with leaves replaced, named alone or by their dotted path.

    Raises:
        ConfigError: There is no such leaf, or it does not take the value.
    """
    known = leaves(type(config))
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        name = (aliases or {}).get(name, name)
        if name not in known:
            raise ConfigError(
                f"{type(config).__name__} has no field {name!r}{closest(name, known)}"
            )
        *path, leaf = known[name].split(".")
        inner = changes
        for part in path:
            inner = inner.setdefault(part, {})
        inner[leaf] = value
    return _merge(config, changes, type(config).__name__)


def leaves(cls: Any) -> dict[str, str]:
    """Returns the dotted path of every leaf by every name that means it: flag, field, path."""
    found: dict[str, str] = {}
    for path, flag in _walk(cls, ""):
        found |= {path.rsplit(".", 1)[-1]: path, path: path, flag: path}
    return found


def _flag(cls: Any, name: str) -> str:
    """Returns how the command line spells a leaf."""
    path = leaves(cls).get(name, name)
    return dict(_walk(cls, "")).get(path, name)


def _walk(cls: Any, prefix: str) -> Iterable[tuple[str, str]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    for f in dataclasses.fields(cls):
        hint = hints[f.name]
        names = [n for m in getattr(hint, "__metadata__", ()) if (n := getattr(m, "name", None))]
        bare = typing.get_args(hint)[0] if names else hint
        if dataclasses.is_dataclass(bare):
            yield from _walk(bare, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, names[0] if names else f.name


def parse(cls: type[C], argv: list[str], recipe: str = "", kept: C | None = None) -> C:
    """Resolves defaults < `--preset` < `--config` < flags into one config.

    Where a run is resumed, the config that it kept takes the place of the first three. The same
    words that began a run may resume it, as a batch system does that runs a job again.

    Raises:
        ConfigError: A flag is not known, or does not take the value that it is given.
    """
    argv = _spelled(argv, cls.aliases, leaves(cls).keys() | {"preset", "config", "help"}, cls)
    argv, preset = _take(argv, "--preset")
    argv, file = _take(argv, "--config")
    if kept is not None and not (preset or file):
        return flags(kept, argv)
    base = resolve(cls, preset=preset or "", file=Path(file) if file else None, recipe=recipe)
    found = flags(base, argv)
    if kept is not None and found != flags(kept, argv):
        raise ConfigError(
            "a run that is resumed keeps its config, and this is another: leave --preset and "
            "--config out"
        )
    return found


def said(base: Any, argv: list[str]) -> dict[str, Any]:
    """Returns only the leaves that flags name, with what they say.

    Raises:
        ConfigError: A flag is not known, or does not take the value that it is given.
    """
    found = flags(base, argv)
    words = {w[2:].partition("=")[0].replace("-", "_") for w in argv if w.startswith("--")}
    named = {leaves(type(base)).get(w) or leaves(type(base))[w.removeprefix("no_")] for w in words}
    return {path: functools.reduce(getattr, path.split("."), found) for path in named}


def flags(base: D, argv: list[str]) -> D:
    """Returns the dataclass with the leaves that flags name replaced.

    Raises:
        ConfigError: A flag is not known, or does not take the value that it is given.
    """
    import tyro

    argv = _spelled(argv, {}, leaves(type(base)).keys() | {"help"}, type(base))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(base), default=base, args=argv, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        words = re.sub(r"[^\x20-\x7e]", " ", said.getvalue().replace("\n", " "))
        words = re.sub(r"Argument helptext:.*|For full helptext.*|Parsing error|-{4,}", " ", words)
        raise ConfigError(" ".join(words.split())) from None


def _spelled(
    argv: list[str], aliases: Mapping[str, str], known: Iterable[str], cls: type
) -> list[str]:
    """Writes every flag the way that its field is called, and refuses those that are none."""
    out: list[str] = []
    for word in argv:
        if not word.startswith("--"):
            out.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        name = aliases.get(name, name)
        if name not in known and name.removeprefix("no_") not in known:
            raise ConfigError(f"there is no flag --{name}{closest(name, known)}")
        name = _flag(cls, name)
        out += [f"--{name}", value] if equals else [f"--{name}"]
    return out


def _take(argv: list[str], flag: str) -> tuple[list[str], str | None]:
    if flag not in argv:
        return argv, None
    i = argv.index(flag)
    if i + 1 == len(argv):
        raise ConfigError(f"{flag} needs a value")
    return argv[:i] + argv[i + 2 :], argv[i + 1]


def _merge(config: Any, changes: dict[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(type(config))
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for key, value in changes.items():
        if key not in fields:
            raise ConfigError(f"{path} has no field {key!r}{closest(str(key), fields)}")
        if dataclasses.is_dataclass(fields[key]) and isinstance(value, dict):
            fields[key] = _merge(fields[key], value, f"{path}.{key}")
        else:
            fields[key] = _cast(value, hints[key], f"{path}.{key}")
    return type(config)(**fields)


def restore(cls: type[D], plain: dict[str, Any]) -> D:
    """Makes a frozen dataclass of what JSON kept of it.

    Raises:
        ConfigError: A field is missing or has a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
    if missing := [name for name in names if name not in plain]:
        raise ConfigError(f"{cls.__name__} lacks {', '.join(missing)}")
    return cls(**{k: _cast(plain[k], hints[k], f"{cls.__name__}.{k}") for k in names})


def _cast(value: Any, hint: Any, path: str) -> Any:
    for option in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if option is type(None) and value is None:
            return None
        if dataclasses.is_dataclass(option) and isinstance(value, option):  # pyright: ignore[reportArgumentType]
            return value
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_cast(v, typing.get_args(option)[0], path) for v in value)
        if typing.get_origin(option) is dict and isinstance(value, dict):
            return {k: _cast(v, typing.get_args(option)[1], path) for k, v in value.items()}
        if typing.get_origin(option) is Literal:
            if value in typing.get_args(option):
                return value
            choices = [str(o) for o in typing.get_args(option)]
            raise ConfigError(f"{path} cannot be {value!r}{closest(str(value), choices)}")
        if type(value) is option:
            return value
        if option is Path and isinstance(value, str | Path):
            return Path(value)
        if option is float and _is_number(value):  # YAML 1.1 reads `1e-4` as text
            return float(value)
    raise ConfigError(f"{path} should be {getattr(hint, '__name__', hint)}, got {value!r}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or bool(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", str(value)))


def numbers_named(texts: Sequence[str]) -> dict[str, float]:
    """Reads targets such as `tpsa=60`; several may stand in one text, with commas between.

    Raises:
        ConfigError: One reads otherwise.
    """
    found = {}
    for text in (part.strip() for several in texts for part in several.split(",")):
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"the target {text!r} should read NAME=NUMBER") from None
    return found


def closest(name: str, options: Iterable[str]) -> str:
    """Returns the end of an error message that helps whoever mistyped `name`."""
    options = sorted(options)
    near = difflib.get_close_matches(name, options, n=1) or [o for o in options if name in o][:1]
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(options)}"
