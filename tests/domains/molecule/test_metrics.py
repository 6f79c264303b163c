import csv
import gzip
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from scipy.stats import entropy, gaussian_kde

from genmatter.domains.molecule import chemnet, divergence, metrics, properties
from genmatter.domains.molecule.alerts import passes
from genmatter.domains.molecule.metrics import conditional_error, match, score
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.parts import fingerprints, parts, tanimoto
from genmatter.errors import DataError, MissingExtraError
from genmatter.maths.noise import generator

DRUGS = (
    "CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "CC(=O)Nc1ccc(O)cc1",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21",
    "CNCCC(Oc1ccc(C(F)(F)F)cc1)c1ccccc1", "CN1CCC[C@H]1c1cccnc1",
    "NC(=O)N1c2ccccc2C=Cc2ccccc21", "CN(C)CCCN1c2ccccc2CCc2ccccc21",
    "OC(CCN1CCCCC1)(c1ccccc1)C1CCCCC1", "Clc1ccc(C(c2ccccc2)N2CCNCC2)cc1",
    "CCN(CC)C(=O)c1ccccc1", "O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1", "CC(N)Cc1ccccc1",
    "CNC(C)Cc1ccccc1", "CC(C)NCC(O)COc1cccc2ccccc12", "O=C(CCCN1CCC(O)CC1)c1ccc(F)cc1",
    "c1ccc2c(c1)CCN2", "O=C(O)c1ccccc1Nc1ccccc1", "COc1ccc(CCN)cc1",
)  # fmt: skip


def molecules(*smiles):
    return Molecules.of(list(smiles))


def values(scores):
    return {name: s.value for name, s in scores.items()}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path))


@pytest.fixture
def without_fcd(monkeypatch):
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "fcd", None)


@pytest.fixture
def real(real_data):
    """Some molecules in random order."""
    with gzip.open(real_data / "molecules" / "chembl_cns_like_train.csv.gz", "rt") as file:
        rows = [row["smiles"] for row in csv.DictReader(file)]
    order = torch.randperm(len(rows), generator=generator("molecules"))
    return Molecules.of([canonical(rows[k]) for k in order[:1500]])


def test_valid_unique_and_novel_are_shares_of_what_they_should_be(without_fcd):
    # five samples, four are molecules, three differ, two of these are new
    got = score(molecules("C", "C", "CC", "CCC", ""), molecules("CCO"), molecules("C", "CCO"))
    assert got["valid"].value == 4 / 5
    assert got["unique@1k"].value == got["unique@10k"].value == 3 / 4
    assert got["novelty"].value == pytest.approx(2 / 3)
    assert got["unique@10k"].unit == "n=4"
    assert got["novelty"].unit == "n=3"
    assert got["snn"].unit == "Tanimoto, n=4, 1 of test"


def test_unique_looks_at_the_first_thousand_and_ten_thousand(monkeypatch):
    monkeypatch.setattr(metrics, "_against", lambda x, y: {})
    names = [f"{k}" for k in range(1000)]
    got = score(molecules(*names, *names), molecules("C"), molecules("C"))
    assert (got["unique@1k"].value, got["unique@10k"].value) == (1, 0.5)
    got = score(molecules(*names * 11), molecules("C"), molecules("C"))
    assert got["unique@10k"].value == 0.1
    assert got["unique@10k"].unit == "n=10000"


def test_neighbours_and_diversity_of_two_molecules_that_share_nothing(without_fcd):
    # methane has one bit, which ethanol does not have: similarities are 1 and 0
    got = score(molecules("C", "CCO"), molecules("CCO"), molecules("C"))
    assert got["snn"].value == 1 / 2  # of methane 0, of ethanol 1
    assert got["int_div"].value == 1 / 2  # of four pairs, two are of one with itself
    assert got["int_div2"].value == pytest.approx(1 - math.sqrt(1 / 2))
    assert got["int_div"].best == got["int_div2"].best == 0  # a single test molecule


def test_scaffolds_are_counted_where_they_have_two_rings(without_fcd):
    # samples: twice biphenyl's, once naphthalene's, toluene has none; test: each once
    samples = ("Cc1ccc(-c2ccccc2)cc1", "c1ccc(-c2ccccc2)cc1", "Cc1cccc2ccccc12", "Cc1ccccc1")
    test = ("Oc1ccc(-c2ccccc2)cc1", "Oc1cccc2ccccc12", "Oc1ccccc1")
    got = score(molecules(*samples), molecules(*test), molecules("C"))
    assert got["scaffolds"].value == pytest.approx((2 * 1 + 1 * 1) / math.sqrt(5 * 2))
    assert score(molecules("C"), molecules(*test), molecules("C"))["scaffolds"].value == 0
    assert score(molecules("C"), molecules("CC"), molecules("C"))["scaffolds"].value == 1


