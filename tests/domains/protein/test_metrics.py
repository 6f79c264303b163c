import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from genmatter.domains.protein import exact, metrics
from genmatter.domains.protein.baselines import site_samples
from genmatter.domains.protein.exact import against
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.identity import matches
from genmatter.domains.protein.metrics import match, nearest_identity, score, spearman
from genmatter.domains.protein.sequences import Numbering, Sequences
from genmatter.errors import DataError

LAW = simulated(32, 0)
MOTIF = {site: int(LAW.potts.fields[0, site].argmax()) + 1 for site in LAW.triad}


def drawn(n, key="x"):
    return Sequences.of(LAW.sample(n, key)[0])


@pytest.fixture(scope="module")
def sets():
    return drawn(1500, "samples"), drawn(1500, "test"), drawn(3000, "train")


def values(found):
    return {k: s.value for k, s in found.items()}


def test_sequences_of_the_law_are_nearly_perfect(sets):
    samples, test, train = sets
    found = score(samples, test, train, MOTIF)
    assert found["site_r"].value > 0.995
    assert found["pair_slope"].value == pytest.approx(1, abs=0.1)
    assert found["triplet_slope"].value == pytest.approx(1, abs=0.35)
    for name in ("site_entropy", "conserved", "motif", "nearest_identity"):
        assert found[name].gap < 0.02, name
    for name in ("identity_w1", "hamming_w1"):
        assert found[name].value < 0.1, name
    assert found["pca_overlap"].value > 0.85
    assert found["novelty"].value > 0.95
    assert found["unique"].value > 0.99
    assert "length_w1" not in found


def test_sites_by_themselves_lack_what_two_have_in_common(sets):
    samples, test, train = sets
    lone = score(site_samples(train, 1500), test, train, MOTIF)
    law = score(samples, test, train, MOTIF)
    assert lone["site_r"].value > 0.995
    assert abs(lone["pair_slope"].value) < 0.1
    assert abs(lone["triplet_slope"].value) < 0.2
    assert lone["pair_r"].value < 0.2 < 0.5 < law["pair_r"].value
    assert lone["pca_overlap"].value < law["pca_overlap"].value - 0.1
    assert lone["identity_w1"].value > law["identity_w1"].value


def test_copies_and_repetitions_are_found(sets):
    _, test, train = sets
    found = score(train[:1000], test, train)
    assert found["novelty"].value == 0
    assert found["nearest_identity"].value == 1
    assert found["nearest_identity"].best < 0.8
    assert score(drawn(10).onto(train.numbering)[[0] * 10], test, train)["unique"].value == 0.1


def test_a_consensus_is_too_conserved(sets):
    _, test, train = sets
    likeliest = Sequences.of(train.residues.mode(0).values[None].repeat(200, 1))
    found = score(likeliest, test, train, MOTIF)
    assert found["site_entropy"].value == pytest.approx(0, abs=1e-9)
    assert found["motif"].value == pytest.approx(1)
    assert found["motif"].best == pytest.approx(
        (test.residues[:, [*MOTIF]] == torch.tensor([*MOTIF.values()]))
        .all(1)
        .double()
        .mean()
        .item()
    )
    assert found["pair_r"].value == 0
    assert found["hamming_w1"].value > 1


def test_weights_of_the_test_set_count(sets):
    samples, test, train = sets
    w = torch.zeros(1500).double()
    w[:700] = 1500 / 700
    heavy = score(samples, replace(test, weights=w), train, MOTIF)
    alone = score(samples, test[:700], train, MOTIF)
    for name in ("site_r", "pair_r", "site_entropy", "conserved", "motif"):
        assert heavy[name].value == pytest.approx(alone[name].value, abs=1e-6), name
        assert heavy[name].best == pytest.approx(alone[name].best, abs=1e-6), name


def test_gaps_are_compared_where_there_are_any(sets):
    samples, test, train = sets
    g = torch.Generator().manual_seed(0)

    def cut(s, most):
        x = s.residues.clone()
        ends = torch.randint(0, most, (len(x), 1), generator=g)
        x[torch.arange(32) < ends] = 0
        return replace(s, residues=x)

    a, b, c = cut(samples, 8), cut(test, 8), cut(train, 8)
    same, other = score(a, b, c), score(cut(samples, 16), b, c)
    assert same["length_w1"].value < 0.12 < other["length_w1"].value
    assert same["gap_runs_w1"].value < 0.2
    holes = a.residues.clone()
    holes[:, ::5] = 0
    assert score(replace(a, residues=holes), b, c)["gap_runs_w1"].value > 2


