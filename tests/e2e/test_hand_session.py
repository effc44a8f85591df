"""The session that was worked out by hand, played through the whole gateway.

CONTRIBUTING.md shows the figures turn by turn. Here Claude Code's own shapes of request bring the
same session to a real gateway, whose upstream reports the usage of each turn, and every figure it
answers with must be the one on paper: while the session runs, when it has ended, after a restart.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import Json
from fake_clock import FakeClock
from hand_session import ASSUMED_MAX_TOKENS, END_S, SESSION, TOTAL, Expected, Scripted
from hand_traffic import answer, headers_of, requests, settings
from live_gateway import LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
EXACT = 1e-9
"""USD; the ledger keeps whole nano-dollars."""


class Play:
    """One gateway and its upstream, on a clock that the session moves."""

    def __init__(self, gateway: LiveGateway, upstream: ScriptedUpstream, clock: FakeClock) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.clock = clock
        self.ids: dict[str, str] = {}
        self._began = clock.time()
        self._bodies = requests()

    async def until(self, seconds: float) -> None:
        """Let the session's clock reach ``seconds``."""
        await self.clock.advance(seconds - (self.clock.time() - self._began))

    async def send(self, turn: Scripted) -> None:
        """One turn at its time, to its end."""
        await self.until(turn.at)
        self.upstream.script = answer(turn)
        got = await self.gateway.ask(headers=headers_of(turn), body=self._bodies[turn.name])
        assert got.status == 200
        self.ids[turn.name] = str(got.header("x-gateway-request-id"))
        await self.gateway.turns(len(self.ids))

    async def event(self, turn: Scripted) -> Json:
        # What a later call settles is written behind its answer.
        await asyncio.to_thread(self.gateway.gateway.services.ledger.flush, 5.0)
        found: Json = (await self.gateway.get(f"/events/{self.ids[turn.name]}")).json
        return found

    async def stats(self) -> Json:
        found: Json = (await self.gateway.get("/shadow/stats")).json
        return found


def gateway_of(
    home: Path, upstream: ScriptedUpstream, clock: FakeClock, instance: str = "first"
) -> AbstractAsyncContextManager[LiveGateway]:
    return live_gateway(
        home,
        upstream.base_url,
        clock=clock,
        env={"GROQ_API_KEY": "gsk_x"},
        settings=settings(),
        instance=instance,
    )


def near(usd: float) -> Any:
    return pytest.approx(usd, abs=EXACT, rel=0)


def check_saving(saving: Json, expected: Expected) -> None:
    """Every figure of a settled proposal."""
    assert saving["state"] == "settled"
    assert saving["naive_usd"] == near(expected.naive)
    assert saving["baseline_usd"] == near(expected.baseline)
    assert saving["target_usd"] == near(expected.target)
    assert saving["penalty_write_usd"] == near(expected.write)
    assert saving["penalty_ttl_usd"] == near(expected.ttl)
    assert saving["redo_usd"] == near(expected.redo)
    assert saving["usd"] == near(expected.usd)
    assert saving["low_usd"] == near(expected.low)
    assert saving["high_usd"] == near(expected.high)
    assert saving["quota_usd"] == near(expected.quota)


def check_turn(event: Json, turn: Scripted) -> None:
    """What the gateway made of the request is what the calculation takes for granted."""
    assert (event["kind"], event["route"]) == (turn.kind, route_of(turn))
    assert (event["agent"], event["model_served"]) == (turn.agent, turn.model)
    assert event["max_tokens"] == ASSUMED_MAX_TOKENS
    assert event["estimates"]["history"] + event["estimates"]["turn"] == turn.conversation
    if turn.proposal is None:
        assert event["proposal"] is None
        assert event["saving"] is None
        return
    assert event["proposal"]["provider"] == turn.proposal.provider
    assert event["proposal"]["state"] == turn.proposal.state
    if turn.expected is None:
        assert (event["saving"]["state"], event["saving"]["usd"]) == ("unpriced", None)


