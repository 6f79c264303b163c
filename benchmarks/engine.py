"""The engine: what our training loop costs beside a bare one, and how fast the commands start."""

__all__ = ["ratios"]

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.harness import Ratio, race
from genmatter.config import resolve
from genmatter.domains.polymer import simulate
from genmatter.domains.polymer.config import PotentialConfig
from genmatter.domains.polymer.represent import Internal
from genmatter.domains.polymer.vae import build
from genmatter.loading.batch import Batch
from genmatter.recipes import find
from genmatter.run import Run
from genmatter.training.devices import fabric_for
from genmatter.training.fit import fit

EPOCHS = 4
CHAINS = 10_240


def ratios(rounds: int = 5) -> list[Ratio]:
    """Returns every comparison."""
    return [loop(rounds), start(rounds)]


def loop(rounds: int) -> Ratio:
    """The steps of the default polymer/vae, in a bare loop and in ours."""
    config = resolve(find("polymer/vae"), epochs=EPOCHS)
    chains = simulate.boltzmann(CHAINS + 256, 12, 2, PotentialConfig(), seed=0)
    representation = Internal.fit(chains, config)
    data, few = (representation.encode(x) for x in chains.split(CHAINS))
    fabric = fabric_for("cpu", "32", 1)

    def bare() -> None:
        _bare(build(config, representation), data)  # pyright: ignore[reportArgumentType]

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder) / "run")
            run.claim()
            model = build(config, representation)  # pyright: ignore[reportArgumentType]
            fit(model, data, few, config.optim, 0, run, fabric)

    steps = EPOCHS * CHAINS // 256
    note = (
        f"{steps} steps; ours clips, averages, checks, logs, validates on 256, writes checkpoints"
    )
    return race("bare loop / our loop", bare, ours, rounds, note)


def _bare(model: torch.nn.Module, data: Batch) -> None:
    """Adam over shuffled batches, and nothing else."""
    adam = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.2, fused=True)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data)).split(256):
            adam.zero_grad()
            model.loss(data[rows], 0.0).total.mean().backward()  # pyright: ignore[reportCallIssue]
            adam.step()


def start(rounds: int) -> Ratio:
    """`genmatter list` beside a script that imports what it needs at its head."""
    imports = "import torch, numpy, matplotlib.pyplot, sklearn, lightning_fabric"

    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)

    return race(
        "start-up: genmatter list",
        lambda: run("-c", imports),
        lambda: run("-m", "genmatter", "list"),
        rounds,
        "beside a script that imports torch, matplotlib, scikit-learn, Fabric at its head",
    )
