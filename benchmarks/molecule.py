"""Molecules: a training step, samples, and what prepares, measures and compares them.

Seconds are those of the processor, of one core, and of one molecule.
"""

__all__ = ["ratios"]

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import selfies
import torch

from benchmarks import plain_molecule
from benchmarks.harness import Ratio, Way, laps
from benchmarks.plain_molecule import PlainCVAE, plain_loss
from genmatter.config import replaced
from genmatter.domains.molecule import data, metrics, prepare, tokens
from genmatter.domains.molecule.config import MoleculeCVAEConfig, MoleculeDataConfig
from genmatter.domains.molecule.cvae import build
from genmatter.domains.molecule.descriptors import values
from genmatter.domains.molecule.drugs import DRUGS
from genmatter.domains.molecule.grammar import Grammar, cns_like
from genmatter.domains.molecule.molecules import Molecules
from genmatter.domains.molecule.observables import SHOWN
from genmatter.domains.molecule.parts import fingerprints, parts, tanimoto
from genmatter.domains.molecule.properties import table
from genmatter.domains.molecule.represent import MoleculeTokens
from genmatter.domains.molecule.rows import Rows
from genmatter.loading.examples import order
from genmatter.spine import Generative

MOLECULES, BATCH, STEPS = 5000, 128, 4
LEARNT = 100
"""Steps after which sequences end about where those of the data do."""
DRAWN = 1024
SOME = 400
"""Molecules that are prepared, measured or grown in one round."""
FEW = 20
"""Those that RDKit's own way grows."""

REFERENCE: Any = MoleculeCVAEConfig.presets["reference"]
SYMBOLS = {"teacher_forcing": "full"}
MERGED = {"teacher_forcing": "full", "tokens": "merged"}
TRAINED: dict[str, tuple[MoleculeCVAEConfig, dict[str, Any]]] = {
    "fused, rows of like length": (REFERENCE, SYMBOLS),
    "parallel scheduled sampling": (REFERENCE, {}),
    "merged tokens": (REFERENCE, MERGED),
    "merged tokens, bf16": (REFERENCE, MERGED | {"precision": "bf16"}),
    "the default model": (MoleculeCVAEConfig(), {}),
    "the default model, bf16": (MoleculeCVAEConfig(), {"precision": "bf16"}),
}
"""Models of which a training step is timed: what they are called, config, what differs."""


def ratios(rounds: int = 3) -> list[Ratio]:
    """Returns every comparison."""
    torch.manual_seed(0)
    molecules = data.prepared(MoleculeDataConfig(molecules=MOLECULES)).molecules
    some = _some(molecules.smiles.tolist())
    return [
        *_steps(molecules, rounds),
        *_samples(molecules, rounds),
        *_prepared(some, rounds),
        _grown(rounds),
        _measured(some, rounds),
        _compared(molecules, rounds),
        *_merges(molecules, rounds),
    ]


def _some(smiles: list[str]) -> Iterator[list[str]]:
    """Yields other molecules each time, of which nothing is remembered yet."""
    while True:
        for k in range(0, len(smiles) - SOME, SOME):
            yield smiles[k : k + SOME]


def _race(
    name: str, plain: tuple[Way, int], ours: tuple[Way, int], rounds: int, note: str = "",
    clock: Callable[[], float] = time.process_time,
) -> Ratio:  # fmt: skip
    """Compares ways by the seconds of each of the things that they make so many of."""
    found = laps((plain[0], ours[0]), rounds, clock)
    slow, fast = _each(found, (plain[1], ours[1]))
    return _ratio(name, slow, fast, note)


def _each(seconds: list[list[float]], counts: Sequence[int]) -> list[list[float]]:
    return [[s / n for s in found] for found, n in zip(seconds, counts, strict=True)]


def _ratio(name: str, plain: list[float], ours: list[float], note: str) -> Ratio:
    """Says beside what is made in a second."""
    rates = [1 / statistics.median(found) for found in (plain, ours)]
    told = f"{rates[0]:,.0f} and {rates[1]:,.0f} in a second"
    return Ratio(name, plain, ours, f"{told}; {note}" if note else told)


