"""Defaults < preset < file < flags, typos told, YAML read as it was meant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from tyro.conf import arg

from genmatter.config import (
    Config,
    dump,
    leaves,
    load,
    numbers_named,
    parse,
    replaced,
    resolve,
    restore,
    said,
)
from genmatter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PartConfig:
    source: Annotated[str, arg(name="data")] = ""
    kind: Literal["big", "small"] = "big"
    names: tuple[str, ...] = ()
    noise: bool = True


@dataclass(frozen=True, kw_only=True)
class WholeConfig(Config):
    """One of them."""

    aliases: ClassVar = {"learning_rate": "lr"}
    part: PartConfig = PartConfig()
    width: int = 3
    rate: float = 0.5
    where: Path | None = None


WholeConfig.presets = {"wide": WholeConfig(width=30)}


def test_each_layer_overrides_the_one_below(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("width: 40\nrate: 1e-4\n")  # YAML 1.1 reads `1e-4` as text
    assert parse(WholeConfig, []).width == 3
    assert parse(WholeConfig, ["--preset", "wide"]).width == 30
    both = parse(WholeConfig, ["--preset", "wide", "--config", str(file)])
    assert (both.width, both.rate) == (40, 1e-4)
    assert parse(WholeConfig, ["--config", str(file), "--width", "50"]).width == 50


def test_one_nested_flag_leaves_its_siblings_alone():
    base = replaced(WholeConfig(), {"kind": "small", "data": "x.npz"})
    assert parse(WholeConfig, ["--no-noise"], kept=base).part == PartConfig(
        source="x.npz", kind="small", noise=False
    )


def test_the_words_that_began_a_run_may_resume_it(tmp_path):
    words = ["--preset", "wide", "--rate", "0.25"]
    kept = parse(WholeConfig, words)
    assert parse(WholeConfig, words, kept=kept) == kept
    assert parse(WholeConfig, ["--width", "7"], kept=kept) == replaced(kept, {"width": 7})
    with pytest.raises(ConfigError, match="keeps its config"):
        parse(WholeConfig, ["--preset", "wide"], kept=kept)


@pytest.mark.parametrize("spelling", ["--learning-rate", "--learning_rate", "--lr", "--optim.lr"])
def test_a_flag_has_several_spellings(spelling):
    assert parse(WholeConfig, [spelling, "0.25"]).optim.lr == 0.25
    assert parse(WholeConfig, [spelling + "=0.25"]).optim.lr == 0.25


def test_a_field_may_have_another_name_as_a_flag():
    assert parse(WholeConfig, ["--data", "a b.npz"]).part.source == "a b.npz"
    assert resolve(WholeConfig, data="c").part.source == "c"
    assert leaves(WholeConfig)["data"] == leaves(WholeConfig)["part.source"] == "part.source"


def test_what_was_said_is_told_from_what_was_not():
    assert said(PartConfig(), ["--noise", "--names", "a", "b"]) == {
        "noise": True,
        "names": ("a", "b"),
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--widht", "3"], "did you mean 'width'"),
        (["--width", "x"], "--width.*'x'"),
        (["--kind", "bigg"], "'bigg'.*'big', 'small'"),
        (["--width"], "--width"),
        (["--preset", "wid"], "did you mean 'wide'"),
        (["--preset"], "needs a value"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(argv, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse(WholeConfig, argv)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("widht: 3", "did you mean 'width'"),
        ("width: 3.5", "width should be int"),
        ("width: true", "width should be int"),
        ("rate: yes", "rate should be float"),
        ("part: {kind: bigg}", "part.kind cannot be 'bigg'; did you mean 'big'"),
        ("part: 3", "part should be"),
        ("- 1", "fields and values"),
        ("a: [", "not YAML"),
        ("recipe: other/one", "not of a/b"),
    ],
)
def test_mistakes_in_a_file_are_told(text, words):
    with pytest.raises(ConfigError, match=words):
        load(text, WholeConfig(), "a/b")


def test_a_config_survives_yaml_and_json():
    config = WholeConfig(part=PartConfig(names=("ä", "b"), source="1e-4"), where=Path("x/y"))
    assert load(dump(config, "a/b"), WholeConfig(), "a/b") == config
    assert restore(PartConfig, {"source": "", "kind": "big", "names": ["a"], "noise": False}) == (
        PartConfig(names=("a",), noise=False)
    )
    with pytest.raises(ConfigError, match="lacks kind"):
        restore(PartConfig, {"source": "", "names": [], "noise": True})


def test_python_fields_are_checked_too():
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        resolve(WholeConfig, widht=3)
    with pytest.raises(ConfigError, match="width should be int"):
        resolve(WholeConfig, width="3")


def test_a_path_is_a_path_of_any_system(tmp_path):
    found = resolve(WholeConfig, parent=tmp_path)
    assert found.parent == tmp_path
    assert resolve(WholeConfig, parent=str(tmp_path)) == found


def test_targets_are_names_with_numbers():
    assert numbers_named(("tpsa=60, logp=-1.5", "mw=3e2")) == {"tpsa": 60, "logp": -1.5, "mw": 300}
    for text in ("tpsa", "tpsa=low", "=", "a=1,,b=2"):
        with pytest.raises(ConfigError, match="NAME=NUMBER"):
            numbers_named((text,))
