import pytest
import torch

from genmatter.nn.packed import PackedLayer, Places

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return PackedLayer(8, 2, 16).double().eval()


def test_packing_and_unpacking_are_inverses():
    x = torch.randn(3, 4, 2)
    places = Places.of(MASK)
    packed = places.pack(x)
    assert packed.shape == (8, 2)
    torch.testing.assert_close(places.unpack(packed), x * MASK[..., None])
    torch.testing.assert_close(places.total(packed), (x * MASK[..., None]).sum(1))


def test_rows_of_equal_length_are_not_padded():
    full = torch.ones(2, 3).bool()
    places = Places.of(full)
    assert places.bias is None
    x = torch.randn(2, 3, 5)
    torch.testing.assert_close(places.unpack(places.pack(x)), x)


def test_each_row_is_as_if_it_were_alone(layer):
    places = Places.of(MASK)
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    together = places.unpack(layer(places.pack(x), places))
    for row, length in enumerate((3, 1, 4)):
        alone = Places.of(torch.ones(1, length).bool())
        found = layer(x[row, :length], alone)
        torch.testing.assert_close(together[row, :length], found)


def test_it_is_the_layer_of_a_padded_transformer(layer):
    plain = torch.nn.TransformerEncoderLayer(
        8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    ).eval()
    with torch.no_grad():
        plain.self_attn.in_proj_weight.copy_(layer.into.weight)
        plain.self_attn.in_proj_bias.copy_(layer.into.bias)
        plain.self_attn.out_proj.load_state_dict(layer.out.state_dict())
        plain.linear1.load_state_dict(layer.wide[0].state_dict())
        plain.linear2.load_state_dict(layer.wide[2].state_dict())
    x, places = torch.randn(3, 4, 8, dtype=torch.float64), Places.of(MASK)
    found = places.unpack(layer(places.pack(x), places))
    with torch.no_grad():
        wanted = plain(x, src_key_padding_mask=~MASK)
    torch.testing.assert_close(found, wanted * MASK[..., None])


def test_places_may_stand_in_any_order(layer):
    places = Places.of(torch.ones(1, 5).bool())
    x, order = torch.randn(5, 8, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(x[order], places), layer(x, places)[order])


def test_phases_are_seen_by_their_differences_only(layer):
    places = Places.of(MASK)
    x = torch.randn(8, 8, dtype=torch.float64)
    angle = torch.randn(8, 2)
    turned = lambda a: layer(x, places, None, torch.polar(torch.ones_like(a), a))
    shift = torch.randn(3, 2)[places.row]
    torch.testing.assert_close(turned(angle), turned(angle + shift), atol=1e-5, rtol=1e-5)
    assert (turned(angle) - turned(2 * angle)).abs().max() > 1e-3


def test_what_is_told_changes_nothing_at_first_and_something_later():
    torch.manual_seed(0)
    layer = PackedLayer(8, 2, 16, told=3)
    places, x = Places.of(MASK), torch.randn(8, 8)
    a, b = (layer(x, places, told) for told in (torch.zeros(3, 3), torch.ones(3, 3)))
    torch.testing.assert_close(a, b)
    torch.nn.init.normal_(layer.turn.weight)
    a, b = (layer(x, places, told) for told in (torch.zeros(3, 3), torch.ones(3, 3)))
    assert (a - b).abs().max() > 1e-3


def test_no_rows_are_no_trouble(layer):
    places = Places.of(torch.zeros(0, 3).bool())
    assert layer(torch.zeros(0, 8, dtype=torch.float64), places).shape == (0, 8)


def test_pairs_say_where_places_look_and_what_they_read():
    """Against the sums written out, of one row and one head."""
    torch.manual_seed(0)
    layer = PackedLayer(8, 1, 16, pairs=3).double().eval()
    x, pairs = torch.randn(5, 8).double(), torch.randn(1, 5, 5, 3).double()
    found = layer.attend(x, Places.of(torch.ones(1, 5).bool()), None, pairs)
    q, k, v = layer.into(x).chunk(3, -1)
    for i in range(5):
        score = torch.stack(
            [q[i] @ k[j] / 8**0.5 + layer.near(pairs[0, i, j])[0] for j in range(5)]
        )
        p = score.softmax(0)
        read = sum(p[j] * pairs[0, i, j] for j in range(5))
        torch.testing.assert_close(found[i], layer.out(p @ v) + layer.between(read))


def test_rows_with_pairs_are_as_if_they_were_alone():
    torch.manual_seed(0)
    layer = PackedLayer(8, 2, 16, pairs=3).double().eval()
    x, pairs = torch.randn(3, 4, 8).double(), torch.randn(3, 4, 4, 3).double()
    places = Places.of(MASK)
    together = places.unpack(layer(places.pack(x), places, pairs=pairs))
    for row, length in enumerate((3, 1, 4)):
        alone = Places.of(torch.ones(1, length).bool())
        some = pairs[row : row + 1, :length, :length]
        found = layer(x[row, :length], alone, pairs=some)
        torch.testing.assert_close(together[row, :length], found)
