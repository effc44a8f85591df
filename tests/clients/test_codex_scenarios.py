"""What people do with Codex, on OpenAI and where there is only Anthropic or a Chat provider.

Run by ``make test-clients``. ``LIMITS`` names what a provider cannot do at all, and why; there the
run must end at once, with the reason in words that its user reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import responses_streams
from codex_vendors import HELLO, C, M, R, Vendor, free_text, has_results, results_in, twice
from pair_world import pair_world
from real_codex import CodexPlace
from scripted_upstream import Script, close, respond, send, sse, steps
from scripted_upstream import chunk as http_chunk
from sdk_drivers import PIXEL
from vendor_replies import JSON_TYPE, Call, Reply, error_body, error_event, events, stream

from providers.types import Protocol

pytestmark = pytest.mark.clients

PATCH = (
    "*** Begin Patch\n*** Update File: calc.py\n@@\n def add(a, b):\n"
    "-    return a - b\n+    return a + b\n*** End Patch\n"
)
LITE = "gpt-6.1-sol"
UNKNOWN = "gw/auto"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of Codex, and what must come of it."""

    vendor: Callable[[Protocol], Vendor]
    says: str = HELLO.text
    stdin: bytes | None = None
    """Codex puts it below the prompt."""
    model: str = "gpt-5.5"
    args: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    turns: int = 1
    """Later ones go on with the first one's session."""
    repairs: bool = False
    """Whether the file is right afterwards."""
    reached: str = ""
    """What the provider must have been told in the end."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What cannot be done at a provider."""

    reason: str
    words: str
    """Of the error that its user reads."""


LIMITS: Mapping[tuple[str, Protocol], Limit] = {
    ("remote compaction", M): Limit(
        "only OpenAI can write, and later read, the sealed item that a compaction ends in; "
        "Codex asks for one only where its provider is OpenAI itself",
        "compaction_trigger",
    ),
    ("remote compaction", C): Limit("the same", "compaction_trigger"),
    ("a picture", C): Limit("the provider's model sees no pictures", "vision"),
    ("a prompt of 600 kB", C): Limit(
        "it has more tokens than the window of the provider's model", "context window"
    ),
}


def plain(provider: Protocol) -> Vendor:
    return lambda body: HELLO


def in_turn(provider: Protocol, *plan: Reply | Script) -> Vendor:
    """A model that goes on to the next step with each result it gets."""
    return lambda body: plan[min(results_in(provider, body), len(plan) - 1)]


def classic(provider: Protocol) -> Vendor:
    look = Call("exec_command", {"cmd": "cat calc.py"}, "call_look")
    again = Call("exec_command", {"cmd": "cat calc.py"}, "call_again")
    return in_turn(
        provider,
        Reply("I will read it.", (look,)),
        free_text(provider, "apply_patch", PATCH),
        Reply(calls=(again,)),
        HELLO,
    )


def lite(provider: Protocol) -> Vendor:
    look = "text(await tools.exec_command({cmd:'cat calc.py'}))"
    patch = f"text(await tools.apply_patch({json.dumps(PATCH)}))"
    return in_turn(
        provider,
        free_text(provider, "exec", look, "call_look"),
        free_text(provider, "exec", patch, "call_patch"),
        HELLO,
    )


def unknown(provider: Protocol) -> Vendor:
    edit = Call("exec_command", {"cmd": "sed -i 's/a - b/a + b/' calc.py"}, "call_edit")
    return in_turn(provider, Reply(calls=(edit,)), HELLO)


def delegating(provider: Protocol) -> Vendor:
    """A model that has another agent look, waits for it, and answers."""
    task = {"task_name": "look", "message": "Look at the code.", "fork_turns": "none"}
    parent = in_turn(
        provider,
        _collaboration(provider, "spawn_agent", task),
        _collaboration(provider, "wait_agent", {"timeout_ms": 20_000}),
        HELLO,
    )

    def vendor(body: dict[str, Any]) -> Reply | Script:
        is_child = "NEW_TASK" in str(body)
        if is_child:
            assert "Look at the code." in str(body)
            return Reply("SEEN by the child.")
        return parent(body)

    return vendor


