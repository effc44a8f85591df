"""A report on a span (``server.report``) as lines: cost by day, sums by group, losses, caches.

Every value may be missing or of another type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tui import format as fmt
from tui import saving_text
from tui.lines import EMPTY, Line, beside, line, wrap
from tui.rows import amount_of, count_of, mapping_of, mappings_in, number_of, text_of
from tui.sums import Saved

TWO_BLOCKS_FROM = 112
MOST_DAYS = 14
MOST_ROWS = 8

_NAME = 26
_BAR = 20
_LEAST_BAR = 6
_GROUPS = (
    ("route", "BY ROUTE"),
    ("kind", "BY KIND"),
    ("model", "BY MODEL"),
    ("project", "BY PROJECT"),
    ("session", "BY SESSION"),
)
CAUSES: Mapping[str, str] = {
    "routing": "work of ours went elsewhere",
    "model": "another model",
    "idle": "idle for too long",
    "compaction": "compaction",
    "tools": "tools changed",
    "system": "system prompt changed",
    "history": "an earlier message changed",
    "unknown": "not explained",
}
"""The causes of ``server.cold``, as a reader takes them."""

Report = Mapping[str, Any]


def saved_of(row: Mapping[str, Any]) -> Saved:
    """One ``COST | SAVINGS`` of a report as a sum: projected and realised together."""

    def usd(name: str) -> float:
        return number_of(row.get(name)) or 0.0

    def count(name: str) -> int:
        return count_of(row.get(name)) or 0

    return Saved(
        turns=count("projected") + count("moved") + count("no_figure"),
        usd=usd("saved_usd") + usd("realised_usd"),
        naive_usd=usd("naive_usd"),
        low_usd=usd("saved_low_usd") + usd("realised_low_usd"),
        high_usd=usd("saved_high_usd") + usd("realised_high_usd"),
        quota_usd=usd("quota_usd") + usd("realised_usd"),
        losses=count("losses"),
        losses_usd=usd("losses_usd"),
        unpriced=count("no_figure"),
        needs_key=count("needs_key"),
        observed_turns=count("turns"),
        cost_usd=usd("cost_usd"),
    )


def blocks(report: Report, width: int, *, is_real: bool) -> list[list[Line]]:
    """The sections of a report, those that have something to say."""
    if not count_of(report.get("turns")):
        return []
    found = [
        _days(report, width),
        _losses(report, width),
        _tables(report, width, is_real=is_real),
        _pair_up(_cold(report, _half(width)), _prefix(report, _half(width)), width),
        _advice(report, width),
    ]
    return [block for block in found if block]


def _half(width: int) -> int:
    return (width - 3) // 2 if width >= TWO_BLOCKS_FROM else width


def _pair_up(left: list[Line], right: list[Line], width: int) -> list[Line]:
    if left and right and width >= TWO_BLOCKS_FROM:
        return beside(left, right, width)
    return [*left, *([EMPTY] if left and right else []), *right]


# -- plots -----------------------------------------------------------------------------------


def _days(report: Report, width: int) -> list[Line]:
    """What each day cost, and what moving would have saved of it, as bars from one zero."""
    days = mappings_in(mapping_of(report.get("by")).get("day"))[-MOST_DAYS:]
    if len(days) < 2:
        return []
    costs = [amount_of(day.get("cost_usd")) or 0.0 for day in days]
    most = max(costs) or 1.0
    cells = max(8, min(48, width - 40))
    lines = [
        line((f"{fmt.fit('BY DAY', 11)}{'COST':>10}  {fmt.fit('', cells)} {'NET':>10}", "title"))
    ]
    for day, cost in zip(days, costs, strict=True):
        sums = saved_of(day)
        full = max(1 if cost else 0, round(cost / most * cells))
        saved = min(full, round(max(0.0, sums.usd) / most * cells))
        net = saving_text.gain_total(sums.usd) if sums.priced else fmt.NOTHING
        lines.append(
            line(
                (fmt.fit(text_of(day.get("name")) or fmt.UNKNOWN, 11), "muted"),
                (f"{fmt.total(cost):>10}  ", "text"),
                ("█" * (full - saved), "accent"),
                ("░" * saved, "good"),
                (" " * (cells - full + 1), "text"),
                (f"{net:>10}", "bad" if sums.usd < 0 else "muted"),
            )
        )
    listed = amount_of(mapping_of(report.get("total")).get("list_usd"))
    if listed:
        lines.append(line((f"{fmt.total(listed)} of it is list price, not billed.", "muted")))
    return lines


def _losses(report: Report, width: int) -> list[Line]:
    told = report.get("losses")
    texts = [text for text in (told if isinstance(told, list) else []) if isinstance(text, str)]
    if not texts:
        return []
    lines = [line(("LOSSES, IN WORDS", "title"))]
    for text in texts[:MOST_ROWS]:
        for at, spans in enumerate(wrap(text, max(10, width - 2))):
            lines.append(((("▼ " if at == 0 else "  "), "bad"), *spans))
    return lines


# -- tables ----------------------------------------------------------------------------------


def _tables(report: Report, width: int, *, is_real: bool) -> list[Line]:
    by = mapping_of(report.get("by"))
    half = _half(width)
    made = [_table(title, mappings_in(by.get(n)), half, is_real=is_real) for n, title in _GROUPS]
    made = [table for table in made if table]
    lines: list[Line] = []
    step = 2 if width >= TWO_BLOCKS_FROM else 1
    for at in range(0, len(made), step):
        lines.extend([EMPTY] if lines else [])
        right = made[at + 1] if step == 2 and at + 1 < len(made) else []
        lines.extend(_pair_up(made[at], right, width))
    return lines


def _table(
    title: str, rows: Sequence[Mapping[str, Any]], width: int, *, is_real: bool
) -> list[Line]:
    if not rows:
        return []
    room = max(12, min(_NAME, width - 33 - _LEAST_BAR))
    bar = min(_BAR, width - room - 33)
    bar = bar if bar >= _LEAST_BAR else 0
    head = f"{fmt.fit(title, room)} {'TURNS':>6} {'COST':>10} {fmt.fit('', bar)}{'NET':>11}"
    most = max((amount_of(row.get("cost_usd")) or 0.0 for row in rows), default=0.0)
    lines = [line((head, "title"))]
    for row in rows[:MOST_ROWS]:
        sums = saved_of(row)
        cells = round(sums.cost_usd / most * bar) if most else 0
        net, role = _net(sums, is_real=is_real)
        unknown = "?" if count_of(row.get("unpriced")) else ""
        lines.append(
            line(
                (fmt.fit(_end_of(text_of(row.get("name")) or fmt.UNKNOWN, room), room), "text"),
                (f" {sums.observed_turns:>6}", "text"),
                (f" {fmt.total(sums.cost_usd) + unknown:>10} ", "text"),
                (fmt.fit("█" * cells, bar) if bar else "", "accent"),
                (f"{net:>11}", role),
            )
        )
    if len(rows) > MOST_ROWS:
        lines.append(line((f"and {len(rows) - MOST_ROWS} more", "muted")))
    return lines


def _end_of(name: str, room: int) -> str:
    """The end of a path, where two projects differ."""
    return name if "/" not in name or len(name) <= room else "…" + name[1 - room :]


def _net(sums: Saved, *, is_real: bool) -> tuple[str, str]:
    if not sums.turns:
        return fmt.NOTHING, "muted"
    if not sums.priced:
        return fmt.UNKNOWN, "warn"
    return saving_text.gain_total(sums.usd), saving_text.gain_role(sums.usd, is_real=is_real)


# -- caches ----------------------------------------------------------------------------------


def _cold(report: Report, width: int) -> list[Line]:
    cold = mapping_of(report.get("cold"))
    causes = mappings_in(cold.get("causes"))
    if not causes:
        return []
    room = max(16, min(28, width - 22))
    lines = [line((f"{fmt.fit('COLD CACHES', room)} {'TURNS':>6} {'COST':>12}", "title"))]
    for row in causes:
        name = text_of(row.get("cause")) or fmt.UNKNOWN
        lines.append(_cause(CAUSES.get(name, name), row, room))
    return [*lines, _cause("together", cold, room, role="strong")]


def _cause(name: str, row: Mapping[str, Any], room: int, role: str = "text") -> Line:
    usd = amount_of(row.get("usd"))
    unknown = "?" if count_of(row.get("unpriced")) else ""
    return line(
        (fmt.fit(name, room), role),
        (f" {count_of(row.get('turns')) or 0:>6}", role),
        (f" {fmt.total(usd) + unknown:>12}", "warn" if usd else "muted"),
    )


def _prefix(report: Report, width: int) -> list[Line]:
    parts = mappings_in(mapping_of(report.get("prefix")).get("parts"))
    if not parts:
        return []
    room = max(14, min(26, width - 26))
    head = f"{fmt.fit('EVERY TURN REPEATS', room)} {'TOKENS':>8} {'A TURN':>12}"
    lines = [line((head, "title"))]
    for part in parts[: MOST_ROWS + 2]:
        usd = amount_of(part.get("usd_per_turn"))
        lines.append(
            line(
                (fmt.fit(text_of(part.get("name")) or fmt.UNKNOWN, room), "text"),
                (f" {'~' + fmt.tokens(count_of(part.get('tokens'))):>8}", "text"),
                (f" {fmt.money(usd) if usd is not None else fmt.UNKNOWN:>12}", "text"),
            )
        )
    return lines


def _advice(report: Report, width: int) -> list[Line]:
    lines: list[Line] = []
    for item in mappings_in(report.get("advice")):
        usd, low, high = (number_of(item.get(name)) for name in ("usd", "low_usd", "high_usd"))
        reach = saving_text.between(low, high)
        worth = f" {saving_text.gain_total(usd)}" if usd is not None else ""
        text = f"{text_of(item.get('text')) or ''}{worth}{f' ({reach})' if reach else ''}"
        for at, spans in enumerate(wrap(text, width - 2)):
            lines.append(((("· " if at == 0 else "  "), "muted"), *spans))
    return [line(("ADVICE", "title")), *lines] if lines else []


# -- what was compared -----------------------------------------------------------------------


def ladder(
    entries: Sequence[Mapping[str, Any]], verifier: Mapping[str, Any], width: int
) -> list[Line]:
    """How often each candidate would have done, and how far its kind may go for that."""
    if not entries and verifier.get("consent") is not True:
        return []
    lines = [line((fmt.fit("COMPARED IN THE BACKGROUND", width), "title"))]
    if not entries:
        return [*lines, line(("No answer has been compared yet.", "muted"))]
    room = max(14, min(34, width - 37))
    for entry in entries[:MOST_ROWS]:
        lines.extend(_rung(entry, room, width))
    if len(entries) > MOST_ROWS:
        lines.append(line((f"and {len(entries) - MOST_ROWS} more", "muted")))
    spent, most = (amount_of(verifier.get(n)) for n in ("spent_today_usd", "daily_budget_usd"))
    if spent is not None and most is not None:
        text = f"Comparing has cost {fmt.total(spent)} today, of {fmt.total(most)} that it may."
        lines.append(line((text, "muted")))
    return lines


def _rung(entry: Mapping[str, Any], room: int, width: int) -> Iterable[Line]:
    samples, passed = (count_of(entry.get(name)) or 0 for name in ("samples", "passed"))
    low, high = (number_of(entry.get(name)) for name in ("low", "high"))
    model = (text_of(entry.get("model")) or "").rpartition("/")[2]
    name = (
        f"{text_of(entry.get('kind')) or fmt.UNKNOWN} → {model or text_of(entry.get('provider'))}"
    )
    is_down = entry.get("demoted") is True
    rate = f"{passed} of {samples}" if samples else "none yet"
    reach = f"{low:.0%} to {high:.0%}" if samples and low is not None and high is not None else ""
    yield line(
        (fmt.fit(name, room), "text"),
        (f" {rate:>10} ", "strong" if samples else "muted"),
        (fmt.fit(reach, 13), "muted"),
        (f" {'▼ ' if is_down else ''}{text_of(entry.get('rung')) or fmt.UNKNOWN}",
         "warn" if is_down else "accent"),
    )  # fmt: skip
    for spans in wrap(text_of(entry.get("reason")) or "", max(10, width - 2), "muted"):
        yield ("  ", "text"), *spans