async def check_settled(play: Play) -> None:
    """The table of the documents, in ``/events/{id}`` and in ``/shadow/stats``."""
    stats = await play.stats()
    recent = {row["id"]: row for row in stats["recentShadow"]}
    for turn in SESSION:
        event = await play.event(turn)
        check_turn(event, turn)
        if turn.expected is not None:
            check_saving(event["saving"], turn.expected)
            row = recent[play.ids[turn.name]]
            assert row["projectedSavingsUsd"] == near(turn.expected.usd)
            assert row["naiveUsd"] == near(turn.expected.naive)
            assert row["quotaLimitedUsd"] == near(turn.expected.quota)
            assert (row["lowUsd"], row["highUsd"]) == (
                near(turn.expected.low),
                near(turn.expected.high),
            )
    assert stats["totalRequests"] == len(SESSION)
    assert stats["shadowedRequests"] == sum(turn.proposal is not None for turn in SESSION)
    check_total(stats)
    check_routes(stats["byRoute"])


def check_total(stats: Json) -> None:
    assert stats["totalProjectedSavingsUsd"] == near(TOTAL["usd"])
    assert stats["cacheAwareUsd"] == near(TOTAL["usd"])
    assert stats["naiveUsd"] == near(TOTAL["naive_usd"])
    assert (stats["lowUsd"], stats["highUsd"]) == (near(TOTAL["low_usd"]), near(TOTAL["high_usd"]))
    assert stats["quotaLimitedUsd"] == near(TOTAL["quota_usd"])
    assert (stats["losses"], stats["lossesUsd"]) == (TOTAL["losses"], near(TOTAL["losses_usd"]))
    assert (stats["needsKey"], stats["needsKeyUsd"]) == (1, near(TOTAL["needs_key_usd"]))
    assert (stats["open"], stats["unpriced"]) == (0, TOTAL["unpriced"])
    assert stats["actualCostUsd"] == near(TOTAL["cost_usd"])


def check_routes(by_route: Json) -> None:
    """The sums of each class that has a proposal."""
    proposed = [turn for turn in SESSION if turn.proposal is not None]
    assert set(by_route) == {route_of(turn) for turn in proposed}
    for name, sums in by_route.items():
        turns = [turn for turn in proposed if route_of(turn) == name]
        keyless = [t.expected for t in turns if t.expected and is_keyless(t)]
        inside = [t.expected for t in turns if t.expected and not is_keyless(t)]
        lost = [expected for expected in inside if expected.usd < 0]
        assert sums["count"] == sum(sums["confidence"].values()) == len(turns)
        assert sums["projectedSavingsUsd"] == near(sum(e.usd for e in inside))
        assert sums["cacheAwareUsd"] == near(sum(e.usd for e in inside))
        assert sums["naiveUsd"] == near(sum(e.naive for e in inside))
        assert sums["quotaLimitedUsd"] == near(sum(e.quota for e in inside))
        assert sums["lowUsd"] == near(sum(e.low for e in inside))
        assert sums["highUsd"] == near(sum(e.high for e in inside))
        assert (sums["losses"], sums["lossesUsd"]) == (len(lost), near(sum(e.usd for e in lost)))
        assert (sums["needsKey"], sums["needsKeyUsd"]) == (
            len(keyless),
            near(sum(e.usd for e in keyless)),
        )
        assert sums["open"] == 0
        assert sums["unpriced"] == sum(turn.expected is None for turn in turns)


def is_keyless(turn: Scripted) -> bool:
    return turn.proposal is not None and turn.proposal.state == "needs_key"


def route_of(turn: Scripted) -> str:
    """The first request of a sub-agent waits for no tool yet, so its words decide."""
    return "fallback_safe" if turn.kind == "subagent" else turn.route


async def check_open(play: Play, turn: Scripted, so_far: list[Expected]) -> None:
    """A proposal whose next call is not known, and the sums with it; ``so_far`` are settled."""
    assert turn.opened_at is not None
    usd, low, high = turn.opened_at
    saving = (await play.event(turn))["saving"]
    assert saving["state"] == "open"
    assert (saving["usd"], saving["low_usd"], saving["high_usd"]) == (
        near(usd),
        near(low),
        near(high),
    )
    stats = await play.stats()
    assert stats["open"] == 1
    assert stats["totalProjectedSavingsUsd"] == near(usd + sum(e.usd for e in so_far))
    assert stats["lowUsd"] == near(low + sum(e.low for e in so_far))
    assert stats["highUsd"] == near(high + sum(e.high for e in so_far))