def test_identities_and_distances_are_those_of_plain_counts():
    s = drawn(20)
    x = s.residues.clone()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = 0
    share, far = metrics._identities(replace(s, residues=x))
    k = 0
    for i in range(20):
        for j in range(i + 1, 20):
            both = (x[i] > 0) & (x[j] > 0)
            assert share[k] == pytest.approx(
                ((x[i] == x[j]) & both).sum().item() / both.sum().item()
            )
            assert far[k] == (x[i] != x[j]).sum()
            k += 1
    near = nearest_identity(s, drawn(50, "y"))
    expected = matches(s.residues.numpy(), drawn(50, "y").residues.numpy()).max(1) / 32
    assert np.allclose(near, expected)


def test_scores_do_not_depend_on_the_order(sets):
    samples, test, train = sets
    a = values(score(samples, test, train))
    b = values(score(samples[torch.randperm(1500)], test, train[torch.randperm(3000)]))
    for name in ("site_r", "pair_r", "pair_slope", "pca_overlap", "novelty", "unique"):
        assert a[name] == pytest.approx(b[name], abs=1e-3), name


def test_sets_that_cannot_be_compared_are_refused(sets):
    samples, test, train = sets
    with pytest.raises(DataError, match="samples set holds no"):
        score(samples[:0], test, train)
    with pytest.raises(DataError, match="have 24 columns, not 32"):
        score(Sequences.of(simulated(24, 0).sample(5, "x")[0]), test, train)


def test_reconstructions_are_compared_one_to_one():
    s = drawn(4)
    x = s.residues.clone()
    x[0, :8] = 0
    whole = replace(s, residues=x)
    assert values(match(whole, whole)) == {"exact": 1, "recovered": 1, "gaps": 1}
    y = x.clone()
    y[1, 0] = x[1, 0] % 20 + 1
    y[0, 0] = 3
    found = values(match(whole, replace(s, residues=y)))
    assert found == {"exact": 0.5, "recovered": pytest.approx(119 / 120), "gaps": 7 / 8}
    assert "gaps" not in match(s, s)
    with pytest.raises(DataError, match="one to one"):
        match(s, s[:2])


def test_rank_correlation_is_spearmans():
    g = torch.Generator().manual_seed(0)
    a = torch.randint(0, 8, (60,), generator=g).double()
    b = a + torch.randn(60, generator=g).double() * 3
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    a[3] = math.nan
    keep = torch.arange(60) != 3
    assert spearman(a, b) == pytest.approx(spearmanr(a[keep], b[keep]).statistic)
    assert math.isnan(spearman(a[:1], b[:1]))
    assert math.isnan(spearman(torch.ones(5), b[:5]))


def test_the_law_judges_its_own_sequences():
    found = against(drawn(4000), LAW)
    assert found["law_nats"].gap < 0.02
    assert found["contact_r"].value > 0.95
    assert found["contact_slope"].value == pytest.approx(1, abs=0.05)
    assert found["subfamilies"].value > 0.97
    lone = against(site_samples(drawn(4000), 4000), LAW)
    assert lone["law_nats"].value > found["law_nats"].value + 0.1
    assert abs(lone["contact_slope"].value) < 0.05
    one = drawn(4000)[torch.from_numpy(np.flatnonzero(LAW.sample(4000, "x")[1] == 0))]
    assert against(one, LAW)["subfamilies"].value < 0.3


def test_the_entropy_of_the_law_is_what_its_sequences_cost():
    cost = -LAW.log_prob(drawn(20_000, "many").residues) / 32
    error = cost.std() / 20_000**0.5
    assert exact.entropy(LAW) == pytest.approx(cost.mean().item(), abs=4 * error.item())


def test_sequences_with_gaps_are_not_judged_by_the_law():
    s = drawn(20)
    x = s.residues.clone()
    x[0, 0] = 0
    found = against(replace(s, residues=x), LAW)
    assert found["law_nats"].value == pytest.approx(against(s[1:], LAW)["law_nats"].value)
    assert "n=19" in found["law_nats"].unit
    assert against(replace(s, residues=torch.zeros_like(x)), LAW) == {}


def test_columns_are_found_by_their_numbers():
    s = drawn(3)
    some = Numbering((3, 4, 9))
    assert torch.equal(s.onto(some).residues, s.residues[:, [2, 3, 8]])
    bare = Sequences.of(s.residues[:, :3])
    assert bare.onto(some).numbering == some
    with pytest.raises(DataError, match="lack 1 of 2 columns, number 40 first"):
        s.onto(Numbering((3, 40)))
