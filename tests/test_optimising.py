"""What an optimisation counts: the best object of a walk that nothing speaks against."""

import torch

from genmatter.api.optimising import judge
from genmatter.generative.latent import Descent


def test_lower_is_no_success_where_something_speaks_against_it():
    """Two walks go down the line; below -1 an object is broken, and the second starts there."""
    path = torch.stack([torch.linspace(0.0, -2.0, 41), torch.linspace(-1.5, -3.0, 41)], 1)[
        ..., None
    ]
    values = path[..., 0]
    found = judge(
        Descent(path[-1], values, path),
        decoded=lambda z: z.clone(),
        of=lambda x: x[:, 0],
        goal="minimise",
        doubts=lambda x: ["broken" if v < -1.0001 else "" for v in x[:, 0].tolist()],
        starts=path[0],
        random=torch.tensor([[-0.5], [-5.0], [0.3]]),
    )
    torch.testing.assert_close(found.reached, torch.tensor([-1.0, -3.0]))
    torch.testing.assert_close(found.ends[:, 0], found.reached)
    assert found.success.tolist() == [True, False]
    assert found.doubts == ["", "broken"]
    assert found.last_sound == 0
    assert (found.random_best, found.random_draws) == (-0.5, 3)


class Names:
    """Objects that are no tensor: they have a length and take an index of rows, no more."""

    def __init__(self, names):
        self.names = names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, rows):
        return Names([self.names[i] for i in rows.tolist()])


def numbers(objects):
    return torch.tensor([float(name) for name in objects.names])


def test_objects_of_any_kind_are_taken_from_where_they_were_best():
    """Three walks that pass their best place at different steps, one of them never soundly."""
    values = torch.tensor([[3.0, 1.0, 9.0], [1.0, 2.0, 9.0], [2.0, 3.0, 9.0]])
    found = judge(
        Descent(values[-1, :, None], values, values[..., None]),
        decoded=lambda z: Names([str(v) for v in z[:, 0].tolist()]),
        of=numbers,
        goal="minimise",
        doubts=lambda x: ["broken" if v > 5 else "" for v in numbers(x).tolist()],
        starts=Names(["3.0", "1.0", "9.0"]),
        random=Names(["4.0"]),
    )
    assert found.ends.names == ["1.0", "1.0", "9.0"]
    assert found.reached.tolist() == [1, 1, 9]
    assert found.success.tolist() == [True, False, False]