async def test_the_session_gives_the_figures_on_paper(tmp_path: Path) -> None:
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        async with gateway_of(tmp_path / "h", upstream, clock) as gateway:
            play = Play(gateway, upstream, clock)
            settled: list[Expected] = []
            waiting: Scripted | None = None
            for turn in SESSION:
                await play.send(turn)
                if waiting is not None and turn.usage.cache_read_tokens and turn.agent is None:
                    assert waiting.expected is not None
                    check_saving((await play.event(waiting))["saving"], waiting.expected)
                    settled.append(waiting.expected)
                    waiting = None
                if turn.opened_at is not None:
                    await check_open(play, turn, settled)
                    waiting = turn
                elif turn.expected is not None and not is_keyless(turn):
                    settled.append(turn.expected)
            assert waiting is SESSION[7]
            assert (await play.stats())["open"] == 1
            await play.until(END_S)
            await check_settled(play)
        async with gateway_of(tmp_path / "h", upstream, clock, "second") as gateway:
            play.gateway = gateway
            await check_settled(play)


async def test_a_restart_in_the_middle_keeps_the_range_and_says_why(tmp_path: Path) -> None:
    clock, first, second = FakeClock(), SESSION[0], SESSION[1]
    assert first.expected is not None
    assert second.opened_at is not None
    usd, low, high = second.opened_at
    async with ScriptedUpstream() as upstream:
        async with gateway_of(tmp_path / "h", upstream, clock) as gateway:
            play = Play(gateway, upstream, clock)
            await play.send(first)
            await play.send(second)
        async with gateway_of(tmp_path / "h", upstream, clock, "second") as gateway:
            play.gateway = gateway
            saving, stats = (await play.event(second))["saving"], await play.stats()
    assert saving["state"] == "settled"
    assert (saving["usd"], saving["low_usd"], saving["high_usd"]) == (
        near(usd),
        near(low),
        near(high),
    )
    assert "stopped before the session" in saving["note"]
    assert stats["open"] == 0
    assert stats["totalProjectedSavingsUsd"] == near(first.expected.usd + usd)


def test_the_documents_show_the_same_figures() -> None:
    """The table of results in the text, against the session that the gateway is held to."""
    document = CONTRIBUTING.read_text("utf-8")
    shown = {row[0].strip("* "): row[1:] for row in rows_of(document, "| turn | naive |")}
    for turn in SESSION:
        name, expected = turn.name.split()[0], turn.expected
        if expected is None:
            assert name not in shown
            continue
        found = shown[f"{name}, needs a key" if is_keyless(turn) else name]
        figures = (expected.naive, expected.low, expected.usd, expected.high, expected.quota)
        assert [usd_in(cell) for cell in found] == [near(usd) for usd in figures], name
    total = [TOTAL[f"{name}_usd"] for name in ("naive", "low")]
    total += [TOTAL[name] for name in ("usd", "high_usd", "quota_usd")]
    assert [usd_in(cell) for cell in shown["sum"]] == [near(usd) for usd in total]


def test_the_documents_show_the_same_session() -> None:
    document = CONTRIBUTING.read_text("utf-8")
    costs = Decimal(0)
    for turn, row in zip(SESSION, rows_of(document, "| turn | at s |"), strict=True):
        usage = turn.usage
        assert row[0].split()[0] == turn.name.split()[0]
        assert [count_in(cell) for cell in row[1:2]] == [turn.at]
        counts = [count_in(cell) for cell in row[3:7]]
        assert counts == [
            usage.input_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
        ]
        if turn.expected is not None:
            assert usd_in(row[7]) == near(turn.expected.baseline)
        costs += Decimal(row[7].strip())
    assert float(costs) == near(TOTAL["cost_usd"])


def rows_of(document: str, head: str) -> list[list[str]]:
    """The cells of the table that begins with ``head``."""
    lines = document[document.index(head) :].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def usd_in(cell: str) -> float:
    return float(cell.strip("* "))


def count_in(cell: str) -> int:
    return int(re.sub(r"[ ,]", "", cell) or 0)
