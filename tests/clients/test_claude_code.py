"""The real Claude Code through the gateway; run by ``make test-clients``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    START_USAGE,
    block_stop,
    input_json_delta,
    message_delta,
    message_start,
    text_delta,
    text_start,
    tool_start,
)
from live_gateway import KEY, LiveGateway, live_gateway
from real_claude import Outcome, Workplace, install
from scripted_upstream import Request, Script, ScriptedUpstream, hang, respond, send, sse, steps

pytestmark = pytest.mark.clients

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def program() -> Path:
    found = install()
    if found is None:
        pytest.skip("npm is not installed")
    return found


@pytest.fixture
def workplace(tmp_path: Path, program: Path) -> Workplace:
    return Workplace(tmp_path / "client", program)


def text_answer(text: str) -> bytes:
    return (
        message_start(START_USAGE)
        + text_start(0)
        + text_delta(0, text)
        + block_stop(0)
        + message_delta("end_turn", {"output_tokens": 7})
        + MESSAGE_STOP
    )


def tool_answer(name: str, arguments: dict[str, Any]) -> bytes:
    return (
        message_start(START_USAGE)
        + tool_start(0, name, "toolu_01abc")
        + input_json_delta(0, json.dumps(arguments))
        + block_stop(0)
        + message_delta("tool_use", {"output_tokens": 21})
        + MESSAGE_STOP
    )


def reader_of(file: Path) -> Any:
    """A vendor that has the client read ``file`` and then answers."""

    def route(request: Request) -> Script:
        if not request.target.startswith(b"/v1/messages?"):
            return respond(404)
        if b'"tool_result"' in request.body:
            return sse([text_answer("DONE reading.")])
        return sse([tool_answer("Read", {"file_path": str(file)})])

    return route


async def claude(gateway: LiveGateway, place: Workplace, *args: str) -> Outcome:
    env = place.env(ANTHROPIC_BASE_URL=gateway.url, ANTHROPIC_API_KEY=KEY)
    return await place.run(str(place.program), "-p", *args, "--output-format", "json", env=env)


async def test_it_answers_and_pays_what_the_ledger_says(
    workplace: Workplace, tmp_path: Path
) -> None:
    async with (
        ScriptedUpstream(sse([text_answer("HELLO there.")])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await claude(gateway, workplace, "say hello")
        turn = await gateway.turn()
    assert got.code == 0, got.err
    assert got.result["result"] == "HELLO there."
    assert (turn["client"], turn["kind"]) == ("claude-code", "user_turn")
    assert turn["session"] == got.result["session_id"]
    assert turn["cost_usd"] == pytest.approx(got.result["total_cost_usd"])


async def test_it_runs_a_tool_loop(workplace: Workplace, tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(route=reader_of(workplace.project / "notes.txt")) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await claude(gateway, workplace, "read the notes", "--allowedTools", "Read")
        turns = await gateway.turns(2)
    assert got.result["result"] == "DONE reading."
    assert b"the answer is 42" in upstream.requests[-1].body
    assert [turn["kind"] for turn in turns] == ["user_turn", "tool_step"]
    assert turns[1]["route"] == "tool_loop"


async def test_an_interrupt_reaches_the_vendor(workplace: Workplace, tmp_path: Path) -> None:
    opened = message_start(START_USAGE) + text_start(0) + text_delta(0, "word ")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with (
        ScriptedUpstream(steps(send(head + opened), hang())) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        env = workplace.env(ANTHROPIC_BASE_URL=gateway.url, ANTHROPIC_API_KEY=KEY)
        process = await asyncio.create_subprocess_exec(
            str(workplace.program), "-p", "a story", env=env, cwd=workplace.project,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await upstream.wait_for(requests=1)
            while not gateway.gateway.services.active:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(upstream.all_gone(), 15)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        turn = await gateway.turn()
    assert turn["status"] == "cancelled"


async def test_the_launcher_starts_everything_and_leaves_nothing(
    workplace: Workplace, tmp_path: Path
) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    async with ScriptedUpstream(sse([text_answer("LAUNCHED.")])) as upstream:
        (home / "config.toml").write_text(
            f'[server]\nport = 0\n[providers.anthropic]\nbase_url = "{upstream.base_url}"\n'
        )
        env = workplace.env(SBGW_HOME=str(home), ANTHROPIC_API_KEY="sk-ant-api03-own")
        launch = [sys.executable, str(ROOT / "sbgw.py"), "claude", "-p", "go"]
        try:
            got = await workplace.run(*launch, "--output-format", "json", env=env)
            again = await workplace.run(*launch, "--output-format", "json", env=env)
            owner = json.loads((home / "state" / "gateway.lock").read_text())
        finally:
            await stop_gateway(home)
    assert got.code == again.code == 0, got.err
    assert got.result["result"] == again.result["result"] == "LAUNCHED."
    assert owner["url"].startswith("http://127.0.0.1:")
    assert {r.header(b"x-api-key") for r in upstream.requests} == {b"sk-ant-api03-own"}
    assert not any(b"x-sbgw" in request.head.lower() for request in upstream.requests)
    assert list((home / "state" / "leases").glob("*")) == []
    left = {path.name for path in workplace.project.iterdir()}
    assert left == {"notes.txt"}


async def stop_gateway(home: Path) -> None:
    lock = home / "state" / "gateway.lock"
    pid = int(json.loads(lock.read_text())["pid"])
    os.kill(pid, signal.SIGTERM)
    while lock.read_text().strip():
        await asyncio.sleep(0.05)
