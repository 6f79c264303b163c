import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.domains.protein import baselines as module
from genmatter.domains.protein import pseudo
from genmatter.domains.protein.baselines import baselines, potts, site_samples
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.pseudo import STATES, PseudoPotts, fit, one_hot
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.statistics import frequencies, pairs_agree

LAW = simulated(24, 0)


def drawn(n, key="x"):
    return Sequences.of(LAW.sample(n, key)[0])


@pytest.fixture(scope="module")
def fitted():
    return fit(drawn(4000, "train"))


@pytest.fixture
def small():
    """Three sites of which one state each is not coupled."""
    g = torch.Generator().manual_seed(0)
    columns = torch.tensor([k for k in range(3 * STATES) if k % STATES in (1, 2, 3)])
    j = torch.randn(9, 9, generator=g)
    site = columns // STATES
    return PseudoPotts(
        torch.randn(3, STATES, generator=g), (j + j.T) * (site[:, None] != site), columns
    )


def brute(model, x):
    full = torch.zeros(3 * STATES, 3 * STATES)
    full[model.columns[:, None], model.columns] = model.couplings
    at = x.long() + torch.arange(3) * STATES
    h = model.fields[torch.arange(3), x.long()].sum(1)
    return -(h + sum(full[at[:, i], at[:, j]] for i, j in ((0, 1), (0, 2), (1, 2))))


def test_energies_are_the_sum_of_fields_and_couplings(small):
    x = torch.tensor([*itertools.product(range(5), repeat=3)], dtype=torch.int8)
    torch.testing.assert_close(small.energies(x), brute(small, x))


def test_pseudo_likelihood_is_that_of_each_site_given_the_others(small):
    x = torch.tensor([[1, 2, 3], [0, 4, 1]], dtype=torch.int8)
    expected = torch.zeros(2)
    for i in range(3):
        every = x[:, None].repeat(1, STATES, 1)
        every[:, :, i] = torch.arange(STATES)
        e = brute(small, every.flatten(0, 1)).view(2, STATES)
        expected += (-e).log_softmax(1).gather(1, x[:, i].long()[:, None])[:, 0]
    torch.testing.assert_close(small.pseudo_log_likelihood(x), expected)


def test_chains_forget_where_they_began_and_draw_the_models_law(small):
    every = torch.tensor([*itertools.product(range(STATES), repeat=3)], dtype=torch.int8)
    p = (-small.energies(every)).softmax(0).double()
    x = small.sample(torch.zeros(20_000, 3, dtype=torch.int8), 12)
    for i in range(3):
        exact = torch.zeros(STATES).double().index_add_(0, every[:, i].long(), p)
        found = torch.bincount(x[:, i].long(), minlength=STATES) / 20_000
        assert (found - exact).abs().max() < 0.02
    pair = torch.zeros(STATES**2).double()
    pair.index_add_(0, every[:, 0].long() * STATES + every[:, 2].long(), p)
    both = torch.bincount(x[:, 0].long() * STATES + x[:, 2].long(), minlength=STATES**2) / 20_000
    assert (both - pair).abs().max() < 0.02


def test_a_fit_sees_what_sites_have_in_common(fitted):
    test = drawn(2000, "test")
    f = frequencies(drawn(4000, "train")).clamp_min(1e-4)
    alone = f[torch.arange(24), test.residues.long()].log().sum(1).mean()
    assert fitted.pseudo_log_likelihood(test.residues).mean() > alone + 2
    e, p = fitted.energies(test.residues).double(), LAW.log_prob(test.residues)
    assert np.corrcoef(-e, p)[0, 1] > 0.7
    x = Sequences.of(fitted.sample(test.residues, 40))
    assert pairs_agree(x, drawn(2000, "other")).slope > 0.5
    torch.testing.assert_close(fitted.couplings, fitted.couplings.T)
    site = fitted.columns // STATES
    assert (fitted.couplings[site[:, None] == site] == 0).all()


def test_true_couplings_are_recovered(fitted):
    full = torch.zeros(24 * STATES, 24 * STATES)
    full[fitted.columns[:, None], fitted.columns] = fitted.couplings
    blocks = full.view(24, STATES, 24, STATES)[:, 1:, :, 1:].permute(0, 2, 1, 3)
    centred = blocks - blocks.mean(2, keepdim=True) - blocks.mean(3, keepdim=True)
    norms = (centred + blocks.mean((2, 3), keepdim=True)).square().sum((2, 3)).sqrt()
    pairs = sorted(itertools.combinations(range(24), 2), key=lambda p: -norms[p])
    held = {*LAW.triad}  # whose couplings nothing shows
    free = [p for p in pairs if p[1] - p[0] > 1 and not held & {*p}]
    true = {p for p in LAW.contacts if not held & {*p}}
    assert len({*free[: len(true)]} & true) >= len(true) - 1


def test_weights_count():
    a, b = drawn(300, "a"), drawn(300, "b")
    both = Sequences.cat([a, b])
    heavy = replace(both, weights=torch.tensor([2.0] * 300 + [0.0] * 300).double())
    h = fit(heavy, epochs=2).fields
    f = frequencies(a).clamp_min(1e-9)
    often = f > 0.05
    assert np.corrcoef(h[often], f[often].log())[0, 1] > 0.9
    assert not torch.allclose(h, fit(both, epochs=2).fields)


def test_more_decay_leaves_less_coupling_and_a_key_repeats_a_fit():
    s = drawn(500)
    sizes = [fit(s, decay=d).couplings.norm().item() for d in (0.01, 0.1, 1.0)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert torch.equal(fit(s, epochs=1).couplings, fit(s, epochs=1).couplings)
    assert not torch.equal(fit(s, epochs=1).fields, fit(s, epochs=1, key=1).fields)


def test_the_step_is_that_of_the_objectives_gradient(monkeypatch):
    """One whole batch: the first step's gradient against autograd's."""
    s = drawn(100)
    seen = []
    monkeypatch.setattr(pseudo, "_adam", lambda p, grad, *_: seen.append(grad))
    fit(s, epochs=1, decay=0.5)
    counts = one_hot(s.residues).sum(0)
    columns = (counts >= 2).nonzero()[:, 0]
    h = ((counts.view(24, STATES) + 0.5 / STATES) / 100.5).log().requires_grad_()
    j = torch.zeros(len(columns), len(columns), requires_grad=True)
    site = columns // STATES
    sym = (j + j.T) / 2 * (site[:, None] != site)
    loss = -PseudoPotts(h, sym, columns).pseudo_log_likelihood(s.residues).mean()
    loss.backward()
    torch.testing.assert_close(seen[0], h.grad)
    # a step moves both of J_ij(a, b) and J_ji(b, a), which autograd's halves are
    torch.testing.assert_close(seen[1], 2 * j.grad)


def test_site_samples_have_the_frequencies_of_the_data():
    s = replace(drawn(500), weights=torch.rand(500).double())
    found = frequencies(site_samples(s, 20_000))
    assert (found - frequencies(s)).abs().max() < 0.02
    assert site_samples(s, 3).numbering == s.numbering


def test_baselines_are_two_or_one_and_the_fit_is_kept(monkeypatch):
    s = drawn(200)
    found = baselines(s, 50)
    assert {k: len(v) for k, v in found.items()} == {"site frequencies": 50, "Potts model": 50}
    assert potts(s) is potts(s)
    assert torch.equal(found["Potts model"].residues, baselines(s, 50)["Potts model"].residues)
    monkeypatch.setattr(module, "LONGEST", 23)
    assert [*baselines(s, 5)] == ["site frequencies"]