def _steps(molecules: Molecules, rounds: int) -> list[Ratio]:
    """Steps of the reference's network, read symbol by symbol, beside ours."""
    learners = {name: _learner(molecules, *told)[1] for name, told in TRAINED.items()}
    ways = [_plain_learner(molecules), *learners.values()]
    found = laps(ways, rounds, time.process_time)
    plain, *ours = _each(found, [BATCH] + [STEPS * BATCH] * len(learners))
    return [
        _ratio(f"training step, {name}", plain, each, "80 symbols, one by one")
        for name, each in zip(TRAINED, ours, strict=True)
    ]


def _plain_learner(molecules: Molecules) -> Way:
    """Returns a step of Adam with clipped gradients, half of the symbols shown true."""
    x, symbols = plain_molecule.rows(molecules.selfies[:BATCH])
    model, tpsa = PlainCVAE(symbols).train(), torch.randn(BATCH)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        adam.zero_grad()
        plain_loss(x, *model(x, tpsa, 0.5)).backward()
        _clip(model)
        adam.step()

    return step


def _clip(model: torch.nn.Module) -> None:
    """Clips gradients at a norm of 1."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


Learner = tuple[tuple[Generative, MoleculeTokens, MoleculeCVAEConfig], Way]


def _learner(
    molecules: Molecules, base: MoleculeCVAEConfig, changes: dict[str, Any], lr: float = 1e-4
) -> Learner:
    """Returns an untrained model, and a way to take some steps over batches of all lengths."""
    config = replaced(base, changes)
    representation = MoleculeTokens.fit(molecules, config)
    batch = representation.encode(molecules)
    each = sorted(order(batch.sizes, BATCH, 0), key=lambda rows: float(batch.sizes[rows].max()))
    full = [rows for rows in each if len(rows) == BATCH]
    rows = full[len(full) // (2 * STEPS) :: len(full) // STEPS][:STEPS]
    model = build(config, representation).train()
    adam = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)

    def steps() -> None:
        for some in rows:
            adam.zero_grad()
            with _precision(config.precision):
                loss = model.loss(batch[some], 1.0).total
            loss.mean().backward()
            _clip(model)
            adam.step()

    return (model, representation, config), steps


def _precision(name: str) -> torch.autocast:
    """Returns what Fabric's mixed precision does."""
    return torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16")


def _samples(molecules: Molecules, rounds: int) -> list[Ratio]:
    """Samples of the reference's network: 80 symbols of each beside as many tokens as it has."""
    draw, representation, mean = _sampler(molecules, MERGED)
    single, _, more = _sampler(molecules, SYMBOLS)
    plain = PlainCVAE(len(representation.symbols) + 3).eval()
    ours: dict[str, tuple[Way, float]] = {
        "a sample": (partial(draw, "32"), mean),
        "a sample, bf16": (partial(draw, "bf16"), mean),
        "a sample as SMILES": (lambda: representation.decode(draw("32")), mean),
        "a sample, single symbols, bf16": (partial(single, "bf16"), more),
    }
    ways = [lambda: plain.sample(torch.randn(DRAWN)), *(way for way, _ in ours.values())]
    first, *each = _each(laps(ways, rounds, time.process_time), [DRAWN] * len(ways))
    return [
        _ratio(name, first, found, f"80 steps of all {DRAWN}; ours {tokens_:.1f} tokens each")
        for (name, (_, tokens_)), found in zip(ours.items(), each, strict=True)
    ]


