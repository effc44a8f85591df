"""A turn that was moved to a cheaper provider comes home whatever goes wrong there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from anthropic_rules import check_stream
from failover_world import AGENT, CHEAP, GOOD, HOME, ROUTES, World, failover_world, title
from fake_clock import FakeClock
from scripted_upstream import (
    Script,
    ScriptedUpstream,
    close,
    hang,
    head,
    in_turn,
    reset,
    respond,
    send,
    sse,
    steps,
)
from scripted_upstream import chunk as http_chunk
from vendor_replies import JSON_TYPE, Reply, error_body, error_event, events, stream
from wire_readers import read_stream

from providers.types import Protocol

M, C = Protocol.MESSAGES, Protocol.CHAT
module_loop = pytest.mark.asyncio(loop_scope="module")
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with failover_world(tmp_path_factory.mktemp("failover") / "h") as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: World) -> World:
    return await running.anew()


def refusing(status: int, words: str, code: str | None = None, **fields: str) -> Script:
    extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return respond(status, [*JSON_TYPE, *extra], error_body(C, "an_error", words, code))


def before_content(*events_: bytes, then: Script | None = None) -> Script:
    """A stream that begins and then does what ``then`` says."""
    opened = send(SSE_HEAD + b"".join(http_chunk(event) for event in events_))
    return steps(opened, then or close())


ROLE = events(C, CHEAP)[0]
FAILS, NOT = True, False
FAULTS: dict[str, tuple[Script, int, bool, str | None]] = {
    "reset before an answer": (reset(), 2, FAILS, None),
    "closed before an answer": (close(), 2, FAILS, None),
    "not HTTP": (send(b"220 smtp.example\r\n\r\n"), 1, FAILS, None),
    "500": (refusing(500, "broken"), 2, FAILS, None),
    "502": (respond(502, [], b"<html>bad gateway</html>"), 2, FAILS, None),
    "503": (refusing(503, "busy"), 1, FAILS, None),
    "503 for long": (refusing(503, "busy", retry_after="40"), 1, FAILS, "rate limit"),
    "504": (respond(504), 2, FAILS, None),
    "529": (refusing(529, "overloaded"), 1, FAILS, None),
    "408": (refusing(408, "slow"), 2, FAILS, None),
    "498": (refusing(498, "no capacity"), 1, FAILS, None),
    "429 for long": (refusing(429, "slow down", retry_after="30"), 1, NOT, "rate limit"),
    "429 without a time": (refusing(429, "slow down"), 1, NOT, "rate limit"),
    "429 of the day": (refusing(429, "Limit 1000 requests per day"), 1, NOT, "quota used up"),
    "429 of the budget": (
        refusing(429, "pay first", "insufficient_quota"), 1, NOT, "quota used up",
    ),
    "401": (refusing(401, "who are you"), 1, NOT, "it refused our key"),
    "403": (refusing(403, "not you"), 1, NOT, "it refused our key"),
    "402": (refusing(402, "pay first"), 1, NOT, "quota used up"),
    "404": (refusing(404, "no such model", "model_not_found"), 1, NOT, "it does not serve the model"),
    "400": (refusing(400, "this is wrong"), 1, NOT, None),
    "422": (refusing(422, "this is wrong"), 1, NOT, None),
    "413": (refusing(413, "Request too large for model: tokens per minute"), 1, NOT, None),
    "a long prompt": (
        refusing(400, "maximum context length", "context_length_exceeded"), 1, NOT, None,
    ),
    "a tool call it could not read": (refusing(400, "bad call", "tool_use_failed"), 2, NOT, None),
    "a redirect": (respond(302, [(b"Location", b"http://127.0.0.1:1/")]), 1, FAILS, None),
    "a web page": (respond(200, [(b"Content-Type", b"text/html")], b"<html>hi"), 1, FAILS, None),
    "an error in a 200": (respond(200, JSON_TYPE, error_body(C, "x", "broken")), 2, FAILS, None),
    "an empty answer": (sse([stream(C, Reply(""))]), 2, FAILS, None),
    "an empty stream": (sse([]), 2, FAILS, None),
    "only its role": (before_content(ROLE), 2, FAILS, None),
    "reset before content": (before_content(ROLE, then=reset()), 2, FAILS, None),
    "an error event": (sse([ROLE, error_event(C, "broken")]), 2, FAILS, None),
    "no JSON in its stream": (sse([ROLE, b"data: {oops\n\n"]), 1, FAILS, None),
    "junk for a stream": (sse([b"\x00\x01\x02\xff" * 50]), 2, FAILS, None),
}  # fmt: skip
"""What the stand-in does, how often it is asked, whether that counts against it, its cooldown."""


@module_loop
@pytest.mark.parametrize("name", FAULTS)
async def test_the_client_never_sees_a_stand_in_fail(name: str, world: World) -> None:
    script, asked, fails, cooldown = FAULTS[name]
    world.play(groq=script)
    got = await world.ask()
    turn = await world.turn()
    assert (got.status, got.body) == (200, HOME)
    assert got.header("x-gateway-provider") == "anthropic"
    assert (world.seen("groq"), world.seen("anthropic")) == (asked, 1)
    tried = [(a["provider"], a["outcome"] == "success") for a in turn["attempts_detail"]]
    assert tried == [("groq", False)] * asked + [("anthropic", True)]
    assert (turn["status"], turn["provider"], turn["mode"]) == ("completed", "anthropic", "live")
    states = {c["provider"]: c["state"] for c in turn["candidates"]}
    assert states == {"groq": "failed", "anthropic": "baseline"}
    health = world.health("groq")
    assert health["failures"] == (asked if fails else 0)
    assert (health["cooldown"] or {}).get("cause") == cooldown
    assert health["breaker"] == "closed"


@module_loop
async def test_the_stand_in_answers_when_it_can(world: World) -> None:
    got = await world.ask()
    turn = await world.turn()
    assert check_stream(got.body) == []
    assert read_stream(M, got.body).text == CHEAP.text
    assert (world.seen("groq"), world.seen("anthropic")) == (1, 0)
    assert (turn["provider"], turn["model_served"]) == ("groq", "gpt-oss-120b")
    assert got.header("x-gateway-model") == "openai/gpt-oss-120b"


@module_loop
async def test_one_bad_moment_is_retried_and_nobody_knows(world: World) -> None:
    world.upstreams["groq"].route = in_turn(respond(500), GOOD)
    try:
        got = await world.ask()
        turn = await world.turn()
    finally:
        world.upstreams["groq"].route = None
    assert read_stream(M, got.body).text == CHEAP.text
    assert [a["outcome"] for a in turn["attempts_detail"]] == ["http_500", "success"]
    assert (world.seen("anthropic"), world.health("groq")["failures"]) == (0, 0)


@module_loop
@pytest.mark.parametrize("how", ["an error", "the end", "a reset", "junk"])
async def test_after_the_first_byte_nobody_takes_over(how: str, world: World) -> None:
    part = events(C, CHEAP)[:4]
    ends: dict[str, Script] = {
        "an error": sse([*part, error_event(C, "broke inside")]),
        "the end": sse(part),
        "a reset": before_content(*part, then=reset()),
        "junk": sse([*part, b"data: {oops\n\n"]),
    }
    world.play(groq=ends[how])
    got = await world.ask()
    turn = await world.turn()
    told = read_stream(M, got.body)
    assert check_stream(got.body) == []
    assert CHEAP.text.startswith(told.text)
    assert told.text
    assert told.error
    assert (world.seen("groq"), world.seen("anthropic")) == (1, 0)
    assert (turn["status"], len(turn["attempts_detail"])) == ("partial", 1)
    assert world.health("groq")["failures"] == 1


@module_loop
async def test_a_cooldown_keeps_it_from_being_asked(world: World) -> None:
    world.play(groq=refusing(429, "slow down", retry_after="30"))
    assert (await world.ask()).body == HOME
    world.play(groq=GOOD)
    for _ in range(3):
        assert (await world.ask()).body == HOME
    assert world.seen("groq") == 1
    turns = await world.turns(4)
    later = {c["provider"]: c["state"] for c in turns[-1]["candidates"]}
    assert later["groq"] == "unavailable"
    assert len(turns[-1]["attempts_detail"]) == 1


@module_loop
async def test_five_failures_open_its_breaker(world: World) -> None:
    world.play(groq=refusing(503, "busy"))
    for _ in range(9):
        assert (await world.ask()).body == HOME
    assert world.seen("groq") == 5
    assert world.health("groq")["open_models"] == ["openai/gpt-oss-120b"]
    assert world.health("anthropic")["breaker"] == "closed"


@module_loop
async def test_what_it_cannot_carry_goes_home_at_once(world: World) -> None:
    got = await world.ask(title(mcp_servers=[]))
    turn = await world.turn()
    assert got.body == HOME
    assert (world.seen("groq"), len(turn["attempts_detail"])) == (0, 1)


async def test_a_refused_connection_goes_home(tmp_path: Path) -> None:
    async with ScriptedUpstream() as gone:
        address = gone.base_url
    async with failover_world(
        tmp_path / "h", addresses={"groq": address}, names=("anthropic",)
    ) as world:
        for _ in range(6):
            assert (await world.ask()).body == HOME
        turns = await world.turns(6)
        assert turns[0]["attempts_detail"][0]["outcome"] == "connect"
        assert world.health("groq")["breaker"] == "open"
        assert len(turns[-1]["attempts_detail"]) == 1


async def test_the_second_stand_in_before_home(tmp_path: Path) -> None:
    settings = '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["groq", "cerebras"]\n'
    names = ("anthropic", "groq", "cerebras")
    async with failover_world(tmp_path / "h", settings, names=names) as world:
        world.play(groq=respond(500))
        got = await world.ask()
        assert read_stream(M, got.body).text == CHEAP.text
        turn = await world.turn()
        assert [a["provider"] for a in turn["attempts_detail"]] == ["groq", "groq", "cerebras"]
        states = {c["provider"]: c["state"] for c in turn["candidates"]}
        assert states == {"groq": "failed", "cerebras": "spare", "anthropic": "baseline"}
        world.play(cerebras=refusing(500, "broken"))
        assert (await world.ask()).body == HOME
        attempts = (await world.turns(2))[1]["attempts_detail"]
        # Three attempts are the most, and the way home is always open.
        assert [a["provider"] for a in attempts] == ["groq", "groq", "cerebras", "anthropic"]


CROSS = (
    "[routing]\nshadow = false\ncross_vendor_failover = true\n"
    '[routing.kinds]\ntitle = ["baseline"]\n'
    '[routing.baseline]\nmessages = ["anthropic", "openai"]\n'
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name can be resolved, because there is no way out of this machine."""
    monkeypatch.setattr("providers._dial.has_route", lambda: False)


