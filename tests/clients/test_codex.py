"""The real Codex on each kind of upstream, and Claude Code on one that speaks Chat Completions.

Run by ``make test-clients``. What cannot work, and ends in a clear error instead:
- a prompt larger than the window of the model that serves it: 400 ``context_length_exceeded``;
- a free-text tool (``apply_patch``) on an upstream without such tools, where the model writes
  something else than ``{"input": TEXT}``: the tool gets the arguments as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import real_claude
import real_codex
import responses_streams
from live_gateway import KEY
from pair_world import Pair, pair_world
from real_codex import CodexPlace
from scripted_upstream import Script, hang, head, respond, send, sse, steps
from scripted_upstream import chunk as http_chunk
from vendor_replies import JSON_TYPE, Call, Reply, error_body, events

from providers.types import Protocol

pytestmark = pytest.mark.clients

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
UPSTREAMS = pytest.mark.parametrize("provider", [R, M, C], ids=["openai", "anthropic", "chat"])
PATCH = (
    "*** Begin Patch\n*** Update File: calc.py\n@@\n def add(a, b):\n"
    "-    return a - b\n+    return a + b\n*** End Patch\n"
)
SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
RESULTS = {
    M: "'type': 'tool_result'",
    C: "'role': 'tool'",
    R: "_call_output'",
}


@pytest.fixture(scope="session")
def program() -> Path:
    found = real_codex.install()
    if found is None:
        pytest.skip("npm is not installed")
    return found


@pytest.fixture
def place(tmp_path: Path, program: Path) -> CodexPlace:
    made = CodexPlace(tmp_path / "client", program)
    (made.project / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    return made


def patching(provider: Protocol) -> Reply | Script:
    """A call of the free-text tool, as a model of this provider makes it."""
    if provider is not R:
        return Reply(calls=(Call("apply_patch", {"input": PATCH}, "call_patch"),))
    item = responses_streams.custom_call("apply_patch", PATCH, "call_patch")
    return sse([responses_streams.stream_of(responses_streams.response(item))])


def mender(provider: Protocol) -> Callable[[dict[str, Any]], Reply | Script]:
    """A model that looks at the file, patches it, looks again, and says so."""
    looks = Call("exec_command", {"cmd": "cat calc.py"}, "call_look")
    again = Call("exec_command", {"cmd": "cat calc.py"}, "call_again")
    plan: list[Reply | Script] = [
        Reply("I will read it.", (looks,)),
        patching(provider),
        Reply(calls=(again,)),
        Reply("DONE fixed add."),
    ]

    def vendor(body: dict[str, Any]) -> Reply | Script:
        return plan[min(str(body).count(RESULTS[provider]), 3)]

    return vendor


@UPSTREAMS
async def test_it_answers(provider: Protocol, place: CodexPlace, tmp_path: Path) -> None:
    async with pair_world(tmp_path / "h", R, provider, Reply("HELLO there.")) as pair:
        got = await place.codex(pair.gateway.url, "--", "say hello")
        turns = await pair.gateway.turns()
    assert (got.code, got.text) == (0, "HELLO there."), got.error or got.err
    assert turns[-1]["client"] == "codex"
    assert {turn["status"] for turn in turns} == {"completed"}


@UPSTREAMS
async def test_it_reads_patches_and_reads_again(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, mender(provider)) as pair:
        got = await place.codex(pair.gateway.url, "--", "fix the bug")
        assert (got.code, got.text) == (0, "DONE fixed add."), got.error or got.err
        assert "a + b" in (place.project / "calc.py").read_text()
        last = str(pair.bodies[-1])
        assert "return a - b" in last
        assert "return a + b" in last
        again = await place.codex(pair.gateway.url, "resume", "--last", "--", "thank you")
        assert again.code == 0, again.error or again.err


@UPSTREAMS
async def test_a_model_it_does_not_know(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    edit = Call("exec_command", {"cmd": "sed -i 's/a - b/a + b/' calc.py"}, "call_edit")

    def vendor(body: dict[str, Any]) -> Reply:
        has_result = RESULTS[provider] in str(body)
        return Reply("DONE unknown.") if has_result else Reply(calls=(edit,))

    async with pair_world(tmp_path / "h", R, provider, vendor) as pair:
        got = await place.codex(pair.gateway.url, "--", "fix it", model="gw/auto")
    assert (got.code, got.text) == (0, "DONE unknown."), got.error or got.err
    assert "a + b" in (place.project / "calc.py").read_text()


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


@pytest.mark.parametrize("provider", [M, C], ids=["anthropic", "chat"])
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


@UPSTREAMS
async def test_a_web_socket_is_tried_once_and_costs_nothing(
    provider: Protocol, place: CodexPlace, tmp_path: Path
) -> None:
    async with pair_world(tmp_path / "h", R, provider, Reply("HELLO there.")) as pair:
        switch = ["-c", "model_providers.gw.supports_websockets=true"]
        got = await place.codex(pair.gateway.url, *switch, "--", "say hello")
    assert (got.code, got.text) == (0, "HELLO there."), got.error or got.err


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


async def test_claude_code_on_a_chat_upstream(tmp_path: Path) -> None:
    claude = real_claude.install()
    if claude is None:
        pytest.skip("npm is not installed")
    place = real_claude.Workplace(tmp_path / "client", claude)
    file = place.project / "notes.txt"

    def vendor(body: dict[str, Any]) -> Reply:
        if RESULTS[C] in str(body):
            return Reply("DONE reading.")
        return Reply("I will look.", (Call("Read", {"file_path": str(file)}),))

    async with pair_world(tmp_path / "h", M, C, vendor) as pair:
        got = await _claude(place, pair, "read the notes", "--allowedTools", "Read")
        turns = await pair.gateway.turns(2)
        assert got.result["result"] == "DONE reading.", got.out
        assert "the answer is 42" in str(pair.bodies[-1])
        pair.play(Reply("HELLO there."))
        again = await _claude(place, pair, "say hello", "--continue")
        assert again.result["result"] == "HELLO there."
    assert {turn["provider"] for turn in turns} == {"groq"}
    assert {turn["status"] for turn in turns} == {"completed"}


async def _claude(place: real_claude.Workplace, pair: Pair, *args: str) -> real_claude.Outcome:
    env = place.env(ANTHROPIC_BASE_URL=pair.gateway.url, ANTHROPIC_API_KEY=KEY)
    return await place.run(str(place.program), "-p", *args, "--output-format", "json", env=env)
