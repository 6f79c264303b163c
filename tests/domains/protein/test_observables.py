import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.protein import aminoacids
from genmatter.domains.protein.observables import (
    charge,
    hydropathy,
    isoelectric_point,
    labelled,
    mass,
    observables,
)
from genmatter.domains.protein.sequences import ALPHABET, Numbering, Sequences, letters


def of(*texts):
    return Sequences.of(torch.stack([letters(t) for t in texts]))


def test_mass_is_that_of_known_peptides():
    # triglycine and glutathione's linear isomer E-C-G, by PubChem
    found = mass(of("GGG", "ECG"))
    assert found.tolist() == pytest.approx([189.17, 307.33], abs=0.01)
    assert mass(of("G-G", "GG-")).tolist() == pytest.approx([132.12] * 2, abs=0.01)


def test_hydropathy_is_the_mean_of_the_scale():
    assert hydropathy(of("IV-", "RRR")).tolist() == pytest.approx([4.35, -4.5])
    assert math.isnan(hydropathy(of("---"))[0])


def test_charge_is_that_of_groups_by_themselves():
    ends = 1 / (1 + 10 ** (7 - 8.6)) - 1 / (1 + 10 ** (3.6 - 7))
    side = {"K": 1 / (1 + 10 ** (7 - 10.8)), "D": -1 / (1 + 10 ** (3.9 - 7)), "A": 0.0}
    for text in ("AAA", "KKA", "DKA", "DDD"):
        expected = ends + sum(side[one] for one in text)
        assert charge(of(text)).item() == pytest.approx(expected)
    acid, base = charge(of("DEKRH"), -20.0), charge(of("DEKRH"), 40.0)
    assert (acid.item(), base.item()) == pytest.approx((4, -3))


def test_the_isoelectric_point_is_where_no_charge_is_left():
    s = of("DDEE", "KKRR", "ACDE", "GGGG")
    at = isoelectric_point(s)
    assert charge(s, at).abs().max() < 1e-6
    assert at[3] == pytest.approx((8.6 + 3.6) / 2)
    assert at[0] < 4 < 11 < at[1]


def test_every_amino_acid_has_its_numbers():
    for scale in (aminoacids.VOLUME, aminoacids.MASS, aminoacids.FREQUENCY):
        assert scale.shape == (21,)
        assert scale[0] == 0
        assert (scale[1:] > 0).all()
    assert aminoacids.FREQUENCY.sum() == pytest.approx(1)
    assert aminoacids.HYDROPATHY[ALPHABET.index("I")] == 4.5
    assert aminoacids.CHARGE.sum() == 0
    heaviest = aminoacids.MASS.argmax()
    assert heaviest == aminoacids.VOLUME.argmax() == ALPHABET.index("W")


def test_observables_are_listed_with_the_tables_columns():
    names = [o.name for o in observables(("pH",), focus=True)]
    assert names[-2:] == ["identity_to_focus", "pH"]
    assert "identity_to_focus" not in [o.name for o in observables()]
    s = of("MKV", "M-I")
    for o in observables(("pH",), focus=True):
        assert o.of(s).shape == (2,)
        assert o.of(s).dtype == torch.float64
    by = {o.name: o.of for o in observables(("pH",), focus=True)}
    assert by["pH"](s).isnan().all()
    assert by["identity_to_focus"](s).isnan().all()
    assert by["residues"](s).tolist() == [3, 2]
    assert by["aromatics"](of("FWA")).item() == pytest.approx(2 / 3)
    told = replace(
        s, numbering=Numbering((1, 2, 4), "F", "MKIV", 1), columns={"pH": torch.ones(2).double()}
    )
    assert by["identity_to_focus"](told).tolist() == pytest.approx([1, 1 / 3])
    assert by["pH"](told).tolist() == [1, 1]


def test_labels_are_numbers_of_kinds():
    texts = np.array(["b", "", "a", "b"], dtype=object)
    s = replace(of(*["MK"] * 4), labels={"kind": texts, "none": np.array([""] * 4, dtype=object)})
    ((name, numbers),) = labelled(s).items()
    assert name == "kind: 1 a, 2 b"
    torch.testing.assert_close(numbers, torch.tensor([2, math.nan, 1, 2]).double(), equal_nan=True)
    many = replace(s, labels={"x": np.array([*"abcd"], dtype=object)})
    assert "..." not in next(iter(labelled(many)))
    more = Sequences.of(torch.ones(12, 2))
    found = labelled(replace(more, labels={"x": np.array([*"abcdefghijkl"], dtype=object)}))
    assert next(iter(found)).endswith("8 h, ...")
