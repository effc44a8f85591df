"""Reading a change of the routing table, as ``PUT /routing`` takes it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.settings_keys import join
from server.settings_types import KINDS, ROUTE_CLASSES, nearest

TABLES: Final = ("routes", "kinds", "modes", "baseline")
VALUES: Final = ("cross_vendor_failover",)
_PLACES: Final = {
    "shadow": "shadow is switched with POST /shadow, which asks for no more than that",
    "patience_s": "patience_s is set in the settings file",
}


class BadChange(ValueError):
    """The change cannot be read; ``str()`` says why, in words."""


def read_change(body: Any) -> dict[str, Any]:
    """Dotted keys and their values, ``None`` for the default; raises ``BadChange``.

    ``body`` is any part of ``{"routes": {class: [entry]}, "kinds": {kind: [entry]}, "modes":
    {name: mode}, "baseline": {protocol: [entry]}, "cross_vendor_failover": bool}``. Whether names
    and entries are right is for the settings to say.
    """
    if not isinstance(body, Mapping):
        raise BadChange("the change must be an object")
    changes = dict(_changes(body))
    if not changes:
        known = ", ".join((*TABLES, *VALUES))
        raise BadChange(f"nothing is named to be changed; known are {known}")
    return changes


def _changes(body: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if name in VALUES:
            yield f"routing.{name}", value
        elif name in TABLES:
            yield from _table(name, value)
        elif name in _PLACES:
            raise BadChange(_PLACES[name])
        else:
            hint = nearest(str(name), (*TABLES, *VALUES, "remember"))
            known = ", ".join((*TABLES, *VALUES))
            said = f'"{str(name)[:40]}" is not known here'
            raise BadChange(f"{said} ({hint or 'known are ' + known})")


def _table(table: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise BadChange(f"{table} must be an object")
    for name, entry in value.items():
        yield join(("routing", table, str(name))), entry


def route_change(name: str, entries: list[str]) -> dict[str, Any]:
    """The change of one class's or kind's list; an empty one takes a kind's own away."""
    if name in KINDS and name not in ROUTE_CLASSES:
        return {f"routing.kinds.{name}": entries or None}
    # The settings' own error names the nearest known one.
    return {join(("routing", "routes", name)): entries}
