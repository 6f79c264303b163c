import torch

from genmatter.nn.places import PlaceReader, PlaceWriter


def test_a_sequence_is_read_place_by_place():
    torch.manual_seed(0)
    it, x = PlaceReader(3, 4, 5), torch.randn(2, 6, 4)
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    by_hand = torch.stack(
        [sum(x[n, t] @ it.weight[min(t, 2)] for t in range(int(mask[n].sum()))) for n in range(2)]
    )
    torch.testing.assert_close(it(x, mask), by_hand)


def test_a_vector_is_written_to_each_place():
    torch.manual_seed(0)
    it, z = PlaceWriter(3, 4, 5), torch.randn(2, 4)
    whole = it(z, 6)
    for place in range(6):
        torch.testing.assert_close(it.at(z, place), whole[:, place])
        torch.testing.assert_close(whole[:, place], z @ it.weight[min(place, 2)])


def test_what_was_read_can_be_written_back():
    """With weights that are each other's inverses a sequence goes through a vector unchanged."""
    read, write = PlaceReader(3, 2, 6), PlaceWriter(3, 6, 2)
    with torch.no_grad():
        q = torch.linalg.qr(torch.randn(6, 6))[0].view(3, 2, 6)
        read.weight.copy_(q)
        write.weight.copy_(q.transpose(1, 2))
    x = torch.randn(4, 3, 2)
    torch.testing.assert_close(write(read(x, torch.ones(4, 3, dtype=torch.bool)), 3), x)