@pytest.mark.usefixtures("offline")
class TestOffline:
    async def test_a_stand_in_without_a_name_is_not_blamed(self, tmp_path: Path) -> None:
        places = {"groq": "https://groq.invalid/v1"}
        async with failover_world(tmp_path / "h", addresses=places, names=("anthropic",)) as world:
            for _ in range(6):
                assert (await world.ask()).body == HOME
            health = world.health("groq")
            assert (health["breaker"], health["failures"]) == ("closed", 0)

    async def test_offline_no_other_vendor_gets_the_prompt(self, tmp_path: Path) -> None:
        async with failover_world(
            tmp_path / "h", CROSS, baseline="https://api.invalid", names=("anthropic", "openai")
        ) as world:
            got = await world.ask()
            assert (got.status, world.seen("openai")) == (503, 0)
            assert "offline" in got.json["error"]["message"]
            assert world.health("anthropic")["breaker"] == "closed"


REPLY = Reply("From the other vendor.")


class TestOtherVendor:
    @pytest.mark.parametrize("status", [500, 529, 429])
    async def test_takes_over_only_where_it_was_allowed(self, status: int, tmp_path: Path) -> None:
        body = error_body(M, "api_error", "not now")
        for settings, allowed in ((CROSS, True), (CROSS.replace("r = true", "r = false"), False)):
            home = tmp_path / str(allowed)
            async with failover_world(home, settings, names=("anthropic", "openai")) as world:
                world.play(anthropic=respond(status, JSON_TYPE, body))
                world.play(openai=sse([stream(Protocol.RESPONSES, REPLY)]))
                got = await world.ask()
                if allowed:
                    assert read_stream(M, got.body).text == REPLY.text
                    assert got.header("x-gateway-provider") == "openai"
                else:
                    assert (got.status, got.body, world.seen("openai")) == (status, body, 0)

    @pytest.mark.parametrize("status", [400, 401])
    async def test_does_not_get_what_the_client_must_hear(
        self, status: int, tmp_path: Path
    ) -> None:
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        body = error_body(M, kind, "prompt is wrong") + b"  \n"
        own = [(b"x-sbgw-key", b"local-dev-key"), (b"authorization", b"Bearer sk-ant-oat01-mine")]
        async with failover_world(tmp_path / "h", CROSS, names=("anthropic", "openai")) as world:
            world.play(anthropic=respond(status, JSON_TYPE, body))
            got = await world.gateway.ask(headers=own, body=title(), key=None)
            turn = await world.turn()
            assert (got.status, got.body) == (status, body)
            assert (world.seen("openai"), turn["payer"]) == (0, "login")
            # A client's own bad login says nothing about the provider.
            assert world.health("anthropic")["cooldown"] is None

    @pytest.mark.parametrize(("status", "kind", "asked"), [(400, "invalid", 0), (503, "busy", 1)])
    async def test_is_not_asked_what_it_could_not_cure(
        self, status: int, kind: str, asked: int, tmp_path: Path
    ) -> None:
        turned = CROSS.replace('["anthropic", "openai"]', '["openai", "anthropic"]')
        body = error_body(Protocol.RESPONSES, "an_error", kind)
        async with failover_world(tmp_path / "h", turned, names=("anthropic", "openai")) as world:
            world.play(openai=respond(status, JSON_TYPE, body))
            got = await world.ask()
            assert (world.seen("openai"), world.seen("anthropic")) == (1, asked)
            assert got.status == (200 if asked else 400)