def test_fragments_are_what_brics_bonds_hold_together(without_fcd):
    # acetanilide is an acetyl, an NH and a phenyl, biphenyl two phenyls: (1, 1, 1) . (0, 0, 2)
    got = score(molecules("CC(=O)Nc1ccccc1"), molecules("c1ccc(-c2ccccc2)cc1"), molecules("C"))
    assert got["fragments"].value == pytest.approx(2 / (math.sqrt(3) * 2))


def test_alerts_are_found_by_the_catalogue_that_has_them(without_fcd):
    rhodanine, nitro, benzene = "O=C1NC(=S)SC1=Cc1ccccc1", "O=[N+]([O-])c1ccccc1", "c1ccccc1"
    found = passes([rhodanine, nitro, benzene])
    assert found["pains"].tolist() == [False, True, True]
    assert found["brenk"].tolist() == [False, False, True]
    got = score(molecules(rhodanine, nitro), molecules(nitro, benzene), molecules("C"))
    assert (got["pains"].value, got["pains"].best) == (1 / 2, 1)
    assert (got["brenk"].value, got["brenk"].best) == (0, 1 / 2)


def test_properties_are_compared_in_standard_deviations_of_the_test_set(without_fcd):
    # TPSA is 0 of hydrocarbons and 20.23 of a hydroxyl: the test set has a deviation of 10.115
    got = score(molecules("CO", "CCO"), molecules("C", "CCCO"), molecules("C"))
    assert got["w1_tpsa"].value == pytest.approx(1, abs=2e-3)
    assert got["w1_tpsa"].best == 0
    for name in ("qed", "sa"):
        a, b = (
            properties.compute(np.array(s, object), name) for s in (["CO", "CCO"], ["C", "CCCO"])
        )
        assert got[name].value == pytest.approx(a.mean().item())
        assert got[name].best == pytest.approx(b.mean().item())


def test_similarities_are_those_of_rdkit():
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    bits = [morgan.GetFingerprint(Chem.MolFromSmiles(s)) for s in DRUGS]
    told = torch.tensor([DataStructs.BulkTanimotoSimilarity(b, bits[:7]) for b in bits])
    x = fingerprints(parts(DRUGS))
    torch.testing.assert_close(torch.cat(list(tanimoto(x, x[:7]))), told)
    zero = torch.zeros(1, 1024)
    assert torch.cat(list(tanimoto(zero, torch.cat([zero, x[:1]])))).tolist() == [[1, 0]]


def test_many_molecules_are_compared_in_pieces(monkeypatch, without_fcd):
    x, y = molecules(*DRUGS[:13]), molecules(*DRUGS[5:])
    whole = score(x, y, y)
    monkeypatch.setattr("genmatter.domains.molecule.parts._ROWS", 4)
    assert values(score(x, y, y)) == pytest.approx(values(whole), rel=1e-6)


def test_a_set_against_itself_is_perfect_and_not_new():
    x = molecules(*DRUGS)
    got = score(x, x, x)
    assert set(got) == {
        "valid", "unique@1k", "unique@10k", "novelty", "snn", "scaffolds", "fragments", "int_div",
        "int_div2", "pains", "brenk", "w1_logp", "w1_sa", "w1_qed", "w1_mw", "w1_tpsa", "qed",
        "sa", "kl", "fcd",
    }  # fmt: skip
    assert got.pop("novelty").value == 0
    assert got["snn"].value == 1
    for name, s in got.items():
        assert s.gap == pytest.approx(0, abs=1e-5), name


def test_samples_count_as_a_set_and_scores_have_no_chance_in_them():
    x, y = molecules(*DRUGS[:12], ""), molecules(*DRUGS[8:])
    first = score(x, y, y)
    assert first == score(x, y, y)
    turned = score(x[torch.arange(len(x)).flip(0)], y, y)
    assert values(turned) == pytest.approx(values(first), rel=1e-5, abs=1e-5)
    assert 0 < first["snn"].value < 1
    assert 0 < first["novelty"].value < 1


