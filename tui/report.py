"""Reports and backtests as text and CSV; neither Textual nor Rich is loaded.

Names come from outside (models, projects, sessions), so they are made harmless before they reach a
terminal or a spreadsheet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

Json = Mapping[str, Any]

TITLES: Final = {
    "route": "By class",
    "kind": "By kind",
    "model": "By model",
    "project": "By project",
    "session": "By session",
    "day": "By day",
}
CAUSES: Final = {
    "routing": "calls that were sent elsewhere let it expire",
    "model": "another model was asked",
    "idle": "more time passed than the cache lives",
    "compaction": "the conversation was compacted",
    "tools": "the tools changed",
    "system": "the system prompt changed",
    "history": "an earlier message was changed or taken back",
    "unknown": "nothing on record explains it; the vendor may have dropped it",
}
"""Why a prompt had to be written to the cache again (``server.cold``)."""

NONE: Final = "-"
_LONGEST: Final = 44
_MOST_LINES: Final = 12
_FORMULA: Final = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


def harmless(text: object, longest: int = _LONGEST) -> str:
    """Text of bounded length without control characters."""
    clean = "".join(char if char.isprintable() else "?" for char in str(text))
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."


def usd(value: float | None) -> str:
    """Dollars with enough digits for small amounts."""
    if value is None:
        return "?"
    sign, size = ("-" if value < 0 else ""), abs(value)
    return f"{sign}${size:,.2f}" if size >= 100 else f"{sign}${size:.4f}"


def turns_of(count: int) -> str:
    """``1 turn``, ``1,200 turns``."""
    return "1 turn" if count == 1 else f"{count:,} turns"


def spread(figure: float, low: float, high: float) -> str:
    """A figure with its range."""
    return f"{usd(figure)} ({usd(low)} to {usd(high)})"


def projected(row: Json) -> str:
    """What was projected, a dash where nothing was."""
    return usd(row["saved_usd"]) if row["projected"] else NONE


def realised(row: Json) -> str:
    """What was realised, a dash where nothing moved."""
    return usd(row["realised_usd"]) if row["moved"] else NONE


def report_text(report: Json) -> str:
    """The whole report for a terminal."""
    if not report["turns"]:
        return "Nothing is on record for this time.\n"
    lines = [*_head(report), ""]
    for group, title in TITLES.items():
        lines += [title, *_table(report["by"][group]), ""]
    if report["losses"]:
        lines += ["Losses", *(f"  {harmless(text, 200)}" for text in report["losses"]), ""]
    if report.get("comparisons_usd"):
        spent = usd(report["comparisons_usd"])
        lines += [f"Comparing answers in the background cost {spent} beside all this.", ""]
    if report.get("cold"):
        lines += ["Cold caches: what had to be written or sent again", *_cold(report["cold"]), ""]
    if report["prefix"]:
        lines += ["What every turn repeats (estimated)", *_prefix(report["prefix"]), ""]
    if report["advice"]:
        lines += ["Advice (what it would save over these turns)"]
        lines += [*map(_advice, report["advice"]), ""]
    lines += ["What the figures mean", *_notes(report), ""]
    return "\n".join(lines)


def backtest_text(found: Json) -> str:
    """A backtest for a terminal."""
    total = found["total"]
    if not total["turns"]:
        return "Nothing is on record for this time.\n"
    rows = [("class", "turns", "moved", "before", "after", "range of after", "no figure")]
    for name, tally in [*found["routes"].items(), ("all", total)]:
        low, high = usd(tally["after_low_usd"]), usd(tally["after_high_usd"])
        rows.append(
            (
                harmless(name),
                f"{tally['turns']:,}",
                f"{tally['moved']:,}",
                usd(tally["before_usd"]),
                usd(tally["after_usd"]),
                f"{low} to {high}",
                f"{tally['unpriced']:,}",
            )
        )
    lines = [*_columns(rows), "", _verdict(total), *_moves(found["moves"])]
    broken = {name: count for name, count in total["broken"].items() if count}
    if broken:
        words = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in broken.items())
        lines.append(f"Turns that could not have gone where the table sends them: {words}.")
    lines += learned(found)
    lines.append(REPLAYED)
    if found.get("missing_keys"):
        names = ", ".join(harmless(name) for name in found["missing_keys"])
        lines.append(f"Keys are taken to be there; not set now: {names}.")
    return "\n".join(lines) + "\n"


REPLAYED: Final = (
    "'before' is what is on record, 'after' what these turns would have cost under the other "
    "table, losses to the prompt cache and answers made again included."
)


def learned(found: Json) -> list[str]:
    """Which shares of failures were measured, a sentence each."""
    return [
        f"Measured: {row['failed']} of {row['pairs']} answers of "
        f"{harmless(row['provider'])}/{harmless(row['model'])} to {harmless(row['kind'])} were not "
        f"good enough, so {row['share']:.0%} ({row['low']:.0%} to {row['high']:.0%}) are reckoned "
        "to be made again."
        for row in found.get("learned") or ()
    ]


def notes(report: Json) -> list[str]:
    """What a stranger has to know to read the figures."""
    return [
        "saved: what the turns would have saved elsewhere, the prompt cache and answers made "
        "again included; a minus is a loss. Nothing of it is in your pocket.",
        "realised: what turns that live mode did move have saved, against an estimate of home.",
        "In brackets: the range when every assumption is at its bad or at its good end at once.",
        *learned(report),
    ]


def _notes(report: Json) -> list[str]:
    lines = [f"  {text}" for text in notes(report)]
    return [*lines, "  The assumptions behind them: sbgw-tui report --html FILE, or --json."]


def _verdict(total: Json) -> str:
    saved, low, high = total["saved_usd"], total["saved_low_usd"], total["saved_high_usd"]
    if saved < 0:
        return f"It would have cost {usd(-saved)} more ({usd(-high)} to {usd(-low)})."
    return f"It would have saved {spread(saved, low, high)}."


def report_csv(report: Json) -> str:
    """One row a group and name, with every sum of ``server.report``."""
    fields = list(report["total"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["group", "name", *fields])
    writer.writerow(["all", "", *(report["total"][field] for field in fields)])
    for group, rows in report["by"].items():
        for row in rows:
            writer.writerow([group, _cell(row["name"]), *(row[field] for field in fields)])
    return out.getvalue()


def period(report: Json) -> str:
    """From when to when, in local time."""
    ends = (report["since"], report["until"])
    return " to ".join(f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}" for at in ends)


def figures(total: Json) -> list[tuple[str, str]]:
    """The four savings figures and what they leave out, each with its words."""
    saved = spread(total["saved_usd"], total["saved_low_usd"], total["saved_high_usd"])
    real = spread(total["realised_usd"], total["realised_low_usd"], total["realised_high_usd"])
    return [
        ("cache-aware", f"{saved} projected over {turns_of(total['projected'])}"),
        (
            "within quotas",
            f"{usd(total['quota_usd'])}, the same without turns that a plan would have refused",
        ),
        ("realised", f"{real} over {turns_of(total['moved'])} that did move"),
        ("naive", f"{usd(total['naive_usd'])}, for comparison only: it ignores the cache"),
        ("losses", f"{usd(total['losses_usd'])} in {turns_of(total['losses'])}"),
        ("no figure", f"{turns_of(total['no_figure'])}; {total['needs_key']:,} more need a key"),
    ]


def _head(report: Json) -> list[str]:
    total = report["total"]
    cost = f"{usd(total['cost_usd'])} for {turns_of(report['turns'])}, {period(report)}"
    lines = [f"Cost: {cost}"]
    if total["list_usd"]:
        lines.append(f"  of it list-price equivalent of a login: {usd(total['list_usd'])}")
    if total["unpriced"]:
        lines.append(f"  {total['unpriced']:,} turns cost an unknown amount, which is not in it")
    lines += ["", "Savings"]
    return lines + [f"  {name:14} {text}" for name, text in figures(total)]


def _table(rows: Sequence[Json]) -> list[str]:
    table = [("", "turns", "cost", "saved", "realised")]
    shown = rows[-_MOST_LINES:] if rows and _is_day(rows[0]) else rows[:_MOST_LINES]
    for row in shown:
        name, cost = harmless(row["name"]), usd(row["cost_usd"])
        table.append((name, f"{row['turns']:,}", cost, projected(row), realised(row)))
    lines = _columns(table)
    if len(rows) > len(shown):
        lines.append(f"  and {len(rows) - len(shown)} more (--json has all)")
    return lines


def _is_day(row: Json) -> bool:
    return str(row["name"])[:4].isdigit() and str(row["name"]).count("-") == 2


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (text for text in row)
        cells = [first.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def _cold(cold: Json) -> Iterable[str]:
    rows = [("cause", "turns", "cost")]
    rows += [(cause(row), f"{row['turns']:,}", usd(row["usd"])) for row in cold["causes"]]
    yield from _columns(rows)
    if cold["unpriced"]:
        yield f"  {cold['unpriced']:,} more cost an unknown amount."


def cause(row: Json) -> str:
    """Why caches were cold, in words."""
    return CAUSES.get(str(row["cause"]), harmless(row["cause"]))


def _prefix(prefix: Json) -> Iterable[str]:
    rows = [("part", "tokens", "cost a turn")]
    for part in prefix["parts"]:
        rows.append((harmless(part["name"]), f"{part['tokens']:,}", usd(part["usd_per_turn"])))
    return _columns(rows)


def _advice(item: Json) -> str:
    return (
        f"  {harmless(item['text'], 300)} {spread(item['usd'], item['low_usd'], item['high_usd'])}"
    )


def _moves(moves: Sequence[Json]) -> Iterable[str]:
    for move in moves[:_MOST_LINES]:
        place = harmless(f"{move['provider']}/{move['model']}")
        saved = spread(move["saved_usd"], move["saved_low_usd"], move["saved_high_usd"])
        yield f"  {harmless(move['kind'])} to {place}: {move['turns']:,} x, saving {saved}"


def _cell(text: object) -> str:
    clean = harmless(text, 500)
    return f"'{clean}" if clean.startswith(_FORMULA) else clean
