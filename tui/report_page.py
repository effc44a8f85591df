"""A report as one self-contained HTML page: tables and bars, light and dark, no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from tui.report import TITLES, figures, harmless, period, spread, usd

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
.lost { fill: var(--lost) } .axis { stroke: var(--line) }
"""
_WIDTH: Final = 720
_LABEL: Final = 190
_BAR: Final = 16
_GAP: Final = 8
_MOST_BARS: Final = 31


def report_page(report: Json) -> str:
    """The page; works without a network, and takes its colours from the reader's preference."""
    total = report["total"]
    parts = ["<h1>What the gateway saw</h1>"]
    if not report["turns"]:
        parts.append("<p>Nothing is on record for this time.</p>")
        return _document(parts)
    parts.append(
        f"<p>{escape(usd(total['cost_usd']))} for {report['turns']:,} turns, "
        f"{escape(period(report))}. {total['unpriced']:,} turns cost an unknown amount, which is "
        f"not in it; {escape(usd(total['list_usd']))} of it is the list-price equivalent of a "
        "login.</p>"
    )
    parts += ["<h2>Savings</h2>", _facts(figures(total))]
    parts += ["<h2>Cost by day</h2>", _bars(report["by"]["day"][-_MOST_BARS:], "cost_usd")]
    parts += ["<h2>Projected savings by kind</h2>", _bars(report["by"]["kind"], "saved_usd")]
    for group, title in TITLES.items():
        parts += [f"<h2>{escape(title)}</h2>", _table(report["by"][group])]
    parts += list(_rest(report))
    return _document(parts)


def _document(parts: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Gateway report</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _rest(report: Json) -> Iterable[str]:
    if report["losses"]:
        yield "<h2>Losses</h2>" + _list(report["losses"])
    if report.get("cold"):
        rows = [(row["cause"], usd(row["usd"])) for row in report["cold"]["causes"]]
        yield "<h2>Cold caches</h2>" + _facts(rows)
    if report["prefix"]:
        parts = report["prefix"]["parts"]
        rows = [
            (part["name"], f"{part['tokens']:,} tokens, {usd(part['usd_per_turn'])} a turn")
            for part in parts
        ]
        yield "<h2>What every turn repeats (estimated)</h2>" + _facts(rows)
    if report["advice"]:
        yield "<h2>Advice</h2>" + _list(
            f"{item['text']} {spread(item['usd'], item['low_usd'], item['high_usd'])}"
            for item in report["advice"]
        )
    if report["assumptions"]:
        yield '<h2>What projections take for granted</h2><div class="faint">'
        yield _list(report["assumptions"]) + "</div>"


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
            usd(row["saved_usd"]),
            f"{low} to {high}",
            usd(row["realised_usd"]),
        )
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        lines.append(f"<tr><td>{escape(harmless(row['name'], 80))}</td>{cells}</tr>")
    return f"<table>{head}</tr>{''.join(lines)}</table>"


def _bars(rows: Sequence[Json], field: str) -> str:
    """Horizontal bars from a common zero; losses run to the left."""
    values = [float(row[field]) for row in rows]
    low, high = min([0.0, *values]), max([0.0, *values])
    scale = (_WIDTH - _LABEL - 90) / ((high - low) or 1.0)
    zero = _LABEL - low * scale
    height = len(rows) * (_BAR + _GAP) + _GAP
    shapes = [f'<line class="axis" x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{height}"/>']
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        y = _GAP + place * (_BAR + _GAP)
        left, width = min(zero, zero + value * scale), abs(value) * scale
        kind = "lost" if value < 0 else "cost" if field == "cost_usd" else "saved"
        name = escape(harmless(row["name"], 26))
        shapes.append(
            f'<text x="0" y="{y + 12}">{name}</text><rect class="{kind}" x="{left:.1f}" y="{y}" '
            f'width="{width:.1f}" height="{_BAR}" rx="2"/>'
            f'<text x="{left + width + 6:.1f}" y="{y + 12}">{escape(usd(value))}</text>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(shapes)}</svg>'
