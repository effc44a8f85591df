"""The routing table as front ends see it, and what another one would do with recent turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.config import RoutingSettings
from server.policy import Plan, Target, routing_version
from server.record import Saving
from server.settings_errors import Origin

Row = Mapping[str, Any]
"""``Turn.summary``."""
Price = Callable[[Row, str, str | None], Saving | None]
"""``(row, provider, model)`` -> what that turn would have saved there."""


class WhatIf(Protocol):
    """``Planner.what_if``."""

    def __call__(
        self,
        routing: RoutingSettings,
        row: Row,
        *,
        stuck_to: Target | None = None,
        is_under_way: bool = False,
    ) -> Plan | None:
        """The plan of a finished turn under ``routing``."""


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


UNSAVED = "changed since the start, not kept"


def as_json(
    table: Mapping[str, Any],
    unsaved: Iterable[str],
    kept: Mapping[str, str],
    hits: Mapping[str, int],
    kind_hits: Mapping[str, int],
) -> dict[str, Any]:
    """``snapshot["routing"]``, the body of ``GET /routing``; see ``server.engine``.

    ``kept`` says where keys were written since the start, and wins over where they were read.
    """
    changed = sorted(unsaved)
    sources = table["sources"] | dict(kept) | dict.fromkeys(changed, UNSAVED)
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


Agent = tuple[str, str]


@dataclass(slots=True)
class _First:
    """What became of a sub-agent's first step."""

    stuck_to: Target | None
    row: Row


def effect(
    routing: RoutingSettings,
    rows: Sequence[Row],
    what_if: WhatIf,
    price: Price,
    name: str | None = None,
) -> Effect:
    """Plan finished turns anew as if ``routing`` were live; pure but for ``price``.

    ``rows`` may come in any order. ``name`` is a class or a kind: only turns of it count, and the
    later steps of sub-agents that began with one of them.
    """
    found = Effect()
    for _ in steps(found, routing, rows, what_if, price, name):
        pass
    return found


def steps(
    found: Effect,
    routing: RoutingSettings,
    rows: Sequence[Row],
    what_if: WhatIf,
    price: Price,
    name: str | None = None,
) -> Iterator[None]:
    """``effect`` one turn at a time, for callers that have others to serve in between."""
    live = routing.model_copy(update={"shadow": False})
    begun: dict[Agent, _First] = {}
    for row in sorted(rows, key=lambda row: float(row["at"])):
        if row["status"] in ("open", "rejected"):
            continue
        _add(found, live, row, begun, what_if, price, name)
        yield


def _add(
    found: Effect,
    live: RoutingSettings,
    row: Row,
    begun: dict[Agent, _First],
    what_if: WhatIf,
    price: Price,
    name: str | None,
) -> None:
    agent = (str(row.get("session") or ""), str(row["agent"])) if row.get("agent") else None
    first = begun.get(agent) if agent else None
    stuck_to = first.stuck_to if first else None
    made = what_if(live, row, stuck_to=stuck_to, is_under_way=first is not None)
    if agent and first is None:
        begun[agent] = first = _First(_sticks_to(made), row)
    counted_as = [row["route"], row["kind"]]
    if first is not None and first.stuck_to is not None:
        counted_as += [first.row["route"], first.row["kind"]]
    if name is not None and name not in counted_as:
        return
    found.turns += 1
    proposal = made.proposal if made else None
    if proposal is None:
        found.stays += 1
        return
    key = (
        str(row["kind"]),
        str(row["route"]),
        proposal.provider,
        proposal.model or "",
        proposal.state,
    )
    move = found.moves.setdefault(key, _Move())
    move.add(row, price(row, proposal.provider, proposal.model))


def _sticks_to(made: Plan | None) -> Target | None:
    """The cheaper model of the same vendor that a sub-agent would keep, as when it is live."""
    if made is None or len(made.targets) < 2:
        return None
    target, base = made.targets[0], made.targets[-1]
    return target if target.provider == base.provider else None
