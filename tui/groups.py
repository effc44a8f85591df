"""Turns as a tree: projects, their sessions, and the sub-agents of those, with their sums.

The sums come from the record (``server.ledger_groups.session_sums``), so they hold every turn of
the span; until it has answered, from the turns in the list. What is in flight always comes from
the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from providers.traits import traits_of
from tui import sessions
from tui.rows import HOUR_S, TurnRow, amount_of, count_of, mappings_in, number_of, text_of
from tui.sessions import LEAST_SPAN_S, Order

MOST_AGENTS = 8
"""Sub-agents of one session that are shown."""

UNNAMED = "no project named"


class Level(StrEnum):
    """What a node of the tree is."""

    PROJECT = "project"
    SESSION = "session"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Sums:
    """What turns have in common and add up to; USD, times in seconds since the epoch."""

    session: str | None = None
    agent: str | None = None
    project: str | None = None
    client: str | None = None
    payers: frozenset[str] = frozenset()
    turns: int = 0
    """Those that have ended."""
    running: int = 0
    errors: int = 0
    last_at: float = 0.0
    cost_usd: float = 0.0
    list_usd: float = 0.0
    """The part that is a list price nobody is billed for."""
    estimated_usd: float = 0.0
    unpriced: int = 0
    hour_usd: float = 0.0
    """What of it fell in the last hour."""
    hour_since: float | None = None
    cache_until: float | None = None
    """When the prompt cache of the conversation itself runs out."""
    context: int | None = None
    context_limit: int | None = None

    def per_hour(self, now: float) -> float:
        """Dollars an hour; one turn alone is reckoned over a few minutes, and is no firework."""
        if self.hour_since is None:
            return 0.0
        return self.hour_usd / max(LEAST_SPAN_S, now - self.hour_since) * HOUR_S

    def plus(self, other: Sums) -> Sums:
        """Both together; cache and context are one conversation's and stay this one's."""
        since = [at for at in (self.hour_since, other.hour_since) if at is not None]
        return replace(
            self,
            project=self.project or other.project,
            client=self.client or other.client,
            payers=self.payers | other.payers,
            turns=self.turns + other.turns,
            running=self.running + other.running,
            errors=self.errors + other.errors,
            last_at=max(self.last_at, other.last_at),
            cost_usd=self.cost_usd + other.cost_usd,
            list_usd=self.list_usd + other.list_usd,
            estimated_usd=self.estimated_usd + other.estimated_usd,
            unpriced=self.unpriced + other.unpriced,
            hour_usd=self.hour_usd + other.hour_usd,
            hour_since=min(since) if since else None,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One project, session or sub-agent; ``sums`` hold its children's."""

    key: str
    level: Level
    name: str
    """A path, a session or an agent id; not neutralised."""
    sums: Sums
    children: tuple[Node, ...] = ()
    more: int = 0
    """Children that are not among them."""

    def holds(self, row: TurnRow) -> bool:
        """Whether a turn belongs to it."""
        if self.level is Level.PROJECT:
            return (row.project or row.label or "") == self.name
        if (row.session or "") != (self.sums.session or ""):
            return False
        if not self.sums.session and (row.project or row.label) != self.sums.project:
            return False
        return self.level is Level.SESSION or row.agent == self.sums.agent


def read(data: Mapping[str, Any]) -> list[Sums]:
    """The lines of ``session_sums``, without trusting them."""
    return [_line(line) for line in mappings_in(data.get("lines"))]


def _line(line: Mapping[str, Any]) -> Sums:
    payers = line.get("payers")
    context = count_of(line.get("context"))
    provider, model = text_of(line.get("context_provider")), text_of(line.get("context_model"))
    return Sums(
        session=text_of(line.get("session")),
        agent=text_of(line.get("agent")),
        project=text_of(line.get("project")),
        client=text_of(line.get("client")),
        payers=frozenset(filter(None, map(text_of, payers if isinstance(payers, list) else []))),
        turns=count_of(line.get("turns")) or 0,
        errors=count_of(line.get("errors")) or 0,
        last_at=number_of(line.get("last_at")) or 0.0,
        cost_usd=amount_of(line.get("cost_usd")) or 0.0,
        list_usd=amount_of(line.get("list_usd")) or 0.0,
        estimated_usd=amount_of(line.get("estimated_usd")) or 0.0,
        unpriced=count_of(line.get("unpriced")) or 0,
        hour_usd=amount_of(line.get("hour_usd")) or 0.0,
        hour_since=number_of(line.get("hour_since")),
        cache_until=number_of(line.get("cache_until")),
        context=context,
        context_limit=limit_of(provider, model, context),
    )


