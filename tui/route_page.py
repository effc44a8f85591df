"""What may go where, as lines: classes, kinds and baselines from ``snapshot["routing"]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tui import format as fmt
from tui import saving_text
from tui.lines import EMPTY, Line, Span, clip, join, line, width_of, wrap
from tui.mode_text import background, effective_mode, has_own_mode, mode_words
from tui.provider_page import key_env, key_state
from tui.rows import count_of, mapping_of, text_of
from tui.sums import Saved, Savings

Providers = Mapping[str, Mapping[str, Any]]

CLASSES: Mapping[str, str] = {
    "tool_loop": "steps of a running tool loop",
    "long_context": "more than 12,000 tokens of messages",
    "planning": "questions about how to do something",
    "code_draft": "self-contained requests to write code",
    "summary": "summaries, explanations, titles",
    "fallback_safe": "everything that fits no other class",
}
"""The classes in their order, with what each is."""

CLIENTS: Mapping[str, str] = {
    "messages": "Anthropic Messages, as Claude Code speaks it",
    "responses": "OpenAI Responses, as Codex speaks it",
    "chat": "OpenAI Chat Completions",
}

BASELINE = "baseline"
_NAME = 15
_LABEL = 13
_MODE = 8
_MOST_KINDS = 40

WIDE_FROM = 110
"""From this width on the list also shows modes and where each value was set."""


def route_names(routing: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Classes, and kinds that have a list of their own or were seen, most turns first."""
    routes, kinds = mapping_of(routing.get("routes")), mapping_of(routing.get("kinds"))
    hits = mapping_of(routing.get("kind_hits"))
    known = [name for name in CLASSES if name in routes]
    classes = [*known, *(str(name) for name in routes if name not in CLASSES)]
    named = dict.fromkeys((*map(str, kinds), *map(str, hits)))
    order = sorted(named, key=lambda kind: (kind not in kinds, -(count_of(hits.get(kind)) or 0)))
    return classes, order[:_MOST_KINDS]


def entries_of(routing: Mapping[str, Any], name: str) -> list[str] | None:
    """The preference list of a class or kind, ``None`` when a kind follows its class."""
    for table in ("routes", "kinds"):
        found = mapping_of(routing.get(table))
        if name in found:
            return _texts(found[name])
    return None


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list | tuple) else []
    return [text for item in items if (text := text_of(item)) is not None]


def baseline_of(routing: Mapping[str, Any], provider: str) -> list[str]:
    """The client protocols whose baseline names a provider."""
    found = mapping_of(routing.get("baseline"))
    return [
        str(name)
        for name, entries in found.items()
        if any(entry.partition("/")[0] == provider for entry in _texts(entries))
    ]


def is_unsaved(routing: Mapping[str, Any], key: str) -> bool:
    """Whether a value holds only until the gateway stops."""
    return any(key == name or key.startswith(f"{name}.") for name in _texts(routing.get("unsaved")))


# -- above the list --------------------------------------------------------------------------


def top(routing: Mapping[str, Any], shadow: bool | None, width: int) -> list[Line]:
    """What holds for all routes at once."""
    if not routing:
        return [line(("  Waiting for the gateway ...", "muted"))]
    if shadow is False:
        said = f"Live: what has a mode of its own moves, and {background()}."
    else:
        said = "Shadow: nothing moves. This is what live mode would do."
    leave = routing.get("cross_vendor_failover") is True
    fail = "A failing vendor's work goes to the next vendor." if leave else ""
    badge = line((" UNSAVED ", "warn-badge")) if _texts(routing.get("unsaved")) else EMPTY
    lines = [clip((*line("  "), *join([badge, line((said, "text"))], " ")), width)]
    if fail:
        lines.append(clip(line((f"  {fail}", "warn")), width))
    return lines


def _columns(name: str, saved: str, width: int) -> Line:
    room = _room(width)
    text = f" {fmt.fit(name, _NAME)} {fmt.fit('GOES TO, BEST FIRST', room)} "
    text += f"{'TURNS':>6} {saved:>10} "
    if width >= WIDE_FROM:
        text += f" {fmt.fit('MODE', _MODE)} SET IN"
    return line((text, "title"))


def _room(width: int) -> int:
    if width >= WIDE_FROM:
        return max(10, min(64, width - _NAME - 22 - _MODE - 24))
    return max(10, width - _NAME - 22)


# -- the list --------------------------------------------------------------------------------


