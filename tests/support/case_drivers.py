"""The cases of the fault matrix once more, driven by the official SDKs and by replayed sessions.

``fault_world.Lane.run`` plays a case with raw HTTP. With ``Lane.is_driven`` it is played twice more
before that, each time followed by the same checks (``World.settle``):

- by the SDK of the client's protocol, whose caller must be told what the raw answer says: the same
  text, calls and reason to stop, or an exception of the SDK with the same status and words;
- in the middle of a session as an agent has it (side call, question, tool call, its result): the
  fault meets the request with the tool's result, which is then sent once more, byte for byte, and
  must be answered as if nothing had been.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
from agent_bodies import background_call, codex_turn, encode, item, main_turn, user
from sdk_drivers import StreamFailedError, driving
from vendor_replies import Call, Reply, answering

from providers.types import Protocol

if TYPE_CHECKING:
    from fault_world import Case, Got, Lane

Json = dict[str, Any]
M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT

_ERRORS = (
    anthropic.APIError,
    openai.APIError,
    StreamFailedError,
    httpx2.HTTPError,
    ValueError,
    LookupError,
    # What the helpers meet in a stream that they take for whole although it is not.
    AssertionError,
    RuntimeError,
    TypeError,
    AttributeError,
)
_CUT_SHORT: dict[type[Exception], str] = {
    openai.LengthFinishReasonError: "max_tokens",
    openai.ContentFilterFinishReasonError: "refusal",
}
_numbers = itertools.count()


@dataclass(slots=True)
class Outcome:
    """What the caller of an SDK got."""

    text: str = ""
    calls: list[tuple[str, Json]] = field(default_factory=list)
    stop: str | None = None
    error: str = ""
    status: int | None = None
    """Of the exception; ``None`` for one in the middle of a stream."""


async def by_sdk(lane: Lane, case: Case, *, streamed: bool, key: str, prompt: str) -> Outcome:
    """One request with the SDK of the lane's client, which does not repeat it."""
    fields = dict(line.split(": ", 1) for line in case.headers)
    more: Json = {"extra_headers": fields, "extra_body": dict(case.ask)}
    lane.world.asked += 1
    async with driving(lane.client, lane.world.gateway.url, key=key) as driver:
        history = driver.user(f"{prompt} by SDK {next(_numbers)}")
        try:
            seen = await (driver.stream if streamed else driver.ask)(history, **more)
        except tuple(_CUT_SHORT) as error:
            return Outcome(stop=_CUT_SHORT[type(error)])
        except _ERRORS as error:
            return Outcome(error=f"{error} {error!r}", status=getattr(error, "status_code", None))
    return Outcome(seen.text, seen.calls, seen.stop)


def check_outcome(outcome: Outcome, case: Case, got: Got) -> None:
    """The SDK's caller was told what the raw answer to the same case says."""
    seen = case.seen
    if seen.status >= 400:
        assert outcome.status == seen.status, outcome
        assert seen.words in outcome.error, outcome
        return
    if case.relayed:
        return
    if got.told.stop is None:
        assert outcome.error, ("the SDK took it for whole", outcome)
        assert seen.words in outcome.error, outcome
        return
    assert not outcome.error, outcome
    assert outcome.stop == got.told.stop, outcome
    if got.told.stop in ("max_tokens", "refusal") and not outcome.text:
        return
    assert outcome.text == got.told.text, outcome
    assert outcome.calls == got.told.arguments, outcome


# -- sessions -----------------------------------------------------------------------------------

_CALLED = Call("Read", {"path": "notes.txt"}, "call_first")
_FIELDS: Mapping[Protocol, tuple[str, ...]] = {
    M: (
        "user-agent: claude-cli/9.9.9 (external, cli)",
        "x-app: cli",
        "anthropic-version: 2023-06-01",
        "anthropic-beta: brand-new-2026-01-01",
    ),
    R: ("user-agent: codex_cli_rs/9.9.9 (Linux; x86_64)", "originator: codex_cli_rs"),
    C: ("user-agent: an-agent/1.0",),
}


def _side_call(client: Protocol, words: str) -> Json | None:
    if client is M:
        return background_call("Write a short title for this session.", words)
    return None


def _first(client: Protocol, words: str) -> Json:
    if client is M:
        return main_turn(user(words))
    if client is R:
        return codex_turn(item("user", words))
    function = {"name": "Read", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    messages = [{"role": "system", "content": "An agent."}, {"role": "user", "content": words}]
    return {"model": "gpt-5.5", "stream": True, "messages": messages, "tools": tools}


def _second(client: Protocol, first: Json, call_id: str, result: str) -> Json:
    """The next request, which has the call that was answered and what the tool gave."""
    if client is R:
        call = {"type": "function_call", "name": "Read", "arguments": json.dumps(_CALLED.arguments)}
        done = {"type": "function_call_output", "call_id": call_id, "output": result}
        return first | {"input": [*first["input"], call | {"call_id": call_id}, done]}
    if client is M:
        used = {"type": "tool_use", "id": call_id, "name": "Read", "input": _CALLED.arguments}
        done = {"type": "tool_result", "tool_use_id": call_id, "content": result}
        said = {"role": "assistant", "content": [used]}
        told = {"role": "user", "content": [done]}
        return first | {"messages": [*first["messages"], said, told]}
    function = {"name": "Read", "arguments": json.dumps(_CALLED.arguments)}
    asked = {"id": call_id, "type": "function", "function": function}
    turns: list[Json] = [
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]
    return first | {"messages": [*first["messages"], *turns]}


@dataclass(slots=True)
class Session:
    """One agent at work; ``faulted`` is the request that a case is played on."""

    lane: Lane
    words: str
    fields: tuple[str, ...]
    faulted: bytes = b""
    asked: int = 0

    async def begin(self, ask: Mapping[str, Any], *, streamed: bool) -> None:
        """Everything up to the tool's result, all of it answered well."""
        client = self.lane.client
        side = _side_call(client, self.words)
        if side is not None:
            await self._well(encode(side))
        first = _first(client, self.words)
        answer = answering(self.lane.provider, Reply("", (_CALLED,)), streamed=True)
        self.lane.play(answer)
        got = await self._ask(encode(first))
        assert (got.status, got.told.stop) == (200, "tool"), got.body
        assert got.told.arguments == [("Read", _CALLED.arguments)]
        second = _second(client, first, got.told.ids[0], "milk and bread")
        self.faulted = encode(second | {"stream": streamed} | dict(ask))

    async def meet(self, more: tuple[str, ...]) -> Got:
        """The request that meets the fault."""
        return await self._ask(self.faulted, more)

    async def repeat(self) -> None:
        """The same once more, answered now."""
        await self._well(self.faulted)

    async def _well(self, body: bytes) -> None:
        self.lane.play(self.lane.well)
        got = await self._ask(body)
        assert (got.status, got.told.stop) == (200, "end"), got.body
        sent = self.lane.upstream.requests[-1].body
        assert sent == body or not self.lane.is_native

    async def _ask(self, body: bytes, more: tuple[str, ...] = ()) -> Got:
        self.asked += 1
        return await self.lane.ask(body=body, headers=(*self.fields, *more))


def session_of(lane: Lane, prompt: str) -> Session:
    """A new session of the lane's agent."""
    number = next(_numbers)
    fields = _FIELDS[lane.client]
    if lane.client is M:
        fields += (f"x-claude-code-session-id: session-{number}",)
    return Session(lane, f"{prompt} in session {number}", fields)
