import itertools
import math
import time

import pytest
import torch
from domains.crystal.examples import nothing, perovskite, some, written_otherwise
from pymatgen.core import Lattice, Structure
from smact.screening import smact_validity

from genmatter.domains.crystal import metrics, smact, validity
from genmatter.domains.crystal.baselines import baselines
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.filling import made
from genmatter.domains.crystal.observables import SEEN, density, observables, of_elements
from genmatter.errors import DataError


@pytest.fixture(scope="module")
def sets():
    x = made(240, 5)
    return x[:120], x[120:180], x[180:]


def values(scores):
    return {name: score.value for name, score in scores.items()}


def test_smact_is_decided_as_smact_decides():
    formulas = [
        dict(zip(z.tolist(), [1] * len(z), strict=True)) for z in made(60, 7).each_numbers()
    ]
    for z in (*made(150, 7).each_numbers(), [29, 30], [11], [8, 16], [26, 26, 8, 8, 8]):
        formula = Structure(
            Lattice.cubic(9), list(map(int, z)), [[0, 0, k / 99] for k in range(len(z))]
        ).formula
        assert smact.valid(z) == smact_validity(formula, oxidation_states_set="smact14"), formula
    for k, count in itertools.product(range(40), (1, 2)):
        numbers = list(formulas[k]) * count + list(formulas[k + 1])
        formula = "".join(
            f"{Structure(Lattice.cubic(9), [z], [[0, 0, 0]]).formula}" for z in numbers
        )
        assert smact.valid(numbers) == smact_validity(formula, oxidation_states_set="smact14")


def test_many_elements_take_no_time():
    begun = time.process_time()
    smact.valid(list(range(3, 60)))
    smact.valid([z for z in range(1, 100) for _ in range(z)])
    assert time.process_time() - begun < 1
    assert not smact.valid([])
    assert not smact.valid([0])
    assert not smact.valid([8, 118])


