import pytest
import torch

from genmatter.nn.recurrent import Recurrent, backwards, last


@pytest.fixture
def mask():
    return torch.arange(7) < torch.tensor([[7], [3], [1], [5]])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_steps_are_the_whole(layers):
    torch.manual_seed(0)
    it = Recurrent(4, 6, layers).double()
    x = torch.randn(5, 9, 4, dtype=torch.float64)
    state = tuple(torch.randn(5, layers, 6, dtype=torch.float64) for _ in range(2))
    whole, found = it(x, state), []
    for place in range(9):
        top, state = it.step(x[:, place], state)
        found.append(top)
    torch.testing.assert_close(torch.stack(found, 1), whole)


def test_without_a_state_it_begins_with_zeros():
    torch.manual_seed(0)
    it, x = Recurrent(4, 6, 2), torch.randn(3, 5, 4)
    zeros = torch.zeros(3, 2, 6)
    torch.testing.assert_close(it(x), it(x, (zeros, zeros)))


def test_no_rows_are_no_trouble():
    it, inputs = Recurrent(4, 6, 2), torch.nn.Linear(3, 4)
    for places in (5, 0):
        found = it(inputs(torch.zeros(0, places, 3)))
        assert found.shape == (0, places, 6)
    it(inputs(torch.zeros(0, 5, 3)), (torch.zeros(0, 2, 6), torch.zeros(0, 2, 6))).sum().backward()
    assert all(p.grad is not None for p in (*it.parameters(), *inputs.parameters()))


def test_the_last_real_place_is_taken(mask):
    x = torch.arange(7.0)[None, :, None].expand(4, -1, 2)
    assert last(x, mask)[:, 0].tolist() == [6, 2, 0, 4]


def test_rows_are_turned_around_within_their_length(mask):
    x = torch.arange(7.0)[None, :, None].expand(4, -1, 2)
    turned = backwards(x, mask)[..., 0].tolist()
    assert turned[1] == [2, 1, 0, 3, 4, 5, 6]
    assert turned[0] == [6, 5, 4, 3, 2, 1, 0]
    torch.testing.assert_close(backwards(backwards(x, mask), mask), x)


def test_what_is_padded_does_not_reach_the_last_real_place(mask):
    torch.manual_seed(0)
    it, x = Recurrent(4, 6, 2), torch.randn(4, 7, 4)
    other = torch.where(mask[..., None], x, torch.randn(4, 7, 4))
    for turn in (lambda x, m: x, backwards):
        torch.testing.assert_close(
            last(it(turn(x, mask)), mask), last(it(turn(other, mask)), mask)
        )
