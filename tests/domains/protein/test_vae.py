"""The law of sequences, its bounds, what counts in the objective, and what is drawn."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.protein.config import ProteinVAEConfig
from genmatter.domains.protein.contacts import elimination
from genmatter.domains.protein.family import simulated
from genmatter.domains.protein.likelihood import Residues
from genmatter.domains.protein.network import Couplings, ProfileDecoder
from genmatter.domains.protein.represent import AlignedBatch, AlignedSites
from genmatter.domains.protein.sequences import Sequences
from genmatter.domains.protein.vae import build
from genmatter.errors import ConfigError
from genmatter.spine import Latent, Likelihood, Predictor

TINY = ProteinVAEConfig.presets["tiny"]


def batch_of(tokens):
    n = len(tokens)
    empty = torch.zeros(n, 0)
    return AlignedBatch(tokens.to(torch.int8), torch.ones(n), empty, empty.long())


def every(sites, states=21):
    return torch.tensor(list(itertools.product(range(states), repeat=sites)))


@pytest.fixture
def couplings():
    """Of three sites, drawn in the order 2, 0, 1."""
    torch.manual_seed(0)
    found = Couplings((2, 0, 1), ((2,), (0, 2), ()), 21)
    torch.nn.init.normal_(found.table)
    with torch.no_grad():
        found.table[-1] = 0
    return found


def family_of(n=300, sites=16, **fields):
    """Returns a config, sequences of a simulated family, and an untrained model of them."""
    config = replaced(TINY, {"sites": sites, **fields})
    residues, of = simulated(sites, 0).sample(n, "vae")
    objects = Sequences.of(residues)
    kinds = np.array([f"S{k + 1}" for k in of.tolist()], dtype=object)
    columns = {"charm": of.double() * 3 + 10}
    objects = replace(objects, labels={"subfamily": kinds}, columns=columns)
    representation = AlignedSites.fit(objects, config)
    torch.manual_seed(1)
    return config, objects, representation, build(config, representation).eval()


def test_the_law_is_normalised(couplings):
    x = every(3)
    fields = torch.randn(1, 3, 21).expand(len(x), -1, -1)
    log_p = Residues(fields, couplings, batch_of(x)).log_prob(batch_of(x))
    assert abs(log_p.double().logsumexp(0).item()) < 1e-4


def test_draws_follow_the_law(couplings):
    torch.manual_seed(1)
    n, fields = 40_000, torch.randn(1, 3, 21)
    fields[..., 3:] = -torch.inf  # three states are enough to count
    law = Residues(fields.expand(n, -1, -1), couplings, batch_of(torch.zeros(n, 3)))
    x = every(3, 3)
    known = Residues(fields.expand(27, -1, -1), couplings, batch_of(x)).log_prob(batch_of(x)).exp()
    drawn = law.sample().tokens.long() @ torch.tensor([9, 3, 1])
    found = torch.bincount(drawn, minlength=27) / n
    assert (found - known).abs().max() < 0.01
    cold = replace(law, temperature=0.0).sample()
    assert torch.equal(cold.tokens, law.mode().tokens)


def test_temperature_flattens_the_law():
    torch.manual_seed(2)
    fields = torch.tensor([0.0, 1.0, 2.0]).repeat(30_000, 1, 1)
    law = Residues(fields, None, batch_of(torch.zeros(30_000, 1)), temperature=2.0)
    found = torch.bincount(law.sample().tokens.long()[:, 0], minlength=3) / 30_000
    torch.testing.assert_close(found, (fields[0, 0] / 2).softmax(0), atol=0.01, rtol=0)


def test_a_potts_model_of_hairpins_is_among_the_laws():
    """Eliminated site by site, its conditionals are fields and couplings to sites before."""
    family = simulated(18, 2)
    contacts = torch.zeros(18, 18, dtype=torch.bool)
    for i, j in family.potts.pairs:
        contacts[i, j] = contacts[j, i] = True
    order = elimination(torch.zeros(18, 18), contacts, 18)
    assert max(map(len, order.parents)) == 2
    potts = replace(family.potts, fields=family.potts.fields[:1], shares=torch.ones(1).double())
    laws = {step.site: step for step in potts._eliminated[0]}
    # the test's own elimination, in the order that was found
    unary = {v: potts.fields[0, v] for v in range(18)}
    pair = {}
    for k, (i, j) in enumerate(potts.pairs):
        pair[i, j] = potts.couplings[k]
    assert laws.keys() == unary.keys()
    net = Couplings(order.sites, order.parents, 21).double()
    fields = torch.full((18, 21), -torch.inf, dtype=torch.float64)
    numbers = iter(range(net.count))
    tables = {(v, p): next(numbers) for v, ps in enumerate(order.parents) for p in ps}
    for v in reversed(order.sites):
        joint, parents = unary[v], order.parents[v]
        both = {p: pair[p, v] if (p, v) in pair else pair[v, p].T for p in parents}
        fields[v, 1:] = joint
        for p, j in both.items():
            with torch.no_grad():
                at = tables[v, p] * 21
                net.table[at + 1 : at + 21, 1:] = j
        if len(parents) == 2:
            a, b = parents
            left = (both[a][:, None] + both[b][None] + joint).logsumexp(-1)
            known = pair.pop((a, b), 0.0) if (a, b) in pair else pair.pop((b, a), left.T * 0).T
            pair[a, b] = known + left
        elif parents:
            unary[parents[0]] = unary[parents[0]] + (both[parents[0]] + joint).logsumexp(-1)
    x, _ = family.sample(50, "law")
    law = Residues(fields.expand(50, -1, -1), net, batch_of(x))
    torch.testing.assert_close(law.log_prob(batch_of(x)).detach(), potts.log_prob(x.long() - 1))


def test_sites_that_depend_on_a_change_are_those_that_it_moves(couplings):
    x = torch.tensor([[0, 1, 2]])
    for site in range(3):
        other = x.clone()
        other[0, site] = 5
        moved = (couplings(other) != couplings(x)).any(-1)[0]
        moved[site] = True
        changed = torch.zeros(1, 3, dtype=torch.bool)
        changed[0, site] = True
        assert torch.equal(couplings.touched(changed)[0], moved)


def test_the_bounds_are_below_the_likelihood():
    """With one latent unit log p(x) is an integral that a grid gives."""
    _, objects, representation, model = family_of(latent_dim=1)
    for name, p in model.named_parameters():
        torch.nn.init.normal_(p, std=0.03 if "encoder" in name else 0.2)
    with torch.no_grad():
        model.vae.decoder.couplings.table[-1] = 0
    batch = representation.encode(objects[:40])
    grid = torch.linspace(-8, 8, 2001)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid) + math.log(16 / 2000)
    with torch.no_grad():
        each = [model.vae.decoder(z.expand(40, 1), batch, math.inf).log_prob(batch) for z in grid]
        exact = (torch.stack(each) + prior[:, None]).logsumexp(0)
        draws = torch.stack([model.log_likelihood(batch) for _ in range(50)])
        loss = torch.stack([model.loss(batch, math.inf).total for _ in range(400)])
        tight = model.log_likelihood(batch, 4000)
    error = draws.std(0) / 50**0.5
    assert (draws.mean(0) < exact + 4 * error).all()
    assert (draws.mean(0) < exact - 1e-3).any()
    torch.testing.assert_close(tight, exact, atol=0.05, rtol=0)
    torch.testing.assert_close(-loss.mean(0), draws.mean(0), atol=0.5, rtol=0)


def test_sequences_count_by_their_weights():
    _, objects, representation, model = family_of()
    batch = representation.encode(objects[:4])

    def gradient(b):
        model.zero_grad()
        torch.manual_seed(5)
        model.loss(b, math.inf).total.sum().backward()
        return model.vae.decoder.net.fc2.bias.grad.clone()

    heavy = gradient(batch.replace(weights=torch.tensor([2.0, 0.0, 0.0, 0.0])))
    light = gradient(batch.replace(weights=torch.tensor([1.0, 0.0, 0.0, 0.0])))
    torch.testing.assert_close(heavy, 2 * light)
    assert light.abs().max() > 0
    assert gradient(batch.replace(weights=torch.zeros(4))).abs().max() == 0


def test_the_prior_is_a_density_per_effective_sequence():
    """Of couplings and of the last weights, each of its own width."""
    _, objects, representation, model = family_of(coupling_scale=0.5, weight_scale=0.1)
    table, last = model.vae.decoder.couplings.table, model.vae.decoder.net.fc2.weight
    with torch.no_grad():
        table[0] = 1.0
    nats = 0.0
    for w, scale in ((table, 0.5), (last, 0.1)):
        law = torch.distributions.Normal(0.0, scale)
        nats -= (law.log_prob(w) - law.log_prob(torch.zeros(()))).double().sum()
    batch = representation.encode(objects)
    term = model.loss(batch, 0.0).terms["prior"]
    torch.testing.assert_close(term.double(), (nats / 300).expand(300), rtol=1e-4, atol=0)
    heavy = batch.replace(weights=2 * batch.weights)
    assert model.train().loss(heavy, 0.0).weights["prior"] == 1  # not of any one sequence
    assert model.eval().loss(heavy, 0.0).weights["prior"] == 0  # of no held-out one either
    free = family_of(coupling_scale=0.0, weight_scale=0.0)[3]
    assert "prior" not in free.loss(batch, 0.0).terms


def test_differences_are_those_of_whole_sequences():
    _, objects, representation, model = family_of()
    torch.nn.init.normal_(model.vae.decoder.couplings.table, std=0.5)
    with torch.no_grad():
        model.vae.decoder.couplings.table[-1] = 0
    wild = representation.encode(objects[:1])
    some = representation.encode(objects[:30])
    torch.manual_seed(6)
    found = model.contrast(some, wild, 3)
    torch.manual_seed(6)
    z = model.vae.encoder(wild[torch.zeros(3, dtype=torch.long)]).rsample()
    known = torch.zeros(30)
    for one in z:
        law = lambda b, z=one: model.vae.decoder(z.expand(len(b), -1), b, math.inf).log_prob(b)
        known += (law(some) - law(wild)).detach() / 3
    torch.testing.assert_close(found, known, atol=1e-4, rtol=1e-4)
    assert found[0] == 0


def test_samples_lie_where_they_are_asked_for():
    config, objects, representation, model = family_of(n=400)
    batch = representation.encode(objects)
    model.finish([batch[:200], batch[200:]])
    assert 2 <= model.clusters.count <= 12
    member = model.group(batch)
    assert member.min() >= 1
    assert member.max() <= model.clusters.count
    asked = replaced(config, {"within": "subfamily=S3"})
    given = representation.prompt(50, asked)
    assert set(representation.decode(model.sample(given)).labels["subfamily"]) == {"S3"}
    torch.manual_seed(0)
    z = model._latents(representation.prompt(4000, asked))
    own = model.to_latent(batch)[batch.classes[:, 0] == 3]
    assert (z.mean(0) - own.mean(0)).abs().max() < 0.3
    model.cluster = 1
    z = model._latents(representation.prompt(2000, config))
    assert (z.mean(0) - model.clusters.mean[0]).abs().max() < 0.2
    model.cluster = 40
    with pytest.raises(ConfigError, match="no cluster 40"):
        model.sample(given)


def test_what_is_decoded_is_the_likeliest_or_a_draw():
    config, objects, representation, model = family_of()
    batch = representation.encode(objects[:1])[torch.zeros(20, dtype=torch.long)]
    z = model.to_latent(batch)
    assert len({*representation.decode(model.from_latent(z, batch)).texts}) == 1
    again = representation.decode(model.from_latent(z, batch))
    assert {*again.labels["subfamily"]} == {""}  # a latent does not know
    drawn = build(replaced(config, {"copy": "sample"}), representation)
    assert len({*representation.decode(drawn.from_latent(z, batch)).texts}) > 1


def test_properties_are_told_from_the_latent():
    config, objects, representation, model = family_of(predict=("charm",))
    batch = representation.encode(objects)
    assert all(isinstance(model, ability) for ability in (Predictor, Latent, Likelihood))
    torch.testing.assert_close(batch.properties.mean(), torch.zeros(()), atol=1e-5, rtol=0)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        adam.zero_grad()
        model.loss(batch, math.inf).total.mean().backward()
        adam.step()
    told = model.predict(model.to_latent(batch))["charm"].detach()
    error = (told - objects.columns["charm"]).square().mean().sqrt()
    assert error < 0.6 * objects.columns["charm"].std()
    unknown = batch.replace(properties=torch.full_like(batch.properties, torch.nan))
    assert model.loss(unknown, math.inf).terms["properties"].abs().max() == 0
    assert model.loss(unknown, math.inf).total.isfinite().all()
    assert family_of()[3].predict(torch.zeros(2, 4)) == {}
    with pytest.raises(ConfigError, match="charn"):
        AlignedSites.fit(objects, replaced(config, {"predict": ("charn",)}))


def test_shared_profiles_are_mixed():
    net = ProfileDecoder(3, (8, 16), 5, 21, 7, 0.0)
    z = torch.randn(4, 3)
    mixed = net.out(net.layers(z)).reshape(4, 5, 7)
    torch.testing.assert_close(net(z).reshape(4, 5, 21), mixed @ net.profiles)
    assert torch.linalg.matrix_rank(net(z).reshape(-1, 21)) <= 7
    model = family_of(dictionary=7, decoder_dims=(8, 16))[3]
    assert isinstance(model.vae.decoder.net, ProfileDecoder)


def test_logits_start_at_the_frequencies():
    _, objects, representation, model = family_of(n=600)
    torch.nn.init.zeros_(model.vae.decoder.net.fc2.weight)
    torch.nn.init.zeros_(model.vae.decoder.net.fc2.bias)
    batch = representation.encode(objects)
    p = model.vae.decoder(torch.zeros(1, 4), batch[:1], math.inf).fields[0].softmax(-1)
    known = torch.nn.functional.one_hot(objects.residues.long(), 21).float().mean(0)
    torch.testing.assert_close(p, known, atol=3e-3, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [{"dropout": 1.0}, {"temperature": -1.0}, {"couplings": -1}, {"decoder_dims": ()}],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ConfigError):
        family_of(**wrong)
