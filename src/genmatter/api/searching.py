"""Searches for objects with wished properties, on top of a latent, where no gradient leads there.

Objects that come one by one, such as molecules, have no gradient. What there is: the gradient of
properties that the model tells from the latent, a covariance matrix adaptation evolution strategy
(CMA-ES) that looks at nothing but what is true of decoded objects, and plain samples. Each is
charged for every different object that is measured, so that they can be compared.

References:
    | The CMA Evolution Strategy: A Tutorial (Hansen, 2016) https://arxiv.org/abs/1604.00772
    | A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity (Ros & Hansen,
    | 2008), for the diagonal one https://doi.org/10.1007/978-3-540-87700-4_30
    | Automatic chemical design using a data-driven continuous representation of molecules
    | (Gómez-Bombarelli et al., 2018) https://doi.org/10.1021/acscentsci.7b00572
"""

__all__ = ["METHODS", "compare", "search"]

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmatter.api.objective import Objective
from genmatter.api.optimising import frozen
from genmatter.api.oracle import Found, Oracle
from genmatter.api.quest import Quest, predicts
from genmatter.api.trained import CHUNK, Trained
from genmatter.config import closest
from genmatter.errors import ConfigError, RecipeError
from genmatter.generative.latent import descend
from genmatter.maths.noise import generator, seed_of, stream
from genmatter.spine import Domain

WIDTH = 0.5
"""Standard deviation of the first steps around a centre; the prior's is 1."""
PRIOR = 0.02
"""Weight of the prior's nats, against standard deviations of the properties."""
MANY = 50
"""Latent numbers above which CMA-ES adapts a diagonal covariance only."""
STALE = 3
"""Generations of nothing new after which CMA-ES begins anew."""
WALKS, STEPS, RATE, LOOK = 32, 60, 0.05, 5
"""Walks along the gradient at once, steps of each and their size, steps between two looks."""


def search(
    it: Trained,
    objective: Objective,
    method: str = "cma",
    *,
    calls: int = 2000,
    start: Any = None,
    population: int = 0,
    seed: int = 0,
    k: int = 20,
) -> Found:
    """Looks for the objects that come nearest to an objective.

    Args:
        it: A model with a latent.
        objective: What is wished.
        method: `gradient`, `cma`, `greedy` or `random`.
        calls: Different objects that may be measured.
        start: A set of the one object to begin from; the best of some samples, which are charged,
            where there is none. Plain samples begin nowhere.
        population: Walks or points at once; 0 is 32 walks, and what CMA-ES takes by itself.
        seed: Of everything that is drawn.
        k: How many of the best to return.

    Raises:
        RecipeError: The model has no latent, or does not tell the leading property from it.
        ConfigError: There is no such method, or a number is below 1.
        DataError: Nothing that was decoded is sound.
    """
    it.require("search")
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r}{closest(method, METHODS)}")
    if min(calls, k) < 1 or population < 0:
        raise ConfigError(f"cannot find {k} objects in {calls} calls, {population} at once")
    quest = Quest(it, Oracle(it, objective, calls), start, seed)
    with frozen(it.model):
        METHODS[method](quest, population)
    return quest.oracle.found(method, k, quest.take)


def compare(
    it: Trained,
    objective: Objective,
    *,
    methods: Sequence[str] = (),
    calls: int = 500,
    start: Any = None,
    population: int = 0,
    seed: int = 0,
    k: int = 20,
) -> dict[str, Found]:
    """Searches by several methods, and among training objects, with as many calls each.

    Args:
        it: A model with a latent.
        objective: What is wished.
        methods: Which; without any, all that the model can.
        calls: Different objects that each may measure.
        start: The one object to begin from.
        population: As `search` takes it.
        seed: Of everything that is drawn.
        k: How many of the best to return.

    Returns:
        What each found, by method; `training` is a random part of the training objects, as many
        as there are calls, and `all training` all of them.

    Raises:
        GenmatterError: What `search` raises.
    """
    able = predicts(it, objective.leading)
    cannot = {"gradient": not able, "greedy": not _changes(it)}
    methods = methods or [m for m in METHODS if not cannot.get(m)]
    how: dict[str, Any] = {"calls": calls, "start": start, "population": population}
    found = {m: search(it, objective, m, **how, seed=seed, k=k) for m in methods}
    train = it.splits.train
    part = torch.randperm(len(train), generator=generator(seed, "training"))[:calls]
    sets = {"training": train[part], "all training": train}
    return found | {
        name: _known(it, objective, name, objects, k) for name, objects in sets.items()
    }


