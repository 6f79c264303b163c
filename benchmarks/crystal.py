"""Crystals: a training step, samples, settings and matches, beside plain padded ways.

Seconds are those of the processor, of one core and one crystal, but for matches, which are shared
out among processes and are told by the clock on the wall.
"""

__all__ = ["ratios"]

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from benchmarks.harness import Ratio, Way, laps
from benchmarks.plain_crystal import PlainFlow, PlainVAE, plain_loss, plain_match, plain_rows
from genmatter.config import replaced
from genmatter.domains.crystal import data, latent_diffusion, vae
from genmatter.domains.crystal.config import (
    CrystalDataConfig,
    CrystalLatentDiffusionConfig,
    CrystalVAEConfig,
)
from genmatter.domains.crystal.crystals import Crystals
from genmatter.domains.crystal.matching import CDVAE, rms
from genmatter.domains.crystal.represent import CrystalBatch, CrystalTensors
from genmatter.loading.examples import order

CRYSTALS, BATCH, STEPS = 3000, 128, 4
DRAWN, CALLS = 256, 20
PAIRS = 300
CONFIG = CrystalVAEConfig()
SAME = {"chart": False, "periodic": False, "index": True, "noise": 0.0, "latent_dim": 8}
"""What makes the network that of the plain way."""


def ratios(rounds: int = 3, source: str = "") -> list[Ratio]:
    """Returns every comparison, over prototypes or the crystals of a file."""
    torch.manual_seed(0)
    crystals = data.load(CrystalDataConfig(source=source, crystals=CRYSTALS)).train
    return [*_steps(crystals, rounds), _samples(crystals, rounds), _matches(crystals, rounds)]


def _steps(crystals: Crystals, rounds: int) -> list[Ratio]:
    """Steps of the same network, and of the default one, beside padded rows of any sizes."""
    representation = CrystalTensors.fit(crystals, CONFIG)
    batch = representation.encode(crystals)
    mean = float(batch.num_atoms.float().mean())
    told = f"{mean:.1f} atoms each"
    learners: list[tuple[str, dict[str, Any]]] = [
        ("training step, the same network", SAME), ("training step, the default one", {}),
    ]  # fmt: skip
    ways = [_learner(batch, representation, changes) for _, changes in learners]
    found = laps([_plain_learner(crystals), *ways], rounds, time.process_time)
    plain, *ours = ([s / (STEPS * BATCH) for s in each] for each in found)
    pairs = zip(learners, ours, strict=True)
    return [_ratio(name, plain, each, told) for (name, _), each in pairs]


def _plain_learner(crystals: Crystals) -> Way:
    rows = torch.randperm(len(crystals))[: STEPS * BATCH].split(BATCH)
    batches = [plain_rows(crystals[some].structures()) for some in rows]
    model = PlainVAE().train()
    return _loop(model, lambda k: plain_loss(model, batches[k]))


def _learner(batch: CrystalBatch, r: CrystalTensors, changes: dict[str, Any]) -> Way:
    """Returns steps over batches of all sizes, as training deals them out."""
    model = vae.build(replaced(CONFIG, changes), r).train()
    full = [rows for rows in order(batch.sizes, BATCH, 0) if len(rows) == BATCH]
    full.sort(key=lambda rows: float(batch.sizes[rows].sum()))
    rows = full[len(full) // (2 * STEPS) :: len(full) // STEPS][:STEPS]
    return _loop(model, lambda k: model.loss(batch[rows[k]], 0.0).total.mean())


def _loop(model: torch.nn.Module, loss: Callable[[int], torch.Tensor]) -> Way:
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def steps() -> None:
        for k in range(STEPS):
            adam.zero_grad()
            loss(k).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()

    return steps


def _samples(crystals: Crystals, rounds: int) -> Ratio:
    """Samples of a flow of four layers, decoded, beside latents of a padded one."""
    representation = CrystalTensors.fit(crystals, CONFIG)
    config = replaced(CrystalLatentDiffusionConfig(), {"steps": CALLS})
    stage = vae.build(CONFIG, representation).eval()
    model = latent_diffusion.build(config, representation, stage).eval()
    given = representation.prompt(DRAWN, config)
    plain = PlainFlow(CONFIG.latent_dim).eval()
    ways = [
        lambda: plain.sample(given.mask, CONFIG.latent_dim, CALLS),
        lambda: model.sample(given),
    ]
    slow, fast = ([s / DRAWN for s in each] for each in laps(ways, rounds, time.process_time))
    return _ratio("a sample", slow, fast, f"{CALLS} network calls; ours is decoded too")


def _matches(crystals: Crystals, rounds: int) -> Ratio:
    """Half of the pairs are of one composition, as where samples are compared with data."""
    some = crystals[torch.arange(PAIRS)]
    other = crystals[torch.cat([torch.arange(PAIRS // 2), torch.arange(PAIRS // 2) + PAIRS])]
    matcher = StructureMatcher(ltol=CDVAE.ltol, stol=CDVAE.stol, angle_tol=CDVAE.angle_tol)
    pairs = list(zip(some.structures(), other.structures(), strict=True))
    ways = [lambda: plain_match(matcher, pairs), lambda: rms(some, other, CDVAE)]
    slow, fast = ([s / PAIRS for s in each] for each in laps(ways, rounds))
    return _ratio("matching a pair", slow, fast, "half of them of one composition")


def _ratio(name: str, plain: list[float], ours: list[float], note: str) -> Ratio:
    """Says beside what is made in a second."""
    rates = [1 / statistics.median(found) for found in (plain, ours)]
    return Ratio(name, plain, ours, f"{rates[0]:,.0f} and {rates[1]:,.0f} in a second; {note}")
