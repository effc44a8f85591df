"""A provider's refusal of a field is learned: mended at once, and not met again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent_bodies import assistant as said
from agent_bodies import encode, text, tool_result, tool_use, user
from anthropic_rules import check_stream
from failover_world import CHEAP, GOOD, HOME, World, failover_world, title
from pair_world import pair_world
from scripted_upstream import Request, Script, pause, respond, sse, steps
from vendor_replies import JSON_TYPE, Reply, error_body, stream
from wire_readers import read_stream

from providers.types import Protocol

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
OLD = "claude-haiku-4-5"
DOWNGRADE = f'[routing]\nshadow = false\n[routing.kinds]\ntitle = ["anthropic/{OLD}"]\n'


def picky(field: str, words: str, good: Script = GOOD) -> Callable[[Request], Script]:
    """A provider that refuses every body with ``field`` in it."""

    def route(request: Request) -> Script:
        if field not in json.loads(request.body):
            return good
        return respond(400, JSON_TYPE, error_body(C, "invalid_request_error", words))

    return route


def bodies(world: World, name: str) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in world.upstreams[name].requests]


async def test_a_refused_field_is_left_out_from_then_on(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h") as world:
        world.upstreams["groq"].route = picky(
            "temperature", "property 'temperature' is unsupported"
        )
        first = await world.ask(title(temperature=0.3))
        second = await world.ask(title(temperature=0.3))
        turns = await world.turns(2)
        assert read_stream(M, first.body).text == read_stream(M, second.body).text == CHEAP.text
        assert check_stream(first.body) == []
        assert [("temperature" in b) for b in bodies(world, "groq")] == [True, False, False]
        assert world.seen("anthropic") == 0
        tried = [a["outcome"] for a in turns[0]["attempts_detail"]]
        assert (tried, first.header("x-gateway-attempts")) == (["http_400", "success"], "2")
        learned = "learned: openai/gpt-oss-120b takes no temperature"
        assert learned in turns[0]["notes"]
        assert "left out: temperature" in turns[0]["notes"]
        assert learned not in turns[1]["notes"]
        assert "left out: temperature" in turns[1]["notes"]
        health = world.health("groq")
        assert (health["failures"], health["cooldown"]) == (0, None)
        (entry,) = [p for p in (await world.gateway.get("/providers")).json["providers"]
                    if p["name"] == "groq"]  # fmt: skip
        assert entry["learned"] == {"openai/gpt-oss-120b": ["no temperature"]}
        await world.gateway.ask(target="/providers/groq/reset", body=b"")
        await world.ask(title(temperature=0.3))
        assert "temperature" in bodies(world, "groq")[-2]


async def test_those_that_were_under_way_are_mended_too(tmp_path: Path) -> None:
    everybody, crowd = asyncio.Event(), 5
    refuse = picky("temperature", "property 'temperature' is unsupported")

    def route(request: Request) -> Script:
        if world.seen("groq") == crowd:
            everybody.set()
        return steps(pause(everybody), refuse(request))

    async with failover_world(tmp_path / "h") as world:
        world.upstreams["groq"].route = route
        asked = (world.ask(title(temperature=0.3)) for _ in range(crowd))
        for got in await asyncio.gather(*asked):
            assert read_stream(M, got.body).text == CHEAP.text
        assert (world.seen("groq"), world.seen("anthropic")) == (2 * crowd, 0)
        notes = [note for turn in await world.turns(crowd) for note in turn["notes"]]
        assert len([note for note in notes if note.startswith("learned")]) == 1


async def test_a_limit_that_is_named_is_kept_to(tmp_path: Path) -> None:
    words = "`max_completion_tokens` must be less than or equal to `8192`"

    def route(request: Request) -> Script:
        if json.loads(request.body)["max_completion_tokens"] <= 8192:
            return GOOD
        return respond(400, JSON_TYPE, error_body(C, "invalid_request_error", words))

    async with failover_world(tmp_path / "h") as world:
        world.upstreams["groq"].route = route
        for _ in range(2):
            assert read_stream(M, (await world.ask()).body).text == CHEAP.text
        limits = [body["max_completion_tokens"] for body in bodies(world, "groq")]
        assert limits == [65_536, 8_192, 8_192]
        assert "changed: max_tokens" in (await world.turns(2))[1]["notes"]


async def test_the_limit_is_sent_under_its_other_name(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h") as world:
        world.upstreams["groq"].route = picky(
            "max_completion_tokens", "'max_completion_tokens' is not supported with this model"
        )
        assert read_stream(M, (await world.ask()).body).text == CHEAP.text
        assert "max_tokens" in bodies(world, "groq")[-1]


async def test_what_cannot_be_mended_goes_home_at_once(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h") as world:
        # One is needed, and the other was not sent.
        for number, name in enumerate(["messages", "seed"], 1):
            words = f"property '{name}' is unsupported"
            world.upstreams["groq"].route = picky("messages", words)
            assert (await world.ask(title(temperature=0.3))).body == HOME
            assert (world.seen("groq"), world.seen("anthropic")) == (number, number)


async def test_a_provider_that_refuses_everything_is_not_asked_for_ever(tmp_path: Path) -> None:
    def route(request: Request) -> Script:
        sent = json.loads(request.body)
        name = next(n for n in ("temperature", "top_p", "stream_options", "stream") if n in sent)
        words = f"property '{name}' is unsupported"
        return respond(400, JSON_TYPE, error_body(C, "invalid_request_error", words))

    async with failover_world(tmp_path / "h") as world:
        world.upstreams["groq"].route = route
        assert (await world.ask(title(temperature=0.3, top_p=0.9))).body == HOME
        assert (world.seen("groq"), world.seen("anthropic")) == (3, 1)


async def test_a_translated_baseline_is_mended_too(tmp_path: Path) -> None:
    async with pair_world(tmp_path / "h", R, C) as pair:
        pair.upstream.route = picky("reasoning_effort", "reasoning_effort is not supported here")
        got = await pair.gateway.ask(
            target="/v1/responses",
            body={"model": "m", "input": "hi", "stream": True, "reasoning": {"effort": "low"}},
        )
        (turn,) = await pair.turns(1)
        assert (got.status, read_stream(R, got.body).text) == (200, CHEAP.text)
        assert [("reasoning_effort" in body) for body in pair.bodies] == [True, False]
        assert "effort" in (got.header("x-gateway-degraded") or "")
        assert "changed: effort" in turn["notes"]


class TestDowngrade:
    async def test_a_field_the_cheaper_model_refuses_is_left_out(self, tmp_path: Path) -> None:
        def route(request: Request) -> Script:
            sent = json.loads(request.body)
            if sent["model"] == OLD and "speed" in sent:
                words = "speed: Extra inputs are not permitted"
                return respond(400, JSON_TYPE, error_body(M, "invalid_request_error", words))
            return sse([HOME])

        async with failover_world(tmp_path / "h", DOWNGRADE, names=("anthropic",)) as world:
            world.upstreams["anthropic"].route = route
            body = title(speed="fast")
            got = await world.ask(body)
            turn = await world.turn()
            assert (got.status, got.body) == (200, HOME)
            sent = [json.loads(r.body) for r in world.upstreams["anthropic"].requests]
            assert [(b["model"], "speed" in b) for b in sent] == [(OLD, True), (OLD, False)]
            # All else is byte for byte what the client wrote.
            assert {k: v for k, v in sent[1].items() if k not in ("model", "max_tokens")} == {
                k: v for k, v in body.items() if k not in ("model", "speed", "max_tokens")
            }
            assert "left out: speed" in turn["notes"]

    async def test_a_beta_it_does_not_know_is_left_out(self, tmp_path: Path) -> None:
        def route(request: Request) -> Script:
            if b"new-thing" in (request.header(b"anthropic-beta") or b""):
                words = "Unexpected value(s) `new-thing-1` for the `anthropic-beta` header."
                return respond(400, JSON_TYPE, error_body(M, "invalid_request_error", words))
            return sse([HOME])

        async with failover_world(tmp_path / "h", DOWNGRADE, names=("anthropic",)) as world:
            world.upstreams["anthropic"].route = route
            betas = [(b"anthropic-beta", b"new-thing-1,old-thing-2"), (b"x-app", b"cli")]
            agent = (b"User-Agent", b"claude-cli/2.1.330 (external, cli)")
            got = await world.ask(title(), headers=[agent, *betas])
            assert (got.status, got.body) == (200, HOME)
            sent = [r.header(b"anthropic-beta") for r in world.upstreams["anthropic"].requests]
            assert sent == [b"new-thing-1,old-thing-2", b"old-thing-2"]


async def test_the_native_relay_learns_nothing(tmp_path: Path) -> None:
    words = error_body(M, "invalid_request_error", "temperature: Extra inputs are not permitted")
    async with failover_world(tmp_path / "h") as world:
        world.play(anthropic=respond(400, JSON_TYPE, words))
        body = {"model": "claude-opus-5-5", "max_tokens": 9, "temperature": 1, "stream": True}
        asked = encode(body | {"messages": [user("write a poem")]})
        got = await world.ask(asked)
        again = await world.ask(asked)
        assert [(g.status, g.body) for g in (got, again)] == [(400, words)] * 2
        assert [r.body for r in world.upstreams["anthropic"].requests] == [asked, asked]


# ------------------------------------------------------------------ what a translation costs


async def test_what_changed_on_the_way_is_on_record(tmp_path: Path) -> None:
    async with pair_world(tmp_path / "h", M, C, Reply("fine")) as pair:
        body = {
            "model": "m",
            "max_tokens": 100,
            "stream": True,
            "system": [text("be brief", cache_control={"type": "ephemeral"})],
            "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
            "messages": [
                user("read it"),
                said(tool_use("Read")),
                user(tool_result("no such file: secret.txt", is_error=True)),
            ],
        }
        got = await pair.gateway.ask(body=body)
        (turn,) = await pair.turns(1)
    assert got.header("x-gateway-degraded") == "tool_result.is_error"
    assert turn["notes"][:1] == ["changed: tool_result.is_error"]
    assert "left out: cache_control" in turn["notes"]
    assert "secret" not in json.dumps(turn["notes"])


async def test_what_changed_on_the_way_back_is_on_record(tmp_path: Path) -> None:
    broken = {"index": 0, "id": "c1", "type": "function",
              "function": {"name": "Read", "arguments": "not json"}}  # fmt: skip
    message = {"role": "assistant", "content": None, "tool_calls": [broken]}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
              "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip
    async with pair_world(
        tmp_path / "h", M, C, respond(200, JSON_TYPE, json.dumps(answer).encode())
    ) as pair:
        tools = [{"name": "Read", "input_schema": {"type": "object"}}]
        body = {"model": "m", "max_tokens": 9, "tools": tools, "messages": [user("read it")]}
        assert (await pair.gateway.ask(body=body)).status == 200
        (turn,) = await pair.turns(1)
    assert turn["notes"] == ["changed: raw_arguments"]


async def test_a_relayed_request_has_no_notes(tmp_path: Path) -> None:
    async with failover_world(tmp_path / "h", "", names=("anthropic",)) as world:
        got = await world.ask()
        assert (await world.turn())["notes"] == []
        assert got.header("x-gateway-degraded") is None


async def test_a_booked_limit_is_lowered_for_what_needs_little(tmp_path: Path) -> None:
    settings = '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["cerebras"]\n'
    async with failover_world(tmp_path / "h", settings, names=("anthropic", "cerebras")) as world:
        world.play(cerebras=sse([stream(C, CHEAP)]))
        await world.ask(title())
        await world.ask(title(max_tokens=50))
        turns = await world.turns(2)
        limits = [body["max_completion_tokens"] for body in bodies(world, "cerebras")]
        assert limits == [4_096, 50]
        assert ["lowered: max_tokens" in turn["notes"] for turn in turns] == [True, False]
        assert [turn["max_tokens"] for turn in turns] == [128_000, 50]