def _collaboration(provider: Protocol, name: str, arguments: dict[str, Any]) -> Reply | Script:
    if provider is not R:
        return Reply(calls=(Call(f"collaboration__{name}", arguments, f"call_{name}"),))
    written = json.dumps(arguments)
    item = responses_streams.call(name, written, f"call_{name}", namespace="collaboration")
    return sse([responses_streams.stream_of(responses_streams.response(item))])


def forgetting(provider: Protocol) -> Vendor:
    """A model that leaves out the text of a free-text tool."""
    if provider is R:
        return in_turn(provider, free_text(provider, "apply_patch", ""), HELLO)
    return in_turn(provider, Reply(calls=(Call("apply_patch", {}, "call_patch"),)), HELLO)


def summing_up(provider: Protocol) -> Vendor:
    """A model that sums the conversation up when it is asked to, in words or sealed."""

    def vendor(body: dict[str, Any]) -> Reply | Script:
        last = str((body.get("input") or body["messages"])[-1])
        if "compaction_trigger" in last:
            item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "b3BhcXVl"}
            return sse([responses_streams.stream_of(responses_streams.response(item))])
        is_asked = "CONTEXT CHECKPOINT COMPACTION" in last
        return Reply("SUMMARY: they said hello.") if is_asked else HELLO

    return vendor


def schema(provider: Protocol) -> Vendor:
    def vendor(body: dict[str, Any]) -> Reply:
        asked = "json_schema" in str(body) and "'verdict'" in str(body)
        return Reply('{"verdict":"fine"}') if asked else Reply("no schema came")

    return vendor


def failing(status: int, retry_after: str = "1") -> Callable[[Protocol], Vendor]:
    def of(provider: Protocol) -> Vendor:
        body = error_body(provider, "server_error", "not now")
        return twice(respond(status, [*JSON_TYPE, (b"retry-after", retry_after.encode())], body))

    return of


def dropping(provider: Protocol) -> Vendor:
    return twice(close())


def cutting(provider: Protocol) -> Vendor:
    begun = b"".join(events(provider, Reply("word " * 20))[:6])
    return twice(steps(send(_HEAD + http_chunk(begun)), close()), times=1)


def erring(provider: Protocol) -> Vendor:
    begun = b"".join(events(provider, Reply("word " * 20))[:6])
    return twice(sse([begun + error_event(provider, "overloaded")]), times=1)


def inventing(provider: Protocol) -> Vendor:
    """Events and fields that nobody has heard of."""
    first, *rest = events(provider, HELLO)
    strange = b'event: brand.new\ndata: {"type":"brand.new","x":[1e400]}\n\n'
    if provider is C:
        strange = b'data: {"id":"c","object":"brand.new","choices":[],"x":{"y":1}}\n\n'
    return lambda body: sse([first + strange + b": a comment\n\n" + b"".join(rest)])


def sparing(provider: Protocol) -> Vendor:
    """No usage at all."""
    if provider is C:
        found = [e for e in events(C, HELLO) if b'"usage":{' not in e.replace(b" ", b"")]
        return lambda body: sse([b"".join(found)])
    if provider is R:
        item = responses_streams.message(HELLO.text)
        bare = responses_streams.response(item, usage=None)
        return lambda body: sse([responses_streams.stream_of(bare)])
    return lambda body: sse([stream(M, HELLO).replace(b'"usage"', b'"elsewhere"')])


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = Reply("word " * 2_000)
SOON = {"model_auto_compact_token_limit": "90"}
AS_OPENAI = {"model_providers.gw.name": "OpenAI", **SOON}

