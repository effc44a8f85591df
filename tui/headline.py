"""The header: where the gateway is, what it does with requests, what today costs, what is wrong.

Every item has forms from long to short. When the line is too long for the screen, ``SHRINK``
says in which order items give up room; the mode, a drain and the address go last of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui import format as fmt
from tui import saving_text
from tui.lines import EMPTY, Line, clip, join, line, spread, width_of
from tui.rows import mapping_of, mappings_in, text_of
from tui.state import LiveState, Trouble
from tui.sums import Saved

LAG_WORTH_SHOWING_MS = 50.0
"""Above this the loop lag is a warning and is not dropped early."""

SHRINK = (
    "version",
    "lag",
    "spark",
    "rate",
    "saved",
    "unpriced",
    "list",
    "money",
    "flight",
    "name",
    "list",
    "rate",
    "demo",
    "attached",
    "capture",
    "verify",
    "lent",
    "money",
    "unpriced",
    "saved",
    "address",
    "saved",
    "windows",
    "flight",
    "windows",
    "address",
    "drain",
)
"""Each step shortens one item by one form."""


_CELL_S, _CELLS = 5, 12
_BARS = "▁▂▃▄▅▆▇"

_LOGIN_WINDOWS = (
    ("anthropic-ratelimit-unified-5h", "5h"),
    ("anthropic-ratelimit-unified-7d", "week"),
    ("codex-primary", "codex"),
    ("codex-secondary", "codex"),
)
_WEEK_MINUTES = 10_080
_NEARLY_USED = 0.85
_MOST_USED = 100.0


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the header in all its forms, longest first; the last may be empty."""

    id: str
    forms: tuple[Line, ...]


def header(state: LiveState, width: int, now: float) -> list[Line]:
    """One line, or two when something is wrong at ``now`` (wall time)."""
    lines = [headline(state, width, now)]
    if trouble := trouble_line(state.troubles(now), width - 2):
        lines.append((("  ", "text"), *trouble))
    return lines


def headline(state: LiveState, width: int, now: float | None = None) -> Line:
    """The first line, shrunk to ``width`` cells."""
    left, right = _left(state), _right(state, now)
    chosen = {item.id: 0 for item in (*left, *right)}
    forms = {item.id: item.forms for item in (*left, *right)}

    def built() -> tuple[Line, Line]:
        first = join((item.forms[chosen[item.id]] for item in left), "  ")
        last = join((item.forms[chosen[item.id]] for item in right), "  ")
        return (*line(" "), *first), ((*last, (" ", "text")) if last else EMPTY)

    for name in (*SHRINK, None):
        start, end = built()
        if width_of(start) + width_of(end) + (2 if end else 0) <= width or name is None:
            return spread(start, end, width)
        if name in chosen and chosen[name] < len(forms[name]) - 1:
            chosen[name] += 1
    return EMPTY


def mode_badge(shadow: bool | None, *, is_away: bool = False) -> Line:
    """What happens to requests, unmistakable without colour: the word, in reverse."""
    if is_away:
        return line((" AWAY ", "warn-badge"))
    if shadow is None:
        return line((" ? ", "warn-badge"))
    return line((" SHADOW ", "shadow-badge")) if shadow else line((" LIVE ", "live-badge"))


def _left(state: LiveState) -> tuple[Item, ...]:
    gateway, totals = state.gateway, state.totals
    is_away = state.unreachable is not None
    url = fmt.neutralise(gateway.url, 60) or "starting"
    bare = url.partition("://")[2] or url
    version = fmt.neutralise(gateway.version, 20)
    flight = totals.in_flight
    role = "live" if flight else "muted"
    streams = fmt.plural(flight, "stream")
    drain = (
        line((f" DRAINING {streams} ", "warn-badge")),
        line((f" DRAINING {flight} ", "warn-badge")),
    )
    return (
        Item("name", (line(("sbgw-tui", "strong")), EMPTY)),
        Item("version", (line((version, "muted")) if version else EMPTY, EMPTY)),
        Item("mode", (mode_badge(gateway.shadow, is_away=is_away),)),
        Item("lent", (EMPTY,) if is_away else _lent(state.verifier)),
        Item("verify", (EMPTY,) if is_away else _verifies(state.verifier)),
        Item(
            "attached",
            (line((" ATTACHED ", "tab-badge")), EMPTY) if state.is_attached else (EMPTY,),
        ),
        Item("drain", drain if gateway.draining and not is_away else (EMPTY,)),
        Item("demo", (line((" DEMO ", "demo-badge")),) if gateway.demo else (EMPTY,)),
        Item("capture", _capture(captures=gateway.captures)),
        Item("address", (line((url, "link")), line((bare, "link")), EMPTY)),
        Item("flight", (line((f"▶ {flight} in flight", role)), line((f"▶ {flight}", role)), EMPTY)),
    )


