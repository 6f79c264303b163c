"""Where objects lie in a latent space: the report's section on it."""

__all__ = ["MAPPED", "latents"]

import torch

from genmatter.api.gallery import shown
from genmatter.api.trained import Trained
from genmatter.reporting import plots
from genmatter.reporting.page import Block, Picture
from genmatter.reporting.spread import plane

MAPPED = 5000
"""Points of the map."""


def latents(it: Trained) -> tuple[list[Block], list[Block]]:
    """Maps the latents of the test split: plainly, and as the domain does, if it does."""
    test = it.splits.test
    objects = test[torch.arange(min(MAPPED, len(test)))]
    z = it.encode(objects).flatten(1).numpy()
    values = {o.name: o.of(objects) for o in it.domain.observables}
    member = it.group(objects)
    if member is not None:
        values = {"cluster": member.double(), **values}
    units = {o.name: o.unit for o in it.domain.observables}
    plain = plots.latent_map(z, values, units)
    words = "Latents of the test split, coloured by observables."
    xy, labels = plane(z)
    richer = it.domain.map(objects, torch.from_numpy(xy), values) if len(labels) == 2 else None
    groups = None if member is None else it.domain.groups(objects, member)
    if richer is None and groups is None:
        return [Picture(plain, words)], []
    clusters = [] if groups is None else shown(groups, "Clusters, the largest first.")
    if richer is None:
        return [Picture(plain, words)], clusters
    across = f"The same with what each is: across {labels[0]}, up {labels[1]}."
    return [Picture(plain, words)], [*shown(richer, across), *clusters]
