"""An outage of a provider as lines."""

from __future__ import annotations

from tui import format as fmt
from tui.incidents import Incident, Toll
from tui.lines import EMPTY, Line, line, wrap

_LABEL = 13


def card(incident: Incident, found: Toll, width: int) -> list[Line]:
    """The outage in a few lines."""
    is_over = incident.until is not None
    title = "LAST OUTAGE" if is_over else "OUT NOW"
    if incident.until is None:
        span = f"since {fmt.wall_clock(incident.since)}"
    else:
        lasted = fmt.duration(incident.until - incident.since)
        span = f"{fmt.wall_clock(incident.since)} to {fmt.wall_clock(incident.until)} ({lasted})"
    rows = [
        ("when", f"◇ {span}" if is_over else f"✕ {span}", "text" if is_over else "bad"),
        ("cause", fmt.neutralise(incident.cause, 300), "text"),
        ("turns", _touched(found), "text"),
        ("recovered", _recovered(found), "bad" if found.failed else "good"),
        ("cost", _cost(found), "text"),
    ]
    lines: list[Line] = [EMPTY, line((f" {title}", "title"))]
    for label, text, role in rows:
        head = (f" {fmt.fit(label, _LABEL)}", "muted")
        rest = (" " * (_LABEL + 1), "text")
        wrapped = wrap(text, max(10, width - _LABEL - 2), role) if text else []
        lines.extend(((head if at == 0 else rest), *spans) for at, spans in enumerate(wrapped))
    return lines


def _touched(found: Toll) -> str:
    if not found.turns:
        return "none of those in the list was touched"
    sessions = f" of {fmt.plural(found.sessions, 'session')}" if found.sessions else ""
    return f"{fmt.plural(found.turns, 'turn')}{sessions} met it"


def _cost(found: Toll) -> str:
    if not found.turns:
        return ""
    paid = f", {fmt.total(found.elsewhere_usd)} of it elsewhere" if found.elsewhere else ""
    unknown = f"; {fmt.plural(found.unpriced, 'turn')} unpriced" if found.unpriced else ""
    return f"{fmt.total(found.cost_usd)} for those turns{paid}{unknown}"


def _recovered(found: Toll) -> str:
    if not found.turns:
        return ""
    parts = [
        (found.elsewhere, "served by another provider"),
        (found.again, "served here on another try"),
        (found.running, "still running"),
        (found.failed, "ended with an error"),
    ]
    return ", ".join(f"{count} {words}" for count, words in parts if count)
