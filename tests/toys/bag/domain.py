"""Bags, from data to scores."""

import numpy as np
import torch

from genmatter.domains.bag.represent import Bags, Padded
from genmatter.errors import DataError
from genmatter.maths.noise import generator
from genmatter.spine import Domain, Observable, Score, Splits


def width(bags):
    return torch.stack([p.norm(dim=-1).mean() for p in bags.points])


class Bag(Domain[Bags]):
    representation = Padded
    observables = (
        Observable("width", "", width, differentiable=True),
        Observable("charge", "e", lambda b: b.charges),
    )
    formats = (".npz",)

    def load(self):
        g, n = generator("bag", 0), self.config.data.bags
        counts = torch.randint(2, 7, (n,), generator=g).tolist()
        charges = torch.randn(n, generator=g)
        points = tuple(torch.randn(c, 2, generator=g) * 3 for c in counts)
        charges[::5] = torch.nan
        bags = Bags(points, charges)
        return Splits(bags[: n // 2], bags[n // 2 : 3 * n // 4], bags[3 * n // 4 :])

    def read(self, path):
        if not path.is_file():
            raise DataError(f"there is no file {str(path)!r}")
        with np.load(path) as file:
            points = tuple(torch.from_numpy(file[f"p{i}"]) for i in range(len(file["charges"])))
            return Bags(points, torch.from_numpy(file["charges"]))

    def write(self, objects, path):
        points = {f"p{i}": p.numpy() for i, p in enumerate(objects.points)}
        np.savez(path, charges=objects.charges.numpy(), **points)

    def faults(self, objects):
        return ["too wide" if w > 8 else "" for w in width(objects).tolist()]

    def score(self, samples, splits):
        gap = (width(samples).mean() - width(splits.test).mean()).abs()
        return {"width_gap": Score(gap.item(), 0.0)}

    def match(self, objects, copies):
        pairs = zip(objects.points, copies.points, strict=True)
        gap = torch.stack([(a - b).square().mean() for a, b in pairs])
        return {"square_error": Score(gap.mean().item(), 0.0)}

    def draw(self, objects, titles):
        return f"<p>{len(objects)} bags: {', '.join(titles)}</p>"


DOMAIN = Bag
