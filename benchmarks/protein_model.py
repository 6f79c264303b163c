"""The protein recipe: a training step, and the scores of variants.

Seconds are those of the processor, of one core, and of one sequence or variant.
"""

__all__ = ["ratios"]

import time
from typing import Any

import torch

from benchmarks.harness import Ratio, laps
from benchmarks.plain_protein_model import PlainVAE, plain_scores
from genmatter.config import replaced
from genmatter.domains.protein.config import ProteinVAEConfig
from genmatter.domains.protein.data import load
from genmatter.domains.protein.represent import AlignedBatch, AlignedSites
from genmatter.domains.protein.vae import build
from genmatter.domains.protein.variants import all_single

SITES, SEQUENCES, BATCH, DRAWS = 128, 6000, 256, 4


def ratios(rounds: int = 3) -> list[Ratio]:
    """Returns every comparison."""
    torch.manual_seed(0)
    config = replaced(ProteinVAEConfig(), {"sites": SITES, "sequences": SEQUENCES})
    train = load(config.data).train
    start = time.process_time()
    representation = AlignedSites.fit(train, config)
    seconds = time.process_time() - start
    model: Any = build(config, representation).train()
    plain = PlainVAE(SITES, config.encoder_dim, config.latent_dim).train()
    batch = representation.encode(train[:BATCH])
    pairs = sum(map(len, representation.parents))
    note = f"{SITES} sites; {pairs} coupled pairs, found in {seconds:.2g} s, beside all {_all()}"
    steps = laps(
        (
            _step(plain, lambda: plain.loss(batch.tokens)),
            _step(model, lambda: _loss(model, batch)),
        ),
        rounds,
        time.process_time,
    )
    slow, fast = _each(steps, BATCH)
    training = Ratio("a training step, a sequence", slow, fast, note)
    return [training, _scores(plain, model, representation, rounds)]


def _all() -> str:
    return f"{SITES * (SITES - 1) // 2:,}"


def _loss(model: Any, batch: AlignedBatch) -> torch.Tensor:
    return model.loss(batch, 1.0).total


def _step(model: torch.nn.Module, loss: Any) -> Any:
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        adam.zero_grad()
        loss().mean().backward()
        adam.step()

    return step


def _each(seconds: list[list[float]], count: int) -> list[list[float]]:
    return [[s / count for s in found] for found in seconds]


def _scores(plain: PlainVAE, model: Any, representation: AlignedSites, rounds: int) -> Ratio:
    """Every single exchange of one sequence, by as many latents."""
    config = replaced(ProteinVAEConfig(), {"sites": SITES, "sequences": SEQUENCES})
    found = all_single(load(config.data).test[:1])
    wild, asked = (representation.encode(s) for s in (found.wild, found.objects))
    model.eval()
    ways = (
        lambda: plain_scores(plain.eval(), asked.tokens, wild.tokens, DRAWS),
        lambda: model.contrast(asked, wild, DRAWS),
    )
    slow, fast = _each(laps(ways, rounds, time.process_time), len(asked))
    note = f"{len(asked):,} variants, {DRAWS} latents; only sites that a change reaches"
    return Ratio("scoring a variant", slow, fast, note)
