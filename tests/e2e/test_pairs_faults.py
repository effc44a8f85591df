"""What each SDK makes of a provider that fails, for each client and provider protocol."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from live_gateway import Answer
from pair_world import CROSSED, PAIRS, Pair, pair_name, pair_world
from scripted_upstream import Script, chunk, close, head, reset, respond, send, sse, steps
from sdk_drivers import StreamFailedError
from vendor_replies import (
    JSON_TYPE,
    OUTPUT,
    Call,
    Reply,
    error_body,
    error_event,
    events,
    stream,
    whole,
)
from wire_readers import faults_of, read_stream

from providers.types import Protocol

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
TARGETS = {M: "/v1/messages", R: "/v1/responses", C: "/v1/chat/completions"}
HELLO = Reply("Hello there, my friend.")
CALL = Reply("Let me look.", (Call("get_weather", {"city": "Oslo, the capital"}),))
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])


@pytest_asyncio.fixture(params=PAIRS, ids=pair_name, scope="module", loop_scope="module")
async def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with pair_world(tmp_path_factory.mktemp("pair") / "h", *request.param) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def pair(running: Pair) -> Pair:
    return await running.anew()


crossed = pytest.mark.parametrize("running", CROSSED, indirect=True, ids=pair_name)
"""Only the pairs of two protocols; the others are relayed byte for byte."""


def begun(reply: Reply, protocol: Protocol, keep: float) -> list[bytes]:
    """The first part of a stream, in whole events."""
    found = events(protocol, reply)
    return found[: max(1, int(len(found) * keep))]


_numbers = itertools.count()


def question() -> str:
    """Words that no other request had: one that is repeated again and again is told to stop."""
    return f"question {next(_numbers)}"


async def raw(pair: Pair, *, streamed: bool = True, **more: Any) -> Answer:
    """The answer to a small request, as bytes."""
    words = question()
    bodies: dict[Protocol, dict[str, Any]] = {
        M: {"max_tokens": 50, "messages": [{"role": "user", "content": words}]},
        C: {"messages": [{"role": "user", "content": words}]},
        R: {"input": words, "store": False},
    }
    body = bodies[pair.client] | {"model": pair.driver.model, "stream": streamed} | more
    return await pair.gateway.ask(target=TARGETS[pair.client], body=body)


# ---------------------------------------------------------------- error answers

ERRORS = [
    (401, "authentication_error", "bad key"),
    (429, "rate_limit_error", "slow down"),
    (500, "api_error", "it broke"),
    (529, "overloaded_error", "too busy"),
]
EXCEPTIONS: dict[tuple[Protocol, int], tuple[str, int]] = {
    (M, 401): ("InternalServerError", 502),
    (M, 429): ("RateLimitError", 429),
    (M, 500): ("InternalServerError", 502),
    (M, 529): ("InternalServerError", 529),
    (R, 401): ("BadRequestError", 400),
    (R, 429): ("RateLimitError", 429),
    (R, 500): ("InternalServerError", 502),
    (R, 529): ("InternalServerError", 503),
    (C, 401): ("InternalServerError", 502),
    (C, 429): ("RateLimitError", 429),
    (C, 500): ("InternalServerError", 502),
    (C, 529): ("InternalServerError", 503),
}
"""A key or a model of ours that a provider refuses is not the client's fault, so no 401."""
NATIVE = {
    429: "RateLimitError",
    500: "InternalServerError",
    529: "InternalServerError",
}


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_error_answers_are_the_sdks_own_exceptions(pair: Pair, is_streamed: bool) -> None:
    for status, kind, words in ERRORS:
        body = error_body(pair.provider, kind, words)
        pair.play(respond(status, [*JSON_TYPE, (b"retry-after", b"20")], body))
        name, expected = EXCEPTIONS[pair.client, status]
        if pair.is_native and status in NATIVE:
            name, expected = NATIVE[status], status
        ask = pair.driver.stream if is_streamed else pair.driver.ask
        with pytest.raises(getattr(pair.driver.errors, name), match=words) as caught:
            await ask(pair.driver.user(question()))
        assert caught.value.status_code == expected
        assert len(pair.requests) == 1
        turn = (await pair.turns())[0]
        assert (turn["http_status"], turn["attempts_detail"][0]["status"]) == (expected, status)
        await pair.anew()


@crossed
async def test_waiting_times_reach_the_client_but_never_long_ones(pair: Pair) -> None:
    for wait, expected in ((b"7", ("7", None)), (b"3000", (None, "false"))):
        body = error_body(pair.provider, "rate_limit_error", "slow down")
        pair.play(respond(429, [*JSON_TYPE, (b"retry-after", wait)], body))
        got = await raw(pair)
        assert (got.header("retry-after"), got.header("x-should-retry")) == expected


# ---------------------------------------------------------------- streams that break


async def test_an_error_in_the_stream_is_an_exception(pair: Pair) -> None:
    part = begun(HELLO, pair.provider, 0.6)
    pair.play(sse([*part, error_event(pair.provider, "it broke inside")]))
    with pytest.raises((pair.driver.errors.APIError, StreamFailedError), match="it broke inside"):
        await pair.driver.stream(pair.driver.user(question()))
    turn = (await pair.turns())[0]
    assert turn["status"] == ("error" if pair.is_native else "partial")
    assert turn["attempts_detail"][0]["outcome"] == "error_event"
    assert len(pair.requests) == 1