def listed(
    routing: Mapping[str, Any],
    savings: Savings,
    providers: Providers,
    width: int,
    *,
    shadow: bool | None,
) -> list[tuple[str | None, Line]]:
    """Classes and kinds as entries, the baselines as headings that cannot be chosen."""
    if not routing:
        return []
    classes, kinds = route_names(routing)
    is_real = shadow is False
    sums: dict[str, Saved] = {**savings.by_kind, **savings.by_route}
    rows: list[tuple[str | None, Line]] = [(None, _heading("CLASSES", is_real, width))]
    rows.extend((n, _row(routing, n, "hits", sums, providers, width, is_real)) for n in classes)
    if kinds:
        rows.append((None, line(("", "text"))))
        rows.append((None, _heading("KINDS", is_real, width)))
        rows.extend(
            (n, _row(routing, n, "kind_hits", sums, providers, width, is_real)) for n in kinds
        )
    rows.append((None, line(("", "text"))))
    rows.append((None, line((" BASELINE, by what the client speaks", "title"))))
    for name, value in mapping_of(routing.get("baseline")).items():
        goes = _chain(_texts(value), providers, max(10, width - _NAME - 4))
        rows.append((None, (("  " + fmt.fit(str(name), _NAME), "muted"), *goes)))
    return [(name, clip(spans, width)) for name, spans in rows]


def _heading(name: str, is_real: bool, width: int) -> Line:
    saved = "SAVED" if is_real else "WOULD SAVE"
    return _columns(name, saved, width)


def _row(
    routing: Mapping[str, Any],
    name: str,
    hits: str,
    sums: Mapping[str, Saved],
    providers: Providers,
    width: int,
    is_real: bool,
) -> Line:
    entries = entries_of(routing, name)
    room = _room(width)
    goes: Line = line(("as its class", "muted"))
    if entries is not None:
        goes = _chain(entries, providers, room)
    turns = count_of(mapping_of(routing.get(hits)).get(name)) or 0
    saved = sums.get(name)
    net: Span = (fmt.NOTHING, "muted")
    if saved is not None and saved.turns:
        role = saving_text.gain_role(saved.usd, is_real=is_real)
        net = (saving_text.gain_total(saved.usd), role) if saved.priced else (fmt.UNKNOWN, "warn")
    mark = "*" if is_unsaved(routing, _key(routing, name)) else " "
    return (
        (f" {fmt.fit(name, _NAME)}", "text"),
        (mark, "warn"),
        *goes,
        (" " * max(0, room - width_of(goes)) + " ", "text"),
        (f"{turns:>6} ", "text" if turns else "muted"),
        (fmt.fit(net[0], 10, "right") + " ", net[1]),
        *_origin(routing, name, width),
    )


def _origin(routing: Mapping[str, Any], name: str, width: int) -> Line:
    """The mode and where the list was set, on a screen that has room for them."""
    if width < WIDE_FROM:
        return EMPTY
    is_set = entries_of(routing, name) is not None
    whole = _source(routing, name, is_set)
    source = fmt.neutralise(whole.replace("\\", "/").rpartition("/")[2] or whole, 40)
    mode = fmt.fit(effective_mode(routing, name), _MODE)
    role = "text" if has_own_mode(routing, name) else "muted"
    return line((f" {mode} ", role), (source if is_set else fmt.NOTHING, "muted"))


def _chain(entries: Sequence[str], providers: Providers, width: int) -> Line:
    """``groq → cerebras → baseline``; what has no key is marked and drawn quietly."""
    spans: list[Span] = []
    for index, entry in enumerate(entries):
        if index:
            spans.append((" → ", "muted"))
        spans.extend(_entry(entry, providers))
    return clip(tuple(spans), width) if spans else line(("nothing", "warn"))


def _entry(entry: str, providers: Providers) -> list[Span]:
    name = entry.partition("/")[0]
    shown = fmt.neutralise(entry, 60)
    if entry == BASELINE:
        return [(shown, "text")]
    if name not in providers:
        return [(shown, "muted"), (" ?", "warn")]
    if key_state(providers[name])[0] == "missing":
        return [(shown, "muted"), (" ⊘", "warn")]
    return [(shown, "strong")]


def _key(routing: Mapping[str, Any], name: str) -> str:
    table = "kinds" if name in mapping_of(routing.get("kinds")) else "routes"
    return f"routing.{table}.{name}"


