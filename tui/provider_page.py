"""The providers as a table, and one of them in full, as lines; from ``snapshot["providers"]``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from providers.profiles import profiles
from tui import format as fmt
from tui import provider_health as health
from tui.columns import Look
from tui.format import Align
from tui.lines import EMPTY, Line, Span, line, wrap
from tui.rows import count_of, mapping_of, number_of, text_of

Provider = Mapping[str, Any]

LOOKS: Mapping[str, Look] = {
    "ok": Look("●", "ok", "good"),
    "failing": Look("✕", "failing", "bad"),
    "offline": Look("◌", "offline", "warn"),
    "unused": Look("–", "unused", "muted"),
    "needs_key": Look("⊘", "no key", "warn"),
}
STATE_HELP: Mapping[str, str] = {
    "ok": "its last answer was a good one",
    "failing": "its last attempt failed; refusals of a request (4xx) do not count",
    "offline": "this machine has no way to it; says nothing about the provider",
    "unused": "nothing was sent to it since the gateway started",
    "needs_key": "it has no credential, so nothing can be sent to it",
}

_UNKNOWN = "unknown"
_LABEL = 13
_GAUGE = 20
_LOW = 0.15
"""Below this part of a rate-limit window the gauge is a warning."""


def look_of(provider: Provider) -> Look:
    """Glyph, word and role of a provider's state."""
    status = text_of(provider.get("status")) or _UNKNOWN
    return LOOKS.get(status) or Look("?", fmt.neutralise(status, 11), "warn")


def look_now(provider: Provider) -> Look:
    """What keeps it from being tried, else the state its last answer left it in."""
    return health.held_look(provider) or look_of(provider)


def key_env(name: str, provider: Provider) -> str | None:
    """The variable that holds a provider's key, ``None`` when it is not known."""
    named = text_of(provider.get("key_env"))
    if named is not None:
        return named
    profile = profiles().get(name)
    return profile.api_key_env if profile is not None else None


def key_state(provider: Provider) -> tuple[str, str]:
    """Whose credential it is called with, in a word, and the role."""
    credential = text_of(provider.get("credential"))
    if provider.get("status") == "needs_key" or provider.get("configured") is False:
        return "missing", "warn"
    if credential == "the client's":
        return "client's", "text"
    return ("none", "muted") if credential in (None, "none") else ("set", "good")


# -- the table -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    from_width: int
    """The screen width from which it is shown."""
    align: Align = "left"


_COLUMNS: tuple[tuple[str, _Column], ...] = (
    ("state", _Column("STATE", 13, 0)),
    ("name", _Column("PROVIDER", 12, 0)),
    ("key", _Column("KEY", 8, 0)),
    ("requests", _Column("REQ", 6, 0, "right")),
    ("errors", _Column("ERR", 5, 0, "right")),
    ("p50", _Column("P50", 5, 72, "right")),
    ("p95", _Column("P95", 5, 56, "right")),
    ("limit", _Column("LIMIT LEFT", 14, 80)),
    ("error", _Column("LAST ERROR", 20, 100)),
)


def titles(width: int) -> Line:
    """The line of column titles."""
    spans: list[Span] = [("  ", "title")]
    for _, column in _shown(width):
        spans.append((fmt.fit(column.title, column.width, column.align) + " ", "title"))
    return tuple(spans)


def row(name: str, provider: Provider, width: int) -> Line:
    """One provider as a line, without the mark of the chosen one."""
    spans: list[Span] = [(" ", "text")]
    for cell, column in _shown(width):
        if cell == "limit":
            spans.extend((*_least_left(provider, column.width), (" ", "text")))
            continue
        text, role = _cell(cell, name, provider)
        spans.append((fmt.fit(text, column.width, column.align) + " ", role))
    return tuple(spans)


def _shown(width: int) -> Iterable[tuple[str, _Column]]:
    shown = [(name, column) for name, column in _COLUMNS if width >= column.from_width]
    room = width - 3 - sum(column.width + 1 for _, column in shown)
    for name, column in shown:
        grown = column.width + max(0, room) if name == "error" else column.width
        yield name, _Column(column.title, grown, column.from_width, column.align)