def cut(part: list[bytes], how: str) -> Script:
    opened = send(SSE_HEAD + b"".join(chunk(event) for event in part))
    if how == "ended":
        return sse(part)
    return steps(opened, close() if how == "closed" else reset())


@pytest.mark.parametrize("how", ["ended", "closed", "reset"])
async def test_a_cut_stream_is_an_exception_and_runs_no_tool(pair: Pair, how: str) -> None:
    for keep in (0.55, 0.85):
        part = begun(CALL, pair.provider, keep)
        pair.play(cut(part, how))
        got = await raw(pair)
        told = read_stream(pair.client, got.body)
        assert got.status == 200
        assert (told.calls, told.stop) == ([], None)
        assert told.error
        assert told.text == "Let me look."
        with pytest.raises((pair.driver.errors.APIError, StreamFailedError)):
            await pair.driver.stream(
                pair.driver.user(question()), tools=pair.driver.tools("get_weather")
            )
        turns = await pair.turns(2)
        assert {turn["status"] for turn in turns} == {"partial"}
        assert len(pair.requests) == 2
        await pair.anew()


@crossed
async def test_nothing_of_a_stream_that_dies_before_its_content_is_seen(pair: Pair) -> None:
    opened = events(pair.provider, HELLO)[:1]
    good = sse([stream(pair.provider, HELLO)])
    for bad in (cut(opened, "closed"), cut(opened, "ended"), sse([b": hello\n\n"])):
        scripts = [bad, good]
        pair.play(lambda _, scripts=scripts: scripts.pop(0))  # type: ignore[misc]
        got = await raw(pair)
        assert faults_of(pair.client, got.body) == []
        assert read_stream(pair.client, got.body).text == HELLO.text
        turn = (await pair.turns())[0]
        assert [a["outcome"] for a in turn["attempts_detail"]][1:] == ["success"]
        await pair.anew()


# ---------------------------------------------------------------- answers that are none

EMPTY = Reply("")


@crossed
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_an_empty_answer_is_an_error_never_an_empty_success(
    pair: Pair, is_streamed: bool
) -> None:
    pair.play(EMPTY)
    got = await raw(pair, streamed=is_streamed)
    assert (got.status, "empty answer" in got.body.decode()) == (502, True)
    turn = (await pair.turns())[0]
    assert (turn["status"], turn["error_type"]) == ("failed", "empty")


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_a_web_page_is_an_error(pair: Pair, is_streamed: bool) -> None:
    page = b"<!DOCTYPE html><html>Sign in</html>"
    pair.play(respond(200, [(b"Content-Type", b"text/html")], page))
    got = await raw(pair, streamed=is_streamed)
    assert got.status == 502
    assert "web page" in got.body.decode()
    assert got.json["error"]["message"]


@crossed
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_an_error_inside_a_success_is_an_error(pair: Pair, is_streamed: bool) -> None:
    body = error_body(pair.provider, "server_error", "the model fell over")
    if pair.provider is M:
        body = error_body(M, "api_error", "the model fell over")
    pair.play(respond(200, JSON_TYPE, body))
    got = await raw(pair, streamed=is_streamed)
    assert (got.status, got.json["error"]["message"]) == (502, "the model fell over")
    pair.play(sse([error_event(pair.provider, "the model fell over")]))
    got = await raw(pair)
    assert got.status >= 500
    assert got.json["error"]["message"] == "the model fell over"


@crossed
async def test_invalid_utf_8_never_reaches_the_client(pair: Pair) -> None:
    found = stream(pair.provider, HELLO).replace(b"frien", b"fr\xffen")
    pair.play(sse([found]))
    got = await raw(pair)
    got.body.decode("utf-8")
    if got.status == 200:
        assert faults_of(pair.client, got.body) == []
        told = read_stream(pair.client, got.body)
        assert told.error or told.stop == "end"
    pair.play(respond(200, JSON_TYPE, whole(pair.provider, HELLO).replace(b"fri", b"f\xc3i")))
    got = await raw(pair, streamed=False)
    got.body.decode("utf-8")
    assert got.status == 502


@crossed
async def test_an_answer_that_is_not_streamed_becomes_a_stream(pair: Pair) -> None:
    pair.play(respond(200, JSON_TYPE, whole(pair.provider, CALL)))
    got = await raw(pair, tools=pair.driver.tools("get_weather"))
    assert faults_of(pair.client, got.body) == []
    told = read_stream(pair.client, got.body)
    assert (told.text, told.stop) == ("Let me look.", "tool")
    assert told.arguments == [("get_weather", {"city": "Oslo, the capital"})]
    assert told.output in (OUTPUT, None)


@pytest.mark.parametrize(
    "running", [p for p in CROSSED if p[1] is not M], indirect=True, ids=pair_name
)
@pytest.mark.parametrize("text", ["not json", '["a list"]', '{"city": "Os'])
async def test_arguments_that_are_no_object_are_kept_as_they_came(pair: Pair, text: str) -> None:
    reply = Reply(calls=(Call("get_weather", {"x": "BROKEN"}),))
    coded = json.dumps(json.dumps({"x": "BROKEN"})).encode()
    answer = whole(pair.provider, reply)
    assert coded in answer
    pair.play(respond(200, JSON_TYPE, answer.replace(coded, json.dumps(text).encode())))
    got = await raw(pair, tools=pair.driver.tools("get_weather"))
    told = read_stream(pair.client, got.body)
    assert told.arguments == [("get_weather", {"_raw": text})]
    assert told.stop == "tool"
