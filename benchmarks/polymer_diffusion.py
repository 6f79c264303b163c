"""Polymers by diffusion: a training step, and 10,000 samples."""

__all__ = ["ratios"]

import tempfile
from pathlib import Path

import torch

from benchmarks import plain_diffusion
from benchmarks.harness import Ratio, race
from genmatter import api
from genmatter.domains.polymer import simulate
from genmatter.domains.polymer.config import PolymerDiffusionConfig, PotentialConfig
from genmatter.domains.polymer.diffusion import build
from genmatter.domains.polymer.reference import align_principal, center_com
from genmatter.domains.polymer.represent import Cartesian, ChainBatch

RECIPE = "polymer/diffusion"


def ratios(rounds: int = 5) -> list[Ratio]:
    """Returns every comparison."""
    chains = simulate.boltzmann(2048, 12, 2, PotentialConfig(), seed=0)
    flat = align_principal(center_com(chains)).flatten(1)
    return [steps(flat, rounds), samples(flat, max(rounds // 2, 2))]


def steps(flat: torch.Tensor, rounds: int) -> Ratio:
    """104 training steps of the walkthrough's network and loss."""
    model = build(PolymerDiffusionConfig.presets["walkthrough"], Cartesian(12, 2))  # pyright: ignore[reportArgumentType]
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)

    def ours() -> None:
        for rows in [r for _ in range(13) for r in torch.randperm(len(flat)).split(256)]:
            adam.zero_grad()
            model.loss(ChainBatch(flat[rows]), 0.0).total.mean().backward()
            adam.step()

    note = "104 steps each of the same network; no loader, fused Adam"
    return race("training step, DDPM", lambda: plain_diffusion.fit(flat, 13), ours, rounds, note)


def samples(flat: torch.Tensor, rounds: int) -> Ratio:
    """10,000 chains from 200 calls of the walkthrough's network, and from 20 of the default's.

    What they are like is in `docs/domains/polymer.md`; how long they take depends on no weight.
    """
    plain = plain_diffusion.fit(flat, 1)
    with tempfile.TemporaryDirectory() as folder:
        it = api.train(RECIPE, run=Path(folder) / "run", chains=256, epochs=1, test_chains=64)
        return race(
            "10,000 samples by diffusion",
            lambda: plain_diffusion.sample(plain, 10_000),
            lambda: it.sample(10_000),
            rounds,
            f"200 calls of the walkthrough's network; ours {it.model.network_calls}",  # pyright: ignore[reportAttributeAccessIssue]
        )