def _cell(cell: str, name: str, provider: Provider) -> Span:
    match cell:
        case "state":
            look = look_now(provider)
            return f"{look.glyph} {look.word}", look.role
        case "name":
            return name, "strong"
        case "key":
            return key_state(provider)
        case "requests":
            count = count_of(provider.get("requests"))
            return _short(count), "text" if count else "muted"
        case "errors":
            count = count_of(provider.get("errors"))
            return _short(count), "warn" if count else "muted"
        case "p50" | "p95":
            seconds = number_of(provider.get(f"ttft_{cell}_s"))
            return (fmt.NOTHING, "muted") if seconds is None else (fmt.duration(seconds), "text")
        case _:
            error = text_of(provider.get("last_error"))
            return error or fmt.NOTHING, "muted"


def _short(count: int | None) -> str:
    return fmt.NOTHING if count is None else fmt.tokens(count)


# -- rate limits -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """One rate-limit window; ``left`` is the part that is left, 0 to 1, ``None`` unknown."""

    name: str
    left: float | None
    text: str


def windows(provider: Provider) -> list[Window]:
    """Every window a provider reported, as its headers named them."""
    found: list[Window] = []
    for name, fields in mapping_of(provider.get("rate_limits")).items():
        found.append(_window(str(name), mapping_of(fields)))
    return found


def _window(name: str, fields: Mapping[str, Any]) -> Window:
    name = name.removeprefix("anthropic-ratelimit-").removeprefix("x-ratelimit-")
    limit, remaining = _figure(fields.get("limit")), _figure(fields.get("remaining"))
    used = _figure(fields.get("utilization"))
    left: float | None = None
    parts: list[str] = []
    if limit is not None and remaining is not None and limit > 0:
        left = min(1.0, max(0.0, remaining / limit))
        parts.append(f"{_amount(remaining)} of {_amount(limit)} left")
    elif used is not None:
        left = min(1.0, max(0.0, 1 - used))
        parts.append(f"{left:.0%} left")
    else:
        known = ("limit", "remaining", "status")
        parts.extend(f"{key} {fields[key]}" for key in known if key in fields)
    if (reset := fields.get("reset")) is not None:
        parts.append(f"resets {_reset(reset)}")
    return Window(name, left, ", ".join(parts) or "reported without figures")


def _figure(value: object) -> float | None:
    """A number that a header may have written as text."""
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return number_of(value)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value < 1e15 else fmt.UNKNOWN


