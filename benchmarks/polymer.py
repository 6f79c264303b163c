"""Polymers: preprocessing, a training step, and the time to the walkthrough's lowest test loss."""

__all__ = ["ratios"]

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Ratio, race
from benchmarks.plain_polymer import PlainVAE, align, fit, plain_loss
from genmatter.domains.polymer import simulate
from genmatter.domains.polymer.config import PotentialConfig
from genmatter.domains.polymer.reference import (
    PolymerVAE,
    align_principal,
    center_com,
    meaning_of_beta,
    start_linear,
    vae_loss,
)

EPOCHS = 150


def ratios(rounds: int = 5) -> list[Ratio]:
    """Returns every comparison."""
    chains = simulate.langevin(
        2048, 12, 2, PotentialConfig(), dt=0.0025, stride=200, seed=0, walkers=10
    )
    paths = chains.double().numpy()
    many = simulate.boltzmann(20_000, 12, 2, PotentialConfig(), seed=0)
    some = many.numpy()
    found = [
        race(
            "centre and align 20,000 chains",
            lambda: align(some),
            lambda: align_principal(center_com(many)),
            rounds,
            "a loop over frames; float32",
        ),
        race(
            "centre and align 2,048 chains",
            lambda: align(paths),
            lambda: align_principal(center_com(paths)),
            rounds,
            "a loop over frames; float64 arrays of numpy",
        ),
        steps(chains, rounds),
    ]
    return found + lowest(chains)


def steps(chains: Tensor, rounds: int) -> Ratio:
    """100 training steps of the walkthrough's network and loss."""
    flat = align_principal(center_com(chains)).flatten(1)
    ours, adam = _fused()

    def plain() -> None:
        fit(flat, math.ceil(100 / math.ceil(len(flat) / 256)))

    def fast() -> None:
        for rows in [r for _ in range(13) for r in torch.randperm(len(flat)).split(256)][:104]:
            adam.zero_grad()
            x = flat[rows]
            vae_loss(x, *ours(x))[0].backward()
            adam.step()

    note = "104 steps each; no loader, fused Adam"
    return race("training step, walkthrough", plain, fast, rounds, note)


def _fused() -> tuple[PolymerVAE, torch.optim.Optimizer]:
    ours = PolymerVAE()
    return ours, torch.optim.Adam(ours.parameters(), lr=1e-3, fused=True)


def lowest(chains: Tensor) -> list[Ratio]:
    """Time to the lowest test loss that the walkthrough reaches, on its own split.

    What is to be reached is the mean of three seeds' lowest losses: one seed's alone is luck.
    """
    paths = chains.double().numpy()
    order = torch.from_numpy(np.random.RandomState(42).permutation(len(paths)))
    plain = []
    for seed in range(3):
        torch.manual_seed(seed)
        plain.append(plain_run(paths, order))
    goal = statistics.mean(min(loss for _, loss in trace) for trace, _ in plain)
    best = [min(trace, key=lambda point: point[1])[0] for trace, _ in plain]
    crossings = ([t for t, loss in trace if loss <= goal] for trace, _ in plain)
    first = [c[0] if c else b for c, b in zip(crossings, best, strict=True)]
    ours = []
    for seed in range(3):
        torch.manual_seed(seed)
        ours.append(our_run(chains, order, goal))
    note = f"test loss {goal:.4f}, of {EPOCHS} epochs; three seeds; alignment in"
    whole = [seconds for _, seconds in plain]
    return [
        Ratio("to its lowest test loss: whole walkthrough", whole, ours, note),
        Ratio("the same: its own first crossing", first, ours, note),
    ]


def plain_run(paths: np.ndarray, order: Tensor) -> tuple[list[tuple[float, float]], float]:
    """Returns seconds and test loss after each epoch of the walkthrough, and all its seconds."""
    start, looks = time.perf_counter(), 0.0
    flat = torch.from_numpy(align(paths).reshape(len(paths), -1)).float()[order]
    cut = int(0.9 * len(flat))
    trace: list[tuple[float, float]] = []

    def look(model: PlainVAE) -> None:
        nonlocal looks
        now = time.perf_counter()
        trace.append((now - start - looks, test_loss(model, flat[cut:])))
        looks += time.perf_counter() - now

    fit(flat[:cut], EPOCHS, look)
    return trace, time.perf_counter() - start - looks


def our_run(chains: Tensor, order: Tensor, goal: float) -> float:
    """Returns the seconds until the same network and objective reach the same test loss.

    The network starts as the best linear one. Where that is not enough it is trained on.
    """
    start, looks = time.perf_counter(), 0.0
    flat = align_principal(center_com(chains)).flatten(1)[order]
    cut = int(0.9 * len(flat))
    model = PolymerVAE()
    start_linear(model.encoder, model.decoder, flat[:cut], meaning_of_beta(0.01, 24, 2))
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for step in range(2000):
        if step % 8 == 0:
            now = time.perf_counter()
            if test_loss(model, flat[cut:]) <= goal:
                return now - start - looks
            looks += time.perf_counter() - now
        adam.zero_grad()
        x = flat[torch.randint(cut, (256,))]
        vae_loss(x, *model(x))[0].backward()
        adam.step()
    return math.inf


@torch.no_grad()
def test_loss(forward: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], test: Tensor) -> float:
    """The walkthrough's loss of the test split, with the latent's noise averaged over 8 draws."""
    torch.manual_seed(0)
    return statistics.mean(float(plain_loss(test, *forward(test))) for _ in range(8))