def _lent(verifier: Mapping[str, Any]) -> tuple[Line, ...]:
    """What is live although the mode says shadow: never dropped, only shortened."""
    leases = mappings_in(verifier.get("leases"))
    if not leases:
        return (EMPTY,)
    first = fmt.neutralise(text_of(leases[0].get("name")) or "?", 20)
    more = f" +{len(leases) - 1}" if len(leases) > 1 else ""
    return (
        line((f" {first}{more} LIVE ", "live-badge")),
        line((f" {len(leases)} LIVE ", "live-badge")),
    )


def _verifies(verifier: Mapping[str, Any]) -> tuple[Line, ...]:
    """That a sample of requests also goes to other companies: never dropped, only shortened."""
    if verifier.get("consent") is not True:
        return (EMPTY,)
    return line((" VERIFY ", "warn-badge")), line((" V ", "warn-badge"))


def _capture(*, captures: bool) -> tuple[Line, ...]:
    """That prompts are written to the disk: never dropped, only shortened."""
    if not captures:
        return (EMPTY,)
    return line((" CAPTURE ", "warn-badge")), line((" CAP ", "warn-badge"))


def _right(state: LiveState, now: float | None = None) -> tuple[Item, ...]:
    totals = state.totals
    is_login = not totals.today_usd and bool(totals.today_list_usd)
    money = _money(totals.today_usd, totals.today_estimated_usd)
    return (
        Item("windows", _windows(state.providers, now)),
        Item("spark", (_spark(state, now), EMPTY)),
        Item("rate", _rate(totals.requests_per_min)),
        # A login is billed nothing: its list price alone is the day's figure.
        Item("money", (EMPTY,) if is_login else money),
        Item("list", _list_price(totals.today_list_usd, is_alone=is_login)),
        Item("unpriced", _unpriced(totals.today_unpriced)),
        Item("saved", _saved(state.savings.today, state.gateway.shadow)),
        Item("lag", _lag(totals.loop_lag_ms)),
    )


def _windows(
    providers: Mapping[str, Mapping[str, Any]], now: float | None = None
) -> tuple[Line, ...]:
    """How much of a login's 5-hour and weekly windows is used; vendors tell it to logins only."""
    shown: list[Line] = []
    for name, word in _LOGIN_WINDOWS:
        used = _used(providers, name, now)
        if used is not None:
            short = f"{word} {_length(providers, name)}".strip()
            role = "bad" if used >= 1 else "warn" if used >= _NEARLY_USED else "strong"
            shown.append(line((f"{short} ", "muted"), (f"{used:.0%}", role)))
    return (join(shown, " "), shown[0], EMPTY) if shown else (EMPTY,)


