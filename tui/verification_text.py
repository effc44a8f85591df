"""Comparisons and the ladder in words and lines, for the command line; no Textual, no Rich.

Names of models come from outside, so they are made harmless first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tui.report import harmless, usd

Json = Mapping[str, Any]

_HEAD = ("kind", "candidate", "passed", "sure", "rung", "why")


def verification_text(found: Json) -> str:
    """``GET /verification`` as lines."""
    lines = [_head(found)]
    lines += [_lease(lease) for lease in found["leases"]]
    if not found["verification"]:
        lines += ["Nothing was compared yet."]
    else:
        lines += ["", *_table(found["verification"])]
    if found["skipped"]:
        reasons = (f"{harmless(why, 60)} ({n})" for why, n in found["skipped"].items())
        lines += ["", f"Not compared since the start: {'; '.join(reasons)}."]
    if found["moves"]:
        lines += ["", "Latest moves", *(_move(move) for move in found["moves"][:8])]
    return "\n".join(lines) + "\n"


def evidence(entries: Iterable[Json]) -> list[str]:
    """What is known about the candidates of one kind, a line each."""
    return [
        f"{_candidate(entry)}: {entry['passed']} of {entry['samples']} compared answers would have "
        f"done, at least {entry['low']:.0%} is sure"
        for entry in entries
        if entry["samples"]
    ]


def moment(at: float) -> str:
    """A time of today as ``14:20``, of another day with its date; local."""
    local = datetime.fromtimestamp(at)  # noqa: DTZ006 - local, as the user's clock
    return f"{local:%Y-%m-%d %H:%M}"


def _head(found: Json) -> str:
    if not found["consent"]:
        return "Nothing is compared: there is no consent (sbgw-tui verify on)."
    spent, most = usd(found["spent_today_usd"]), usd(found["daily_budget_usd"])
    return (
        f"{found['sample_percent']} % of what could move is compared, after the first 20 of each; "
        f"{spent} of {most} spent today."
    )


def _lease(lease: Json) -> str:
    until = lease["until"]
    end = "the gateway stops" if until is None else moment(until)
    return f"{lease['name']} is live until {end}."


def _table(entries: Iterable[Json]) -> list[str]:
    rows = [_HEAD, *(_row(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]


def _row(entry: Json) -> tuple[str, ...]:
    return (
        entry["kind"],
        _candidate(entry),
        f"{entry['passed']}/{entry['samples']}",
        f"{entry['low']:.0%}-{entry['high']:.0%}" if entry["samples"] else "?",
        entry["rung"],
        harmless(entry["reason"], 90),
    )


def _candidate(entry: Json) -> str:
    return harmless(f"{entry['provider']}/{entry['model']}")


def _move(move: Json) -> str:
    what = move["kind"] if not move["provider"] else f"{move['kind']} at {_candidate(move)}"
    steps = f"{move['from_rung']} -> {move['to_rung']}"
    why = harmless(move["reason"], 120)
    return f"  {moment(move['at'])}  {what}: {steps}, {why} ({harmless(move['source'])})"
