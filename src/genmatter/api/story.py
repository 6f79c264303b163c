"""The report: one page that tells what was trained on what, and how far to trust it.

Of several runs it is another page, that sets them side by side (`versus`).
"""

__all__ = ["report"]

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genmatter import __version__
from genmatter.api import evaluation
from genmatter.api.draws import draws
from genmatter.api.files import RunLike, _loaded, _place, evaluate
from genmatter.api.fitting import load, train
from genmatter.api.gallery import gallery, shown
from genmatter.api.latents import MAPPED, latents
from genmatter.api.searched import searched
from genmatter.api.steered import steered
from genmatter.api.trained import Trained
from genmatter.api.versus import versus
from genmatter.errors import RunError
from genmatter.reporting import plots
from genmatter.reporting.page import (
    Block,
    Code,
    Facts,
    Note,
    Page,
    Picture,
    ScoreTable,
    Section,
    Table,
    Text,
    write,
)
from genmatter.reporting.picture import png
from genmatter.run import Run
from genmatter.spine import Latent, Likelihood, Score, Steerable

SHOWN = 8
"""Objects in a row of the report."""
FEW = 500
"""Objects whose likelihood is told."""
PAIRED = 200
"""Objects that are compared with their reconstructions one by one."""


def report(run: RunLike, *others: RunLike, n: int = 2000, out: str | Path | None = None) -> Path:
    """Writes `report.html` into a run, and its pictures beside it; or compares several runs.

    Args:
        run: A run folder or a loaded run.
        *others: Runs of the same domain to set beside it, on its data.
        n: Samples to score; of one run only where it was not evaluated before.
        out: Where to write the page; a comparison lies beside the first run's folder by default.

    Raises:
        GenmatterError: A run is not on disk, or the runs cannot be compared.
    """
    if others:
        return versus([run, *others], n, out)
    it = _loaded(run)
    if it.run is None:
        raise RunError("a report needs a run that lies on disk")
    if not it.run.scores.is_file():
        evaluate(it, n)
    teller = _Teller(it, it.run)
    sections = [
        Section("What was learned from what", teller.facts()),
        Section("Training", teller.training()),
        Section("Samples", teller.samples()),
        Section("Scores", teller.scores()),
    ]
    if isinstance(it.model, Latent):
        sections += [
            Section("Reconstruction", teller.reconstruction()),
            Section("Latent space", teller.latents()),
            Section("From one object to another", teller.interpolation()),
        ]
        if it.model.quick_latent and any(o.differentiable for o in it.domain.observables):
            sections.append(Section("Towards a property", teller.optimisation()))
        elif it.model.quick_latent and it.domain.quest:
            sections.append(Section("Towards a property", searched(it)))
    if isinstance(it.model, Steerable) and any(o.differentiable for o in it.domain.observables):
        sections.append(Section("Samples as wanted", steered(it)))
    sections.append(Section("How to repeat this", teller.repetition()))
    about = (type(it.config).__doc__ or "").splitlines()[0]
    place = _place(it, out, it.run.report.name)
    write(Page(f"{it.recipe}: {it.run.path.name}", about, sections), place)
    return place