class TestStorms:
    async def test_a_client_is_told_to_stop_the_third_time(self, tmp_path: Path) -> None:
        body = error_body(M, "api_error", "broken")
        async with failover_world(tmp_path / "h") as world:
            world.play(groq=respond(500), anthropic=respond(500, JSON_TYPE, body))
            same = [await world.ask(title(1)) for _ in range(4)]
            other = await world.ask(title(2))
        assert [got.header("x-should-retry") for got in same] == [None, None, "false", "false"]
        assert other.header("x-should-retry") is None
        assert {got.body for got in [*same, other]} == {body}

    async def test_codex_needs_a_code(self, tmp_path: Path) -> None:
        body = error_body(Protocol.RESPONSES, "server_error", "broken")
        asked = {"model": "gpt-5.5", "input": "hi", "stream": True, "store": False}
        async with failover_world(tmp_path / "h", "", names=("anthropic", "openai")) as world:
            world.play(openai=respond(500, JSON_TYPE, body))
            answers = [
                await world.gateway.ask(target="/v1/responses", body=asked) for _ in range(3)
            ]
        assert [got.status for got in answers] == [500, 500, 503]
        assert [got.body for got in answers[:2]] == [body, body]
        assert answers[2].json["error"] == {
            "message": "broken",
            "type": "server_error",
            "param": None,
            "code": "server_is_overloaded",
        }

    async def test_ten_minutes_later_it_may_try_again(self, tmp_path: Path) -> None:
        clock = FakeClock()
        body = error_body(M, "api_error", "broken")
        async with failover_world(tmp_path / "h", "", clock=clock, names=("anthropic",)) as world:
            world.play(anthropic=respond(500, JSON_TYPE, body))
            for _ in range(2):
                await world.ask(title(1))
            await clock.advance(601)
            assert (await world.ask(title(1))).header("x-should-retry") is None


