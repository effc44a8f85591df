"""Every curl line of the README, against a real gateway: what it says is what one gets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from anthropic_streams import TEXT
from live_gateway import LiveGateway, live_gateway
from readme_parts import ADDRESS, README, TURN_ID, Curl, call_of, curls_in
from scripted_upstream import Request, Script, ScriptedUpstream, respond, sse

from server.http import routes
from server.http.admin import create_app

MORE = "..."
"""Stands last in a list of fields that names only some."""

LINES = curls_in(README.read_text("utf-8"))

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 3},
}
COMPACT = {
    "durable_facts": ["The report page is slow."],
    "decisions_made": ["SQLite it is."],
    "files_changed": [],
    "open_questions": [],
    "next_actions": [],
    "context_to_discard": "",
}
MODEL = {
    "type": "model",
    "id": "claude-opus-5-5",
    "display_name": "Claude Opus 5.5",
    "created_at": "2026-01-01T00:00:00Z",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_800_000_000,
    "status": "completed",
    "model": "gpt-5.5",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
}
COMPLETION = {
    "id": "chatcmpl_1",
    "object": "chat.completion",
    "created": 1_800_000_000,
    "model": "gpt-5.5",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, or as much of it as came before it was left."""

    status: int
    media_type: str
    body: bytes


Run = Callable[[LiveGateway, str], Awaitable[Got]]


def vendor(request: Request) -> Script:
    """What the vendors answer."""
    path = request.target.partition(b"?")[0]
    asked = json.loads(request.body) if request.body else {}
    if path == b"/v1/messages" and asked.get("stream"):
        return sse([TEXT])
    is_compaction = "SQLite" in str(asked.get("messages"))
    said = json.dumps(COMPACT) if is_compaction else "Hello."
    bodies: dict[bytes, Any] = {
        b"/v1/messages": MESSAGE | {"content": [{"type": "text", "text": said}]},
        b"/v1/messages/count_tokens": {"input_tokens": 9},
        b"/v1/models": {"data": [MODEL], "has_more": False, "first_id": "a", "last_id": "a"},
        b"/v1/models/claude-opus-5-5": MODEL,
        b"/v1/responses": RESPONSE,
        b"/v1/chat/completions": COMPLETION,
    }
    if path not in bodies:
        return respond(404, [], b"{}")
    return respond(200, [(b"Content-Type", b"application/json")], json.dumps(bodies[path]).encode())


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[LiveGateway]:
    """A gateway that has served one turn, its vendors scripted."""
    async with ScriptedUpstream(route=vendor) as upstream:
        tables = [
            f'[providers.{n}]\nbase_url = "{upstream.base_url}/v1"' for n in ("openai", "groq")
        ]
        settings, keys = "\n".join(tables), {"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": "gsk_x"}
        async with live_gateway(home, upstream.base_url, env=keys, settings=settings) as gateway:
            await gateway.ask()
            await gateway.turn()
            yield gateway


async def by_curl(gateway: LiveGateway, command: str) -> Got:
    """Run the line itself."""
    first, *rest = shlex.split(command)
    process = await asyncio.create_subprocess_exec(
        *(first, "-q", "--noproxy", "*", "-D", "/dev/stderr", *rest),
        env={"PATH": os.environ.get("PATH", os.defpath)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        head = (await process.stderr.readuntil(b"\r\n\r\n")).decode("latin-1")
        is_endless = "/events/stream" in command
        body = await (process.stdout.readline() if is_endless else process.stdout.read())
    finally:
        if process.returncode is None and "/events/stream" in command:
            process.terminate()
        await process.communicate()
    media_type = re.search(r"(?im)^content-type: *([^;\r]+)", head)
    is_head = " -sI " in command
    return Got(
        int(head.split()[1]),
        media_type[1] if media_type else "",
        b"" if is_head else body,
    )


async def by_socket(gateway: LiveGateway, command: str) -> Got:
    """Make the line's request without curl."""
    call = call_of(command.replace(gateway.url, ADDRESS))
    headers = [(name.encode(), value.encode()) for name, value in call.headers]
    target = call.url.removeprefix(ADDRESS) or "/"
    response = await gateway.transport.request(
        gateway.origin, call.method.encode(), target.encode(), headers, call.body
    )
    try:
        is_endless = "/events/stream" in command
        body = await (response.read() if is_endless else response.read_all(2**24))
    finally:
        await response.aclose()
    found = {name.lower(): value for name, value in response.headers}
    media_type = found.get(b"content-type", b"").decode().partition(";")[0]
    return Got(response.status, media_type, body)


def check(curl: Curl, got: Got) -> None:
    """The answer is the documented one."""
    assert got.status == curl.status, (curl.command, got.body)
    if curl.media_type is not None:
        assert got.media_type == curl.media_type, curl.command
        assert got.body, curl.command
    if curl.fields:
        told, given = set(curl.fields) - {MORE}, set(json.loads(got.body))
        assert (told <= given) if MORE in curl.fields else (told == given), curl.command


@pytest.mark.parametrize("run", [by_curl, by_socket])
async def test_every_line_does_what_it_says(run: Run, tmp_path: Path) -> None:
    if run is by_curl and shutil.which("curl") is None:
        pytest.skip("curl is not installed; the other run makes the same requests")
    async with world(tmp_path / "h") as gateway:
        turn_id = (await gateway.turn())["id"]
        for curl in LINES:
            command = TURN_ID.sub(turn_id, curl.command).replace(ADDRESS, gateway.url)
            check(curl, await run(gateway, command))


def test_a_wrong_document_would_be_noticed() -> None:
    told = Curl("curl -s x", 200, "application/json", ("ok",))
    check(told, Got(200, "application/json", b'{"ok": true}'))
    for got in (
        Got(401, "application/json", b'{"ok": true}'),
        Got(200, "text/plain", b'{"ok": true}'),
        Got(200, "application/json", b'{"ok": true, "more": 1}'),
        Got(200, "application/json", b"{}"),
    ):
        with pytest.raises(AssertionError):
            check(told, got)
    some = Curl("curl -s x", 200, "application/json", ("ok", MORE))
    check(some, Got(200, "application/json", b'{"ok": true, "more": 1}'))
    with pytest.raises(AssertionError):
        check(some, Got(200, "application/json", b'{"more": 1}'))


def test_every_endpoint_has_a_line() -> None:
    shown = [(call.method, call.path) for call in (call_of(curl.command) for curl in LINES)]
    for method, path in shown:
        routes.check(method, path.encode())
    for methods, path in served():
        pattern = re.compile(re.sub(r"<\w+>", "[^/]+", path))
        assert any(m in methods and pattern.fullmatch(p) for m, p in shown), (methods, path)


def served() -> Iterator[tuple[set[str], str]]:
    """Everything that is served: methods, any of which will do, and a path with ``<names>``."""
    app = create_app(cast(Any, None), 1)
    for rule in app.url_map.iter_rules():
        yield set(rule.methods or ()) - {"OPTIONS"}, rule.rule
    for path in routes.RELAYED:
        yield {"POST"}, path.decode()
    yield {"GET"}, "/v1/models"
    yield {"GET"}, "/v1/models/<model>"
    for path, methods in routes._TABLE.items():
        yield set(methods), path.decode()


def test_every_line_goes_to_this_machine() -> None:
    assert len(LINES) > 15
    for curl in LINES:
        assert call_of(curl.command).url.startswith(ADDRESS + "/")