SCENARIOS: Mapping[str, Scenario] = {
    "a plain answer": Scenario(plain),
    "a tool loop, classic": Scenario(classic, repairs=True, reached="return a + b"),
    "a tool loop, responses-lite": Scenario(lite, model=LITE, repairs=True),
    "a tool loop, unknown model": Scenario(unknown, model=UNKNOWN, repairs=True),
    "a sub-agent": Scenario(delegating, model=LITE, reached="SEEN by the child."),
    "a session that goes on": Scenario(classic, turns=2, repairs=True),
    "a free-text tool without its text": Scenario(forgetting),
    "a compaction": Scenario(summing_up, settings=SOON, turns=2, reached="SUMMARY: they said"),
    "remote compaction": Scenario(summing_up, settings=AS_OPENAI, turns=2, reached="b3BhcXVl"),
    "a schema for the answer": Scenario(
        schema, says='{"verdict":"fine"}', args=("--output-schema", "schema.json")
    ),
    "a picture": Scenario(plain, args=("-i", "pixel.png"), reached=PIXEL[:20]),
    "a prompt of 600 kB": Scenario(plain, stdin=b"a line of a long file\n" * 27_000),
    "a long answer": Scenario(lambda provider: lambda body: LONG, says=LONG.text.strip()),
    "no usage": Scenario(sparing),
    "unknown events": Scenario(inventing),
    "429 twice": Scenario(failing(429)),
    "500 twice": Scenario(failing(500, "0")),
    "503 twice": Scenario(failing(503, "0")),
    "529 twice": Scenario(failing(529, "0")),
    "dropped twice": Scenario(dropping),
    "a stream cut once": Scenario(cutting),
    "an error in a stream once": Scenario(erring),
}


@pytest.mark.parametrize("provider", [R, M, C], ids=["openai", "anthropic", "chat"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_it_works_or_says_why_not(
    name: str, provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    scenario, limit = SCENARIOS[name], LIMITS.get((name, provider))
    async with pair_world(tmp_path / "h", R, provider, scenario.vendor(provider)) as pair:
        got = None
        for turn in range(scenario.turns):
            resumed = ("resume", "--last") if turn else ()
            got = await place.codex(
                pair.gateway.url,
                *resumed,
                *scenario.args,
                "--",
                "say hello",
                model=scenario.model,
                settings=scenario.settings,
                stdin=scenario.stdin,
            )
        told = len(pair.requests)
        last = str([r.body for r in pair.requests])
    assert got is not None
    if limit is not None:
        assert got.code != 0
        assert limit.words in got.error
        assert told == scenario.turns - 1
        return
    assert (got.code, got.text.strip()) == (0, scenario.says), got.error or got.err
    if scenario.repairs:
        assert "a + b" in (place.project / "calc.py").read_text()
    assert scenario.reached in last


@pytest.mark.parametrize("provider", [M, C], ids=["anthropic", "chat"])
async def test_a_tool_of_free_text_comes_through_byte_for_byte(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, classic(provider)) as pair:
        await place.codex(pair.gateway.url, "--", "fix it")
        bodies = pair.bodies
    (tool,) = [tool for tool in _tools(provider, bodies[0]) if tool["name"] == "apply_patch"]
    assert "the string argument `input`" in tool["description"]
    assert "*** Begin Patch" in tool["description"]
    assert has_results(provider, bodies[2])
    assert {"input": PATCH} in _arguments(provider, bodies[2])


def _tools(provider: Protocol, body: dict[str, Any]) -> list[dict[str, Any]]:
    tools = body["tools"]
    return [tool["function"] for tool in tools] if provider is C else list(tools)


def _arguments(provider: Protocol, body: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for message in body["messages"]:
        if message["role"] != "assistant":
            continue
        if provider is C:
            calls = message.get("tool_calls") or []
            found += [json.loads(call["function"]["arguments"]) for call in calls]
        else:
            found += [b["input"] for b in message["content"] if b["type"] == "tool_use"]
    return found