def _known(it: Trained, objective: Objective, name: str, objects: Any, k: int) -> Found:
    oracle = Oracle(it, objective, len(objects))
    oracle(objects)
    return oracle.found(name, k, lambda calls: objects[torch.tensor(oracle.rows)[calls]])


def _random(quest: Quest, population: int) -> None:
    """Measures plain samples."""
    while not quest.oracle.is_spent:
        quest.samples(min(quest.oracle.left, CHUNK))


def _cma(quest: Quest, population: int) -> None:
    """Follows CMA-ES around one centre after the other, with what the prior says against far ones.

    What is charged is the part of the squared length beyond that of the prior's typical latents,
    on a sphere of as many square standard deviations as there are numbers.
    """
    centres = quest.centres()
    for number in itertools.count():
        if quest.oracle.is_spent:
            return
        centre = centres[number % len(centres)].cpu()
        strategy = _strategy(centre, population, quest.seed, number)
        stale = 0
        while not (quest.oracle.is_spent or stale == STALE or strategy.stop()):
            left = quest.oracle.left
            points = strategy.ask()
            flat = torch.from_numpy(np.stack(points)).float()
            far = (flat.square().sum(1) - flat.shape[1]).relu() / 2
            scores = quest.at(flat.reshape(-1, *centre.shape).to(quest.it.device))
            strategy.tell(points, (scores.double() + PRIOR * far).tolist())
            stale = 0 if quest.oracle.left < left else stale + 1


def _strategy(centre: Tensor, population: int, *key: int) -> Any:
    """Returns CMA-ES from a centre, with a stream of its own: else it takes the global one."""
    import cma

    noise = np.random.default_rng(seed_of(*key, "cma"))
    told = {
        "seed": math.nan, "randn": lambda *shape: noise.standard_normal(shape),
        "verbose": -10, "verb_log": 0, "CMA_diagonal": centre.numel() > MANY,
    }  # fmt: skip
    if population:
        told["popsize"] = max(population, 4)
    return cma.CMAEvolutionStrategy(centre.double().flatten().numpy(), WIDTH, told)


def _gradient(quest: Quest, population: int) -> None:
    """Descends on what the model tells of latents, and looks along the way at what is true.

    The first walks begin at the centres, later ones near them.

    Raises:
        RecipeError: The model does not tell the leading property.
    """
    objective, model = quest.objective, quest.model
    if not predicts(quest.it, objective.leading):
        raise RecipeError(
            f"{quest.it.recipe} does not tell {objective.leading} from the latent, so that there "
            "is no gradient: --method cma goes without"
        )

    def told(z: Tensor) -> tuple[Tensor, Tensor]:
        values = model.predict(z)
        return objective.predicted(values), values[objective.leading]

    centres, walks = quest.centres(), population or WALKS
    for first in itertools.count(0, walks):
        if quest.oracle.is_spent:
            return
        turn = torch.arange(first, first + walks)
        with stream(quest.seed, "gradient", first):
            noise = WIDTH * torch.randn(walks, *centres.shape[1:])
        noise[turn < len(centres)] = 0
        begun = centres[turn % len(centres)] + noise.to(centres)
        for z in descend(begun, told, STEPS, RATE, PRIOR).path[::LOOK]:
            if not quest.oracle.is_spent:
                quest.at(z)


def _greedy(quest: Quest, population: int) -> None:
    """Climbs by small changes of objects, with no model: the best of some, if it is better.

    The first climbs begin at the centres, one after the other; a climb ends where as many changes
    as STALE times the population do not lead upwards.

    Raises:
        RecipeError: Nobody knows what a small change of an object of this kind is.
    """
    at_once = population or WALKS
    for number, (now, score) in enumerate(itertools.cycle(quest.begun())):
        stale, step = 0, 0
        while stale < STALE and not quest.oracle.is_spent:
            noise = generator(quest.seed, "greedy", number, step)
            objects = quest.it.domain.changed(now, at_once, noise)
            if objects is None:
                raise RecipeError(f"{quest.it.recipe} knows no small changes of objects")
            batch = quest.it.representation.encode(objects)
            scores = quest.measure(batch)
            best = int(scores.argmin())
            better = float(scores[best]) < score
            if better:
                now, score = objects[torch.tensor([best])], float(scores[best])
            stale, step = 0 if better else stale + 1, step + 1
        if quest.oracle.is_spent:
            return


def _changes(it: Trained) -> bool:
    """Says whether the domain knows small changes of objects."""
    return type(it.domain).changed is not Domain.changed


METHODS = {"gradient": _gradient, "cma": _cma, "greedy": _greedy, "random": _random}
"""What each method does, by its name."""
