"""Backbones: scores of rotations, attention in space, and conformers from an untrained network."""

__all__ = ["ratios"]

import dataclasses
import math
import multiprocessing
import resource
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks import plain_backbone
from benchmarks.harness import Ratio, race
from benchmarks.plain_backbone import PlainAttention, plain_network
from genmatter.domains.backbone.config import BackboneDiffusionConfig
from genmatter.domains.backbone.diffusion import build
from genmatter.domains.backbone.represent import BackboneFrames
from genmatter.maths import igso3, rotation
from genmatter.maths.rigid import Rigid
from genmatter.nn.ipa import EdgeTransition, InvariantPointAttention

C_S, C_Z, HEADS, BLOCKS = 256, 128, 12, 4
ROWS = 5
"""Of the thousand rows of a table of scores, those that are timed."""


def ratios(rounds: int = 3) -> list[Ratio]:
    """Returns every comparison."""
    attention = [_attention(size, rounds if size < 256 else 1) for size in (10, 64, 128, 256)]
    return [_scores(rounds), _ready(rounds), *attention, _edges(rounds), _conformers(rounds)]


def _scores(rounds: int) -> Ratio:
    """Scores of a batch of proteins, each at its own level."""
    v = rotation.log(rotation.random_matrix(8, 256))
    omega = v.norm(dim=-1)
    sigma = torch.linspace(0.1, 1.5, 8)[:, None]
    return race(
        "scores of 8 x 256 rotations",
        lambda: plain_backbone.series_score(omega, sigma.expand_as(omega)),
        lambda: igso3.score_vector(v, sigma),
        rounds,
        "a series of 2,000 terms",
    )


def _ready(rounds: int) -> Ratio:
    """Time until the first score, where the plain way makes a table before."""
    found = race(
        "",
        lambda: plain_backbone.table(ROWS),
        lambda: igso3.score_vector(torch.ones(1, 3), 0.7),
        rounds,
    )
    note = f"a table of 1,000 x 1,000, from {ROWS} of its rows; ours the first score itself"
    plain = [seconds * 1000 / ROWS for seconds in found.plain]
    return Ratio("until scores are ready", plain, found.ours, note)


def _attention(size: int, rounds: int) -> Ratio:
    """Forward and backward through the attention of four blocks."""
    found = race(
        f"attention of 4 blocks, {size} residues", _step(size, plain=True),
        _step(size, plain=False), rounds,
    )  # fmt: skip
    plain, ours = (_memory(size, plain=p, edges=False) for p in (True, False))
    note = f"forward and backward; peak {plain:.0f} and {ours:.0f} MB"
    return dataclasses.replace(found, note=note)


def _edges(rounds: int) -> Ratio:
    """What updating pairs between blocks would cost on top of attention."""
    found = race(
        "updating pairs between them, 128 residues", _step(128, plain=False, edges=True),
        _step(128, plain=False), min(rounds, 2),
    )  # fmt: skip
    plain, ours = (_memory(128, plain=False, edges=e) for e in (True, False))
    note = f"ours with and without it; peak {plain:.0f} and {ours:.0f} MB; off by default"
    return dataclasses.replace(found, note=note)


def _step(size: int, *, plain: bool, edges: bool = False) -> Callable[[], None]:
    """Returns a forward and backward pass of blocks of attention over one protein."""
    torch.manual_seed(0)
    blocks = [InvariantPointAttention(C_S, C_Z, no_heads=HEADS) for _ in range(BLOCKS)]
    ways: list[nn.Module] = [PlainAttention(b) if plain else b for b in blocks]
    updates = [EdgeTransition(C_S, C_Z) for _ in range(BLOCKS - 1 if edges else 0)]
    first, pairs = torch.randn(1, size, C_S), torch.randn(1, size, size, C_Z)
    bodies = Rigid(rotation.random_matrix(1, size), 10 * torch.randn(1, size, 3))
    mask = torch.ones(1, size, dtype=torch.bool)

    def step() -> None:
        s, z = first, pairs
        for k, way in enumerate(ways):
            s = s + way(s, z, bodies, mask)
            if k < len(updates):
                z = updates[k](s, z)
        s.square().sum().backward()

    return step


def _memory(size: int, *, plain: bool, edges: bool) -> float:
    """Returns by how many MB a step raises the peak of a process of its own.

    It is forked from a small one, as a process begins with the peak of the one it comes from.
    """
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.apply(_peak, (size, plain, edges))


def _peak(size: int, plain: bool, edges: bool) -> float:
    torch.set_num_threads(1)
    _step(8, plain=plain, edges=edges)()  # what only the first step takes
    step = _step(size, plain=plain, edges=edges)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _conformers(rounds: int) -> Ratio:
    """Seconds of each of some conformers of ten residues, of the default network untrained."""
    config, n = BackboneDiffusionConfig(), 64
    names = ("chignolin",)
    known = BackboneFrames(
        0.2, names, ("YYDPETGTWY",), (tuple(range(1, 11)),), (("A",) * 10,),
        (tuple(math.sin(k) for k in range(150)),),
    )  # fmt: skip
    model = build(config, known).eval()
    given, few = known.prompt(n, config), known.prompt(4, config)
    net, path = plain_network(model.net), model.path  # pyright: ignore[reportArgumentType]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        start = time.perf_counter()
        plain_backbone.sample(net, path, few, config.sampling.steps)
        middle = time.perf_counter()
        model.sample(given)
        seconds[0].append((middle - start) / len(few))
        seconds[1].append((time.perf_counter() - middle) / n)
    calls = config.sampling.steps
    note = f"{calls} calls each; one by one, plain attention and a series; ours {n} at once"
    return Ratio("a conformer of 10 residues", *seconds, note)
