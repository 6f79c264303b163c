import itertools
import math

import pytest
import torch

from genmatter.domains.protein import family
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.potts import Potts
from genmatter.domains.protein.sequences import ALPHABET
from genmatter.errors import ConfigError, DataError

SITES, STATES = 7, 4
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (0, 6), (1, 5), (2, 4))


@pytest.fixture
def small():
    g = torch.Generator().manual_seed(3)
    normal = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=g)
    return Potts(
        normal(3, SITES, STATES),
        PAIRS,
        1.5 * normal(len(PAIRS), STATES, STATES),
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    )


@pytest.fixture
def every():
    return torch.tensor([*itertools.product(range(STATES), repeat=SITES)])


def test_every_likelihood_is_that_of_brute_force(small, every):
    exponent = -small.energies(every)
    log_z = exponent.logsumexp(0)
    torch.testing.assert_close(small.log_z, log_z, rtol=0, atol=1e-12)
    expected = (small.shares.log() + exponent - log_z).logsumexp(1)
    torch.testing.assert_close(small.log_prob(every), expected, rtol=0, atol=1e-12)
    assert small.log_prob(every).exp().sum() == pytest.approx(1, abs=1e-12)


def test_energies_are_the_sum_of_fields_and_couplings(small):
    x = torch.tensor([[0, 1, 2, 3, 2, 1, 3]])
    h = sum(small.fields[1, i, x[0, i]] for i in range(SITES))
    j = sum(small.couplings[k, x[0, a], x[0, b]] for k, (a, b) in enumerate(PAIRS))
    assert small.energies(x)[0, 1] == pytest.approx(-(h + j))


def test_marginals_are_those_of_brute_force(small, every):
    p = small.log_prob(every).exp()
    one = torch.zeros(SITES, STATES, dtype=torch.float64)
    for i in range(SITES):
        one[i].index_add_(0, every[:, i], p)
    torch.testing.assert_close(small.site_marginals(), one, rtol=0, atol=1e-12)
    for k, (i, j) in enumerate(PAIRS):
        two = torch.zeros(STATES * STATES, dtype=torch.float64)
        two.index_add_(0, every[:, i] * STATES + every[:, j], p)
        two = two.view(STATES, STATES)
        torch.testing.assert_close(small.pair_marginals()[k], two, rtol=0, atol=1e-12)
        expected = two - one[i][:, None] * one[j]
        torch.testing.assert_close(small.connected()[k], expected, rtol=0, atol=1e-12)


def test_entropies_are_those_of_brute_force(small, every):
    joint = small.log_joint(every)
    given = joint - small.shares.log()
    conditional = -(joint.exp() * given).sum().item()
    assert small.conditional_entropy == pytest.approx(conditional, abs=1e-12)
    p = small.log_prob(every)
    whole = -(p.exp() * p).sum().item()
    x, _ = small.sample(200_000, torch.Generator().manual_seed(0))
    assert small.entropy(x) == pytest.approx(whole, abs=4e-3)


def test_samples_are_independent_draws_of_the_law(small, every):
    n = 100_000
    x, c = small.sample(n, torch.Generator().manual_seed(1))
    key = (x * STATES ** torch.arange(SITES - 1, -1, -1)).sum(1)
    count = torch.bincount(key, minlength=len(every)).double()
    p = small.log_prob(every).exp()
    often = n * p > 5
    chi = ((count - n * p).square() / (n * p))[often].sum().item()
    assert abs(chi - often.sum()) < 5 * math.sqrt(2 * often.sum())
    assert torch.bincount(c).double().div(n).sub(small.shares).abs().max() < 0.006
    lag = torch.corrcoef(torch.stack([key[:-1], key[1:]]).double())[0, 1]
    assert abs(lag) < 5 / math.sqrt(n)


