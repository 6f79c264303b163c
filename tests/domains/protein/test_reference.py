"""The reference's names, shapes and meaning, each used as it is there."""

import inspect
import math

import pytest
import torch
from torch import nn

from genmatter.config import replaced
from genmatter.domains import protein
from genmatter.domains.protein.config import ProteinDataConfig, ProteinVAEConfig
from genmatter.domains.protein.data import load
from genmatter.domains.protein.represent import AlignedSites
from genmatter.domains.protein.vae import build

SIGNATURES = {
    "ProteinEncoder": ["input_dim", "hidden_dim", "latent_dim"],
    "ProteinDecoder": ["latent_dim", "hidden_dim", "output_dim"],
    "kl_divergence": ["mu", "logvar"],
    "reparameterize": ["mu", "logvar"],
}


def one_hot(tokens, states=21):
    return nn.functional.one_hot(tokens.long(), states).float().flatten(1)


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_arguments_are_the_references(name):
    found = list(inspect.signature(getattr(protein, name)).parameters)
    assert found[: len(SIGNATURES[name])] == SIGNATURES[name]


def test_all_names_can_be_imported_from_the_domain():
    from genmatter.domains.protein import reference

    assert set(reference.__all__) == set(protein._NAMES) <= set(dir(protein))
    assert all(getattr(protein, name) is getattr(reference, name) for name in reference.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Protein'"):
        _ = protein.Protein


def test_networks_have_the_references_layers():
    encoder, decoder = protein.ProteinEncoder(42, 8, 3), protein.ProteinDecoder(3, 8, 42)
    assert {k: tuple(p.shape) for k, p in encoder.named_parameters() if "weight" in k} == {
        "fc1.weight": (8, 42), "fc_mu.weight": (3, 8), "fc_logvar.weight": (3, 8),
    }  # fmt: skip
    assert {k: tuple(p.shape) for k, p in decoder.named_parameters() if "weight" in k} == {
        "fc1.weight": (8, 3), "fc2.weight": (42, 8),
    }  # fmt: skip
    x = one_hot(torch.randint(0, 21, (5, 2)))
    mu, logvar = encoder(x)
    h = torch.relu(encoder.fc1(x))
    torch.testing.assert_close(mu, encoder.fc_mu(h))
    torch.testing.assert_close(logvar, encoder.fc_logvar(h))
    logits = decoder(mu)
    assert logits.shape == (5, 42)
    torch.testing.assert_close(logits, decoder.fc2(torch.relu(decoder.fc1(mu))))


def test_residues_are_read_as_one_hot_vectors_are():
    encoder, x = protein.ProteinEncoder(7 * 21, 16, 4), torch.randint(0, 21, (6, 7))
    for a, b in zip(encoder.read(x.to(torch.int8)), encoder(one_hot(x)), strict=True):
        torch.testing.assert_close(a, b)


def test_dropout_hides_sites_and_keeps_the_mean():
    encoder = protein.ProteinEncoder(7 * 21, 16, 4, dropout=0.5)
    x = torch.randint(0, 21, (4000, 7))
    x[:] = x[0]
    seen = torch.cat([encoder.fc1.weight[:, i * 21 + x[0, i]][None] for i in range(7)])
    hidden = []
    encoder._head = lambda h: hidden.append(h.detach()) or (h, h)  # looks at what the layer gives
    encoder.read(x)
    error = (hidden[0].mean(0) - seen.sum(0) - encoder.fc1.bias).detach().abs().max()
    assert hidden[0].std(0).min() > 0
    assert error < 0.02


def test_the_kl_is_that_of_gaussians():
    mu, logvar = torch.randn(5, 3), torch.randn(5, 3)
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    known = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(protein.kl_divergence(mu, logvar), known)
    assert protein.kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)) == 0


def test_draws_have_the_mean_and_width_and_pass_gradients_on():
    mu = torch.full((20_000, 1), 2.0, requires_grad=True)
    logvar = torch.full((20_000, 1), -1.0, requires_grad=True)
    torch.manual_seed(0)
    z = protein.reparameterize(mu, logvar)
    assert abs(z.mean().item() - 2) < 0.02
    assert abs(z.var().item() - math.exp(-1)) < 0.02
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu))
    torch.testing.assert_close(logvar.grad, (z - mu).detach() / 2)


def test_the_loss_is_cross_entropy_and_kl():
    logits, tokens = torch.randn(4, 3 * 21), torch.randint(0, 21, (4, 3))
    mu, logvar = torch.randn(4, 2), torch.randn(4, 2)
    found = protein.elbo_loss(logits, tokens, mu, logvar, beta=0.5)
    log_p = logits.reshape(4, 3, 21).log_softmax(-1)
    each = torch.stack([log_p[n, i, tokens[n, i]] for n in range(4) for i in range(3)])
    known = -each.reshape(4, 3).sum(1) + protein.kl_divergence(mu, logvar) / 2
    torch.testing.assert_close(found, known)


def test_the_preset_trains_the_references_networks_by_its_loss():
    small = {"sequences": 60, "sites": 16}
    config = replaced(ProteinVAEConfig.presets["lecture"], small)
    assert (config.beta, config.couplings, config.prior_parts, config.dropout) == (1, 0, 0, 0)
    train = load(ProteinDataConfig(**small)).train
    representation = AlignedSites.fit(train, config)
    model, batch = build(config, representation), representation.encode(train)
    encoder, decoder = model.vae.encoder.net, model.vae.decoder.net
    assert type(encoder) is protein.ProteinEncoder
    assert type(decoder) is protein.ProteinDecoder
    torch.manual_seed(3)
    found = model.loss(batch, 0.0)
    mu, logvar = encoder(one_hot(batch.tokens))
    torch.manual_seed(3)
    logits = decoder(protein.reparameterize(mu, logvar))
    known = protein.elbo_loss(logits, batch.tokens, mu, logvar)
    torch.testing.assert_close(found.total, known * batch.weights, rtol=1e-4, atol=1e-4)
