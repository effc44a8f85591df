"""The savings of a day, a week, a month or of all that is on record, as lines.

The cache-aware net is the figure; the seed's simple formula stands beside it for comparison only.
What is unknown or waits for a key is counted apart and is in no sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tui import format as fmt
from tui import report_lines, saving_text
from tui.lines import EMPTY, Line, Span, beside, clip, join, line, spread, wrap
from tui.period import Period
from tui.provider_page import key_env
from tui.rows import mapping_of
from tui.sums import Saved, Savings

TWO_BLOCKS_FROM = 112

_NAME = 26
_BAR = 20
_LEAST_BAR = 6
_MOST_ROWS = 12

ASSUMPTIONS = (
    "Net: what the answer cost where it was made, less what the same work would have cost at the "
    "target, less the cache that leaving would have cost.",
    "Cache: tokens that a turn would have written into the vendor's cache are only written later, "
    "and a cached prefix that nobody reads in time is written again at the full price. Both count "
    "against the saving.",
    "Another model counts and answers with other numbers of tokens, and some answers would have "
    "to be made again; the range is all of that at its worst and at its best at once.",
    "Prices are list prices of the day. Subscriptions pay nothing per token: for them these are "
    "list-price equivalents.",
)
"""Shown when the engine names none of its own."""

NAIVE = "the seed's simple formula, for comparison: it knows no cache and overstates"


def page(
    savings: Savings,
    providers: Mapping[str, Mapping[str, Any]],
    width: int,
    *,
    shadow: bool | None,
    period: Period,
    key: str,
    report: Mapping[str, Any] | None = None,
    verification: Sequence[Mapping[str, Any]] = (),
    verifier: Mapping[str, Any] = MappingProxyType({}),
) -> list[Line]:
    """The whole page; ``key`` goes to the next period, ``report`` is the one of this period."""
    if not savings.is_known:
        return [EMPTY, line((" Waiting for the gateway ...", "muted"))]
    saved = _sum_of(savings, period, report)
    inner = max(20, width - 2)
    if saved is None:
        title = _title(Saved(), inner, shadow=shadow, period=period, key=key)
        blocks: list[list[Line]] = [title, [line(("Adding up ...", "muted"))]]
        saved = Saved()
    elif saved.is_empty:
        title = _title(saved, inner, shadow=shadow, period=period, key=key)
        blocks = [title, _empty(saved, inner, shadow=shadow, period=period)]
    else:
        title = _title(saved, inner, shadow=shadow, period=period, key=key)
        blocks = [title, _figures(saved, inner)]
    if apart := _apart(saved, savings, providers, inner):
        blocks.append(apart)
    if compared := report_lines.ladder(verification, verifier, inner):
        blocks.append(compared)
    if report is not None:
        blocks.extend(report_lines.blocks(report, inner, is_real=shadow is False))
    if not savings.all.is_empty:
        blocks.append(_tables(savings, inner, shadow=shadow, is_told=report is not None))
    blocks.append(_assumptions(savings.assumptions or ASSUMPTIONS, inner))
    lines = [EMPTY]
    for block in blocks:
        lines.extend(clip((("  ", "text"), *spans), width) for spans in block)
        lines.append(EMPTY)
    return lines


def _sum_of(
    savings: Savings, period: Period, report: Mapping[str, Any] | None
) -> Saved | None:  # fmt: skip
    """The sum of a period; ``None`` while the record still adds it up."""
    if period is Period.TODAY:
        return savings.today
    if period is Period.ALL:
        return savings.all
    return None if report is None else report_lines.saved_of(mapping_of(report.get("total")))


def _title(
    saved: Saved, width: int, *, shadow: bool | None, period: Period, key: str
) -> list[Line]:
    words = saving_text.headline(saved, shadow)
    hint = line((f"{key} shows {period.next}", "muted"))
    return [spread(line((f"{words} {period.words}".upper(), "title")), hint, width)]


def _figures(saved: Saved, width: int) -> list[Line]:
    if not saved.priced:
        return wrap("No turn that could have moved has a known price.", width, "warn")
    role = "bad" if saved.usd < 0 else "strong"
    amount = fmt.total(abs(saved.usd)) if saved.usd < 0 else saving_text.gain_total(saved.usd)
    head = line((f"{amount}", role), ("  net, cache counted", "muted"))
    reach = saving_text.between(saved.low_usd, saved.high_usd)
    lines = [head]
    if reach:
        lines.append(_scale(saved, min(60, width)))
        lines.extend(wrap(f"From {reach}, everything unsure at its worst and at its best.", width))
    moved = f"{saved.priced} of {fmt.plural(saved.observed_turns, 'turn')} could move"
    if saved.cost_usd > 0:
        share = f"; all {saved.observed_turns} cost {fmt.total(saved.cost_usd)}"
        lines.extend(wrap(f"{moved}{share}, list-price equivalents included.", width, "muted"))
    else:
        lines.extend(wrap(f"{moved}.", width, "muted"))
    return [*lines, EMPTY, *_comparison(saved, width)]


def _scale(saved: Saved, cells: int) -> Line:
    """The range as a line: its ends, nothing at all as a stroke, and the net as a dot."""
    least, most = min(saved.low_usd, saved.usd, 0.0), max(saved.high_usd, saved.usd, 0.0)
    first, last = (saving_text.gain_total(usd) for usd in (least, most))
    room = max(10, cells - len(first) - len(last) - 2)

    def at(usd: float) -> int:
        return round((usd - least) / (most - least) * (room - 1)) if most > least else 0

    low, high, zero, net = (at(usd) for usd in (saved.low_usd, saved.high_usd, 0.0, saved.usd))
    spans: list[Span] = [(f"{first} ", "muted")]
    for cell in range(room):
        if cell == net:
            spans.append(("●", "bad" if saved.usd < 0 else "strong"))
        elif cell == zero:
            spans.append(("│", "text"))
        elif low <= cell <= high:
            spans.append(("━", "bad" if cell < zero else "accent"))
        else:
            spans.append(("─", "muted"))
    return (*spans, (f" {last}", "muted"))


def _comparison(saved: Saved, width: int) -> list[Line]:
    rows: list[tuple[str, str, str, str]] = [
        ("naive", saving_text.gain_total(saved.naive_usd), "muted", NAIVE),
    ]
    if abs(saved.quota_usd - saved.usd) >= 0.00005:
        text = "when the providers' own limits are kept"
        role = "bad" if saved.quota_usd < 0 else "text"
        rows.append(("within limits", saving_text.gain_total(saved.quota_usd), role, text))
    if saved.losses:
        text = f"{fmt.plural(saved.losses, 'turn')} that would have cost more elsewhere, in the sum"
        rows.append(("losses", fmt.total(saved.losses_usd), "bad", text))
    else:
        rows.append(("losses", "none", "muted", "no turn would have cost more elsewhere"))
    if saved.open:
        text = "turns whose session has not shown yet whether its cache was needed again"
        rows.append(("not settled", f"~{saved.open}", "text", text))
    lines: list[Line] = []
    for name, amount, role, text in rows:
        head: list[Span] = [
            (fmt.fit(name, 14), "muted"),
            (fmt.fit(amount, 11, "right") + "  ", role),
        ]
        for index, rest in enumerate(wrap(text, max(20, width - 27), "muted")):
            lines.append((*(head if index == 0 else [(" " * 27, "text")]), *rest))
    return lines


def _apart(
    saved: Saved, savings: Savings, providers: Mapping[str, Mapping[str, Any]], width: int
) -> list[Line]:
    """What is in no sum: turns without a price, and turns that wait for a key."""
    lines: list[Line] = []
    if saved.unpriced:
        count = fmt.plural(saved.unpriced, "turn")
        text = f"? {count} without a known price or usage: counted, in no sum."
        lines.extend(wrap(text, width, "warn"))
    if saved.needs_key:
        found = saved.needs_key_usd
        worth = f", for {saving_text.gain_total(found)} by the same reckoning" if found else ""
        which = " or ".join(_missing_keys(savings, providers)) or "its key"
        count = fmt.plural(saved.needs_key, "turn")
        text = f"⊘ {count} more could move once {which} is set{worth}; in no sum above."
        lines.extend(wrap(text, width, "accent"))
    return lines


def _missing_keys(savings: Savings, providers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = [
        target.partition("/")[0] for target, sums in savings.by_target.items() if sums.needs_key
    ]
    found = [
        key_env(name, providers.get(name, {})) or f"the key of {name}"
        for name in dict.fromkeys(names)
    ]
    return [fmt.neutralise(name, 40) for name in dict.fromkeys(found)]


def _empty(saved: Saved, width: int, *, shadow: bool | None, period: Period) -> list[Line]:
    seen = fmt.plural(saved.observed_turns, "turn")
    head = f"{seen} {period.words}, and none that could have moved." if saved.observed_turns else ""
    if shadow is False:
        text = (
            "In live mode, work that another model can do as well goes where the routes say. "
            "Each turn that moved shows here what that saved or lost, its cache included."
        )
    else:
        text = (
            "In shadow mode every request goes to its own vendor, byte for byte, while the gateway "
            "works out where live mode would have sent it. Each turn that could have moved shows "
            "here what that would have saved or lost, priced from its real usage, cache included."
        )
    lines = wrap(head, width, "strong") if head else [line(("Nothing yet.", "strong"))]
    return [*lines, EMPTY, *wrap(text, width)]


# -- tables ----------------------------------------------------------------------------------


def _tables(
    savings: Savings, width: int, *, shadow: bool | None, is_told: bool
) -> list[Line]:  # fmt: skip
    """By where it would have gone; by route and kind too, unless a report has told of those."""
    is_real = shadow is False
    target = ("BY TARGET", savings.by_target)
    if is_told:
        return _table(*target, width, is_real=is_real)
    others = [("BY ROUTE", savings.by_route), ("BY KIND", savings.by_kind)]
    if width >= TWO_BLOCKS_FROM:
        half = (width - 3) // 2
        left, right = (_table(*table, half, is_real=is_real) for table in others)
        return [
            *_table(*target, width, is_real=is_real),
            EMPTY,
            *beside(left, right, width),
        ]
    lines: list[Line] = []
    for table in (target, *others):
        lines.extend([*_table(*table, width, is_real=is_real), EMPTY])
    return lines[:-1]


def _table(
    name: str,
    rows: Mapping[str, Saved],
    width: int,
    *,
    is_real: bool,
) -> list[Line]:
    """One row a group: turns, net, its size against the others, and what lost."""
    rows = {group: sums for group, sums in rows.items() if not sums.is_empty}
    room = max(12, min(_NAME, width - 37))
    bar = min(_BAR, width - room - 36)
    bar = bar if bar >= _LEAST_BAR else 0
    head = f"{fmt.fit(f'{name}, on record', room)}  {'TURNS':>6}  {'NET':>10}  "
    most = max((abs(sums.usd) for sums in rows.values()), default=0.0)
    lines = [line((head, "title"))]
    for group, sums in list(rows.items())[:_MOST_ROWS]:
        lines.append(_row(group, sums, room, bar, most, is_real=is_real))
    if not rows:
        lines.append(line(("nothing yet", "muted")))
    if len(rows) > _MOST_ROWS:
        lines.append(line((f"and {len(rows) - _MOST_ROWS} more", "muted")))
    return lines


def _row(group: str, sums: Saved, room: int, bar: int, most: float, *, is_real: bool) -> Line:
    net, role = _net(sums, is_real=is_real)
    cells = round(abs(sums.usd) / most * bar) if most and sums.priced else 0
    if cells == 0 and sums.usd and sums.priced and bar:
        cells = 1
    drawn = ("█" if sums.usd >= 0 else "▓") * cells
    notes: list[Line] = []
    if sums.losses:
        notes.append(line((f"{sums.losses} at a loss", "bad")))
    if sums.unpriced:
        notes.append(line((f"{sums.unpriced}?", "warn")))
    if sums.needs_key:
        notes.append(line((f"{sums.needs_key} no key", "muted")))
    return (
        (fmt.fit(group, room), "text"),
        (f"  {sums.turns:>6}  ", "text" if sums.turns else "muted"),
        (f"{net:>10}  ", role),
        (fmt.fit(drawn, bar) + ("  " if bar else ""), role if sums.usd < 0 else "accent"),
        *join(notes, " "),
    )


def _net(sums: Saved, *, is_real: bool) -> tuple[str, str]:
    if not sums.turns:
        return fmt.NOTHING, "muted"
    if not sums.priced:
        return fmt.UNKNOWN, "warn"
    return saving_text.gain_total(sums.usd), saving_text.gain_role(sums.usd, is_real=is_real)


def _assumptions(sentences: Iterable[str], width: int) -> list[Line]:
    lines = [line(("HOW IT IS RECKONED", "title"))]
    for sentence in sentences:
        for index, text in enumerate(wrap(sentence, max(20, min(width, 100) - 2), "muted")):
            lines.append(((("· " if index == 0 else "  "), "muted"), *text))
    return lines