def _reset(value: object) -> str:
    """When a window opens again, local ``HH:MM``; what is not understood is shown as it came."""
    seconds = _figure(value)
    if seconds is not None:
        return fmt.wall_clock(seconds) if seconds > 1e9 else f"in {fmt.duration(seconds)}"
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return value[:40]
        return fmt.wall_clock((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    return fmt.UNKNOWN


def gauge(left: float, cells: int) -> Line:
    """What is left of a window as a bar; at least one cell as long as anything is left."""
    full = max(1 if left > 0 else 0, min(cells, round(left * cells)))
    role = "bad" if left <= 0 else "warn" if left < _LOW else "accent"
    return line(("█" * full, role), ("░" * (cells - full), "muted"))


def _least_left(provider: Provider, width: int) -> Line:
    known = [window.left for window in windows(provider) if window.left is not None]
    if not known:
        return line((fmt.fit(fmt.NOTHING, width), "muted"))
    left = min(known)
    return (*gauge(left, width - 5), (fmt.fit(f"{left:.0%}", 5, "right"), "text"))


# -- one provider ----------------------------------------------------------------------------


def detail(name: str, provider: Provider, width: int) -> list[Line]:
    """Everything known about one provider."""
    look = look_now(provider)
    profile = profiles().get(name)
    since = number_of(provider.get("since"))
    title = f"  {profile.title}" if profile is not None else ""
    is_held = health.held_look(provider) is not None
    when = f" since {fmt.wall_clock(since)}" if since is not None and not is_held else ""
    lines = [
        line(
            (f" {fmt.neutralise(name, 40)}", "strong"),
            (title, "muted"),
            (f"  {look.glyph} {look.word}{when}", look.role),
        ),
        EMPTY,
        *_pair("address", text_of(provider.get("base_url")), width),
        *_pair("speaks", text_of(provider.get("protocol")), width),
        *_key(name, provider, width),
        *_held(provider, width),
        *_pair("requests", _counts(provider), width),
        *_pair("under way", _under_way(provider), width),
        *_pair("first byte", _first_byte(provider), width),
        *_last_error(provider, width),
        *_said("probe", health.probe_text(provider), width),
        *_learned(provider, width),
    ]
    return [*lines, *_limits(provider, width)]


def _pair(label: str, value: str | None, width: int, role: str = "text") -> list[Line]:
    if not value:
        return []
    head = (f" {fmt.fit(label, _LABEL)}", "muted")
    rest = (" " * (_LABEL + 1), "text")
    found = wrap(value[:500], max(10, width - _LABEL - 2), role)
    return [((head if index == 0 else rest), *text) for index, text in enumerate(found)]


def _held(provider: Provider, width: int) -> list[Line]:
    """What keeps it from being tried, and the breaker in any case."""
    paused = f"{health.PAUSED.glyph} you paused it; it gets only what nobody else could serve"
    return [
        *_pair("paused", paused if health.is_paused(provider) else None, width, "warn"),
        *_said("breaker", health.breaker_text(provider), width),
        *_pair("", health.breaker_error(provider), width, "warn"),
        *_pair("cooldown", health.cooldown_text(provider), width, "warn"),
    ]


def _said(label: str, said: tuple[str, str] | None, width: int) -> list[Line]:
    return [] if said is None else _pair(label, said[0], width, said[1])


def _key(name: str, provider: Provider, width: int) -> list[Line]:
    env, (word, _) = key_env(name, provider), key_state(provider)
    variable = fmt.neutralise(env, 60) or "its key"
    match word:
        case "missing":
            text = f"{variable} is not set: export it, or put it into .env in the settings folder"
            return _pair("key", text, width, "warn")
        case "client's":
            return _pair("key", f"each client's own; {variable} is not set", width)
        case "set":
            return _pair("key", f"{variable} is set", width, "good")
        case _:
            return _pair("key", "none", width, "muted")


def _counts(provider: Provider) -> str:
    requests, errors = count_of(provider.get("requests")), count_of(provider.get("errors"))
    if not requests:
        return "none since the gateway started"
    share = f" ({(errors or 0) / requests:.1%})" if errors else ""
    return f"{requests:,}, {fmt.plural(errors or 0, 'error')}{share}"


def _under_way(provider: Provider) -> str | None:
    running, waiting = count_of(provider.get("in_flight")), count_of(provider.get("waiting"))
    if not running and not waiting:
        return None
    return f"{running or 0:,}" + (f", {waiting:,} waiting for a place" if waiting else "")


def _learned(provider: Provider, width: int) -> list[Line]:
    """What its models refused, and are not sent any more."""
    lines: list[Line] = []
    for model, words in mapping_of(provider.get("learned")).items():
        said = ", ".join(str(word) for word in words) if isinstance(words, list) else ""
        label = "" if lines else "learned"
        lines += _pair(label, f"{model} takes {said}" if said else None, width)
    return lines


def _first_byte(provider: Provider) -> str | None:
    p50, p95 = (number_of(provider.get(f"ttft_{p}_s")) for p in ("p50", "p95"))
    if p50 is None and p95 is None:
        return None
    return f"half within {fmt.duration(p50)}, 95 % within {fmt.duration(p95)}"


def _last_error(provider: Provider, width: int) -> list[Line]:
    error, at = text_of(provider.get("last_error")), number_of(provider.get("last_error_at"))
    if error is None:
        return []
    when = f"{fmt.wall_clock(at)}  " if at is not None else ""
    return _pair("last error", f"{when}{error}", width, "warn")


def _limits(provider: Provider, width: int) -> list[Line]:
    lines: list[Line] = []
    label = 16 if width < 70 else 22
    cells = max(6, min(_GAUGE, width - label - 40))
    for window in windows(provider):
        drawn = gauge(window.left, cells) if window.left is not None else line(" " * cells)
        text = fmt.neutralise(window.text, max(8, width - label - cells - 4))
        name = (f" {fmt.fit(window.name, label)} ", "muted")
        lines.append((name, *drawn, (f" {text}", "text")))
    return [EMPTY, line((" RATE LIMITS", "title")), *lines] if lines else []
