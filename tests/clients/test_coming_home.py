"""A session of a real client that visited other providers goes on with its vendor, without us.

Run by ``make test-clients``. The vendor here checks what it is sent as strictly as the real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import real_claude
import responses_streams
from anthropic_rules import check_history, sign
from anthropic_streams import (
    MESSAGE_STOP,
    block_stop,
    input_json_delta,
    message_delta,
    message_start,
    signature_delta,
    text_delta,
    text_start,
    thinking_delta,
    thinking_start,
    tool_start,
)
from codex_vendors import HELLO, C, M, R, free_text, results_in
from live_gateway import KEY
from pair_world import pair_world, vendor_route
from real_claude import Workplace
from real_codex import CodexPlace
from responses_rules import check_input
from scripted_upstream import Request, Script, ScriptedUpstream, respond, sse
from vendor_replies import Call, Reply

from providers.types import Protocol

pytestmark = pytest.mark.clients

SEALED = "b3BhcXVl"
USAGE = {"input_tokens": 9, "output_tokens": 1}


async def test_codex_comes_home(place: CodexPlace, tmp_path: Path) -> None:
    """OpenAI, Anthropic, a Chat provider, then OpenAI without the gateway."""
    for number, provider in enumerate((R, M, C)):
        async with pair_world(tmp_path / f"h{number}", R, provider) as pair:
            pair.play(_visit(provider, number))
            resumed = ("resume", "--last") if number else ()
            got = await place.codex(pair.gateway.url, *resumed, "--", f"visit {number}")
        assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    async with ScriptedUpstream() as vendor:
        vendor.route = _without_version(vendor_route(R, HELLO))
        got = await place.codex(vendor.base_url, "resume", "--last", "--", "home again")
        body = json.loads(vendor.requests[-1].body)
    assert (got.code, got.text) == (0, HELLO.text), got.error or got.err
    assert check_input(body, [SEALED]) == []
    kinds = [item["type"] for item in body["input"]]
    assert kinds.count("reasoning") == 1
    assert kinds.count("function_call") == kinds.count("custom_tool_call") == 3
    assert sum("visit " in json.dumps(item) for item in body["input"]) == 3


def _visit(provider: Protocol, number: int) -> Any:
    """Calls of two kinds in one visit; the ids of each visit are the same, as some servers give."""
    look = Call("exec_command", {"cmd": "cat calc.py"}, "call_0")
    patch = free_text(provider, "apply_patch", "*** no patch", "call_1")
    before = 2 * number

    def vendor(body: dict[str, Any]) -> Reply | Script:
        results = results_in(provider, body)
        if results == before and provider is R:
            thought = responses_streams.reasoning("hm")
            item = responses_streams.call("exec_command", json.dumps(look.arguments), "call_0")
            return sse([responses_streams.stream_of(responses_streams.response(thought, item))])
        if results == before:
            return Reply("I look.", (look,))
        return patch if results == before + 1 else HELLO

    return vendor


def _without_version(route: Any) -> Any:
    def found(request: Request) -> Script:
        if request.target.partition(b"?")[0] != b"/v1/responses":
            return respond(404)
        return route(_Plain(request))  # type: ignore[no-any-return]

    return found


class _Plain:
    """The same request at the address that a provider is configured with."""

    def __init__(self, request: Request) -> None:
        self.target = request.target.removeprefix(b"/v1")
        self.body = request.body


async def test_claude_code_comes_home(tmp_path: Path) -> None:
    """Anthropic, a Chat provider, a Responses provider, then Anthropic without the gateway."""
    program = real_claude.install()
    if program is None:
        pytest.skip("npm is not installed")
    place = Workplace(tmp_path / "client", program)
    file = place.project / "notes.txt"
    for number, provider in enumerate((M, C, R)):
        async with pair_world(tmp_path / f"h{number}", M, provider) as pair:
            pair.play(_thinker(file) if provider is M else _reader(provider, file, 2 * number))
            env = place.env(ANTHROPIC_BASE_URL=pair.gateway.url, ANTHROPIC_API_KEY=KEY)
            more = ("--continue",) if number else ()
            got = await _claude(place, env, f"visit {number}", *more)
            foreign = str(pair.bodies[-1])
        assert got.result["result"] == HELLO.text, got.out
        if provider is not M:
            assert "a thought of the vendor" not in foreign
    async with ScriptedUpstream(route=vendor_route(M, HELLO)) as vendor:
        env = place.env(ANTHROPIC_BASE_URL=vendor.base_url, ANTHROPIC_API_KEY="sk-ant-api03-own")
        got = await _claude(place, env, "home again", "--continue")
        body = json.loads(vendor.requests[-1].body)
    assert got.result["result"] == HELLO.text, got.out
    assert check_history(body) == []
    text = json.dumps(body["messages"])
    assert text.count('"type": "tool_use"') == 5
    assert text.count("a thought of the vendor") == 1


async def _claude(
    place: Workplace, env: dict[str, str], prompt: str, *more: str
) -> real_claude.Outcome:
    # A signature is bound to the system prompt, which is the same for all runs in one place.
    argv = ["-p", prompt, "--allowedTools", "Read", *more, "--output-format", "json"]
    return await place.run(str(place.program), *argv, env=env)


def _thinker(file: Path) -> Any:
    def vendor(body: dict[str, Any]) -> Reply | Script:
        if results_in(M, body):
            return HELLO
        thought = "a thought of the vendor"
        signed = sign(body.get("system"), thought)
        return sse(
            [
                message_start(USAGE)
                + thinking_start(0)
                + thinking_delta(0, thought)
                + signature_delta(0, signed)
                + block_stop(0)
                + text_start(1)
                + text_delta(1, "I read it.")
                + block_stop(1)
                + tool_start(2, "Read", "toolu_01genuine")
                + input_json_delta(2, json.dumps({"file_path": str(file)}))
                + block_stop(2)
                + message_delta("tool_use", {"output_tokens": 9})
                + MESSAGE_STOP
            ]
        )

    return vendor


def _reader(provider: Protocol, file: Path, number: int) -> Any:
    """Two parallel calls with the ids that every answer of this provider has."""
    calls = tuple(Call("Read", {"file_path": str(file)}, f"call_{n}") for n in range(2))

    def vendor(body: dict[str, Any]) -> Reply:
        is_new = f"visit {number // 2}" in str((body.get("messages") or body["input"])[-1])
        return Reply("I read it.", calls) if is_new else HELLO

    return vendor
