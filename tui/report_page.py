"""A report as one self-contained HTML page: tables and bars, light and dark, no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

from tui.report import (
    NONE,
    TITLES,
    cause,
    figures,
    harmless,
    notes,
    period,
    projected,
    realised,
    turns_of,
    usd,
)

Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfbf9; --faint: #6b7480;
  --line: #d9dcd6; --cost: #4a6fa5; --saved: #2f8f5b; --lost: #b5523b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #14181d; --faint: #94a0ab;
  --line: #2c343c; --cost: #7fa6dd; --saved: #63c08d; --lost: #e0836d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere }
.faint { color: var(--faint) } svg { width: 100%; height: auto } svg text { fill: var(--ink);
  font: 12px system-ui, sans-serif } .cost { fill: var(--cost) } .saved { fill: var(--saved) }
.lost { fill: var(--lost) } .axis { stroke: var(--line) } .range { stroke: var(--ink) }
.cards { display: flex; flex-wrap: wrap; gap: 1rem } .card { flex: 1 12rem; padding: .75rem 1rem;
  border: 1px solid var(--line); border-radius: .5rem } .card b { font-size: 1.6rem }
summary { cursor: pointer; margin-top: .75rem }
"""
_WIDTH: Final = 720
_LABEL: Final = 290
_NAME: Final = 44
_TEXT: Final = 130
_BAR: Final = 16
_GAP: Final = 8
_MOST_BARS: Final = 31


def report_page(report: Json) -> str:
    """The page; works without a network, and takes its colours from the reader's preference."""
    parts = ["<h1>What the gateway saw</h1>"]
    if not report["turns"]:
        parts.append("<p>Nothing is on record for this time.</p>")
        return _document(parts)
    parts += [f"<p>{turns_of(report['turns'])}, {escape(period(report))}.</p>", _cards(report)]
    if report["advice"]:
        parts.append("<h2>What to do</h2>" + _advice(report["advice"]))
    parts += ["<h2>Cost by day</h2>", _bars(_costs(report["by"]["day"][-_MOST_BARS:]), "cost")]
    kinds = [row for row in report["by"]["kind"] if row["projected"]]
    if kinds:
        parts += ["<h2>Projected savings by kind</h2>", _bars(list(map(_saving, kinds)), "saved")]
        parts.append('<p class="faint">The line is the range, see below; losses are red.</p>')
    parts += list(_pictures(report))
    if report["losses"]:
        parts.append("<h2>Losses</h2>" + _list(report["losses"]))
    parts += ["<h2>The sums</h2>", _facts(figures(report["total"]))]
    for group, title in TITLES.items():
        table = _table(report["by"][group])
        parts.append(f"<details><summary>{escape(title)}</summary>{table}</details>")
    parts += list(_words(report))
    return _document(parts)


def _cards(report: Json) -> str:
    total = report["total"]
    low, high = usd(total["saved_low_usd"]), usd(total["saved_high_usd"])
    cost = f"{turns_of(total['unpriced'])} of unknown cost not in it"
    if total["list_usd"]:
        cost += f"; {usd(total['list_usd'])} is the list price of a login, which nobody billed"
    cards = [("cost", usd(total["cost_usd"]), cost)]
    if total["projected"]:
        text = (
            f"{low} to {high}, had {turns_of(total['projected'])} gone where the table sends them"
        )
        cards.append(("projected saving", usd(total["saved_usd"]), text))
    if total["moved"]:
        low, high = usd(total["realised_low_usd"]), usd(total["realised_high_usd"])
        text = f"{low} to {high}, from {turns_of(total['moved'])} that did move"
        cards.append(("real saving", usd(total["realised_usd"]), text))
    if report.get("cold"):
        cold = report["cold"]
        text = f"{cold['turns']:,} times the prompt had to be written or sent again"
        cards.append(("cold caches", usd(cold["usd"]), text))
    shown = (
        f'<div class="card"><div class="faint">{escape(name)}</div><b>{escape(value)}</b>'
        f'<div class="faint">{escape(text)}</div></div>'
        for name, value, text in cards
    )
    return f'<div class="cards">{"".join(shown)}</div>'


