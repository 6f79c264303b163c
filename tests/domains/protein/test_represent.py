"""Sequences as tensors, and what is learned of an alignment in closed form."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter import config as configs
from genmatter.config import replaced
from genmatter.domains.protein.config import ProteinVAEConfig
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.represent import MOST_TEXTS, UNKNOWN, AlignedSites
from genmatter.domains.protein.sequences import Numbering, Sequences
from genmatter.errors import ConfigError, RepresentationError

CONFIG = replaced(ProteinVAEConfig.presets["tiny"], {"predict": ("charm",)})
NUMBERING = Numbering(tuple(range(11, 27)), "FOCUS/11-26", "ACDEFGHIKLMNPQRS", 11)


@pytest.fixture(scope="module")
def objects():
    residues, of = simulated(16, 0).sample(60, "represent")
    weights = torch.rand(60, dtype=torch.float64) + 0.1
    return replace(
        Sequences.of(residues, NUMBERING),
        weights=weights / weights.mean(),
        columns={"charm": of.double().where(of > 0, torch.nan)},
        labels={"kind": np.array([f"k{k}" * (k > 0) for k in of.tolist()], dtype=object)},
    )


@pytest.fixture(scope="module")
def fitted(objects):
    return AlignedSites.fit(objects, CONFIG)


def test_sequences_come_back_with_what_is_known_of_them(objects, fitted):
    again = fitted.decode(fitted.encode(objects))
    assert again.texts == objects.texts
    assert again.numbering == objects.numbering
    torch.testing.assert_close(again.weights, objects.weights, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        again.columns["charm"], objects.columns["charm"], equal_nan=True, atol=1e-5, rtol=1e-5
    )
    assert again.labels["kind"].tolist() == objects.labels["kind"].tolist()


def test_frequencies_and_the_effective_number_count_weights(objects, fitted):
    one = torch.nn.functional.one_hot(objects.residues.long(), 21).double()
    known = (one * objects.weights[:, None, None]).sum(0) / objects.weights.sum()
    torch.testing.assert_close(torch.tensor(fitted.frequencies).double(), known, atol=1e-6, rtol=0)
    assert abs(fitted.effective - float(objects.weights.sum() / objects.weights.max())) < 1e-9
    alike = AlignedSites.fit(replace(objects, weights=None), CONFIG)
    assert alike.effective == 60


def test_unknown_is_unknown(objects, fitted):
    plain = Sequences.of(objects.residues, NUMBERING)
    batch = fitted.encode(plain)
    assert batch.properties.isnan().all()
    assert (batch.classes == 0).all()
    assert (batch.weights == 1).all()
    prompt = fitted.prompt(3, CONFIG)
    assert (prompt.tokens == UNKNOWN).all()
    assert prompt.properties.isnan().all()


def test_prompts_ask_for_labels(fitted):
    asked = fitted.prompt(4, replaced(CONFIG, {"within": "kind=k2"}))
    assert set(fitted.decode(asked.replace(tokens=asked.tokens * 0)).labels["kind"]) == {"k2"}
    with pytest.raises(ConfigError, match="no kind is 'k9'"):
        fitted.prompt(1, replaced(CONFIG, {"within": "kind=k9"}))
    with pytest.raises(ConfigError, match="no label 'sort'"):
        fitted.prompt(1, replaced(CONFIG, {"within": "sort=k2"}))


def test_the_wild_type_is_the_focus_sequence(objects, fitted):
    assert fitted.wild().texts == ["ACDEFGHIKLMNPQRS"]
    plain = Sequences.of(objects.residues)
    assert AlignedSites.fit(plain, replaced(CONFIG, {"predict": ()})).wild() is None


def test_json_keeps_all_of_it(fitted):
    plain = json.loads(json.dumps(dataclasses.asdict(fitted)))
    assert configs.restore(AlignedSites, plain) == fitted


def test_texts_that_differ_too_much_are_no_classes(objects):
    names = np.array([f"name {k}" for k in range(60)], dtype=object)
    many = replace(objects[:60], labels={"name": names})
    assert AlignedSites.fit(many, CONFIG).labels == ("name",)
    rows = torch.arange(MOST_TEXTS + 1) % 60
    names = np.array([f"name {k}" for k in range(len(rows))], dtype=object)
    assert AlignedSites.fit(replace(objects[rows], labels={"name": names}), CONFIG).labels == ()


def test_what_does_not_fit_is_refused(objects, fitted):
    short = Sequences.of(objects.residues[:, :9])
    with pytest.raises(RepresentationError, match="16 columns, got 9"):
        fitted.encode(short)
    with pytest.raises(ConfigError, match="'charn' to predict; did you mean 'charm'"):
        AlignedSites.fit(objects, replaced(CONFIG, {"predict": ("charn",)}))
    lonely = replace(objects, columns={"charm": torch.full((60,), torch.nan).double()})
    with pytest.raises(ConfigError, match="0 training sequences have a charm"):
        AlignedSites.fit(lonely, CONFIG)


def test_without_couplings_sites_are_drawn_as_they_stand(objects):
    plain = AlignedSites.fit(objects, replaced(CONFIG, {"couplings": 0}))
    assert plain.order == tuple(range(16))
    assert not any(plain.parents)