def _sampler(
    molecules: Molecules, changes: dict[str, Any]
) -> tuple[Callable[[str], Any], MoleculeTokens, float]:
    """Returns how a network that has learned a little draws, its tokens, and how many each has."""
    (model, representation, config), steps = _learner(molecules, REFERENCE, changes, lr=2e-3)
    for _ in range(LEARNT // STEPS):
        steps()
    model.eval()
    prompt = representation.prompt(DRAWN, config)

    def draw(precision: str) -> Any:
        with _precision(precision):
            return model.sample(prompt)

    return draw, representation, float(draw("32").sizes.float().mean())


def _prepared(some: Iterator[list[str]], rounds: int) -> list[Ratio]:
    """Reading molecules, and writing them as SELFIES; ours also strips salts, and says why not."""
    told = MoleculeDataConfig()
    plain = lambda: plain_molecule.prepare(next(some))
    ours = lambda: prepare.prepare(Rows.of(next(some)), told, 1)
    one = _race("preparing a molecule", (plain, SOME), (ours, SOME), rounds)
    many = [s for _ in range(8) for s in next(some)]
    alone, both = (partial(prepare.prepare, Rows.of(many), told, k) for k in (1, 2))
    pair = ((alone, len(many)), (both, len(many)))
    note = "ours with one and with two, by the clock on the wall"
    two = _race("the same in two processes", *pair, max(rounds - 1, 1), note, time.perf_counter)
    return [one, two]


def _grown(rounds: int) -> Ratio:
    """Molecules of the grammar that comes along, beside RDKit's own way to join pieces."""
    grammar, drugs = Grammar.of(DRUGS.values()), [*DRUGS.values()]
    seeds = iter(range(rounds + 1))
    plain = lambda: plain_molecule.build_brics(drugs[:40], FEW)
    ours = lambda: grammar.draw(SOME, next(seeds), cns_like)
    note = "BRICSBuild, whatever comes of 40 drugs; ours what could enter the brain"
    return _race("growing a molecule", (plain, FEW), (ours, SOME), rounds, note)


def _measured(some: Iterator[list[str]], rounds: int) -> Ratio:
    """All properties that reports show, each by itself beside all at one reading."""
    plain = lambda: [values(s, [name]) for s in next(some) for name in SHOWN]
    ours = lambda: table(np.array(next(some), dtype=object), SHOWN)
    note = f"{len(SHOWN)} properties, read for each"
    return _race("properties of a molecule", (plain, SOME), (ours, SOME), rounds, note)


def _compared(molecules: Molecules, rounds: int) -> Ratio:
    """Nearest neighbours and diversity, row by row beside products of matrices."""
    test, found = molecules[:DRAWN], molecules[DRAWN : 2 * DRAWN]
    start = time.process_time()
    metrics.score(found, test, molecules)
    whole = (time.process_time() - start) / DRAWN * 1e3
    bits = [plain_molecule.morgan(x.smiles.tolist()) for x in (found, test)]
    a, b = (fingerprints(parts(x.smiles.tolist())) for x in (found, test))
    ours = lambda: [rows.amax(1) for rows in tanimoto(a, b)] + [*tanimoto(a, a)]
    plain = lambda: plain_molecule.nearest(*bits)
    note = f"similarities to {DRAWN} and among as many; all scores take {whole:.3g} ms"
    return _race("comparing a molecule", (plain, DRAWN), (ours, DRAWN), rounds, note)


def _merges(molecules: Molecules, rounds: int) -> list[Ratio]:
    """Learning merges and writing by them, per symbol."""
    texts = [list(selfies.split_selfies(s)) for s in molecules.selfies[:1000]]
    number = {s: k for k, s in enumerate(sorted({s for text in texts for s in text}))}
    ids = [[number[s] for s in text] for text in texts]
    symbols, count = sum(map(len, texts)), 50
    pairs, ours = plain_molecule.learn_pairs(texts, count), tokens.learn(ids, len(number), count)
    learning = (
        (lambda: plain_molecule.learn_pairs(texts, count), symbols),
        (lambda: tokens.learn(ids, len(number), count), symbols),
    )
    writing = (
        (lambda: plain_molecule.write_pairs(texts, pairs), symbols),
        (lambda: tokens.merged(ids, len(number), ours), symbols),
    )
    note = f"{count} merges of {len(texts):,} molecules, each pair counted anew"
    return [
        _race("learning merges, a symbol", *learning, rounds, note),
        _race("writing a symbol by merges", *writing, rounds, f"{count} merges"),
    ]
