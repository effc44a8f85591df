"""More than the gateway takes at the same time: who waits, who is refused, in whose words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import encode, user
from failover_world import AGENT, CHEAP, GOOD, HOME, World, failover_world, title
from fake_clock import FakeClock
from live_gateway import KEY, Answer, LiveGateway
from pair_world import KEYS
from scripted_upstream import Script, pause, sse, steps
from wire_readers import read_stream

from providers.types import Protocol

M = Protocol.MESSAGES
QUESTION = {"model": "claude-opus-5-5", "max_tokens": 9, "stream": True}
CODEX = {"model": "gpt-6.1-sol", "input": "hi", "stream": True, "store": False}
CHAT = {"model": "gpt-6.1-sol", "messages": [{"role": "user", "content": "hi"}]}


def question(number: int = 0) -> bytes:
    return encode(QUESTION | {"messages": [user(f"question {number}")]})


def until(event: asyncio.Event) -> Script:
    """An answer that comes once ``event`` is set."""
    return steps(pause(event), sse([HOME]))


async def reached(what: Callable[[], bool]) -> None:
    while not what():
        await asyncio.sleep(0.002)


def load(world: World) -> dict[str, Any]:
    return world.gateway.gateway.services.bulkhead.as_json()


class Held:
    """A world whose baseline answers when it is told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answer = asyncio.Event()
        world.play(anthropic=until(self.answer))
        self.tasks: list[asyncio.Task[Answer]] = []

    async def ask(self, body: Any = None) -> None:
        """One more request that has a place or waits for one."""
        count = load(self.world)["in_flight"] + load(self.world)["waiting"]
        number = len(self.tasks)
        body = question(number) if body is None else body
        self.tasks.append(asyncio.ensure_future(self.world.ask(body)))
        await reached(lambda: load(self.world)["in_flight"] + load(self.world)["waiting"] > count)

    async def all(self) -> list[Answer]:
        self.answer.set()
        return await asyncio.gather(*self.tasks)