def _document(parts: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Gateway report</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _pictures(report: Json) -> Iterable[str]:
    if report.get("cold"):
        bars = [_Bar(cause(row), row["usd"], usd(row["usd"])) for row in report["cold"]["causes"]]
        yield "<h2>Why caches were cold</h2>" + _bars(bars, "cost")
    if report["prefix"]:
        bars = [
            _Bar(part["name"], part["tokens"], f"{part['tokens']:,}, {usd(part['usd_per_turn'])}")
            for part in report["prefix"]["parts"]
            if part["tokens"]
        ]
        yield "<h2>What every turn repeats</h2>" + _bars(bars, "cost")
        yield '<p class="faint">Estimated tokens, and what carrying them costs in one turn.</p>'


def _words(report: Json) -> Iterable[str]:
    yield "<h2>What the figures mean</h2>" + _list(notes(report))
    if report["assumptions"]:
        yield '<h2>What projections take for granted</h2><div class="faint">'
        yield _list(report["assumptions"]) + "</div>"


def _advice(items: Iterable[Json]) -> str:
    lines = (
        f"<li><b>{escape(usd(item['usd']))}</b> <span class='faint'>({escape(usd(item['low_usd']))}"
        f" to {escape(usd(item['high_usd']))})</span> {escape(harmless(item['text'], 400))}</li>"
        for item in items
    )
    return f"<ul>{''.join(lines)}</ul>"


def _list(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(harmless(text, 400))}</li>" for text in texts) + "</ul>"


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><td>{escape(harmless(n))}</td><td>{escape(v)}</td></tr>" for n, v in rows)
    return "<table>" + "".join(cells) + "</table>"


def _table(rows: Sequence[Json]) -> str:
    head = "<tr><th></th><th>turns</th><th>cost</th><th>saved</th><th>range</th><th>realised</th>"
    lines = []
    for row in rows:
        low, high = usd(row["saved_low_usd"]), usd(row["saved_high_usd"])
        values = (
            f"{row['turns']:,}",
            usd(row["cost_usd"]),
            projected(row),
            f"{low} to {high}" if row["projected"] else NONE,
            realised(row),
        )
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        lines.append(f"<tr><td>{escape(harmless(row['name'], 80))}</td>{cells}</tr>")
    return f"<table>{head}</tr>{''.join(lines)}</table>"


class _Bar(NamedTuple):
    """One bar; ``low`` and ``high`` are the ends of its range, if it has one."""

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None


def _costs(rows: Iterable[Json]) -> list[_Bar]:
    return [_Bar(row["name"], row["cost_usd"], usd(row["cost_usd"])) for row in rows]


def _saving(row: Json) -> _Bar:
    value, low, high = row["saved_usd"], row["saved_low_usd"], row["saved_high_usd"]
    return _Bar(row["name"], value, usd(value), low, high)


def _bars(bars: Sequence[_Bar], kind: str) -> str:
    """Horizontal bars from a common zero; losses run to the left, ranges are thin lines."""
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = (_WIDTH - _LABEL - _TEXT) / ((high - low) or 1.0)
    zero = _LABEL - low * scale
    height = len(bars) * (_BAR + _GAP) + _GAP
    shapes = [f'<line class="axis" x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{height}"/>']
    for place, bar in enumerate(bars):
        y = _GAP + place * (_BAR + _GAP)
        left, width = zero + min(0.0, bar.value) * scale, abs(bar.value) * scale
        colour = "lost" if bar.value < 0 else kind
        name, end = escape(harmless(bar.name, _NAME)), left + width
        shapes.append(
            f"<text x='0' y='{y + 12}'>{name}<title>{escape(harmless(bar.name, 80))}</title></text>"
            f'<rect class="{colour}" x="{left:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" '
            'rx="2"/>'
        )
        if bar.low is not None and bar.high is not None:
            ends_at = zero + bar.low * scale, zero + bar.high * scale
            end = max(end, ends_at[1])
            shapes.append(
                f'<line class="range" x1="{ends_at[0]:.1f}" y1="{y + _BAR / 2}" '
                f'x2="{ends_at[1]:.1f}" y2="{y + _BAR / 2}"/>'
            )
        shapes.append(f'<text x="{end + 6:.1f}" y="{y + 12}">{escape(bar.text)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(shapes)}</svg>'
