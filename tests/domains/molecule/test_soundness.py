"""SELFIES that say something other than they spell are found, drawn again, and counted."""

from dataclasses import replace

import numpy as np
import pytest
import selfies
import torch

from genmatter import api
from genmatter.config import replaced
from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.domain import SLIP, SmallMolecules
from genmatter.domains.molecule.grammar import make
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.soundness import reads_back, sound
from genmatter.spine import Splits

SLIPS = [
    "[C][C][Branch2][Ring1][C][C][C]",  # the branch ends before it should
    "[C][F][C][C]",  # nothing can follow fluorine
    "[C][=F]",  # nor is it bound twice
    "[C][C][C][Ring1][=Branch1]",  # there is no atom so far back
    "[C][Branch1][C]",  # the branch has no symbols
]
TINY = MoleculeCVAEConfig.presets["tiny"]


def written(texts):
    smiles = [canonical(selfies.decoder(text)) for text in texts]
    return Molecules(np.array(smiles, object), drawn=np.array(texts, object))


@pytest.fixture(scope="module")
def good():
    return [selfies.encoder(s) for s in make(50, 5)]


def test_what_selfies_writes_reads_back_and_slips_do_not(good):
    assert all(map(reads_back, good))
    assert not any(map(reads_back, SLIPS))
    assert not reads_back("[no symbol]")


def test_slips_are_drawn_again_unless_told_otherwise(good):
    found = written([good[0], SLIPS[0], "", good[1]])
    expected = ["", SLIP, "no molecule", ""]
    assert SmallMolecules(TINY).faults(found) == expected
    plain = replaced(TINY, {"sound": False})
    assert SmallMolecules(plain).faults(found) == ["", "", "no molecule", ""]
    assert SmallMolecules(TINY).faults(Molecules.of(list(found.smiles))) == [
        "",
        "",
        expected[2],
        "",
    ]


def test_slips_are_no_molecules_to_scores(good):
    data = Molecules.of([canonical(selfies.decoder(text)) for text in good])
    splits = Splits(data[:20], data[20:30], data[30:])
    both = written([*good[:5], *SLIPS])
    table = SmallMolecules(TINY).score(both, splits)
    assert table["valid"].value == pytest.approx(0.5)
    assert "n=5," in table["snn"].unit
    raw = SmallMolecules(replaced(TINY, {"sound": False})).score(both, splits)
    assert raw["valid"].value == 1.0
    assert sound(data) is data


def test_a_model_is_scored_by_as_many_sound_draws_as_asked_for(tmp_path):
    run = api.train("molecule/cvae", preset="tiny", run=tmp_path / "run", epochs=1).run.path
    it = api.load(run)
    drawn = it.fair(30)
    kept = [not why for why in it.domain.failures(drawn)]
    assert sum(kept) == 30 or len(drawn) == 20 * 30
    assert kept[-1] or len(drawn) == 20 * 30
    found = it.sample(10)
    assert all(map(reads_back, found.objects.drawn))
    assert found.rejected[SLIP] > 0
    raw = api.load(run, sound=False)
    assert len(raw.fair(30)) == 30
    torch.testing.assert_close(raw.sample(3).drawn, 3)
    assert replace(TINY).sampling.sound