def test_more_molecules_than_the_limit_are_drawn_the_same_each_time(monkeypatch, without_fcd):
    monkeypatch.setattr(metrics, "MOST", 6)
    x, y = molecules(*DRUGS, ""), molecules(*DRUGS)
    got = score(x, y, y)
    assert got["snn"].unit == "Tanimoto, n=6, 6 of test"
    assert got["valid"].unit == "n=21"
    assert got == score(x, y, y)
    assert got["snn"].value < 1  # other rows of each


@pytest.mark.parametrize("few", [(), ("",) * 8, ("C",), ("C",) * 8, ("[H][H]", ""), ("*",)])
@pytest.mark.parametrize("test", [("C",), ("CC",) * 5, DRUGS])
def test_every_score_is_finite_however_few_and_poor_the_samples(few, test):
    got = score(molecules(*few), molecules(*test), molecules())
    assert all(math.isfinite(s.value) and math.isfinite(s.best) for s in got.values())
    assert len(got) == 20


def test_nothing_at_all_is_worst():
    test = molecules(*DRUGS)
    worst = score(molecules("", ""), test, test)
    for name in ("valid", "unique@1k", "unique@10k", "novelty", "snn", "scaffolds", "fragments",
                 "int_div", "int_div2", "pains", "brenk", "kl", "qed"):  # fmt: skip
        assert worst[name].value == 0, name
    assert worst["sa"].value == 10
    poor = score(molecules("CCO", "CCCl", "C1CC1C"), test, molecules())
    for name, s in poor.items():
        assert s.gap <= worst[name].gap, name


def test_a_test_set_without_molecules_is_refused():
    with pytest.raises(DataError, match="the test set holds no molecule"):
        score(molecules("C"), molecules("", ""), molecules())


def test_divergences_are_those_of_kernel_densities_and_histograms():
    x = torch.randn(300, generator=generator("x")).double()
    y = 1.5 * torch.randn(200, generator=generator("y")).double() + 0.5
    ends = torch.cat([x, y]).aminmax()
    at = np.linspace(ends.min.item(), ends.max.item(), 1000)
    told = entropy(gaussian_kde(y)(at) + 1e-10, gaussian_kde(x)(at) + 1e-10)
    assert divergence.continuous(x, y) == pytest.approx(told, rel=1e-6)
    a, b = (torch.tensor(k).double() for k in ([0, 1, 1, 2, 5], [0, 1, 2, 2, 5]))
    (p, edges), (q, _) = (np.histogram(b, 10, density=True), np.histogram(a, 10, (0, 5), True))
    assert divergence.counts(a, b) == pytest.approx(entropy(p + 1e-10, q + 1e-10), rel=1e-6)
    assert edges[-1] == 5
    assert divergence.continuous(x, x) == divergence.counts(a, a) == 0


def test_counts_beyond_the_reference_are_not_left_out():
    y = torch.tensor([0.0, 1, 2, 3])
    fair, beyond = torch.tensor([0.0, 1, 2, 3]), torch.tensor([0.0, 1, 2, 3, 9, 9, 9, 9])
    assert divergence.counts(beyond, y) > divergence.counts(fair, y) + 0.1
    assert math.isfinite(divergence.counts(y, torch.ones(3)))
    assert divergence.continuous(torch.ones(2), torch.ones(3)) == 0
    assert divergence.continuous(torch.ones(2), torch.zeros(3)) > 5


def test_the_score_of_divergences_is_the_mean_of_their_exponentials(without_fcd):
    x, y = molecules(*DRUGS[:12]), molecules(*DRUGS[4:])
    (a, b) = (
        properties.table(z.smiles, (*divergence.CONTINUOUS, *divergence.COUNTS)) for z in (x, y)
    )
    terms = [math.exp(-divergence.continuous(a[k], b[k])) for k in divergence.CONTINUOUS]
    terms += [math.exp(-divergence.counts(a[k], b[k])) for k in divergence.COUNTS]
    nearest = []
    for z in (x, y):
        bits = fingerprints(parts(z.smiles.tolist()))
        alike = torch.cat(list(tanimoto(bits, bits)))
        nearest.append(alike.fill_diagonal_(0).amax(1).double())
    terms.append(math.exp(-divergence.continuous(*nearest)))
    twice = molecules(*x.smiles, *x.smiles)  # copies say nothing new
    for samples in (x, twice):
        assert score(samples, y, y)["kl"].value == pytest.approx(sum(terms) / 10)