def limit_of(provider: str | None, model: str | None, context: int | None) -> int | None:
    """The context of a model, unless more than that was seen to fit in."""
    if provider is None or context is None:
        return None
    limit = traits_of(provider, model or "").context
    return limit if limit is not None and context <= limit else None


def of_rows(rows: Iterable[TurnRow], now: float) -> list[Sums]:
    """The same from turns in the list, those in flight left out."""
    apart: dict[str | None, list[TurnRow]] = {}
    for row in rows:
        if not row.is_open:
            apart.setdefault(row.agent, []).append(row)
    return [
        _of_session(found, agent, now)
        for agent, group in apart.items()
        for found in sessions.fold(group, now)
    ]


def _of_session(found: sessions.Session, agent: str | None, now: float) -> Sums:
    recent = [row.at for row in found.rows if row.at >= now - HOUR_S]
    left = found.cache_left_s
    return Sums(
        session=found.id or None,
        agent=agent,
        project=found.project,
        client=found.client,
        payers=frozenset(row.payer for row in found.rows if row.payer),
        turns=len(found.rows),
        last_at=found.last_at,
        cost_usd=found.cost_usd,
        list_usd=sum(row.cost_usd or 0.0 for row in found.rows if row.list_price),
        estimated_usd=sum(row.cost_usd or 0.0 for row in found.rows if row.cost_is_estimate),
        unpriced=found.unpriced,
        hour_usd=sum(row.cost_usd or 0.0 for row in found.rows if row.at >= now - HOUR_S),
        hour_since=min(recent) if recent else None,
        cache_until=None if left is None else now + left,
        context=found.context,
        context_limit=found.context_limit,
    )


def with_running(lines: Iterable[Sums], rows: Iterable[TurnRow]) -> list[Sums]:
    """The lines with the turns that are in flight; lines of their own for those not known yet."""
    known = {_identity(line): line for line in lines}
    for row in rows:
        if not row.is_open:
            continue
        place = row.project or row.label
        fresh = Sums(row.session, row.agent, place, row.client, last_at=row.at)
        line = known.get(_identity(fresh), fresh)
        last_at = max(line.last_at, row.at)
        known[_identity(fresh)] = replace(line, running=line.running + 1, last_at=last_at)
    return list(known.values())


def _identity(line: Sums) -> tuple[str | None, ...]:
    return line.session, line.agent, None if line.session else line.project


# -- the tree --------------------------------------------------------------------------------


def tree(lines: Iterable[Sums], now: float, order: Order, *, by_project: bool = True) -> list[Node]:
    """Projects with their sessions, or the sessions alone, greatest first at every level."""
    found: dict[tuple[str, str], list[Sums]] = {}
    for line in lines:
        place = "" if line.session else line.project or ""
        found.setdefault((line.session or "", place), []).append(line)
    nodes = [_session(parts, now, order) for parts in found.values()]
    if not by_project:
        return ordered(nodes, now, order)
    projects: dict[str, list[Node]] = {}
    for node in nodes:
        projects.setdefault(node.sums.project or "", []).append(node)
    return ordered([_project(n, group, now, order) for n, group in projects.items()], now, order)


def total(nodes: Iterable[Node]) -> Sums:
    """All of it."""
    whole = Sums()
    for node in nodes:
        whole = whole.plus(node.sums)
    return whole


def ordered(nodes: Iterable[Node], now: float, order: Order) -> list[Node]:
    """The greatest first; the newest where they are equal."""

    def key(node: Node) -> tuple[float, float]:
        if order is Order.BURN:
            return -node.sums.per_hour(now), -node.sums.last_at
        return (-node.sums.cost_usd if order is Order.COST else 0.0), -node.sums.last_at

    return sorted(nodes, key=key)


def _session(parts: list[Sums], now: float, order: Order) -> Node:
    own = next((line for line in parts if line.agent is None), None)
    whole = own or Sums(session=parts[0].session)
    agents = [line for line in parts if line.agent is not None]
    for line in agents:
        whole = whole.plus(line)
    name = whole.session or ""
    key = f"s:{name}" if name else f"s::{whole.project or ''}"
    shown = ordered(
        [Node(f"{key}|{line.agent}", Level.AGENT, line.agent or "", line) for line in agents],
        now,
        order,
    )
    more = max(0, len(shown) - MOST_AGENTS)
    return Node(key, Level.SESSION, name, whole, tuple(shown[:MOST_AGENTS]), more)


def _project(name: str, nodes: list[Node], now: float, order: Order) -> Node:
    sums = replace(total(nodes), session=None, client=None, cache_until=None, context=None)
    return Node(f"p:{name}", Level.PROJECT, name, sums, tuple(ordered(nodes, now, order)))