# -- one class or kind -----------------------------------------------------------------------


def detail(
    routing: Mapping[str, Any],
    savings: Savings,
    providers: Providers,
    name: str,
    width: int,
    *,
    shadow: bool | None,
) -> list[Line]:
    """Everything known about one class or kind."""
    is_class = name in mapping_of(routing.get("routes"))
    entries = entries_of(routing, name)
    what = CLASSES.get(name, "a class" if is_class else "a kind of request; wins over its class")
    badge = line((" UNSAVED ", "warn-badge")) if is_unsaved(routing, _key(routing, name)) else EMPTY
    title = join([line((f" {fmt.neutralise(name, 40)}", "strong"), (f"  {what}", "muted")), badge])
    lines = [clip(title, width), EMPTY]
    if entries is None:
        lines.extend(_pair("goes to", "where its class sends it", width))
    for index, entry in enumerate(entries or []):
        lines.extend(_choice(index, entry, routing, providers, width))
    lines.extend(_pair("mode", mode_words(routing, name, shadow), width))
    table = savings.by_route if is_class else savings.by_kind
    hits = mapping_of(routing.get("hits" if is_class else "kind_hits"))
    lines.extend(_pair("turns", _turns(count_of(hits.get(name)) or 0, table.get(name)), width))
    if (saved := table.get(name)) is not None and saved.priced:
        lines.extend(_projected(saved, width, shadow=shadow))
    return [
        *lines,
        *_pair("set in", _source(routing, name, is_class or entries is not None), width),
    ]


def _choice(
    index: int, entry: str, routing: Mapping[str, Any], providers: Providers, width: int
) -> list[Line]:
    provider = entry.partition("/")[0]
    env = key_env(provider, providers.get(provider, {}))
    if entry == BASELINE:
        named = {" then ".join(_texts(v)) for v in mapping_of(routing.get("baseline")).values()}
        state, role = ("where the client meant it to go", "muted") if named else ("", "muted")
    elif provider not in providers:
        state, role = "not configured", "warn"
    elif key_state(providers[provider])[0] == "missing":
        state, role = f"⊘ {fmt.neutralise(env, 40) or 'its key'} is not set", "warn"
    else:
        state, role = "● has a key", "good"
    label = "goes to" if index == 0 else ""
    head = f" {fmt.fit(label, _LABEL)}{index + 1} {fmt.neutralise(entry, 44)}"
    return [clip(line((head + "  ", "text"), (state, role)), width)]


def _turns(hits: int, saved: Saved | None) -> str:
    moved = saved.turns if saved is not None else 0
    text = f"{hits:,} on record, {moved:,} of them could move"
    if saved is not None and saved.needs_key:
        text += f", {saved.needs_key:,} more with a key"
    if saved is not None and saved.unpriced:
        text += f", {saved.unpriced:,} without a known price"
    return text


def _projected(saved: Saved, width: int, *, shadow: bool | None) -> list[Line]:
    words = saving_text.headline(saved, shadow)
    reach = saving_text.between(saved.low_usd, saved.high_usd)
    role = saving_text.gain_role(saved.usd, is_real=shadow is False)
    text = f"{fmt.total(abs(saved.usd))} net" + (f", from {reach}" if reach else "")
    if saved.losses:
        text += f"; {fmt.plural(saved.losses, 'turn')} at a loss of {fmt.total(-saved.losses_usd)}"
    label = words.removeprefix("would have ") if shadow is False else "would have"
    verb = "" if shadow is False else words.removeprefix("would have ") + " "
    return _pair(label, verb + text, width, role)


def _source(routing: Mapping[str, Any], name: str, is_set: bool) -> str:
    key = _key(routing, name)
    if not is_set:
        return "nowhere: it follows its class"
    sources = mapping_of(routing.get("sources"))
    prefixes = (key, key.rpartition(".")[0], "routing")
    source = next((found for p in prefixes if (found := text_of(sources.get(p)))), "default")
    kept = "; holds until the gateway stops" if is_unsaved(routing, key) else ""
    return f"{source}{kept}"


def _pair(label: str, value: str, width: int, role: str = "text") -> list[Line]:
    head = (f" {fmt.fit(label, _LABEL)}", "muted")
    rest = (" " * (_LABEL + 1), "text")
    found = wrap(value[:500], max(10, width - _LABEL - 2), role)
    return [((head if index == 0 else rest), *text) for index, text in enumerate(found)]
