"""The routing table as front ends see it, and what another one would do with recent turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.config import RoutingSettings
from server.policy import Plan, routing_version
from server.record import Saving
from server.settings_errors import Origin

WhatIf = Callable[[RoutingSettings, Mapping[str, Any]], Plan | None]
Price = Callable[[Mapping[str, Any], str, str | None], Saving | None]
"""``(summary, provider, model)`` -> what that turn would have saved there."""


def table_json(routing: RoutingSettings, provenance: Mapping[str, Origin]) -> dict[str, Any]:
    """The part of ``GET /routing`` that only a change of the table changes."""
    content = routing.model_dump(mode="json")
    names = ("shadow", "cross_vendor_failover", "routes", "kinds", "modes", "baseline")
    sources = {key: str(origin) for key, origin in provenance.items() if key.startswith("routing.")}
    return {
        **{name: content[name] for name in names},
        "sources": sources,
        "version": routing_version(routing),
    }


def as_json(
    table: Mapping[str, Any],
    unsaved: Iterable[str],
    hits: Mapping[str, int],
    kind_hits: Mapping[str, int],
) -> dict[str, Any]:
    """``snapshot["routing"]``, the body of ``GET /routing``; see ``server.engine``."""
    changed = sorted(unsaved)
    sources = table["sources"] | dict.fromkeys(changed, "changed since the start, not kept")
    return dict(table) | {
        "sources": sources,
        "unsaved": changed,
        "hits": dict(hits),
        "kind_hits": dict(kind_hits),
    }


_PROMPT_PARTS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


@dataclass(slots=True)
class _Move:
    turns: int = 0
    input_tokens: int = 0
    usd: float = 0.0
    low_usd: float = 0.0
    high_usd: float = 0.0
    unpriced: int = 0

    def add(self, row: Mapping[str, Any], saving: Saving | None) -> None:
        self.turns += 1
        self.input_tokens += sum(row.get(part) or 0 for part in _PROMPT_PARTS)
        if saving is None or saving.usd is None:
            self.unpriced += 1
            return
        self.usd += saving.usd
        self.low_usd += saving.usd if saving.low_usd is None else saving.low_usd
        self.high_usd += saving.usd if saving.high_usd is None else saving.high_usd


@dataclass(slots=True)
class Effect:
    """What a routing table would have done with a number of turns."""

    turns: int = 0
    stays: int = 0
    moves: dict[tuple[str, str, str, str, str], _Move] = field(default_factory=dict)
    """By kind, route, provider, model and state."""

    def as_json(self) -> dict[str, Any]:
        """``{"turns", "stays", "moves": [...]}``, the move with most turns first."""
        rows = [
            {
                "kind": kind,
                "route": route,
                "provider": provider,
                "model": model,
                "state": state,
                **{name: getattr(move, name) for name in _Move.__slots__},
            }
            for (kind, route, provider, model, state), move in self.moves.items()
        ]
        rows.sort(key=lambda row: (-int(row["turns"]), str(row["kind"])))
        return {"turns": self.turns, "stays": self.stays, "moves": rows}


def effect(
    routing: RoutingSettings, rows: Iterable[Mapping[str, Any]], what_if: WhatIf, price: Price
) -> Effect:
    """Plan finished turns anew as if ``routing`` were live; pure but for ``price``."""
    live = routing.model_copy(update={"shadow": False})
    found = Effect()
    for row in rows:
        if row["status"] in ("open", "rejected"):
            continue
        found.turns += 1
        made = what_if(live, row)
        proposal = made.proposal if made else None
        if proposal is None:
            found.stays += 1
            continue
        key = (
            str(row["kind"]),
            str(row["route"]),
            proposal.provider,
            proposal.model or "",
            proposal.state,
        )
        move = found.moves.setdefault(key, _Move())
        move.add(row, price(row, proposal.provider, proposal.model))
    return found
