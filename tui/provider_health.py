"""What keeps a provider from being tried, in words: breaker, cooldown, pause.

From the fields of ``server.health.Health.as_json`` in an entry of ``snapshot["providers"]``; an
engine that does not send them has nothing to tell here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tui import format as fmt
from tui.columns import Look
from tui.rows import count_of, mapping_of, number_of, text_of

Provider = Mapping[str, Any]

PAUSED = Look("‖", "paused", "warn")
COOLING = Look("◔", "cooling", "warn")

BREAKERS: Mapping[str, Look] = {
    "closed": Look("●", "closed", "good"),
    "open": Look("■", "open", "bad"),
    "half-open": Look("◑", "half-open", "warn"),
}
"""By ``server.breaker.State``."""

BREAKER_HELP: Mapping[str, str] = {
    "closed": "requests go there",
    "open": "it failed too often: nothing is sent until the time is up",
    "half-open": "one request at a time tries whether it is well again",
}

SIGNS: tuple[tuple[Look, str], ...] = (
    (PAUSED, "you paused it: it gets only what nobody else could serve"),
    (COOLING, "it asked for time, for a rate limit or a used-up quota; not a failure"),
    *((Look(look.glyph, f"breaker {look.word}", look.role), BREAKER_HELP[name])
      for name, look in BREAKERS.items() if name != "closed"),
)  # fmt: skip
"""The signs that stand in the place of a provider's state, for the help."""


def is_paused(provider: Provider) -> bool:
    """Whether the user paused it."""
    return provider.get("paused") is True


def held_look(provider: Provider) -> Look | None:
    """What keeps it from being tried, as the table shows it; ``None`` when nothing does."""
    if is_paused(provider):
        return PAUSED
    breaker = text_of(provider.get("breaker"))
    if breaker is not None and breaker in BREAKERS and breaker != "closed":
        look, left = BREAKERS[breaker], number_of(provider.get("retry_in_s"))
        word = f"{look.word} {fmt.age(left)}" if left and breaker == "open" else look.word
        return Look(look.glyph, word, look.role)
    if (left := cooldown_left(provider)) is not None:
        return Look(COOLING.glyph, f"{COOLING.word} {fmt.age(left)}", COOLING.role)
    return None


def cooldown_left(provider: Provider) -> float | None:
    """Seconds that a cooldown still lasts, ``None`` without one."""
    left = number_of(mapping_of(provider.get("cooldown")).get("left_s"))
    return left if left is not None and left > 0 else None


def breaker_text(provider: Provider) -> tuple[str, str] | None:
    """The breaker in a line: state, failures in a row, when it is tried again; and its role."""
    state = text_of(provider.get("breaker"))
    if state is None:
        return None
    look = BREAKERS.get(state) or Look("?", fmt.neutralise(state, 20), "warn")
    parts = [f"{look.glyph} {look.word}"]
    if failures := count_of(provider.get("failures")):
        parts.append(f"{fmt.plural(failures, 'failure')} in a row")
    left = number_of(provider.get("retry_in_s"))
    if state == "open" and left:
        parts.append(f"tried again in {fmt.age(left)}")
    models = provider.get("open_models")
    names = [t for m in (models if isinstance(models, list) else []) if (t := text_of(m))]
    if names:
        shown = ", ".join(fmt.neutralise(name, 40) for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        parts.append(f"for {shown}{more}")
    return ", ".join(parts), look.role


def breaker_error(provider: Provider) -> str | None:
    """What the breaker saw last, where it says more than the last error does."""
    error = text_of(provider.get("breaker_error"))
    return None if error == provider.get("last_error") else error


def cooldown_text(provider: Provider) -> str | None:
    """Why and how long it is left alone, ``None`` when it is not."""
    left = cooldown_left(provider)
    if left is None:
        return None
    cause = text_of(mapping_of(provider.get("cooldown")).get("cause")) or "it asked for time"
    return f"{COOLING.glyph} {fmt.neutralise(cause, 60)}, for {fmt.age(left)} more"


def probe_text(provider: Provider) -> tuple[str, str] | None:
    """What the last probe found, and its role; ``None`` when it was not probed in this run."""
    probe = mapping_of(provider.get("probe"))
    message = text_of(probe.get("message"))
    if message is None:
        return None
    is_good = probe.get("ok") is True
    latency = number_of(probe.get("latency_s"))
    took = f" in {fmt.duration(latency)}" if latency is not None else ""
    at = number_of(probe.get("at"))
    when = f"{fmt.wall_clock(at)}  " if at is not None else ""
    glyph = "●" if is_good else "▲"
    return f"{when}{glyph} {fmt.neutralise(message, 300)}{took}", "good" if is_good else "warn"
