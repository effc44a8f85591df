"""One turn in full, as lines: what happened when, who asked, where it went and why, what it cost.

The input is ``server.record.Turn.detail`` (or a summary, until the detail has been read); every
value may be missing or of another type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from providers.types import UsageSource
from tui import cache_text, proposal_text
from tui import format as fmt
from tui.columns import LOOKS, PAYER_HELP, is_same_model, payer_mark, state_text
from tui.lines import EMPTY, Line, beside, clip, columns, join, line, width_of, wrap
from tui.rows import (
    TurnRow,
    count_of,
    mapping_of,
    mappings_in,
    number_of,
    row_from,
    text_of,
)

TWO_BLOCKS_FROM = 108
"""Width from which the sections stand in two blocks side by side."""

_LABEL = 13
_LONGEST_S = 1e7
_PARTS = (
    ("input", "input_tokens", "input"),
    ("cache read", "cache_read_tokens", "cache_read"),
    ("cache write 5m", "cache_write_5m_tokens", "cache_write_5m"),
    ("cache write 1h", "cache_write_1h_tokens", "cache_write_1h"),
    ("output", "output_tokens", "output"),
)

_SOURCES: Mapping[str, str] = {
    UsageSource.FINAL: "reported by the provider",
    UsageSource.PARTIAL: "reported by the provider, incomplete",
    UsageSource.ESTIMATED: "estimated",
    UsageSource.NONE: "not reported",
}

Detail = Mapping[str, Any]


def title(detail: Detail, now: float, width: int) -> Line:
    """State, running time, id and wall time in one line, as many of them as fit."""
    row = row_from(detail, 0)
    if row is None:
        return line(("turn not found", "warn"))
    look = LOOKS[row.shown]
    elapsed = fmt.age(now - row.at) if row.is_open else fmt.duration(row.duration_s)
    parts = [
        line((state_text(row), look.role)),
        line((elapsed, "strong")),
        line((fmt.neutralise(row.id, 60), "strong")),
        line((fmt.wall_seconds(row.at), "muted")),
    ]
    while len(parts) > 1 and width_of(join(parts)) > width:
        parts.pop()
    return clip(join(parts), width)


def body(detail: Detail, width: int, now: float, story: Detail | None = None) -> list[Line]:
    """Every section, in one block or in two side by side; ``story``: see ``tui.cache_text``."""
    row = row_from(detail, 0)
    if row is None:
        return [line(("The gateway no longer knows this turn.", "muted"))]
    if width < TWO_BLOCKS_FROM:
        blocks = [
            _error(row, width),
            _timeline(detail, row, width, now),
            _money(detail, row, width),
            cache_text.cache(detail, story, width),
            _routing(detail, row, width),
            cache_text.notes(detail, width),
            proposal_text.lines(detail, width),
            proposal_text.alternatives(detail, width),
            _asked(detail, row, width),
            _limits(detail, width),
            _ids(detail, row, width),
        ]
        return _stack(blocks)
    half = (width - 3) // 2
    left = _stack(
        [
            _routing(detail, row, half),
            cache_text.notes(detail, half),
            proposal_text.lines(detail, half),
            proposal_text.alternatives(detail, half),
            _limits(detail, half),
        ]
    )
    right = _stack(
        [
            _money(detail, row, half),
            cache_text.cache(detail, story, half),
            _asked(detail, row, half),
            _ids(detail, row, half),
        ]
    )
    top = _stack([_error(row, width), _timeline(detail, row, width, now)])
    return [*top, *([EMPTY] if top else []), *beside(left, right, width)]


def _stack(blocks: Iterable[list[Line]]) -> list[Line]:
    stacked: list[Line] = []
    for block in blocks:
        if block and stacked:
            stacked.append(EMPTY)
        stacked.extend(block)
    return stacked


def _section(name: str, rows: Iterable[Line]) -> list[Line]:
    found = [row for row in rows if row]
    return [line((name, "title")), *found] if found else []


def _pair(label: str, value: object, role: str = "text") -> Line:
    """``label  value``; no line at all when there is no value."""
    if value is None or value == "":
        return EMPTY
    return line((fmt.fit(label, _LABEL), "muted"), (fmt.neutralise(value, 200), role))


def _pairs(label: str, value: object, width: int, role: str = "text") -> list[Line]:
    """Like ``_pair``, with a long value wrapped under itself."""
    first, indent = fmt.fit(label, _LABEL), " " * _LABEL
    return [
        ((first if index == 0 else indent, "muted"), *text)
        for index, text in enumerate(wrap(value, max(10, width - _LABEL), role))
    ]


def _error(row: TurnRow, width: int) -> list[Line]:
    if row.error_message is None and row.error_type is None:
        return []
    status = f"HTTP {row.http_status} " if row.http_status else ""
    head = f"{status}{row.error_type or ''}: {row.error_message or 'no message'}"
    return _section("ERROR", wrap(head.removeprefix(": "), width, "bad"))


# -- time ------------------------------------------------------------------------------------


def _timeline(detail: Detail, row: TurnRow, width: int, now: float) -> list[Line]:
    attempts = mappings_in(detail.get("attempts_detail"))
    if not attempts:
        return []
    running = (_seconds(now - row.at) or 0.0) if row.is_open else 0.0
    end = max([_seconds(row.duration_s) or 0.0, running, *(_span(a, running)[1] for a in attempts)])
    rows: list[Line] = []
    for attempt in attempts:
        rows.extend(_attempt(attempt, width, end, running))
    return _section(f"ATTEMPTS  0 to {fmt.duration(end)}", rows)


def _span(attempt: Mapping[str, Any], running: float) -> tuple[float, float]:
    start = _seconds(attempt.get("started_s")) or 0.0
    duration = _seconds(attempt.get("duration_s"))
    return start, start + duration if duration is not None else max(start, running)


def _seconds(value: object) -> float | None:
    """A length of time that can be drawn."""
    seconds = number_of(value)
    return None if seconds is None else min(max(0.0, seconds), _LONGEST_S)


def _attempt(attempt: Mapping[str, Any], width: int, end: float, running: float) -> Iterable[Line]:
    start, stop = _span(attempt, running)
    ttft = _seconds(attempt.get("ttft_s"))
    outcome = text_of(attempt.get("outcome")) or fmt.UNKNOWN
    good, going = outcome == "success", outcome == "open"
    if going:
        outcome = "waiting" if ttft is None else "streaming"
    status = count_of(attempt.get("status"))
    result = f"{status} {outcome}" if status else outcome
    role = "good" if good else "live" if going else "bad"
    glyph = "●" if good else "▶" if going else "✕"
    number = count_of(attempt.get("number")) or 0
    where = f"{attempt.get('provider') or fmt.UNKNOWN}"
    head = (
        (f"{glyph} #{number}", 5, role),
        (where, 11, "strong"),
        (str(attempt.get("model") or ""), 20, "text"),
        (result, 20, role),
    )
    first = f"first byte {fmt.duration(ttft)}" if ttft is not None else "no first byte"
    timing = f"{fmt.duration(stop - start)} from {fmt.duration(start)}, {first}"
    up, down = (fmt.size(count_of(attempt.get(name))) for name in ("bytes_up", "bytes_down"))
    yield clip(columns(head), width)
    bar = _bar(
        start, None if ttft is None else start + ttft, stop, end, max(10, min(60, width - 8))
    )
    yield clip(line("   ", *bar), width)
    yield clip(line("   ", (f"{timing}; {up} up, {down} down", "muted")), width)
    if error := text_of(attempt.get("error")):
        for text in wrap(error, max(10, width - 3), "bad"):
            yield ("   ", "text"), *text


def _bar(start: float, first: float | None, stop: float, end: float, cells: int) -> Line:
    """Waiting is light, streaming is full, and at least one cell shows that something was."""
    scale = cells / end if end > 0 else 0.0
    at = min(cells - 1, int(start * scale))
    until = max(at + 1, min(cells, round(stop * scale)))
    turn = until if first is None else max(at, min(until, round(first * scale)))
    return line(
        ("─" * at, "muted"),
        ("░" * (turn - at), "accent"),
        ("█" * (until - turn), "live"),
        ("─" * (cells - until), "muted"),
    )


# -- who and where ---------------------------------------------------------------------------


def _asked(detail: Detail, row: TurnRow, width: int) -> list[Line]:
    version = text_of(detail.get("client_version"))
    features = [
        "streamed" if detail.get("stream") is True else "not streamed",
        text_of(detail.get("protocol")),
        f"{fmt.size(count_of(detail.get('body_bytes')))} body" if "body_bytes" in detail else None,
    ]
    limit = count_of(detail.get("max_tokens"))
    estimates = ", ".join(
        f"{name} {fmt.tokens(count_of(count))}"
        for name, count in mapping_of(detail.get("estimates")).items()
    )
    rows = [
        _pair("client", f"{row.client or fmt.UNKNOWN} {version or ''}".strip()),
        _pair("project", row.project),
        _pair("branch", text_of(detail.get("branch"))),
        _pair("label", row.label),
        _pair("session", row.session),
        _pair("sub-agent", text_of(detail.get("agent"))),
        _pair("model", row.model_asked),
        _pair("request", ", ".join(part for part in features if part)),
        _pair("max tokens", limit),
        _pair("tool choice", text_of(detail.get("tool_choice"))),
        *_pairs("about", estimates and f"{estimates} tokens (estimated)", width),
    ]
    return _section("ASKED", rows)


def _routing(detail: Detail, row: TurnRow, width: int) -> list[Line]:
    level = text_of(detail.get("confidence_level"))
    confidence = number_of(detail.get("confidence"))
    sure = f"{level or fmt.UNKNOWN}" + (f" ({confidence:.2f})" if confidence is not None else "")
    reasons = detail.get("reasons")
    offload = "may leave its vendor" if detail.get("offload") is True else "stays with its vendor"
    served = row.model_served
    other = served and row.model_asked and not is_same_model(row.model_asked, served)
    rows = [
        _pair("mode", text_of(detail.get("mode"))),
        _pair("kind", row.kind),
        _pair("route", row.route),
        _pair("confidence", sure if level or confidence is not None else None),
        _pair("offload", offload if "offload" in detail else None),
        _pair("pinned by", text_of(detail.get("pinned_by"))),
        _pair("provider", row.provider),
        _pair("served by", served, "accent" if other else "text"),
    ]
    for index, reason in enumerate(reasons if isinstance(reasons, list) else []):
        rows.extend(_pairs("because" if index == 0 else "", reason, width))
    return _section("WHY HERE", rows)


# -- usage and money -------------------------------------------------------------------------


def _money(detail: Detail, row: TurnRow, width: int) -> list[Line]:
    parts = mapping_of(detail.get("cost_parts"))
    rows: list[Line] = []
    named: set[str] = set()
    for label, counted, priced in _PARTS:
        named.add(priced)
        count, price = count_of(detail.get(counted)), number_of(parts.get(priced))
        if count is not None or price is not None:
            rows.append(_part(label, fmt.tokens(count), price))
    for name, value in parts.items():
        if name not in named:
            rows.append(_part(str(name).replace("_", " "), "", number_of(value)))
    if row.is_open and row.output_estimate and not count_of(detail.get("output_tokens")):
        rows.append(_part("output so far", "~" + fmt.tokens(row.output_estimate), None, ""))
    rows.extend(_total(row, width))
    source = text_of(detail.get("usage_source"))
    if not (row.is_open and source == UsageSource.NONE):
        rows.append(_pair("usage", _SOURCES.get(source or "", source)))
    rows.extend(_pairs("paid by", PAYER_HELP.get(payer_mark(row)) or row.payer or "", width))
    rows.append(_pair("prices", text_of(detail.get("price_version"))))
    rows.extend(_pairs("note", text_of(detail.get("price_note")) or "", width, "warn"))
    return _section("USAGE AND COST", rows)


def _part(label: str, count: str, price: float | None, unknown: str = fmt.UNKNOWN) -> Line:
    amount = unknown if price is None else fmt.money(price)
    if price is None and count == "0":
        amount = fmt.NOTHING
    return line(
        (fmt.fit(label, 16), "muted"),
        (fmt.fit(count, 7, "right"), "text"),
        (fmt.fit(amount, 12, "right"), "text"),
    )


def _total(row: TurnRow, width: int) -> list[Line]:
    if row.cost_usd is None:
        if row.is_open:
            text, role = "not known yet", "muted"
        elif row.is_unpriced:
            text, role = "unknown", "warn"
        else:
            text, role = "not billed", "muted"
        return [line((fmt.fit("cost", 16), "muted"), (fmt.fit(text, 19, "right"), role))]
    amount = fmt.money(row.cost_usd)
    amount = fmt.estimated(amount) if row.cost_is_estimate else amount
    notes = ["estimate"] if row.cost_is_estimate else []
    notes += ["list price, not billed"] if row.list_price else []
    head = line((fmt.fit("cost", 16), "muted"), (fmt.fit(amount, 19, "right"), "strong"))
    beside_it = wrap(", ".join(notes), max(10, width - 36), "muted")
    first = (*head, (" ", "text"), *beside_it[0]) if beside_it else head
    return [first, *(((" " * 36, "text"), *rest) for rest in beside_it[1:])]


def _limits(detail: Detail, width: int) -> list[Line]:
    rows: list[Line] = []
    for limit in mappings_in(detail.get("rate_limits")):
        name = str(limit.get("name") or "").removeprefix("anthropic-ratelimit-")
        label = f"{limit.get('provider') or ''} {name}".strip()
        rows.extend(wrap(f"{label}: {_left_of(limit)}", width))
    return _section("RATE LIMITS", rows)


def _left_of(limit: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in limit.items() if name not in ("provider", "name")}
    if "remaining" in fields:
        most = f" of {fields.pop('limit')}" if "limit" in fields else ""
        fields = {f"{fields.pop('remaining')}{most}": "left", **fields}
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def _ids(detail: Detail, row: TurnRow, width: int) -> list[Line]:
    upstream = [text_of(a.get("request_id")) for a in mappings_in(detail.get("attempts_detail"))]
    versions = [(n, text_of(detail.get(f"{n}_version"))) for n in ("classifier", "routing")]
    rows = [
        *_pairs("turn", row.id, width),
        *_pairs("upstream", ", ".join(i for i in upstream if i), width),
        _pair("redo of", text_of(detail.get("redo_of"))),
        _pair("path", text_of(detail.get("path"))),
        _pair("stop reason", text_of(detail.get("stop_reason"))),
        _pair("answer", text_of(detail.get("answer_kind"))),
        _pair("tool calls", count_of(detail.get("tool_calls")) or None),
        _pair("delivered", _delivered(detail)),
        _pair("decided by", ", ".join(f"{n} {v}" for n, v in versions if v)),
    ]
    return _section("IDS AND OUTCOME", rows)


def _delivered(detail: Detail) -> str | None:
    delivery = text_of(detail.get("delivery"))
    if delivery is None:
        return None
    return f"{delivery}, {fmt.size(count_of(detail.get('bytes_down')))}"
