"""What the real Codex wants of a gateway, each point with its tests; see ``REQUIREMENTS``.

Run by ``make test-clients``; what the providers can and cannot do is in ``test_codex_scenarios``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import responses_streams
from codex_vendors import HELLO, C, M, R, Vendor, free_text
from pair_world import pair_world
from quick_clock import QuickClock
from real_codex import CodexPlace
from responses_rules import check_input
from scripted_upstream import Script, hang, head, pause, respond, send, sse, steps
from scripted_upstream import chunk as http_chunk
from vendor_replies import JSON_TYPE, Call, Reply, error_body, events, stream

from providers.types import Protocol

pytestmark = pytest.mark.clients

UPSTREAMS = pytest.mark.parametrize("provider", [R, M, C], ids=["openai", "anthropic", "chat"])
TRANSLATED = pytest.mark.parametrize("provider", [M, C], ids=["anthropic", "chat"])
MODELS = {"classic": "gpt-5.5", "responses-lite": "gpt-6.1-sol", "unknown": "gw/auto"}
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
SEALED = "b3BhcXVl"

REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "X1 it streams, stores nothing, and sends the whole history": (
        "test_what_it_asks_for_reaches_the_vendor_as_it_is",
    ),
    "X2 no answer without its last event": (
        "test_an_answer_without_its_last_event_is_asked_for_again",
    ),
    "X3 every item is closed by output_item.done": (
        "test_its_own_requests_get_streams_of_the_vendors_grammar",
    ),
    "X4 426 for a web socket": ("test_a_web_socket_is_tried_once_and_costs_nothing",),
    "X5 real events in silences": ("test_it_waits_through_a_silence",),
    "X6 three dialects": (
        "test_each_dialect_is_understood",
        "test_its_own_requests_get_streams_of_the_vendors_grammar",
    ),
    "X7 every item of its history": (
        "test_codex_scenarios.py::test_it_works_or_says_why_not",
        "test_its_history_is_taken_at_every_provider",
    ),
    "X8 tools of free text": (
        "test_codex_scenarios.py::test_a_tool_of_free_text_comes_through_byte_for_byte",
    ),
    "X9 tools that OpenAI runs": ("test_tools_that_openai_runs_go_there_only",),
    "X10 sealed reasoning goes back to its maker only": (
        "test_sealed_reasoning_goes_back_to_its_maker_only",
    ),
    "X11 tasks of sub-agents": ("test_codex_scenarios.py::test_it_works_or_says_why_not",),
    "X12 both kinds of compaction": ("test_codex_scenarios.py::test_it_works_or_says_why_not",),
    "X13 errors that it knows": (
        "test_a_refused_request_is_told_at_once",
        "test_a_conversation_that_is_too_long_is_told_in_its_words",
        "test_an_empty_account_is_told_at_once",
        "test_a_rate_limit_in_a_stream_is_waited_for",
    ),
    "X14 no usage, other models, unknown events": (
        "test_codex_scenarios.py::test_it_works_or_says_why_not",
        "test_another_models_name_is_fine",
    ),
    "X15 who leaves is followed": ("test_stopping_it_stops_the_provider",),
    "X16 few requests while a provider is down": (
        "test_a_provider_that_is_down_costs_few_requests",
    ),
}


async def test_what_it_asks_for_reaches_the_vendor_as_it_is(
    place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, R, HELLO) as pair:
        await place.codex(pair.gateway.url, "--", "say hello")
        await place.codex(pair.gateway.url, "resume", "--last", "--", "and again")
        first, second = pair.bodies
        turns = await pair.gateway.turns(2)
    for body in (first, second):
        assert (body["stream"], body["store"]) == (True, False)
        assert body["include"] == ["reasoning.encrypted_content"]
        assert "previous_response_id" not in body
    assert HELLO.text in str(second["input"])
    assert str(second["input"]).count("say hello") == 1
    assert [turn["client"] for turn in turns] == ["codex", "codex"]
    assert len({turn["session"] for turn in turns}) == 1


@UPSTREAMS
async def test_an_answer_without_its_last_event_is_asked_for_again(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    # A call whose own end is missing must not be carried out; OpenAI's are Codex's own affair.
    edit = Call("exec_command", {"cmd": "touch made-by-half-an-answer"}, "call_half")
    missing = {R: 1, M: 3, C: 3}[provider]
    half = b"".join(events(provider, Reply("Words.", (edit,)))[:-missing])
    left: list[Script] = [sse([half])]
    answer: Vendor = lambda body: left.pop() if left else HELLO  # noqa: E731
    async with pair_world(tmp_path / "h", R, provider, answer) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    if provider is not R:
        assert not (place.project / "made-by-half-an-answer").exists()


@pytest.mark.parametrize("dialect", MODELS)
@TRANSLATED
async def test_its_own_requests_get_streams_of_the_vendors_grammar(
    provider: Protocol, dialect: str, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "native", R, R, HELLO) as pair:
        await place.codex(pair.gateway.url, "--", "say hello", model=MODELS[dialect])
        asked = pair.requests[0].body
    look = Call("exec_command", {"cmd": "ls"}, "call_look")
    reply = Reply("I look at it.", (look, Call("exec_command", {"cmd": "pwd"}, "call_where")))
    async with pair_world(tmp_path / "h", R, provider, reply) as pair:
        got = await pair.gateway.ask(target="/v1/responses", body=asked)
    assert got.status == 200
    assert responses_streams.faults_of(got.body) == []
    told = responses_streams.events_of(got.body)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in done] == ["message", "function_call", "function_call"]
    assert done == told[-1]["response"]["output"]
    assert told[-1]["response"]["model"] == MODELS[dialect]


@UPSTREAMS
async def test_a_web_socket_is_tried_once_and_costs_nothing(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, HELLO) as pair:
        switch = {"model_providers.gw.supports_websockets": "true"}
        got = await place.codex(pair.gateway.url, "--", "say hello", settings=switch)
        assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
        assert len(pair.requests) == 1


@UPSTREAMS
async def test_it_waits_through_a_silence(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    first, *rest = [b"".join(part) for part in _halves(events(provider, Reply("word " * 20)))]
    # Time runs ten times faster in the gateway: what it does after 15 s comes after 1.5.
    script = steps(
        send(SSE_HEAD + http_chunk(first)), pause(6.0), send(http_chunk(rest[0]) + http_chunk(b""))
    )
    async with pair_world(tmp_path / "h", R, provider, script, clock=QuickClock(10)) as pair:
        patience = {"model_providers.gw.stream_idle_timeout_ms": "4000"}
        got = await place.codex(pair.gateway.url, "--", "a story", settings=patience)
        assert len(pair.requests) == 1
    assert (got.code, got.text.strip()) == (0, ("word " * 20).strip()), got.error or got.err


def _halves(found: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    return found[:6], found[6:]


@pytest.mark.parametrize("dialect", MODELS)
@UPSTREAMS
async def test_each_dialect_is_understood(
    provider: Protocol, dialect: str, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, HELLO) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello", model=MODELS[dialect])
        assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
        (body,) = pair.bodies
        (turn,) = await pair.gateway.turns()
    assert turn["model_asked"] == MODELS[dialect]
    assert turn["kind"] == "user_turn"
    if provider is R:
        is_lite = any(item["type"] == "additional_tools" for item in body["input"])
        assert is_lite == (dialect == "responses-lite") == ("tools" not in body)
    else:
        # Tools in groups, and those that travel as an input item, are there under plain names.
        names = {(t.get("function") or t)["name"] for t in body["tools"]}
        assert names >= DIALECT_TOOLS[dialect]


DIALECT_TOOLS = {
    "classic": {"exec_command", "apply_patch"},
    "responses-lite": {"exec", "collaboration__spawn_agent"},
    "unknown": {"exec_command", "multi_agent_v1__spawn_agent"},
}


@TRANSLATED
async def test_its_history_is_taken_at_every_provider(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    thought = responses_streams.reasoning("I think.")
    patch = responses_streams.custom_call("apply_patch", "*** not a patch", "call_patch")
    look = responses_streams.call("exec_command", '{"cmd":"cat calc.py"}', "call_look")
    first = responses_streams.response(thought, patch, look)
    left = [sse([responses_streams.stream_of(first)])]
    answer: Vendor = lambda body: left.pop() if left else HELLO  # noqa: E731
    async with pair_world(tmp_path / "native", R, R, answer) as pair:
        await place.codex(pair.gateway.url, "-i", "pixel.png", "--", "fix it")
    async with pair_world(tmp_path / "h", R, provider, HELLO) as pair:
        got = await place.codex(pair.gateway.url, "resume", "--last", "--", "go on")
        if provider is C:
            # The picture of the first turn is one that this provider's model cannot see.
            assert "vision" in got.error
            return
        (body,) = pair.bodies
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    sent = json.dumps(body)
    assert "*** not a patch" in sent
    assert "return a - b" in sent
    assert SEALED not in sent
    assert "I think." not in sent


@UPSTREAMS
async def test_tools_that_openai_runs_go_there_only(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, HELLO) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        (body,) = pair.bodies
    kinds = {tool.get("type") for tool in body["tools"]}
    names = {(t.get("function") or t).get("name") for t in body["tools"]}
    assert ({"web_search", "tool_search"} <= kinds) == (provider is R)
    assert not names & {"web_search", "tool_search"}
    assert got.code == 0


async def test_sealed_reasoning_goes_back_to_its_maker_only(
    place: CodexPlace, tmp_path: Path
) -> None:
    said = responses_streams.message("Thought about.")
    thinking = responses_streams.response(responses_streams.reasoning("hm"), said)
    script = sse([responses_streams.stream_of(thinking)])
    for number, provider in enumerate((R, M, C, R)):
        answer: Script | Reply = script if provider is R else HELLO
        async with pair_world(tmp_path / f"h{number}", R, provider, answer) as pair:
            resumed = ("resume", "--last") if number else ()
            got = await place.codex(pair.gateway.url, *resumed, "--", "think")
            (body,) = pair.bodies
        assert got.code == 0, got.error or got.err
        assert (SEALED in str(body)) == (number == 3)
    assert check_input(body, [SEALED]) == []


@UPSTREAMS
async def test_a_refused_request_is_told_at_once(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    body = error_body(provider, "invalid_request_error", "this is not how to ask")
    async with pair_world(tmp_path / "h", R, provider, respond(400, JSON_TYPE, body)) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        assert len(pair.requests) == 1
    assert got.code != 0
    assert "this is not how to ask" in got.error


TOO_LONG = {
    R: (
        "invalid_request_error",
        "Your input exceeds the context window.",
        "context_length_exceeded",
    ),
    M: ("invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum", None),
    C: (
        "invalid_request_error",
        "Please reduce the length of the messages or completion.",
        "context_length_exceeded",
    ),
}


@UPSTREAMS
async def test_a_conversation_that_is_too_long_is_told_in_its_words(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    body = error_body(provider, *TOO_LONG[provider])
    script: Script = respond(400, JSON_TYPE, body)
    if provider is R:
        # To Codex itself the vendor says so inside the stream.
        error = {"code": "context_length_exceeded", "message": "Your input is too long."}
        failed = responses_streams.response(status="failed", usage=None, error=error)
        script = sse([responses_streams.Script().opening().end(failed, "failed")])
    async with pair_world(tmp_path / "h", R, provider, script) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        assert len(pair.requests) == 1
    assert got.code != 0
    assert "context window" in got.error


EMPTY: Mapping[Protocol, Callable[[], Script]] = {
    M: lambda: respond(
        400, JSON_TYPE, error_body(M, "invalid_request_error", "Your credit balance is too low")
    ),
    C: lambda: respond(
        429, JSON_TYPE, error_body(C, "insufficient_quota", "pay first", "insufficient_quota")
    ),
}


@TRANSLATED
async def test_an_empty_account_is_told_at_once(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, EMPTY[provider]()) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        asked = len(pair.requests)
    assert got.code != 0
    assert "quota" in got.error.lower() or "credit" in got.error.lower()
    assert asked <= 2


@UPSTREAMS
async def test_a_rate_limit_in_a_stream_is_waited_for(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    words = "Rate limit reached. Please try again in 0.5s."
    opening = b"".join(events(provider, Reply("word " * 20))[:6])
    errors = {
        R: _failed("rate_limit_exceeded", words),
        M: b"event: error\ndata: " + error_body(M, "rate_limit_error", words) + b"\n\n",
        C: b"data: " + error_body(C, "rate_limit_error", words, "rate_limit_exceeded") + b"\n\n",
    }
    left: list[Script] = [sse([opening + errors[provider]])]
    answer: Vendor = lambda body: left.pop() if left else HELLO  # noqa: E731
    async with pair_world(tmp_path / "h", R, provider, answer) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        assert len(pair.requests) == 2
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err


def _failed(code: str, words: str) -> bytes:
    error = {"code": code, "message": words}
    failed = responses_streams.response(status="failed", usage=None, error=error)
    event = {"type": "response.failed", "sequence_number": 99, "response": failed}
    return b"event: response.failed\ndata: " + json.dumps(event).encode() + b"\n\n"


@UPSTREAMS
async def test_another_models_name_is_fine(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    renamed = stream(provider, HELLO)
    for name in (b"gpt-5.5", b"claude-opus-5-5", b"gpt-oss-120b"):
        renamed = renamed.replace(name, b"brand-new-1")
    async with pair_world(tmp_path / "h", R, provider, sse([renamed])) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        turns = await pair.gateway.turns()
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    assert turns[-1]["model_served"] == "brand-new-1"


@UPSTREAMS
async def test_stopping_it_stops_the_provider(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    opened = b"".join(events(provider, Reply("word " * 20))[:6])
    script = steps(send(SSE_HEAD + http_chunk(opened)), hang())
    async with pair_world(tmp_path / "h", R, provider, script) as pair:
        await place.codex(pair.gateway.url, "--", "a story", timeout_s=6)
        await pair.upstream.all_gone()
        turns = await pair.gateway.turns()
    assert turns[-1]["status"] == "cancelled"


@TRANSLATED
async def test_a_provider_that_is_down_costs_few_requests(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, respond(500, JSON_TYPE, b"{}")) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        asked = len(await pair.gateway.turns())
    assert got.code != 0
    # Left alone it asks five times for each of six streams; the third answer tells it to stop,
    # which it hears when the first stream is given up.
    assert asked == 5


async def test_a_model_that_writes_free_text_badly_is_told_so(
    place: CodexPlace, tmp_path: Path
) -> None:
    left: list[Any] = [HELLO, free_text(M, "apply_patch", "nonsense")]
    async with pair_world(tmp_path / "h", R, M, lambda body: left.pop()) as pair:
        got = await place.codex(pair.gateway.url, "--", "fix it")
        last = str(pair.bodies[-1]["messages"][-1])
    assert got.code == 0
    assert "patch" in last.lower()
    assert "tool_result" in last
