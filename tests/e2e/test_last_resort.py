"""The last candidate: an overloaded vendor that is waited for, a paused one, a hopeless one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from failover_world import AGENT, HOME, World, failover_world, title
from fake_clock import FakeClock
from live_gateway import Answer
from scripted_upstream import in_turn, respond, sse
from vendor_replies import JSON_TYPE, Reply, error_body, error_event, stream
from wire_readers import read_stream

from providers.types import Protocol
from server.breaker import Outcome
from server.health import Cause

M, R = Protocol.MESSAGES, Protocol.RESPONSES
BUSY = error_body(M, "overloaded_error", "Overloaded") + b" \n"
OVERLOADED = respond(529, [*JSON_TYPE, (b"x-vendor", b"1")], BUSY)
PATIENT = "[routing]\npatience_s = 60.0\n"


async def played(world: World, clock: FakeClock, asked: asyncio.Task[Answer]) -> Answer:
    """The answer, once the clock has gone on for as long as it took."""
    while not asked.done():
        await asyncio.sleep(0.002)
        await clock.advance(0.25)
    return await asked


class TestPatience:
    async def test_an_overloaded_vendor_is_waited_for(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(
            tmp_path / "h", PATIENT, clock=clock, names=("anthropic",)
        ) as world:
            begun = sse([error_event(M, "Overloaded")])
            world.upstreams["anthropic"].route = in_turn(
                OVERLOADED, begun, OVERLOADED, OVERLOADED, OVERLOADED, sse([HOME])
            )
            got = await played(world, clock, asyncio.create_task(world.ask()))
            turn = await world.turn()
        assert (got.status, got.body) == (200, HOME)
        assert world.seen("anthropic") == 6
        outcomes = [a["outcome"] for a in turn["attempts_detail"]]
        assert outcomes == ["http_529", "refused", *["http_529"] * 3, "success"]
        assert turn["status"] == "completed"
        assert turn["notes"] == ["held: anthropic was overloaded"]
        starts = [a["started_s"] for a in turn["attempts_detail"]]
        assert 8 < starts[-1] < 60

    async def test_its_own_words_are_passed_on_when_the_time_is_over(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(
            tmp_path / "h", PATIENT, clock=clock, names=("anthropic",)
        ) as world:
            world.play(anthropic=OVERLOADED)
            got = await played(world, clock, asyncio.create_task(world.ask()))
            turn = await world.turn()
        assert (got.status, got.body, got.header("x-vendor")) == (529, BUSY, "1")
        assert got.header("x-should-retry") is None
        assert turn["status"] == "error"
        assert 4 <= len(turn["attempts_detail"]) <= 12
        assert turn["attempts_detail"][-1]["started_s"] < 60

    async def test_nothing_else_is_waited_for(self, tmp_path: Path) -> None:
        others = [
            respond(529, [*JSON_TYPE, (b"retry-after", b"90")], BUSY),
            respond(429, JSON_TYPE, error_body(M, "rate_limit_error", "slow")),
            respond(400, JSON_TYPE, error_body(M, "invalid_request_error", "no")),
        ]
        async with failover_world(tmp_path / "h", PATIENT, names=("anthropic",)) as world:
            for number, script in enumerate(others, 1):
                world.play(anthropic=script)
                assert (await world.ask()).status in (529, 429, 400)
                assert world.seen("anthropic") == number

    async def test_it_is_off_unless_asked_for(self, tmp_path: Path) -> None:
        async with failover_world(tmp_path / "h", "", names=("anthropic",)) as world:
            world.play(anthropic=OVERLOADED)
            got = await world.ask()
            assert (got.status, got.body, world.seen("anthropic")) == (529, BUSY, 1)

    async def test_a_client_that_leaves_is_not_waited_for(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(
            tmp_path / "h", PATIENT, clock=clock, names=("anthropic",)
        ) as world:
            world.play(anthropic=OVERLOADED)
            asked = asyncio.create_task(world.ask())
            while not world.seen("anthropic"):
                await asyncio.sleep(0.002)
            asked.cancel()
            turn = await world.turn()
            assert (turn["status"], world.seen("anthropic")) == ("cancelled", 1)


class TestPaused:
    async def test_a_paused_baseline_serves_what_nobody_else_can_and_says_so(
        self, tmp_path: Path
    ) -> None:
        async with failover_world(tmp_path / "h", "", names=("anthropic",)) as world:
            await world.gateway.ask(target="/providers/anthropic/pause", body=b"")
            got = await world.ask()
            await world.gateway.ask(target="/providers/anthropic/resume", body=b"")
            await world.ask()
            turns = await world.turns(2)
        assert (got.status, got.body) == (200, HOME)
        said = "paused: anthropic, but nobody else could serve it"
        assert [turn["notes"] for turn in turns] == [[said], []]

    async def test_where_another_vendor_may_serve_it_gets_nothing(self, tmp_path: Path) -> None:
        settings = (
            "[routing]\nshadow = false\ncross_vendor_failover = true\n"
            '[routing.kinds]\ntitle = ["baseline"]\n'
            '[routing.baseline]\nmessages = ["anthropic", "openai"]\n'
        )
        names = ("anthropic", "openai")
        async with failover_world(tmp_path / "h", settings, names=names) as world:
            world.play(openai=sse([stream(R, Reply("from the other"))]))
            await world.gateway.ask(target="/providers/anthropic/pause", body=b"")
            got = await world.ask()
            turn = await world.turn()
        assert read_stream(M, got.body).text == "from the other"
        assert world.seen("anthropic") == 0
        reasons = {c["provider"]: c["reason"] for c in turn["candidates"]}
        assert reasons["anthropic"] == "it is paused"


class TestHopeless:
    """Every breaker is open for longer than the client's own retries last."""

    @staticmethod
    async def open_breaker(world: World, clock: FakeClock, openings: int) -> None:
        """Open the baseline's breaker that many times, each for twice as long."""
        health, model = world.gateway.gateway.health_book, title()["model"]
        while openings:
            health.record(health.force("anthropic", model), Outcome.FAILURE, error="busy")
            left = health.opens_in("anthropic", model)
            if left is not None:
                openings -= 1
                if openings:
                    await clock.advance(left + 0.1)
        world.play(anthropic=respond(529, JSON_TYPE, BUSY))

    async def test_a_client_is_told_only_when_its_retries_cannot_bridge_it(
        self, tmp_path: Path
    ) -> None:
        clock = FakeClock()
        async with failover_world(tmp_path / "h", "", clock=clock, names=("anthropic",)) as world:
            await self.open_breaker(world, clock, 1)
            # For 12 to 18 seconds: an SDK gives up before, an agent does not.
            sdk = await world.ask(title(), [(b"User-Agent", b"Anthropic/Python 2.12.0")])
            agent = await world.ask(title(), AGENT)
            assert (sdk.header("x-should-retry"), agent.header("x-should-retry")) == ("false", None)
            await clock.advance(20)
            await self.open_breaker(world, clock, 5)
            assert world.health("anthropic")["retry_in_s"] > 200
            agent = await world.ask(title(), AGENT)
            assert (agent.status, agent.body) == (529, BUSY)
            assert agent.header("x-should-retry") == "false"

    @pytest.mark.parametrize("groq", ["asked", "cooling"])
    async def test_not_while_another_candidate_may_be_tried(
        self, groq: str, tmp_path: Path
    ) -> None:
        clock = FakeClock()
        async with failover_world(tmp_path / "h", clock=clock) as world:
            await self.open_breaker(world, clock, 6)
            world.play(groq=respond(400, JSON_TYPE, b"{}"))
            if groq == "cooling":
                book = world.gateway.gateway.health_book
                book.cool_down("groq", None, Cause.RATE_LIMIT, 30.0)
            assert world.health("anthropic")["retry_in_s"] > 200
            got = await world.ask(title(), AGENT)
            assert (got.status, got.header("x-should-retry")) == (529, None)
            assert world.seen("groq") == (groq == "asked")

    async def test_one_that_answers_again_is_well_again(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(tmp_path / "h", "", clock=clock, names=("anthropic",)) as world:
            await self.open_breaker(world, clock, 3)
            assert world.health("anthropic")["breaker"] == "open"
            world.play(anthropic=sse([HOME]))
            for _ in range(2):
                assert (await world.ask(title())).body == HOME
            assert world.health("anthropic")["breaker"] == "closed"
