import pytest
import torch

from genmatter.nn.mlp import carry, mlp


@pytest.mark.parametrize(("size", "out"), [(7, 2), (2, 7), (3, 3)])
def test_a_network_carries_a_linear_map_and_can_learn_the_rest(size, out):
    net, weight, bias = mlp(size, 16, 16, out), torch.randn(out, size), torch.randn(out)
    carry(net, weight, bias)
    x = torch.randn(50, size)
    torch.testing.assert_close(net(x), x @ weight.T + bias, atol=1e-4, rtol=1e-4)
    net(x).square().sum().backward()
    assert net[-1].weight.grad.abs().gt(0).float().mean() > 0.5


def test_it_needs_room():
    with pytest.raises(ValueError, match="6"):
        carry(mlp(5, 5, 3), torch.randn(3, 5), torch.zeros(3))