def test_samples_of_a_component_are_its_own(small, every):
    x, c = small.sample(100_000, torch.Generator().manual_seed(2))
    for k in range(3):
        exact = (small.log_joint(every)[:, k] - small.shares[k].log()).exp()
        first = torch.zeros(STATES, dtype=torch.float64).index_add_(0, every[:, 3], exact)
        drawn = torch.bincount(x[c == k, 3], minlength=STATES).double() / (c == k).sum()
        assert (drawn - first).abs().max() < 0.015


def test_sites_without_couplings_are_drawn_by_their_fields():
    h = torch.randn(1, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lone = Potts(h, (), torch.zeros(0, 5, 5, dtype=torch.float64), torch.ones(1).double())
    torch.testing.assert_close(lone.site_marginals(), h[0].softmax(-1))


def test_graphs_of_more_treewidth_are_refused():
    pairs = tuple(itertools.combinations(range(4), 2))
    four = Potts(
        torch.zeros(1, 4, 2).double(), pairs, torch.zeros(6, 2, 2).double(), torch.ones(1).double()
    )
    with pytest.raises(DataError, match="treewidth"):
        _ = four.log_z
    for wrong in (((1, 0),), ((0, 4),), ((0, 1), (0, 1))):
        with pytest.raises(DataError, match="pairs"):
            Potts(four.fields, wrong, four.couplings[: len(wrong)], four.shares)


@pytest.mark.parametrize(("sites", "seed"), [(16, 0), (24, 1), (64, 0), (96, 2), (97, 3)])
def test_contacts_are_nested_hairpins(sites, seed):
    law = simulated(sites, seed)
    assert law.contacts
    for (i, j), (k, m) in itertools.combinations(law.contacts, 2):
        crossed = i < k < j < m or k < i < m < j
        assert not crossed
    assert all(j - i >= 3 for i, j in law.contacts)
    assert all((i, i + 1) in law.potts.pairs for i in range(sites - 1))
    assert len({s for pair in law.contacts for s in pair}) == 2 * len(law.contacts)


def test_a_family_is_a_function_of_its_seed():
    a, b = simulated(24, 0), simulated(24, 1)
    simulated.cache_clear()
    same = simulated(24, 0)
    assert torch.equal(a.potts.fields, same.potts.fields)
    assert not torch.equal(a.potts.fields, b.potts.fields)
    assert torch.equal(a.sample(50, "x")[0], same.sample(50, "x")[0])
    assert not torch.equal(a.sample(50, "x")[0], a.sample(50, "y")[0])


def test_a_family_conserves_its_triad_and_has_subfamilies():
    law = simulated(64, 0)
    x, c = law.sample(4000, "test")
    for one, site in zip("HDS", law.triad, strict=True):
        assert (x[:, site] == ALPHABET.index(one)).double().mean() > 0.95
    assert law.motif == tuple(f"{a}{s + 1}" for a, s in zip("HDS", law.triad, strict=True))
    assert torch.bincount(c, minlength=family.SUBFAMILIES).min() > 500
    told = law.potts.log_joint(x.long() - 1).argmax(1)
    assert (told == c).double().mean() > 0.99
    own = law.potts.fields - law.potts.fields.mean(0)
    perturbed = (own.abs().amax(2) > 1e-9).double().mean()
    assert 0.4 < perturbed < 1


def test_couplings_join_what_goes_together():
    law = simulated(64, 0)
    j = law.potts.couplings[63:].mean(0)  # contacts; random parts go out
    at = lambda one: ALPHABET.index(one) - 1
    assert j[at("K"), at("E")] > 0.3 > -0.3 > j[at("K"), at("R")]
    assert j[at("I"), at("L")] > 0 > j[at("I"), at("K")]
    torch.testing.assert_close(j.sum(0), torch.zeros(20).double(), atol=1e-9, rtol=0)


def test_a_gap_is_impossible_and_short_sequences_are_refused():
    law = simulated(24, 0)
    x, _ = law.sample(2, "x")
    x[0, 5] = 0
    assert law.log_prob(x)[0] == -math.inf
    assert law.log_prob(x)[1].isfinite()
    with pytest.raises(ConfigError, match="at least 16"):
        simulated(15, 0)