def _length(providers: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """How long a window is, where the vendor says so: ``5h``, ``week``."""
    for provider in providers.values():
        fields = mapping_of(mapping_of(provider.get("rate_limits")).get(name))
        minutes = str(fields.get("window-minutes", ""))
        if minutes.isdecimal():
            return "week" if int(minutes) == _WEEK_MINUTES else fmt.age(int(minutes) * 60.0)
    return ""


def _used(providers: Mapping[str, Mapping[str, Any]], name: str, now: float | None) -> float | None:
    """The part of a window that is used; nothing once it has opened anew, which nobody told."""
    for provider in providers.values():
        fields = mapping_of(mapping_of(provider.get("rate_limits")).get(name))
        try:
            used = float(fields.get("utilization", ""))
            reset = float(fields.get("reset", "inf"))
        except (TypeError, ValueError):
            continue
        if now is not None and reset <= now:
            continue
        if 0 <= used <= _MOST_USED:
            return used
    return None


def _spark(state: LiveState, now: float | None) -> Line:
    """The requests of the last minute, five seconds a cell; nothing when there were none."""
    if now is None:
        return EMPTY
    end = (int(now) // _CELL_S + 1) * _CELL_S
    starts = range(end - _CELLS * _CELL_S, end, _CELL_S)
    counts = [state.requests_in(start, start + _CELL_S) for start in starts]
    most = max(counts)
    if not most:
        return EMPTY
    top = len(_BARS) - 1
    return line(("".join(_BARS[-(-count * top // most)] for count in counts), "live"))


def _rate(per_min: float | None) -> tuple[Line, ...]:
    if per_min is None:
        return (EMPTY,)
    number = f"{per_min:.0f}" if per_min < 100_000 else ">99999"
    return (line(number, (" req/min", "muted")), line(number, ("/min", "muted")), EMPTY)


def _money(today: float | None, estimated: float | None) -> tuple[Line, ...]:
    amount = fmt.total(today)
    amount = fmt.estimated(amount) if estimated else amount
    part = f" (≈{fmt.total(estimated)} estimated)" if estimated else ""
    return (
        line(("today ", "muted"), (amount, "strong"), (f" billed{part}", "muted")),
        line(("today ", "muted"), (amount, "strong")),
        line((amount, "strong")),
    )


def _list_price(amount: float | None, *, is_alone: bool = False) -> tuple[Line, ...]:
    if not amount:
        return (EMPTY,)
    shown = fmt.total(amount)
    if is_alone:
        return (
            line(("today ", "muted"), (shown, "strong"), (" list price, not billed", "muted")),
            line(("today ", "muted"), (f"{shown}L", "strong")),
            line((f"{shown}L", "strong")),
        )
    return (
        line(("+ ", "muted"), shown, (" list price, not billed", "muted")),
        line(("+", "muted"), f"{shown}L"),
        EMPTY,
    )


def _unpriced(count: int) -> tuple[Line, ...]:
    if not count:
        return (EMPTY,)
    return (line((f"+ {count} unpriced", "warn")), line((f"+{count}?", "warn")))


def _saved(today: Saved, shadow: bool | None) -> tuple[Line, ...]:
    """What today's turns would have saved; in live mode what they saved; a loss is named one."""
    if not today.priced:
        return (EMPTY,)
    verb = saving_text.verb(shadow=shadow, usd=today.usd)
    role = saving_text.gain_role(today.usd, is_real=shadow is False)
    amount = fmt.total(abs(today.usd))
    short = "saved" if shadow is False else "would"
    return (
        line(("· ", "muted"), (f"{verb} ", "muted"), (amount, role), (" today", "muted")),
        line(("· ", "muted"), (f"{verb} ", "muted"), (amount, role)),
        line((f"{short} ", "muted"), (saving_text.gain_total(today.usd), role)),
        EMPTY,
    )


def _lag(lag_ms: float | None) -> tuple[Line, ...]:
    if lag_ms is None:
        return (EMPTY,)
    role = "warn" if lag_ms >= LAG_WORTH_SHOWING_MS else "muted"
    shown = f"lag {min(lag_ms, 99_999):.0f} ms" if lag_ms >= 10 else f"lag {max(0, lag_ms):.1f} ms"
    return (line((shown, role)), EMPTY)


def trouble_line(troubles: Sequence[Trouble], width: int) -> Line:
    """The most serious trouble in words, and how many more there are; empty when all is well."""
    if not troubles:
        return EMPTY
    first = troubles[0]
    role = "bad" if first.weight < 3 else "warn"
    when = "at" if first.is_over else "since"
    since = f" {when} {fmt.wall_clock(first.since)}" if first.since is not None else ""
    detail = f": {fmt.neutralise(first.detail, 200)}" if first.detail else ""
    more = f"  +{len(troubles) - 1} more" if len(troubles) > 1 else ""
    text = clip(
        line((f"▲ {fmt.neutralise(first.what, 60)}{since}{detail}", role)), width - len(more)
    )
    return (*text, (more, role)) if more else text


def summary(state: LiveState, width: int, now: float) -> Line:
    """Everything in one line, for a terminal that is too small for a list."""
    return clip(join(summary_parts(state, width, now), " "), width)


def summary_parts(state: LiveState, width: int, now: float) -> list[Line]:
    """Mode, work, money and trouble, each for itself."""
    gateway, totals = state.gateway, state.totals
    return [
        mode_badge(gateway.shadow, is_away=state.unreachable is not None),
        line((" DRAINING ", "warn-badge")) if gateway.draining else EMPTY,
        line(f"{totals.in_flight} in flight"),
        line(
            fmt.total(totals.today_usd)
            + (f"+{totals.today_unpriced}?" if totals.today_unpriced else "")
        ),
        trouble_line(state.troubles(now), width),
    ]
