"""How far a class or kind of request may go once shadow is off, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.policy import LIVE_BY_DEFAULT
from server.settings_types import NEVER_MOVED
from tui import format as fmt
from tui import saving_text
from tui.rows import count_of, mapping_of, text_of
from tui.sums import Saved

MODES: Mapping[str, str] = {
    "observe": "stays with its vendor; what moving would save is still shown",
    "verify": "stays with its vendor; a sample is tried elsewhere and compared",
    "canary": "a share of it moves",
    "live": "moves",
}

CYCLE = ("observe", "verify", "canary", "live")
"""The modes one goes through with a key."""

_KIND_WORDS: Mapping[str, str] = {
    "title": "titles", "rename": "renames", "recap": "recaps", "web_digest": "web-page digests",
}  # fmt: skip


def mode_of(routing: Mapping[str, Any], name: str) -> str:
    """What a class or kind does once shadow is off."""
    modes = mapping_of(routing.get("modes"))
    return text_of(modes.get(name)) or text_of(modes.get("default")) or "live"


def has_own_mode(routing: Mapping[str, Any], name: str) -> bool:
    """Whether the settings name a mode for this very class or kind."""
    return text_of(mapping_of(routing.get("modes")).get(name)) is not None


def effective_mode(routing: Mapping[str, Any], name: str) -> str:
    """What it really does: a ``live`` that no setting gives it by name moves background calls
    only, and some kinds never move."""
    mode = mode_of(routing, name)
    if name in NEVER_MOVED:
        return "never"
    if mode != "live" or name in LIVE_BY_DEFAULT or has_own_mode(routing, name):
        return mode
    return "live" if _stays_with_vendor(routing, name) else "observe"


def _stays_with_vendor(routing: Mapping[str, Any], kind: str) -> bool:
    """Whether a kind's own list begins with another model of a vendor that is a baseline."""
    entries = mapping_of(routing.get("kinds")).get(kind)
    first = entries[0] if isinstance(entries, list) and entries else None
    provider, _, model = (text_of(first) or "").partition("/")
    homes = mapping_of(routing.get("baseline")).values()
    return bool(model) and any(provider in home for home in homes if isinstance(home, list))


def mode_words(routing: Mapping[str, Any], name: str, shadow: bool | None) -> str:
    """What its mode means and when, and where it comes from when it is not its own."""
    found = effective_mode(routing, name)
    if found == "never":
        return "never: requests of this kind stay with their vendor and model, whatever is set"
    when = "now" if shadow is False else "once shadow is off"
    said = f"{found}, {when}: {MODES.get(found, 'not known here')}"
    if has_own_mode(routing, name):
        return said
    if found == "live":
        why = "background work that nobody waits for"
        why = why if name in LIVE_BY_DEFAULT else "another model of the same vendor"
        return f"{said}; by default, as {why}"
    if mode_of(routing, name) == "live":
        return f"{said}; by default only {background()} move, anything else once it is told to"
    return f"{said}; by default"


def background() -> str:
    """The kinds that move by default, in words."""
    words = sorted(_KIND_WORDS.get(kind, kind.replace("_", " ")) for kind in LIVE_BY_DEFAULT)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def next_mode(routing: Mapping[str, Any], name: str) -> str | None:
    """The mode after its present one, ``None`` for a kind that never moves."""
    found = effective_mode(routing, name)
    if found == "never":
        return None
    return CYCLE[(CYCLE.index(found) + 1) % len(CYCLE)] if found in CYCLE else "canary"


def mode_question(
    routing: Mapping[str, Any],
    name: str,
    wanted: str,
    entries: Sequence[str],
    saved: Saved | None,
    shadow: bool | None,
) -> str:
    """What another mode would do, for the question before it is set."""
    goes = ", ".join(fmt.neutralise(entry, 60) for entry in entries)
    parts = [f"{wanted}: {name} {MODES[wanted]}."]
    if wanted == "canary":
        share = count_of(mapping_of(routing.get("modes")).get("canary_percent"))
        part = "a share" if share is None else f"{share} %"
        parts = [f"canary: {part} of {name} moves, the rest stays."]
    if wanted == "verify":
        whom = goes or "where its class goes"
        parts.append(f"Once you consent (sbgw-tui verify on), the text of a sample goes to {whom}.")
    elif wanted != "observe":
        parts.append(f"It goes to {goes}." if goes else "It goes where its class goes.")
        parts.append("The text of those turns leaves for that company.")
    if saved is not None and saved.priced:
        net = saving_text.gain_total(saved.usd)
        parts.append(f"{fmt.plural(saved.turns, 'turn')} on record would net {net}.")
    if shadow is not False and wanted != "verify":
        parts.append("It counts once shadow is off.")
    return " ".join(parts)
