"""A native stream whose client has the last event already: what happens then changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pair_world import PROTOCOLS, SHORT, Pair, pair_world
from scripted_upstream import Script, chunk, close, hang, head, reset, send, steps
from vendor_replies import Call, Reply, events
from wire_readers import faults_of, read_stream

from providers.types import Protocol

REPLY = Reply("Hello there, my friend.", (Call("shell", {"cmd": "ls"}),))
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
TARGETS = {
    Protocol.MESSAGES: "/v1/messages",
    Protocol.RESPONSES: "/v1/responses",
    Protocol.CHAT: "/v1/chat/completions",
}
natives = pytest.mark.parametrize("protocol", PROTOCOLS, ids=SHORT.get)


def body_of(protocol: Protocol, model: str) -> bytes:
    body: dict[str, Any] = {"model": model, "stream": True}
    if protocol is Protocol.RESPONSES:
        body |= {"input": "hi", "store": False}
    else:
        body |= {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    return json.dumps(body).encode()


async def answer(pair: Pair, then: Callable[[], Awaitable[None]]) -> bytes:
    """The bytes of an answer; ``then`` happens once the last event of it has arrived."""
    last = events(pair.provider, REPLY)[-1]
    response = await pair.gateway.open(
        target=TARGETS[pair.client], body=body_of(pair.client, pair.driver.model)
    )
    got = b""
    while not got.endswith(last):
        got += await response.read()
    await then()
    got += await response.read_all(1 << 20)
    await response.aclose()
    return got


async def check(tmp_path: Path, protocol: Protocol, after: Script, *, stops: bool) -> None:
    may_go_on = asyncio.Event()
    whole = b"".join(map(chunk, events(protocol, REPLY)))

    async def rest(peer: Any) -> None:
        await may_go_on.wait()
        await after(peer)

    script = steps(send(SSE_HEAD + whole), rest)
    async with pair_world(tmp_path / "h", protocol, protocol, script) as pair:

        async def then() -> None:
            may_go_on.set()
            if stops:
                await pair.gateway.gateway.stop()

        got = await answer(pair, then)
        assert got == b"".join(events(protocol, REPLY))
        assert faults_of(protocol, got) == []
        told = read_stream(protocol, got)
        assert (told.text, told.stop, told.error) == (REPLY.text, "tool", None)
        if not stops:
            (turn,) = await pair.turns()
            assert (turn["status"], turn["usage_source"]) == ("completed", "provider_final")
            assert (turn["error_type"], turn["error_message"]) == (None, None)
            assert [one["outcome"] for one in turn["attempts_detail"]] == ["success"]


@natives
@pytest.mark.parametrize(
    "after",
    [close(), reset(), send(b"no chunk\r\n"), send(b"ffffffffffffffffffff\r\n")],
    ids=["close", "reset", "nonsense", "huge chunk"],
)
async def test_a_vendor_that_breaks_after_the_last_event(
    protocol: Protocol, after: Script, tmp_path: Path
) -> None:
    await check(tmp_path, protocol, after, stops=False)


@natives
async def test_a_shutdown_after_the_last_event_adds_no_word(
    protocol: Protocol, tmp_path: Path
) -> None:
    await check(tmp_path, protocol, hang(), stops=True)