def test_validity_is_what_its_table_says():
    x = some()
    close = Crystals(x.numbers, x.frac, x.counts, x.lattice * 0.3)
    assert validity.valid_structure(x).all()
    assert validity.spaced(x).all()
    assert validity.apart(x).all()
    assert validity.valid_structure(close).tolist() == [True, True, False, True]
    assert not validity.spaced(close).any()
    assert not validity.apart(close).any()
    assert validity.valid_composition(x).all()
    assert not validity.valid_composition(Crystals.of([[10, 8]], [[[0] * 3, [0.5] * 3]], [
        [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    ])).any()  # fmt: skip


def test_faults_are_named():
    x = some()[:1]
    flat = Crystals(x.numbers, x.frac, x.counts, x.lattice * torch.tensor([1.0, 1, 0])[:, None])
    lost = Crystals(x.numbers, x.frac * math.nan, x.counts, x.lattice)
    small = Crystals(x.numbers, x.frac, x.counts, x.lattice * 0.15)
    assert validity.faults(Crystals.cat([x, nothing(), flat, lost, small])) == [
        "", "atom of no element", "cell without a volume", "coordinates that are no numbers",
        "two atoms in one place",
    ]  # fmt: skip


def test_the_test_set_itself_is_perfect_but_for_novelty(sets):
    train, _, test = sets
    found = values(metrics.score(test, test, train))
    ones = ("valid_structure", "spaced", "apart", "amd_recall", "amd_precision", "unique")
    assert all(found[k] == 1 for k in ones)
    zeros = ("w1_density", "w1_elements", "w1_volume", "space_groups", "element_shares")
    assert all(found[k] == pytest.approx(0, abs=1e-6) for k in zeros)


def test_copies_of_the_training_set_are_neither_new_nor_unique(sets):
    train, _, test = sets
    copies = Crystals.cat([train[:20], written_otherwise(train[:20])])
    found = values(metrics.score(copies, test, train))
    assert found["novel_formula"] == found["novel_structure"] == 0
    assert found["unique"] == 0.5


def test_failures_stay_in_the_denominator(sets):
    train, valid, test = sets
    found = values(metrics.score(Crystals.cat([valid, nothing(60)]), test, train))
    whole = values(metrics.score(valid, test, train))
    for name in ("valid", "valid_structure", "spaced", "apart", "unique", "novel_structure",
                 "amd_precision"):  # fmt: skip
        assert found[name] == pytest.approx(whole[name] / 2)
    assert found["amd_recall"] == whole["amd_recall"]


def test_nothing_but_failures_is_scored_too(sets):
    train, _, test = sets
    found = values(metrics.score(nothing(5), test, train))
    assert all(math.isfinite(v) for v in found.values())
    assert found["valid"] == found["unique"] == found["novel_formula"] == 0
    with pytest.raises(DataError, match="0 samples"):
        metrics.score(test[:0], test, train)


def test_scores_see_no_cell_and_no_order(sets):
    train, valid, test = sets
    a = values(metrics.score(valid[:30], test, train))
    b = values(metrics.score(written_otherwise(valid[:30]), test, train))
    assert a == pytest.approx(b, abs=1e-6)


def test_baselines_stand_where_they_should(sets):
    train, _, test = sets
    rows = {k: values(metrics.score(x, test, train)) for k, x in baselines(train, 40).items()}
    assert {len(x) for x in baselines(train, 7).values()} == {7}
    assert rows["random coordinates"]["spaced"] < 0.3
    assert rows["random coordinates"]["novel_formula"] == 0
    assert rows["shuffled elements"]["valid_composition"] < 0.9
    assert rows["shuffled elements"]["novel_formula"] > 0.9
    assert rows["prototypes"]["valid"] > 0.9
    again = baselines(train, 7)["random coordinates"]
    assert torch.equal(again.frac, baselines(train, 7)["random coordinates"].frac)


def test_reconstructions_are_matched_at_tolerances_that_are_named():
    x = some()
    found = metrics.match(x, written_otherwise(x))
    assert values(found) == pytest.approx(
        {"match stol.5": 1, "rms stol.5": 0, "match stol.3": 1, "rms stol.3": 0, "composition": 1},
        abs=1e-6,
    )
    half = Crystals.cat([x[:2], nothing(2)])
    found = values(metrics.match(x, half))
    assert found["match stol.5"] == found["composition"] == 0.5
    none = values(metrics.match(x, nothing(4)))
    assert none["match stol.3"] == 0
    assert none["rms stol.3"] == 0.3
    with pytest.raises(DataError, match="4 crystals cannot be matched with 2"):
        metrics.match(x, x[:2])


def test_a_tolerance_may_be_wide_and_the_default_narrow():
    x = Crystals.of_structures([perovskite()])
    tilted = Crystals.of_structures([perovskite(tilt=0.18)])
    found = values(metrics.match(x, tilted))
    assert found["match stol.5"] >= found["match stol.3"]


def test_likeness_is_one_with_itself_and_less_with_others():
    x = some()
    found = metrics.similarity(Crystals.cat([x, written_otherwise(x[:1]), nothing()]), x[:1])
    assert found[0] == found.max() == pytest.approx(1)
    assert float(found[4]) == pytest.approx(1, abs=1e-6)
    assert found[5] == 0
    assert (found[1:4] < 0.3).all()
    with pytest.raises(DataError, match="similarity is to one crystal"):
        metrics.similarity(x, x)


def test_a_wanted_formula_is_counted():
    x = some()[[0, 0, 1, 3]]
    assert metrics.of_formula(x, {11: 2, 17: 2}).value == 0.5


def test_densities_are_those_that_pymatgen_says():
    x = some()
    wanted = [float(s.density) for s in x.structures()]
    assert density(x).tolist() == pytest.approx(wanted, rel=1e-4)
    assert of_elements(x).tolist() == [2, 2, 2, 3]
    assert density(nothing()).isnan().all()


def test_observables_see_no_cell_and_take_a_files_column_first():
    x = some()
    told = {"band_gap": torch.tensor([1.0, 2, 3, 4]).double(), "density": torch.ones(4).double()}
    y = Crystals(x.numbers, x.frac, x.counts, x.lattice, told)
    found = {o.name: o for o in observables(["band_gap", "density"])}
    assert found["band_gap"].unit == "eV"
    assert found["band_gap"].of(y).tolist() == [1, 2, 3, 4]
    assert found["band_gap"].of(x).isnan().all()
    assert found["density"].of(y).tolist() == [1] * 4
    assert found["density"].of(x).tolist() == density(x).tolist()
    invariant = ("density", "volume_per_atom", "elements", "atoms", "space_group",
                 "crystal_system", "closest_atoms", "spacing")  # fmt: skip
    for name in invariant:
        torch.testing.assert_close(
            found[name].of(written_otherwise(x)), found[name].of(x), atol=1e-6, rtol=1e-6
        )
    assert found["space_group"].of(x).tolist() == [225, 136, 154, 221]
    assert found["crystal_system"].of(x).tolist() == [7, 4, 5, 7]
    assert set(SEEN) <= set(found)


def test_gradients_flow_from_density_to_the_cell():
    x = some()
    lattice = x.lattice.clone().requires_grad_()
    density(Crystals(x.numbers, x.frac, x.counts, lattice)).sum().backward()
    assert lattice.grad is not None
    assert (lattice.grad != 0).any()
