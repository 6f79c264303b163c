import csv
import math
from dataclasses import replace

import pytest
import torch

from genmatter.domains.molecule.config import MoleculeCVAEConfig, MoleculeDataConfig
from genmatter.domains.molecule.domain import DOMAIN
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.errors import ConfigError

ASPIRIN, BENZENE, ETHANOL = "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", "CCO"


def domain(source="", fraction=0.25, **sampling):
    config = MoleculeCVAEConfig.presets["tiny"]
    data = MoleculeDataConfig(source=source, valid_fraction=fraction, test_fraction=fraction)
    return DOMAIN(replace(config, data=data, sampling=replace(config.sampling, **sampling)))


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMATTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Drugs, a broken text and a repeat."""
    path = tmp_path_factory.mktemp("data") / "drugs.smi"
    path.write_text("\n".join([*list(DRUGS.values())[:48], "C1CC", DRUGS["amitriptyline"]]))
    return str(path)


def test_a_smiles_is_read_as_its_canonical_form(capfd):
    it = domain()
    assert it.parse("OCC").smiles.tolist() == [ETHANOL]
    assert it.parse("C1CC") is None
    assert it.parse("") is None
    assert capfd.readouterr() == ("", "")


def test_one_molecule_has_one_identity():
    it = domain()
    same = [it.parse(text) for text in ("OC(=O)c1ccccc1OC(C)=O", ASPIRIN)]
    assert it.identities(same[0]) == it.identities(same[1]) == [ASPIRIN]
    assert it.identities(it.parse("C[C@H](N)O")) != it.identities(it.parse("C[C@@H](N)O"))


def test_a_molecule_is_most_like_itself():
    it = domain()
    found = it.similarity(Molecules.of([ETHANOL, ASPIRIN, "O=C(O)c1ccccc1O"]), it.parse(ASPIRIN))
    assert found[1] == 1
    assert found[0] < found[2] < 1


def test_the_cost_is_nothing_at_the_target_and_more_further_away(source):
    it = domain(source)
    x = Molecules.of([ASPIRIN, ETHANOL, BENZENE, ""])
    tpsa = {o.name: o.of for o in it.observables}["tpsa"](x)
    assert it.cost(x) is None
    aimed = domain(source, target=(f"tpsa={tpsa[0]}",)).cost(x)
    assert aimed[0] == 0
    assert 0 < aimed[1] < aimed[2] < aimed[3] == math.inf
    both = domain(source, target=(f"tpsa={tpsa[0]}", "logp=2")).cost(x)
    assert (both[:3] > aimed[:3]).all()
    width = float(it.observables[0].of(it.load().train).std())
    assert aimed[1].item() == pytest.approx(((tpsa[1] - tpsa[0]).item() / width) ** 2)


def test_samples_are_faulty_without_the_scaffold_that_is_asked_for():
    x = Molecules.of([ASPIRIN, ETHANOL, ""])
    assert domain().faults(x) == ["", "", "no molecule"]
    for text in (BENZENE, "[c;R]~[c;R]"):
        assert domain(scaffold=text).faults(x) == ["", "lacks the scaffold", "no molecule"]


def test_a_scaffold_that_is_none_is_refused(capfd):
    with pytest.raises(ConfigError, match=r"'c1cc\(' is neither SMILES nor SMARTS"):
        domain(scaffold="c1cc(").faults(Molecules.of([ETHANOL]))
    assert capfd.readouterr() == ("", "")


def test_scores_tell_how_far_samples_are_from_what_was_asked_for(source):
    it = domain(source, target=("tpsa=30",))
    x = Molecules.of([ASPIRIN, ETHANOL, ""])
    found = it.score(x, it.load())
    tpsa = {o.name: o for o in it.observables}["tpsa"]
    error = (tpsa.of(x[:2]) - 30).abs().mean().item()
    assert found["tpsa_error"].value == pytest.approx(error)
    assert (found["tpsa_error"].best, found["tpsa_error"].unit) == (0, tpsa.unit)
    assert found["valid"].value == pytest.approx(2 / 3)
    assert "tpsa_error" not in domain(source).score(x, it.load())


def test_rows_that_are_left_out_are_a_table_in_the_run(source, tmp_path):
    domain(source).record(tmp_path)
    with (tmp_path / "dropped.csv").open() as file:
        rows = list(csv.DictReader(file))
    reasons = {row["line"]: row["reason"] for row in rows}
    assert reasons["49"] == "no molecule: unclosed ring"
    assert reasons["50"] == "repeated: same as line 1"


def test_where_no_row_is_left_out_there_is_no_table(tmp_path):
    (tmp_path / "all.smi").write_text("\n".join("C" * k + "O" for k in range(1, 20)))
    domain(str(tmp_path / "all.smi")).record(tmp_path)
    assert not (tmp_path / "dropped.csv").exists()


def test_a_reader_is_told_what_was_learned_from(source):
    it = domain(source)
    found, splits = it.facts(it.load()), it.load()
    assert found["data"] == source
    assert found["split"] == "random"
    assert f"{len(splits.train)} train" in found["splits"]
    known = [o for o in it.observables if o.name in found]
    assert len(known) == 4
    for o in known:
        assert found[o.name].startswith(f"{float(o.of(splits.train).mean()):.3g} ±")


def test_molecules_are_drawn_alone_and_where_they_lie(source):
    it = domain(source)
    x = it.load().test
    titles = [f"number {k}" for k in range(len(x))]
    values = {"tpsa": it.observables[0].of(x)}
    for html in (it.draw(x, titles), it.map(x, torch.randn(len(x), 2), values)):
        assert "<svg" in html
        assert "<script" in html or titles[-1] in html
    assert it.draw(x, titles).count("<svg") == len(x)


def test_samples_are_shown_beside_the_data_and_what_was_wanted(source):
    it = domain(source, target=("tpsa=30",))
    drawn = it.pictures(it.load().valid, it.load())
    assert len(drawn) == 2
    grid, figure = drawn.values()
    assert grid.count("<svg") == len(it.load().valid)
    assert "tpsa" in grid
    assert len(figure.axes) == len(it.config.conditions)
    alone = DOMAIN(
        replace(it.config, conditions=(), sampling=replace(it.config.sampling, target=()))
    )
    assert len(alone.pictures(it.load().valid, it.load())) == 1


def test_every_molecule_of_the_data_is_what_parsing_it_gives(source):
    it = domain(source)
    assert all(canonical(s) == s for s in it.load().train.smiles)


def test_attachment_points_of_a_scaffold_match_any_atom():
    it = domain(scaffold="*c1ccccc1")
    aspirin, benzene = canonical("CC(=O)Oc1ccccc1C(=O)O"), canonical("c1ccccc1")
    assert it.faults(Molecules.of([aspirin, benzene])) == ["", "lacks the scaffold"]
