"""Tables of a page: any table, and the one that says how good samples are.

A score is never shown alone. Its floor stands under it, what perfect samples would have stands
over it, and where a simpler model does as well the table says so, in words.
"""

__all__ = ["ScoreTable", "Table"]

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from numbers import Real

from genmatter.reporting.words import decimals, number, plain, rich
from genmatter.spine import Score

Rows = Mapping[str, Mapping[str, Score]]


def _framed(table: str, caption: str, name: str) -> str:
    """Returns a table that scrolls by itself where the page is narrow, under its caption."""
    label = escape(plain(caption) or name)
    above = f'<p class="caption">{rich(caption)}</p>' if caption else ""
    return (
        f'{above}<div class="scroll" role="region" aria-label="{label}" tabindex="0">{table}</div>'
    )


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers, the first cell of each being its name."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    highlight: Collection[int] = ()
    """Rows to bring out."""
    caption: str = ""

    def html(self, key: str) -> str:
        """Returns the table as HTML."""
        numeric = [
            all(row[i] is None or isinstance(row[i], Real) for row in self.rows)
            for i in range(len(self.header))
        ]
        head = "".join(
            f'<th scope="col"{_side(n)}>{rich(h)}</th>'
            for h, n in zip(self.header, numeric, strict=True)
        )
        body = "".join(self._row(i, row, numeric) for i, row in enumerate(self.rows))
        table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return _framed(f"<table>{table}</table>", self.caption, "Table")

    def _row(self, index: int, row: Sequence[object], numeric: Sequence[bool]) -> str:
        first, *rest = [rich(number(cell)) for cell in row]
        cells = "".join(f"<td{_side(n)}>{c}</td>" for c, n in zip(rest, numeric[1:], strict=True))
        kind = ' class="highlight"' if index in self.highlight else ""
        return f'<tr{kind}><th scope="row"{_side(numeric[0])}>{first}</th>{cells}</tr>'


