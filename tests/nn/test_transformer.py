import pytest
import torch

from genmatter.nn.transformer import TransformerLayer


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return TransformerLayer(12, 3, dropout=0.5).double().eval()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(2, 6, 12).double()


def by_the_book(layer, x, mask):
    """Heads one by one, with the softmax written out."""
    q, k, v = layer.into(layer.norm(x)).chunk(3, -1)
    size, heads = 4, []
    for h in range(3):
        here = slice(h * size, (h + 1) * size)
        logits = q[..., here] @ k[..., here].mT / size**0.5
        weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        heads.append(weights @ v[..., here])
    x = x + layer.out(torch.cat(heads, -1))
    return x + layer.wide(layer.norm_wide(x))


def test_it_is_attention_by_the_book(layer, x):
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    torch.testing.assert_close(layer(x, mask), by_the_book(layer, x, mask))


def test_masked_places_are_not_seen(layer, x):
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    other = torch.where(mask[..., None], x, 9.0)
    torch.testing.assert_close(layer(x, mask)[mask], layer(other, mask)[mask])
    torch.testing.assert_close(layer(x, mask)[1:, :4], layer(x[1:, :4], mask[1:, :4]))


def test_the_order_of_places_is_not_seen(layer, x):
    mask, order = torch.ones(2, 6, dtype=torch.bool), torch.randperm(6)
    torch.testing.assert_close(layer(x[:, order], mask), layer(x, mask)[:, order])


def test_dropout_is_of_training_only(layer, x):
    mask = torch.ones(2, 6, dtype=torch.bool)
    assert torch.equal(layer(x, mask), layer(x, mask))
    layer.train()
    assert not torch.equal(layer(x, mask), layer(x, mask))
