"""What is wrong in implementations that exist, and must not be in this one."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from genmatter.config import replaced
from genmatter.domains.molecule.config import MoleculeCVAEConfig
from genmatter.domains.molecule.cvae import build
from genmatter.domains.molecule.molecules import Molecules, canonical
from genmatter.domains.molecule.represent import MoleculeTokens
from genmatter.domains.molecule.sequences import FORCINGS, Lesson, before
from genmatter.domains.molecule.shown import Levels, hidden, spliced
from genmatter.domains.molecule.tokens import BLANK, END, PAD, SPECIAL, START
from genmatter.errors import ConfigError

SMILES = [
    "CN1CCCC1c1cccnc1", "CC(=O)Oc1ccccc1C(=O)O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CCO",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "CC(=O)Nc1ccc(O)cc1", "NCCc1ccc(O)c(O)c1", "CN",
    "CN(C)CCCN1c2ccccc2CCc2ccccc21", "O=C(O)c1ccccc1O", "C1CCCCC1", "c1ccc2ccccc2c1",
] * 2  # fmt: skip
TINY = replace(MoleculeCVAEConfig.presets["tiny"], predict=("mw",), merges=10)


@pytest.fixture(scope="module")
def molecules():
    return Molecules.of([canonical(s) for s in SMILES])


def made(molecules, **fields):
    config = replaced(TINY, fields)
    representation = MoleculeTokens.fit(molecules, config)
    torch.manual_seed(0)
    return build(config, representation).eval(), representation.encode(molecules), representation


def shown(model, batch, beta=1.0):
    return model._shown(batch, beta)


def test_the_latent_reaches_every_logit(molecules):
    """A decoder that computes a state from z and never uses it passes no gradient to it."""
    for places in (0, 64):
        model, batch, _ = made(molecules, places=places)
        z = torch.randn(len(batch), TINY.latent_dim, requires_grad=True)
        net, given = model.vae.decoder.net, shown(model, batch)
        logits = net(before(batch.tokens), z, given.told)
        free = logits[..., ~net.unwritable]
        for place in (0, 2):
            (grad,) = torch.autograd.grad(free[:, place].sum(), z, retain_graph=True)
            assert (grad.abs().sum(1) > 0).all()
        turned = net(before(batch.tokens), z.flip(0), given.told)[..., ~net.unwritable]
        assert ((free - turned).abs().amax((1, 2)) > 1e-3).all()


def test_another_latent_is_another_molecule(molecules):
    model, batch, representation = made(molecules)
    found = set()
    for scale in (1, 4, 16):
        z = scale * torch.randn(len(batch), TINY.latent_dim)
        found |= {*representation.decode(model.from_latent(z, batch)).smiles}
    assert len(found) > len(batch) / 2


def test_the_loss_is_the_log_probability_of_the_whole_sequence_in_nats(molecules):
    """A decoder that says nothing charges ln(tokens) for each token and for END, no more."""
    model, batch, representation = made(molecules)
    net = model.vae.decoder.net
    with torch.no_grad():
        net.out.weight.zero_()
        net.out.bias.zero_()
        for judge in (net.openings.judge, net.ending):
            judge.weight.zero_()
            judge.bias.zero_()
    loss = model.eval().loss(batch, math.inf)
    choices = representation.size - len(SPECIAL) + 1
    torch.testing.assert_close(
        loss.terms["reconstruction"], batch.sizes * math.log(choices), atol=1e-3, rtol=1e-5
    )


def test_the_kl_is_summed_over_units(molecules):
    model, batch, _ = made(molecules)
    head = model.vae.encoder.head.out
    with torch.no_grad():
        head.weight.zero_()
        head.bias[: TINY.latent_dim] = 2.0
        head.bias[TINY.latent_dim :] = 0.0
    loss = model.eval().loss(batch, math.inf)
    torch.testing.assert_close(loss.terms["kl"], torch.full((len(batch),), 2.0 * TINY.latent_dim))


def test_draws_follow_the_temperature(molecules):
    """Sampling that is greedy whatever the temperature gives one molecule for one latent."""
    kinds = {}
    for temperature in (0.0, 0.1, 0.3, 1.0):
        model, _, r = made(molecules, temperature=temperature, latent_temperature=0.0, longest=2)
        torch.manual_seed(1)
        torch.nn.init.normal_(model.vae.decoder.net.bias)
        drawn = model.sample(r.prompt(200, TINY))
        kinds[temperature] = len({tuple(row) for row in drawn.tokens.tolist()})
    assert kinds[0.0] == 1
    assert 1 < kinds[0.1] < kinds[0.3] < kinds[1.0]


def test_draws_have_the_probability_that_the_likelihood_says(molecules):
    model, _, r = made(molecules, latent_temperature=0.0, longest=3)
    torch.manual_seed(2)
    n = 20_000
    drawn = model.sample(r.prompt(n, TINY))
    rows, counts = drawn.tokens.unique(dim=0, return_counts=True)
    top = counts.topk(5).indices
    batch = drawn[:5].replace(tokens=rows[top], mask=rows[top] != PAD)
    z = torch.zeros(5, TINY.latent_dim)
    given = shown(model, batch)
    p = model.vae.decoder(z, given, math.inf).log_prob(given).exp()
    torch.testing.assert_close(counts[top] / n, p, atol=0.012, rtol=0)


def test_only_tokens_of_molecules_are_written(molecules):
    model, _, r = made(molecules, temperature=5.0)
    drawn = model.sample(r.prompt(300, TINY))
    inside = drawn.tokens[drawn.mask]
    assert not torch.isin(inside, torch.tensor([PAD, START, BLANK])).any()


def test_a_beam_finds_what_is_at_least_as_likely(molecules):
    z = torch.randn(len(molecules), TINY.latent_dim)
    found = []
    for width in (1, 8):
        model, batch, r = made(molecules, beam=width)
        copy = model.from_latent(z, batch)
        assert len(r.decode(copy)) == len(batch)
        given = model._copied(copy)
        found.append(model.vae.decoder(z, given, 0.0).log_prob(given).mean())
    assert found[1] > found[0]


@pytest.mark.parametrize("name", FORCINGS)
def test_all_true_tokens_are_shown_at_a_share_of_one(molecules, name):
    model, batch, _ = made(molecules)
    z, given = torch.randn(len(batch), TINY.latent_dim), shown(model, batch)
    lesson = Lesson(model.vae.decoder.net, z, given.told, before(batch.tokens), 0.0)
    free = ~lesson.decoder.unwritable
    torch.testing.assert_close(
        FORCINGS[name](lesson, 1.0)[..., free], FORCINGS["full"](lesson, 1.0)[..., free],
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["parallel", "sequential"])
def test_own_tokens_are_shown_otherwise(molecules, name, monkeypatch):
    """With a decoder that always writes one token, it is that token which is shown."""
    model, batch, _ = made(molecules)
    net = model.vae.decoder.net
    c = len(SPECIAL)
    with torch.no_grad():
        net.bias[c] = 1e4
    seen = []
    plain, step = net.forward, net.step
    monkeypatch.setattr(net, "forward", lambda x, *a: (seen.append(x), plain(x, *a))[1])
    monkeypatch.setattr(net, "step", lambda x, s: (seen.append(x[:, None]), step(x, s))[1])
    z, given = torch.randn(len(batch), TINY.latent_dim), shown(model, batch)
    true = before(batch.tokens)
    for share, low, high in ((0.0, 1.0, 1.0), (0.5, 0.4, 0.75)):
        seen.clear()
        FORCINGS[name](Lesson(net, z, given.told, true, 0.0), share)
        last = seen[-1] if name == "parallel" else torch.cat(seen, 1)
        assert (last[:, 0] == START).all()
        own = (last[:, 1:] == c).double().mean()
        assert low <= own <= high + 0.2 * (share > 0)


def test_hidden_words_are_blank_in_training_alone(molecules, monkeypatch):
    model, batch, _ = made(molecules, word_dropout=0.5, teacher_forcing="full", splice=0.0)
    seen = []
    net = model.vae.decoder.net
    plain = net.forward
    monkeypatch.setattr(net, "forward", lambda x, *a: (seen.append(x), plain(x, *a))[1])
    model.train().loss(batch, 1.0)
    share = (seen[-1][:, 1:] == BLANK).double().mean()
    assert 0.3 < share < 0.7
    assert (seen[-1][:, 0] == START).all()
    model.eval().loss(batch, 1.0)
    assert not (seen[-1] == BLANK).any()


def test_blank_tokens_cost_nothing(molecules):
    model, batch, _ = made(molecules)
    blank = batch.replace(
        tokens=batch.tokens.masked_fill(torch.eye(*batch.tokens.shape).bool(), BLANK)
    )
    z, given = torch.zeros(len(batch), TINY.latent_dim), shown(model, blank)
    each = model.vae.decoder(z, given, math.inf).surprise(given)
    assert each.isfinite().all()
    assert (each[blank.tokens == BLANK] == 0).all()


def test_each_molecule_is_charged_by_its_own_level(molecules):
    model, batch, _ = made(molecules, beta_warmup_epochs=0.0)
    model.train()
    loss = model.loss(batch, 3.0)
    weight = loss.weights["kl"]
    assert weight.shape == (len(batch),)
    c = TINY
    assert weight.min() >= c.beta_least * 0.999
    assert weight.max() <= c.beta_most * 1.001
    assert len(weight.unique()) > 2
    plain = model.eval().loss(batch, 3.0)
    assert set(plain.weights["kl"].tolist()) == {c.beta_end}
    parts = sum(torch.as_tensor(plain.weights.get(k, 1.0)) * v for k, v in plain.terms.items())
    torch.testing.assert_close(plain.total, parts)


def test_weights_warm_up_over_epochs(molecules):
    model, _, _ = made(molecules, beta_warmup_epochs=10.0, beta_start=0.0)
    course = [model.course(e) for e in (0.0, 5.0, 10.0, math.inf)]
    assert [c["beta"] for c in course] == pytest.approx([0.0, 0.5, 1.0, 1.0])
    model, _, _ = made(molecules, epochs=50)
    ratio = [model.course(e)["teacher_forcing"] for e in (0.0, 25.0, 50.0)]
    assert ratio == pytest.approx([0.7, 0.5, 0.3])


def test_the_collapse_penalty_is_what_information_lacks(molecules):
    model, batch, _ = made(molecules, mi_target=4.0)
    terms = model.eval().loss(batch, math.inf).terms
    found = -terms["information"].mean()
    assert 0 <= found <= math.log(len(batch))
    torch.testing.assert_close(terms["collapse"].mean(), 4.0 - found, atol=0.35, rtol=0)


def test_a_target_that_no_batch_can_reach_is_refused(molecules):
    with pytest.raises(ConfigError, match=r"ln\(64\)"):
        made(molecules, mi_target=4.5)
    with pytest.raises(ConfigError, match="beta_least"):
        made(molecules, beta_least=2.0)
    with pytest.raises(ConfigError, match="splice"):
        made(molecules, splice=1.5)


def test_unknown_properties_bring_no_gradient_and_no_nan(molecules):
    model, batch, _ = made(molecules)
    batch = batch.replace(properties=batch.properties * torch.nan, wanted=batch.wanted * torch.nan)
    model.train().loss(batch, 1.0).total.mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_predictions_are_in_the_units_of_the_properties(molecules):
    model, batch, r = made(molecules)
    found = model.predict(model.to_latent(batch))
    assert [*found] == ["tpsa", "logp", "mw"]
    with torch.no_grad():
        for p in model.predictor.parameters():
            p.zero_()
    found = model.predict(torch.randn(4, TINY.latent_dim))
    for name, mean in zip(r.properties, r.means, strict=True):
        torch.testing.assert_close(found[name], torch.full((4,), mean))


def test_splices_are_sequences_that_end(molecules):
    _, batch, _ = made(molecules)
    torch.manual_seed(0)
    for _ in range(20):
        found, real = spliced(batch, torch.full((len(batch),), 0.7))
        assert ((found.tokens == END).sum(1) == 1).all()
        assert found.mask.equal(found.tokens != PAD)
        ends = (found.tokens == END).int().argmax(1)
        assert (found.sizes == ends + 1).all()
        assert found.tokens[real].equal(batch.tokens[real])
        assert found.properties[~real].isnan().all()
        assert found.properties[real].equal(batch.properties[real])
        pairs = {p for row in batch.tokens.tolist() for p in pairwise(row)}
        for row in found.tokens[~real].tolist():
            new = [p for p in pairwise(row) if p not in pairs]
            assert len(new) <= 2  # where it is joined, and where it became too long
    assert spliced(batch, torch.zeros(len(batch)))[0] is batch
    only = torch.arange(len(batch)) < 5
    assert spliced(batch, only * 1.0)[1].equal(~only)


def test_properties_are_hidden_by_chance(molecules):
    _, batch, _ = made(molecules)
    many = type(batch).cat([batch] * 50)
    torch.manual_seed(0)
    chance = lambda p: torch.full((len(many),), p)
    gone = hidden(many, chance(0.3)).wanted.isnan().double()
    assert abs(float(gone.mean()) - 0.51) < 0.04
    assert abs(float(gone.amin(1).mean()) - (0.3 + 0.7 * 0.09)) < 0.04
    assert hidden(many, chance(1.0)).wanted.isnan().all()
    assert hidden(many, chance(0.0)).wanted.equal(many.wanted)
    assert hidden(many, chance(1.0)).properties.equal(many.properties)


def test_levels_are_drawn_over_their_range():
    it = Levels(0.1, 1.0, 8.0, draw=8.0, latent=0.1)
    torch.manual_seed(0)
    found = it.drawn(20_000, torch.device("cpu"))
    assert abs(float((found == found.min()).double().mean()) - 0.35) < 0.02
    assert abs(float((found == found.max()).double().mean()) - 0.55) < 0.02
    between = found[(found > found.min()) & (found < found.max())].log()
    middle = (math.log(0.1) + math.log(8.0)) / 2
    assert abs(float(between.mean()) - middle) < 0.05
    single = Levels(0.4, 0.4, 0.4, draw=0.4, latent=0.4)
    assert single.size == 0
    assert (single.drawn(5, torch.device("cpu")) == 0.4).all()


def test_guidance_moves_logits_from_those_without_properties(molecules):
    """At 0 nothing is told, at 1 the targets are, and beyond it goes as far again."""
    z = torch.randn(len(molecules), TINY.latent_dim)
    start = torch.full((len(molecules),), START)
    found = {}
    for weight in (0.0, 1.0, 2.5):
        model, batch, _ = made(molecules, guidance=weight)
        step, state = model.vae.decoder(z, shown(model, batch), math.inf)._steps
        free = ~model.vae.decoder.net.unwritable
        logits, state = step(start, state)
        few, _ = step(batch.tokens[:5, 0].long(), tuple(s[:5] for s in state))
        assert few.isfinite()[:, free].all()
        found[weight] = logits[:, free]
    step, state = model.vae.decoder(
        z, shown(model, hidden(batch, torch.ones(len(batch)))), math.inf
    )._steps
    untold, _ = step(start, state)
    torch.testing.assert_close(found[0.0], untold[:, free])
    torch.testing.assert_close(found[2.5], untold[:, free] + 2.5 * (found[1.0] - untold[:, free]))
    assert (found[1.0] - found[0.0]).abs().max() > 1e-3


def test_without_targets_there_is_nothing_to_guide(molecules):
    drawn = []
    for weight in (1.0, 3.0):
        model, _, r = made(molecules, guidance=weight)
        torch.manual_seed(0)
        drawn.append(model.sample(r.prompt(20, TINY)).tokens)
    assert drawn[0].equal(drawn[1])


def test_a_model_that_is_always_told_is_not_guided(molecules):
    with pytest.raises(ConfigError, match="guidance should be 1, got 2"):
        made(molecules, hide_conditions=0.0)
    made(molecules, hide_conditions=0.0, guidance=1.0)
    made(molecules, hide_conditions=0.0, conditions=())


@pytest.mark.parametrize(("splice", "hide"), [(0.6, 0.25), (0.0, 0.0)])
def test_copies_are_of_any_sequence_where_those_were_learned(molecules, splice, hide):
    model, batch, _ = made(molecules, splice=splice, hide_conditions=hide, guidance=1.0)
    given = model._copied(batch)
    k = batch.wanted.shape[1]
    assert (given.told[:, 2 * k] == (0.0 if splice else 1.0)).all()
    assert given.wanted.isnan().all() == bool(hide)
    assert (given.level == model.levels.least).all()


def test_only_what_is_to_be_copied_is_spliced(molecules, monkeypatch):
    """The share is asked for at the lowest level, and nothing is spliced above it."""
    model, batch, _ = made(molecules, splice=0.6)
    seen = {}

    def spy(batch, chance):
        seen["chance"] = chance
        return spliced(batch, chance)

    monkeypatch.setattr("genmatter.domains.molecule.cvae.spliced", spy)
    torch.manual_seed(0)
    weight = model.train().loss(batch, math.inf).weights["kl"]
    lowest = weight < model.levels.least * 1.01
    assert 0 < lowest.sum() < len(batch)
    torch.testing.assert_close(seen["chance"], 0.6 * lowest)


def test_what_is_to_be_copied_is_taught_as_it_is_asked_for(molecules):
    """Without properties, and as any sequence; above that both are told."""
    model, batch, _ = made(molecules, splice=0.6, hide_conditions=0.25, reorder=0.0)
    torch.manual_seed(0)
    taught, level, real = model.train()._taught(batch.cat([batch] * 4))
    copied = level < model.levels.least * 1.01
    assert 0 < copied.sum() < len(level)
    assert real.equal(~copied)
    known = taught.wanted.isfinite()
    assert not known[copied].any()
    assert known[~copied].any()


def test_what_is_in_another_order_is_not_told_to_be_canonical(molecules, monkeypatch):
    model, _, r = made(molecules, orders=4, reorder=1.0, splice=0.0)
    seen = []
    show = Levels.show
    keep = lambda self, batch, level, real: (seen.append(real), show(self, batch, level, real))[1]
    monkeypatch.setattr(Levels, "show", keep)
    model.train().loss(r.teach(molecules), 1.0)
    assert not seen[0].any()
    model.eval().loss(r.encode(molecules), 1.0)
    assert seen[1].all()