def _side(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of samples, of one model or of several, beside their floor and simple models.

    A row is beaten in a score by one whose value is nearer to the best. Nobody is blamed for a
    distance below the floor's, which is all that so many objects can resolve.
    """

    rows: Rows
    """Row name -> score name -> score."""
    samples: str | tuple[str, ...] = "samples"
    """The row that the others are there for, or the rows."""
    floor: str = "floor"
    """The row of held-out data against held-out data."""
    apart: Collection[str] = ()
    """Rows out of contest, such as reweighted samples or the training split."""
    caption: str = ""
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Row name -> score name -> standard error, where known."""

    @property
    def judged(self) -> tuple[str, ...]:
        """The rows that the others are there for."""
        return (self.samples,) if isinstance(self.samples, str) else self.samples

    @property
    def names(self) -> list[str]:
        """The scores, in the order in which rows bring them up."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    @property
    def baselines(self) -> list[str]:
        """The rows that are neither samples nor floor."""
        return [r for r in self.rows if r not in {*self.judged, self.floor, *self.apart}]

    def gap(self, row: str, name: str) -> float:
        """Returns how far a row is from the best value of a score; NaN if it has none."""
        score = self.rows.get(row, {}).get(name)
        return math.nan if score is None else score.gap

    def best(self, name: str) -> set[str]:
        """Returns the rows, the floor not among them, that are nearest to the best value."""
        gaps = {row: self.gap(row, name) for row in [*self.judged, *self.baselines]}
        known = [gap for gap in gaps.values() if not math.isnan(gap)]
        return {row for row, gap in gaps.items() if known and gap == min(known)}

    def unbeaten(self, name: str, samples: str = "") -> list[str]:
        """Returns the baselines that do as well as a judged row, unless that is at the floor."""
        mine, floor = self.gap(samples or self.judged[0], name), self.gap(self.floor, name)
        if mine == 0 or mine <= floor:
            return []
        mine = math.inf if math.isnan(mine) else mine  # what has no score has not won either
        return [row for row in self.baselines if self.gap(row, name) <= mine]

    def html(self, key: str) -> str:
        """Returns the table as HTML, with its verdict in words."""
        groups = {
            "samples": ("this model" if len(self.judged) == 1 else "model", self.judged),
            "floor": ("data against data", [self.floor]),
            "apart": ("for comparison", [r for r in self.rows if r in self.apart]),
            "baselines": ("", self.baselines),
        }
        head = '<td class="corner"></td>' + "".join(self._head(name) for name in self.names)
        bodies = "".join(self._group(kind, *group) for kind, group in groups.items())
        table = f'<table class="scores"><thead><tr>{head}</tr></thead>{bodies}</table>'
        return _framed(table, self.caption, "Scores") + self._verdict()

    def _head(self, name: str) -> str:
        score = next(row[name] for row in self.rows.values() if name in row)
        unit = f"{escape(score.unit)}, " if score.unit else ""
        small = f"<small>{unit}best {number(float(score.best), _short(score.best))}</small>"
        return f'<th scope="col" class="number">{escape(name)}{small}</th>'

    def _group(self, kind: str, meaning: str, rows: Sequence[str]) -> str:
        small = f"<small>{meaning}</small>" if meaning else ""
        lines = "".join(
            f'<tr><th scope="row">{escape(row)}{small}</th>'
            f"{''.join(self._cell(row, name) for name in self.names)}</tr>"
            for row in rows
            if row in self.rows
        )
        if not lines:
            return ""
        wide = f'colspan="{len(self.names) + 1}"'
        label = f'<tr class="group"><th scope="rowgroup" {wide}>Simple models</th></tr>'
        return f'<tbody class="{kind}">{"" if meaning else label}{lines}</tbody>'

    def _cell(self, row: str, name: str) -> str:
        column = [r[name].value for r in self.rows.values() if name in r]
        score = self.rows[row].get(name)
        places = decimals(column, most=3)
        text = number(math.nan if score is None else float(score.value), places)
        if row in self.best(name):
            text = f'<b>{text}</b><span class="hidden"> (best)</span>'
        error = self.errors.get(row, {}).get(name, math.nan)
        if score is not None and not math.isnan(error):
            text += f"<small>± {number(error, places)}</small>"
        if row in self.judged and (rivals := self.unbeaten(name, row)):
            why = escape(f"not better than {', '.join(rivals)}", quote=True)
            text = (
                f'<span class="behind" role="img" aria-label="{why}" title="{why}"></span>{text}'
            )
        return f'<td class="number">{text}</td>'

    def _verdict(self) -> str:
        judged = [row for row in self.judged if row in self.rows]
        if not judged or not self.baselines:
            return ""
        lost = any(self.unbeaten(name, row) for row in judged for name in self.names)
        key = '<span class="key"><b>Bold</b> is the best of its column, the floor aside.</span>'
        if lost:
            mark = '<span class="behind"></span>'
            key += f'<span class="key">{mark} A simple model does as well.</span>'
        lines = "".join(f"<p>{rich(self._sentence(row))}</p>" for row in judged)
        kind = " lost" if lost else ""
        return f'<div class="verdict{kind}">{lines}<p class="keys">{key}</p></div>'

    def _sentence(self, row: str) -> str:
        """Says which simple models a judged row does not beat."""
        whose = f"{row}: " if len(self.judged) > 1 else ""
        rivals = {r: [n for n in self.names if r in self.unbeaten(n, row)] for r in self.baselines}
        said = "; ".join(f"**{r}** on {', '.join(names)}" for r, names in rivals.items() if names)
        if said:
            return f"{whose}**Not better than** {said}."
        return f"{whose}Better than every simple model here, or within the floor, in all scores."


def _short(value: float) -> int:
    return 0 if float(value).is_integer() else decimals([value], 1)