class _Teller:
    """Writes the sections, each from the run and its data."""

    def __init__(self, it: Trained, run: Run) -> None:
        self.it, self.run = it, run
        self.test = it.splits.test
        n = min(2000, max(len(self.test), SHOWN))
        self.found = it.sample(n)
        self.drawn = it.fair(n) if it.is_choosy else self.found.objects
        self.units = {o.name: o.unit for o in it.domain.observables}

    def facts(self) -> list[Block]:
        it, history = self.it, self.run.read_history()
        size = sum(p.numel() for p in it.model.parameters())
        best = min(history, key=lambda row: row["valid/total"])
        kept = "the best" if it.config.optim.keep == "best" else "the last"
        facts = [
            *it.domain.facts(it.splits).items(),
            ("model", f"{it.recipe}, {size:,} parameters"),
            ("training", f"{history[-1]['epoch']:.0f} epochs in {history[-1]['seconds']:.0f} s"),
            ("weights", f"{kept}; best validation loss after epoch {best['epoch']:.0f}"),
            ("seed", str(it.config.seed)),
            ("made by", f"genmatter {__version__}, torch {torch.__version__}"),
        ]
        gallery = self._picture(
            it.splits.train[torch.arange(min(SHOWN, len(it.splits.train)))],
            "Objects of the training split.", "training",
        )  # fmt: skip
        cautions = [Note("warning", text) for text in it.domain.cautions(it.splits)]
        return [Facts(facts), *cautions, *self._honest(), *gallery]

    def _honest(self) -> list[Block]:
        """Shows what an honest split says, where this run's leaks."""
        other = self.it.domain.honest()
        if other is None:
            return []
        place = Run(self.run.path / "honest")
        if place.model.is_file():
            twin = load(place.path)
        else:
            twin = train(self.it.recipe, other, run=place.path, overwrite=place.config.is_file())
        pair = {"this split": self.it, "honest split": twin}
        rows = {k: t.reconstruct(t.splits.test).scores for k, t in pair.items()}
        if isinstance(self.it.model, Likelihood):
            for k, t in pair.items():
                test = t.splits.test
                known = t.observe(test[torch.arange(min(FEW, len(test)))])
                name = "log_likelihood" if t.is_exact else "elbo"
                rows[k][name] = Score(float(known[name].mean()), math.inf, "nats")
        names = list(next(iter(rows.values())))
        cells = [[k, *(r[n].value for n in names)] for k, r in rows.items()]
        caption = "The same recipe trained again on a split that does not leak."
        return [Table(["", *names], cells, caption=caption)]

    def training(self) -> list[Block]:
        rows = self.run.read_history()
        return [
            Picture(
                plots.curves([{k: v for k, v in r.items() if k != "seconds"} for r in rows]),
                "Terms of the objective over training, per example. Validation is computed "
                "with the averaged weights and every schedule at its end, so that its values "
                "mean the same all through. Early epochs may lie outside a panel.",
                "Training curves",
            )
        ]

    def samples(self) -> list[Block]:
        some = torch.arange(min(2 * SHOWN, len(self.drawn)))
        values = {
            name: {o.name: o.of(objects).numpy() for o in self.it.domain.observables}
            for name, objects in {"test": self.test, "samples": self.drawn}.items()
        }
        sheet = plots.distributions(values, self.units)
        first = "Raw samples, the first ones drawn: none was chosen."
        galleries = [
            block
            for i, rows in enumerate(some.split(SHOWN))
            for block in self._picture(self.drawn[rows], "" if i else first, f"samples_{i}")
        ]  # fmt: skip
        observed = Picture(sheet, "Observables of samples and of the test split.")
        beside = self.it.domain.pictures(self.drawn, self.it.splits).items()
        return [
            *galleries, *draws(self.found), observed,
            *(
                block
                for i, (caption, drawn) in enumerate(beside)
                for block in self._kept(shown(drawn, caption), f"beside_{i}")
            ),
        ]  # fmt: skip

    def scores(self) -> list[Block]:
        kept = json.loads(self.run.scores.read_text())
        table = evaluation.from_json(kept["table"])
        words = (
            f"{kept['n']:,} raw samples against the test split. The **floor** is held-out data "
            "scored the same way: what another draw of the truth gets. The **training set** is "
            "what a model that memorises would get. The other rows are the simplest models "
            "that could do the job."
        )
        apart = {*table} - {*evaluation.simple(table)} - {evaluation.FLOOR}
        if self.it.splits.valid is self.it.splits.test:
            words += " Here nothing was held out but the test split, so most scores have no floor."
        return [
            Text(words),
            ScoreTable(table, apart=apart),
            Picture(plots.scores(table), "How far each row is from perfect."),
        ]

    def reconstruction(self) -> list[Block]:
        some = self.test[torch.arange(min(SHOWN, len(self.test)))]
        found = self.it.reconstruct(some)
        blocks: list[Block] = [Text(self._diagnosed())]
        blocks += self._picture(some, "Objects of the test split ...", "originals")
        blocks += self._picture(
            found.copies, "... and what is decoded of their latents.", "copies"
        )
        return blocks + self._parity()

    def _parity(self) -> list[Block]:
        """Draws numbers of objects and of their reconstructions, where the domain names some."""
        known = [o for o in self.it.domain.observables if o.name in self.it.domain.compared]
        if not known:
            return []
        rows = self.test[torch.arange(min(PAIRED, len(self.test)))]
        copies = self.it.reconstruct(rows).copies
        values = {o.name: (o.of(rows).numpy(), o.of(copies).numpy()) for o in known}
        words = "Observables of objects of the test split and of their reconstructions."
        return self._kept([Picture(plots.parity(values, self.units), words)], "parity")

    def _diagnosed(self) -> str:
        rows = self.test[torch.arange(min(1000, len(self.test)))]
        batch = next(self.it.batches(rows))
        said = self.it.model.diagnostics(batch)
        plain = ", ".join(f"{k} {v:.3g}" for k, v in said.items() if "unit_" not in k)
        units = sorted((v for k, v in said.items() if "unit_" in k), reverse=True)
        text = f"Diagnostics on the test split: {plain}." if plain else ""
        if units:
            text += f"\n\nKL of each latent unit, in nats: {', '.join(f'{v:.2f}' for v in units)}."
        if isinstance(self.it.model, Likelihood):
            text += self._likelihood(rows[torch.arange(min(FEW, len(rows)))])
        return text

    def _likelihood(self, few: Any) -> str:
        known = self.it.observe(few)
        if self.it.is_exact:
            exact = _mean(known["log_likelihood"])
            return f"\n\nLog-likelihood of the test split, in nats per object: {exact}."
        return (
            f"\n\nBounds on the log-likelihood of the test split, in nats per object: ELBO "
            f"{_mean(known['elbo'])}, importance-weighted with 64 draws "
            f"{_mean(self.it.observe(few, 64)['iwae'])}."
        )

    def latents(self) -> list[Block]:
        plain, richer = latents(self.it)
        return self._kept(plain, "latent_map") + self._kept(richer, "latent_map_richer")

    def interpolation(self) -> list[Block]:
        sizes = self.it.representation.sizes(self.test)
        alike = (
            torch.arange(len(self.test)) if sizes is None else (sizes == sizes[0]).nonzero()[:, 0]
        )
        z = self.it.encode(self.test[alike[:MAPPED]]).flatten(1)
        far = (z - z[0]).norm(dim=1).argmax()  # neighbours in time would be the same object
        a, b = self.test[alike[:1]], self.test[alike[far][None]]
        blocks: list[Block] = []
        for path in ("straight", "spherical"):
            objects, alphas = self.it.interpolate(a, b, SHOWN, path=path)
            titles = [f"α = {s:.2f}" for s in alphas.tolist()]
            words = f"Between two far objects of the test split, {path} in latent space."
            blocks += self._picture(objects, words, f"interpolation_{path}", titles)
        return blocks

    def optimisation(self) -> list[Block]:
        what = next(o for o in self.it.domain.observables if o.differentiable)
        found = self.it.optimise(what.name, "minimise")
        known = what.of(self.it.splits.train)
        n = len(found.reached)
        order = torch.where(found.success, found.reached, torch.inf).argsort()
        best = int(order[0])
        words = (
            f"Minimising **{what.name}** by its gradient in latent space, with a prior term, "
            f"from {n} samples. **{int(found.success.sum())} of {n}** walks give an object that "
            f"is sound and lower than its start; {found.last_sound:.0%} are sound at the very "
            "last step. Nothing speaks against an object counted as sound: no fault, and an "
            "energy or extent as the data have it."
        )
        rows = [
            ["best of the walks", float(found.reached[best]), found.doubts[best] or "sound"],
            [
                f"best sound one of {found.random_draws:,} random samples",
                found.random_best,
                "sound",
            ],
            ["lowest in the training split", float(known.min()), "data"],
            ["mean of the starts", float(found.values[0].mean()), ""],
        ]
        marks = {what.name: {"lowest in the training split": float(known.min())}}
        sheet = plots.trace({what.name: found.values.numpy()}, self.units, best, marks)
        blocks: list[Block] = [
            Text(words),
            Table(["", what.name, ""], rows),
            Picture(sheet, "The property over the steps of every walk."),
        ]
        lowest = self.it.splits.train[known.argmin()[None]]
        pair = self._joined(found.ends[torch.tensor([best])], lowest)
        titles = [
            f"optimised {float(found.reached[best]):.3f}",
            f"training {float(known.min()):.3f}",
        ]
        words = "The best result beside the lowest of the training split."
        return blocks + self._picture(pair, words, "optimised", titles)

    def _joined(self, *sets: Any) -> Any:
        """Returns objects of any kind as one set, by way of batches, which can be joined."""
        batches = [self.it.representation.encode(objects).to("cpu") for objects in sets]
        return self.it.representation.decode(type(batches[0]).cat(batches))

    def repetition(self) -> list[Block]:
        home = self.run.path
        commands = (
            f"genmatter train {self.it.recipe} --config {home}/config.yaml --run {home}-again\n"
            f"genmatter evaluate {home}-again\ngenmatter report {home}-again"
        )
        return [Code(commands), Text("The whole config:"), Code(self.run.config.read_text())]

    def _picture(
        self, objects: Any, caption: str, name: str, titles: Sequence[str] | None = None
    ) -> list[Block]:
        """Draws objects, and keeps the picture where it is one."""
        return self._kept(gallery(self.it.domain, objects, caption, titles), name)

    def _kept(self, blocks: list[Block], name: str) -> list[Block]:
        """Keeps the figures among blocks as files of that name, and returns the blocks."""
        for block in blocks:
            if isinstance(block, Picture) and isinstance(block.figure, Figure):
                self._save(block.figure, name)
        return blocks

    def _save(self, sheet: Figure, name: str) -> None:
        folder = self.run.path / "pictures"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(png(sheet))


def _mean(x: Tensor) -> str:
    return f"{float(x.mean()):.2f} ± {float(x.std()) / len(x) ** 0.5:.2f}"