Limits = Callable[..., None]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Sets ``[server]`` keys for the gateways that are started from then on."""

    def apply(**settings: Any) -> None:
        names = {f"SBGW_SERVER__{name.upper()}": str(value) for name, value in settings.items()}
        monkeypatch.setattr("failover_world.KEYS", KEYS | names)

    return apply


async def test_a_refusal_is_native_and_at_once(limits: Limits, tmp_path: Path) -> None:
    limits(max_in_flight=1, max_waiting=0)
    bodies = {"/v1/messages": question(), "/v1/responses": CODEX, "/v1/chat/completions": CHAT}
    clock = FakeClock()
    async with failover_world(
        tmp_path / "h", "", clock=clock, names=("anthropic", "openai")
    ) as world:
        held = Held(world)
        await held.ask()
        for path, body in bodies.items():
            # The clock stands still, so nothing was waited for.
            got = await world.gateway.ask(target=path, body=body)
            assert got.status == 503
            assert got.header("x-should-retry") == "true"
            assert 1 <= int(got.header("retry-after") or 0) <= 5
            error = got.json["error"]
            assert "too much to do" in error["message"]
            if path == "/v1/messages":
                assert (got.json["type"], error["type"]) == ("error", "api_error")
            else:
                assert (error["type"], error["code"]) == ("server_error", "gateway_overloaded")
        assert load(world)["shed"]["foreground"] == 3
        # What watches the gateway has no part in the crowd.
        metrics = await world.gateway.get("/metrics")
        assert metrics.json["shed"] == {"foreground": 3}
        text = await world.gateway.get("/metrics", headers=[(b"Accept", b"text/plain")])
        assert b'sbgw_shed_total{sort="foreground"} 3.0' in text.body
        snapshot = (await world.gateway.get("/snapshot")).json
        assert snapshot["gateway"]["load"]["in_flight"] == 1
        assert (await world.gateway.get("/health", key=None)).status == 200
        assert [a.body for a in await held.all()] == [HOME]
        refused = [turn for turn in await world.turns(4) if turn["status"] == "failed"]
        assert len(refused) == 3
        for turn in refused:
            assert turn["http_status"] == 503
            assert (turn["attempts_detail"], turn["delivery"]) == ([], "full")


async def test_who_waits_is_served_in_turn(limits: Limits, tmp_path: Path) -> None:
    limits(max_in_flight=1, max_waiting=8)
    async with failover_world(tmp_path / "h", "", clock=FakeClock(), names=("anthropic",)) as world:
        held = Held(world)
        for _ in range(4):
            await held.ask()
        assert (load(world)["in_flight"], load(world)["waiting"]) == (1, 3)
        assert world.seen("anthropic") == 1
        assert {got.body for got in await held.all()} == {HOME}
        assert world.seen("anthropic") == 4
        assert load(world)["shed"] == {"foreground": 0, "background": 0, "memory": 0}


async def test_who_waits_too_long_is_told(limits: Limits, tmp_path: Path) -> None:
    limits(max_in_flight=1, max_wait_s=2.0)
    clock = FakeClock()
    async with failover_world(tmp_path / "h", "", clock=clock, names=("anthropic",)) as world:
        held = Held(world)
        await held.ask()
        await held.ask()
        await clock.advance(2.1)
        got = await held.tasks.pop()
        assert got.status == 503
        assert [a.status for a in await held.all()] == [200]


async def test_a_client_that_leaves_the_queue_costs_nothing(limits: Limits, tmp_path: Path) -> None:
    limits(max_in_flight=1)
    async with failover_world(tmp_path / "h", "", clock=FakeClock(), names=("anthropic",)) as world:
        held = Held(world)
        await held.ask()
        await held.ask()
        held.tasks.pop().cancel()
        await reached(lambda: load(world)["waiting"] == 0)
        await held.all()
        turns = await world.turns(2)
        assert sorted(turn["status"] for turn in turns) == ["cancelled", "completed"]
        assert world.seen("anthropic") == 1


async def test_background_calls_go_first_from_the_queue(limits: Limits, tmp_path: Path) -> None:
    limits(max_in_flight=2, max_waiting=1)
    async with failover_world(tmp_path / "h", "", clock=FakeClock(), names=("anthropic",)) as world:
        held = Held(world)
        await held.ask(encode(title()))
        await held.ask(encode(title()))
        assert (load(world)["in_flight"], load(world)["waiting"]) == (1, 1)
        await held.ask()
        assert load(world)["in_flight"] == 2
        waiting = held.tasks.pop(1)
        asked = asyncio.ensure_future(world.ask(question(7)))
        got = await waiting
        assert (got.status, load(world)["shed"]["background"]) == (503, 1)
        held.tasks.append(asked)
        assert [a.status for a in await held.all()] == [200, 200, 200]


async def test_bodies_in_memory_are_bounded(limits: Limits, tmp_path: Path) -> None:
    limits(max_buffered_mb=1)
    async with failover_world(tmp_path / "h", "", clock=FakeClock(), names=("anthropic",)) as world:
        held = Held(world)
        large = encode(QUESTION | {"messages": [user("x" * 900_000)]})
        await held.ask(large)
        assert load(world)["buffered_bytes"] == len(large)
        gateway: LiveGateway = world.gateway
        reader, writer = await asyncio.open_connection(gateway.origin.host, gateway.origin.port)
        lines = [
            "POST /v1/messages HTTP/1.1",
            f"Host: {gateway.origin.host}:{gateway.origin.port}",
            f"x-api-key: {KEY}",
            "Content-Type: application/json",
            "Content-Length: 200000",
            "",
            "",
        ]
        # Refused by its declared length: not one byte of the body has to come.
        writer.write("\r\n".join(lines).encode())
        assert (await reader.readuntil(b"\r\n")).split()[1] == b"503"
        writer.close()
        await writer.wait_closed()
        assert load(world)["shed"]["memory"] == 1
        small_one = asyncio.ensure_future(world.ask(question(1)))
        held.tasks.append(small_one)
        assert [a.status for a in await held.all()] == [200, 200]
        await reached(lambda: load(world)["buffered_bytes"] == 0)


class TestAtOneProvider:
    async def test_background_calls_fill_a_stand_in(self, tmp_path: Path) -> None:
        settings = (
            '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["groq"]\n'
            "[providers.groq.limits]\nmax_in_flight = 4\n"
        )
        answer = asyncio.Event()
        async with failover_world(tmp_path / "h", settings, clock=FakeClock()) as world:
            world.play(groq=steps(pause(answer), GOOD))
            asked = [asyncio.ensure_future(world.ask()) for _ in range(6)]
            await reached(lambda: world.seen("groq") == 4 and world.seen("anthropic") == 2)
            answer.set()
            bodies = [got.body for got in await asyncio.gather(*asked)]
            assert bodies.count(HOME) == 2

    async def test_a_full_stand_in_is_passed_over(self, tmp_path: Path) -> None:
        settings = (
            '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["groq"]\n'
            "[providers.groq.limits]\nmax_in_flight = 1\n"
        )
        answer = asyncio.Event()
        async with failover_world(tmp_path / "h", settings) as world:
            world.play(groq=steps(pause(answer), GOOD))
            first = asyncio.ensure_future(world.ask())
            await reached(lambda: world.seen("groq") == 1)
            second = await world.ask()
            assert (second.body, world.seen("groq")) == (HOME, 1)
            (entry,) = [
                p
                for p in (await world.gateway.get("/providers")).json["providers"]
                if p["name"] == "groq"
            ]
            assert entry["in_flight"] == 1
            answer.set()
            assert read_stream(M, (await first).body).text == CHEAP.text
            turns = await world.turns(2)
            states = [{c["provider"]: c["state"] for c in t["candidates"]} for t in turns]
            assert {"groq": "unavailable", "anthropic": "baseline"} in states
            assert read_stream(M, (await world.ask()).body).text == CHEAP.text

    async def test_a_full_baseline_is_waited_for(self, tmp_path: Path) -> None:
        limit = "[providers.anthropic.limits]\nmax_in_flight = 1\n"
        clock = FakeClock()
        async with failover_world(
            tmp_path / "h", limit, clock=clock, names=("anthropic",)
        ) as world:
            held = Held(world)
            await held.ask()
            held.tasks.append(asyncio.ensure_future(world.ask(question(1))))
            late = asyncio.ensure_future(world.ask(question(2), AGENT))
            bulkhead = world.gateway.gateway.services.bulkhead
            await reached(lambda: bulkhead.at_json("anthropic")["waiting"] == 2)
            held.tasks.append(late)
            assert world.seen("anthropic") == 1
            assert {a.body for a in await held.all()} == {HOME}
            assert world.seen("anthropic") == 3