class TestTimers:
    @pytest.mark.parametrize("is_silent", [False, True], ids=["no headers", "headers only"])
    async def test_a_late_stand_in_gives_way(self, is_silent: bool, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(tmp_path / "h", clock=clock) as world:
            world.play(groq=before_content(ROLE, then=hang()) if is_silent else hang())
            asked = asyncio.ensure_future(world.ask())
            await world.upstreams["groq"].wait_for(requests=1)
            await clock.advance(119)
            assert world.seen("anthropic") == 0
            await clock.advance(2)
            got = await asked
            await world.upstreams["groq"].all_gone()
            turn = await world.turn()
        assert got.body == HOME
        assert [a["outcome"] for a in turn["attempts_detail"]] == ["no_answer", "success"]

    async def test_the_clients_own_patience_ends_it(self, tmp_path: Path) -> None:
        clock = FakeClock()
        hint = [(b"x-stainless-timeout", b"60")]
        async with failover_world(tmp_path / "h", clock=clock) as world:
            world.play(groq=hang())
            asked = asyncio.ensure_future(world.ask(headers=[*AGENT, *hint]))
            await world.upstreams["groq"].wait_for(requests=1)
            await clock.advance(56)
            got = await asked
            turn = await world.turn()
        # Nothing is sent anywhere once the client is about to leave.
        assert (got.status, world.seen("anthropic")) == (504, 0)
        assert got.json["error"]["type"] == "timeout_error"
        assert [a["outcome"] for a in turn["attempts_detail"]] == ["deadline"]

    async def test_a_stall_in_the_answer_ends_in_an_error_event(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with failover_world(tmp_path / "h", clock=clock) as world:
            world.play(groq=before_content(*events(C, CHEAP)[:4], then=hang()))
            response = await world.gateway.open(headers=AGENT, body=title())
            read = asyncio.ensure_future(response.read_all(2**20))
            await world.upstreams["groq"].wait_for(requests=1)
            while not any(
                e.watch.committed for e in world.gateway.gateway.services.active.values()
            ):
                await asyncio.sleep(0)
            await clock.advance(291)
            body = await read
            await response.aclose()
            turn = await world.turn()
        assert b"event: ping" in body
        assert check_stream(body) == []
        assert json.loads(body.rsplit(b"data: ", 1)[1])["error"]["type"] == "timeout_error"
        assert (turn["status"], turn["attempts_detail"][0]["outcome"]) == ("partial", "stalled")


async def test_a_client_that_leaves_cancels_the_stand_in(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h") as world:
        world.play(groq=before_content(*events(C, CHEAP)[:4], then=hang()))
        response = await world.gateway.open(headers=AGENT, body=title())
        await response.read()
        await response.aclose()
        await world.upstreams["groq"].all_gone()
        turn = await world.turn()
        assert (turn["status"], world.health("groq")["failures"]) == ("cancelled", 0)
        assert world.seen("anthropic") == 0


async def test_an_answer_that_lacks_only_its_last_word_is_a_success(tmp_path: Path) -> None:
    clock = FakeClock()
    async with failover_world(tmp_path / "h", clock=clock) as world:
        complete = [event for event in events(C, CHEAP) if b"[DONE]" not in event]
        world.play(groq=before_content(*complete, then=hang()))
        response = await world.gateway.open(headers=AGENT, body=title())
        read = asyncio.ensure_future(response.read_all(2**20))
        await world.upstreams["groq"].wait_for(requests=1)
        while not any(e.watch.committed for e in world.gateway.gateway.services.active.values()):
            await asyncio.sleep(0)
        await clock.advance(291)
        body = await read
        await response.aclose()
        turn = await world.turn()
        assert world.health("groq")["failures"] == 0
    assert check_stream(body) == []
    assert b"message_stop" in body
    assert (turn["status"], turn["provider"]) == ("completed", "groq")


class TestPlans:
    async def test_a_request_beyond_the_plan_stays_home(self, tmp_path: Path) -> None:
        limits = "[providers.groq.limits]\nrequests_per_minute = 1\n"
        async with failover_world(tmp_path / "h", ROUTES + limits) as world:
            await world.ask()
            second = await world.ask()
            turns = await world.turns(2)
            assert (world.seen("groq"), world.seen("anthropic")) == (1, 1)
        assert second.body == HOME
        groq = next(c for c in turns[1]["candidates"] if c["provider"] == "groq")
        assert (groq["state"], groq["reason"]) == (
            "unavailable",
            "its plan's limits are used up for now",
        )

    async def test_what_the_provider_says_of_its_window_is_believed(self, tmp_path: Path) -> None:
        window = [
            (b"x-ratelimit-limit-tokens", b"8000"),
            (b"x-ratelimit-remaining-tokens", b"0"),
            (b"x-ratelimit-reset-tokens", b"45s"),
        ]
        full = sse([stream(C, CHEAP)], [(b"Content-Type", b"text/event-stream"), *window])
        async with failover_world(tmp_path / "h") as world:
            world.play(groq=full)
            await world.ask()
            second = await world.ask()
            assert world.seen("groq") == 1
        assert second.body == HOME


async def test_a_key_that_a_provider_repeats_is_kept_nowhere(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h") as world:
        world.play(groq=refusing(401, "Incorrect API key provided: gsk_x_secret_value"))
        await world.ask()
        turn = await world.turn()
        snapshot = (await world.gateway.get("/snapshot")).body
    assert "gsk_x_secret_value" not in json.dumps(turn)
    assert b"gsk_x_secret_value" not in snapshot
