"""Contacts in closed form, and orders in which few sites depend on each other."""

import torch

from genmatter.domains.protein.contacts import Order, coupled, elimination, strengths
from genmatter.domains.protein.family import simulated


def graph(sites, pairs):
    found = torch.zeros(sites, sites, dtype=torch.bool)
    for i, j in pairs:
        found[i, j] = found[j, i] = True
    return found


def test_couplings_are_told_from_what_follows_the_same_site():
    """In a chain 0 - 1 - 2 the ends are correlated, and not coupled."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 4, (20_000, 6), generator=g)
    for i in (1, 2):
        copied = torch.rand(len(x), generator=g) < 0.6
        x[:, i] = torch.where(copied, x[:, i - 1], x[:, i])
    found = strengths(x, torch.ones(len(x)), 4)
    torch.testing.assert_close(found, found.T, atol=1e-5, rtol=1e-4)
    assert found.diagonal().abs().max() == 0
    assert min(found[0, 1], found[1, 2]) > 5 * found[0, 2].abs()


def test_the_norm_is_that_of_couplings_in_the_zero_sum_gauge():
    g = torch.Generator().manual_seed(1)
    x = torch.randint(0, 3, (300, 4), generator=g)
    x[:, 1] = torch.where(torch.rand(300, generator=g) < 0.5, x[:, 0], x[:, 1])
    one = torch.nn.functional.one_hot(x, 3)[..., 1:].flatten(1).double()
    f = 0.5 * one.mean(0) + 0.5 / 3
    ff = 0.5 * one.T @ one / 300 + 0.5 / 9
    for i in range(4):
        ff[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.diag(f[2 * i : 2 * i + 2])
    inverse = torch.linalg.inv(ff - f[:, None] * f)
    norm = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            full = torch.zeros(3, 3, dtype=torch.float64)
            full[1:, 1:] = -inverse[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            full = full - full.mean(0) - full.mean(1, keepdim=True) + full.mean()
            norm[i, j] = full.norm() if i != j else 0.0
    known = norm - norm.sum(0) * norm.sum(1)[:, None] / norm.sum()
    found = strengths(x, torch.ones(300), 3)
    off = ~torch.eye(4, dtype=torch.bool)
    torch.testing.assert_close(found[off].double(), known[off], atol=1e-4, rtol=1e-3)


def test_weights_count_as_repetitions_do():
    g = torch.Generator().manual_seed(2)
    x, count = torch.randint(0, 5, (200, 6), generator=g), torch.randint(1, 4, (200,), generator=g)
    a = strengths(x, count.double(), 5)
    b = strengths(x.repeat_interleave(count, 0), torch.ones(int(count.sum())), 5)
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_contacts_of_a_simulated_family_are_found():
    law = simulated(48, 0)
    x, _ = law.sample(8000, "contacts")
    known = graph(48, law.potts.pairs)
    found = coupled(strengths(x, torch.ones(len(x)), 21), 5.0)
    assert found[known].float().mean() > 0.75
    assert known[found].float().mean() > 0.85


def test_noise_has_hardly_a_contact():
    g = torch.Generator().manual_seed(3)
    x = torch.randint(0, 6, (3000, 30), generator=g)
    assert coupled(strengths(x, torch.ones(3000), 6), 5.0).float().mean() < 0.01


def test_sites_come_after_those_that_they_depend_on():
    g = torch.Generator().manual_seed(4)
    contacts = torch.rand(20, 20, generator=g) < 0.2
    contacts = (contacts | contacts.T) & ~torch.eye(20, dtype=torch.bool)
    order = elimination(torch.rand(20, 20, generator=g), contacts, 3)
    assert sorted(order.sites) == list(range(20))
    place = {site: k for k, site in enumerate(order.sites)}
    for site, parents in enumerate(order.parents):
        assert len(parents) <= 3
        assert all(place[p] < place[site] for p in parents)


def test_nested_hairpins_fall_apart_by_twos():
    law = simulated(40, 1)
    order = elimination(torch.zeros(40, 40), graph(40, law.potts.pairs), 20)
    assert max(map(len, order.parents)) <= 2
    place = {site: k for k, site in enumerate(order.sites)}
    for i, j in law.potts.pairs:  # every contact is a dependence
        later, sooner = (i, j) if place[i] > place[j] else (j, i)
        assert sooner in order.parents[later]


def test_the_strongest_are_kept_of_too_many():
    strength = torch.zeros(4, 4)
    strength[0] = strength[:, 0] = torch.tensor([0.0, 1.0, 3.0, 2.0])
    contacts = ~torch.eye(4, dtype=torch.bool)
    order = elimination(strength, contacts, 2)
    site = order.sites[-1]
    assert len(order.parents[site]) == 2
    assert isinstance(order, Order)
    alone = elimination(strength, torch.zeros(4, 4, dtype=torch.bool), 2)
    assert alone.parents == ((),) * 4