def test_without_the_package_there_is_no_frechet_distance(without_fcd):
    x = molecules(*DRUGS[:3])
    assert "fcd" not in score(x, x, x)
    assert not chemnet.installed()
    chemnet._FOUND.known.clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'genmatter\[fcd\]'"):
        chemnet.numbers(["CCO"])


def test_the_distance_is_that_of_the_package():
    fcd = pytest.importorskip("fcd")
    a = torch.randn(200, 12, generator=generator("a")).double()
    b = 1.3 * torch.randn(150, 12, generator=generator("b")).double() + 0.2
    law = lambda x: (x.mean(0).numpy(), np.cov(x.numpy().T))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy, about names that the package uses
        told = fcd.calculate_frechet_distance(*law(a), *law(b))
        direct = fcd.get_predictions(fcd.load_ref_model(), list(DRUGS), n_jobs=0, device="cpu")
    assert chemnet.squared_distance(a, b) == pytest.approx(told, rel=1e-6)
    assert chemnet.squared_distance(a, a) == pytest.approx(0, abs=1e-6)
    numbers = chemnet.numbers([*DRUGS, "C" * 400])
    torch.testing.assert_close(numbers, torch.from_numpy(direct), rtol=1e-4, atol=1e-5)


def test_real_molecules_score_as_the_package_does_and_near_perfect(real):
    fcd = pytest.importorskip("fcd")
    x, y = real[:250], real[250:500]
    got = score(x, y, real[500:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fcd.load_ref_model()
        a, b = (fcd.get_predictions(model, list(z.smiles), n_jobs=0, device="cpu") for z in (x, y))
        law = lambda z: (z.mean(0), np.cov(z.T))
        told = fcd.calculate_frechet_distance(*law(a), *law(b))
    assert got["fcd"].value == pytest.approx(told, rel=1e-2)
    assert got["novelty"].value == got["valid"].value == got["unique@1k"].value == 1
    assert got["kl"].value > 0.97
    assert got["fragments"].value > 0.9
    assert 0.25 < got["snn"].value < 0.45
    for name in ("int_div", "int_div2", "qed", "pains"):
        assert got[name].gap < 0.03, name
    for name in ("w1_logp", "w1_sa", "w1_qed", "w1_mw", "w1_tpsa", "sa"):
        assert got[name].gap < 0.15, name


def test_copies_are_matched_by_molecule_by_symbols_and_by_likeness():
    # [C][C][O], as it is; [C][C][O] against [C][O], one symbol deleted, one place kept;
    # [C][C][N] against [C][C][O], one of three replaced; and nothing
    objects, copies = molecules("CCO", "CCO", "CCN", "CCO"), molecules("CCO", "CO", "CCO", "")
    got = match(objects, copies)
    assert got["exact"].value == 1 / 4
    assert got["tokens"].value == pytest.approx((1 + 2 / 3 + 2 / 3 + 0) / 4)
    assert got["positions"].value == pytest.approx((1 + 1 / 3 + 2 / 3 + 0) / 4)
    bits = fingerprints(parts(["CCO", "CO", "CCN"]))
    alike = torch.cat(list(tanimoto(bits, bits)))
    assert got["similarity"].value == pytest.approx((1 + alike[0, 1] + alike[2, 0]).item() / 4)
    assert all(s.best == 1 for s in got.values())


def test_molecules_match_themselves_and_nothing_matches_nothing():
    x = molecules(*DRUGS)
    assert set(values(match(x, x)).values()) == {1.0}
    none = molecules("", "")
    assert set(values(match(none, none)).values()) == {0.0}
    assert set(values(match(molecules(), molecules())).values()) == {0.0}
    with pytest.raises(DataError, match="2 reconstructions cannot be matched with 20 molecules"):
        match(x, none)


def test_edits_are_counted_by_the_fewest():
    for a, b, edits in (
        ("kitten", "sitting", 3),
        ("abc", "", 3),
        ("ab", "ba", 2),
        ("abcd", "bcda", 2),
    ):
        kept = 1 - edits / max(len(a), len(b))
        assert metrics._kept(list(a), list(b)) == pytest.approx(kept)
        assert metrics._kept(list(b), list(a)) == pytest.approx(kept)


def test_the_error_against_a_target_is_of_what_is_known():
    got = conditional_error(torch.tensor([40.0, 50.0, math.nan]), 50, "square angstrom")
    assert (got.value, got.best, got.unit) == (5, 0, "square angstrom")
    assert math.isnan(conditional_error(torch.tensor([math.nan]), 0.0).value)
