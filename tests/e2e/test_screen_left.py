"""A screen is left and its gateway is not: the same socket, no answer cut, and a way back to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from gateway_process import Call, message, until
from lifecycle_home import LifecycleHome
from screen_process import screen, terminal
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.runner import Exit

STREAM = [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")]
CTRL_Q = b"\x11"

pytestmark = pytest.mark.faults


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, STREAM) + chunk(TEXT.removesuffix(MESSAGE_STOP))
    return steps(send(begin), pause(gate), send(chunk(MESSAGE_STOP) + chunk(b"")))


async def test_the_gateway_is_left_running_and_nothing_is_cut_or_refused(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            async with screen(home) as gateway:
                port, old = gateway.port, gateway.pid
                call = gateway.call(message())
                seen: list[int | None] = []
                async with call.running() as answered:
                    await gateway.shows("1 in flight")
                    gateway.press(b"q")
                    await gateway.shows("Keep running (k)", "1 request in flight")
                    asking = asyncio.ensure_future(_ask_all_the_time(port, seen))
                    gateway.press(b"k")
                    await until(lambda: home.pid != old, "nobody took over")
                    home.note()
                    await gateway.shows("The gateway goes on at")
                    count = len(seen)
                    await until(lambda: len(seen) > count + 3, "nobody answers")
                    asking.cancel()
                    assert set(seen) == {200}
                    assert not call.is_whole
                    gate.set()
                    await answered
                assert await gateway.ended() == Exit.OK
                await gateway.shows("goes on without a screen at", "attach shows it")
            assert (call.status, bytes(call.body)) == (200, TEXT)
            assert home.port == port
            after = await Call(port, message(), "/v1/messages").run()
            assert (after.status, after.is_whole) == (200, True)
            done = ["completed", "completed"]
            await until(lambda: sorted(home.statuses().values()) == done, "not recorded")
            with terminal(home, arguments=("attach",)) as again:
                await again.shows(" ATTACHED ", "claude-opus-5-5", f"127.0.0.1:{port}")
                again.press(b"q")
                assert await again.ended() == Exit.OK
            assert home.is_running(home.pid)


async def _ask_all_the_time(port: int, seen: list[int | None]) -> None:
    """Every connection has to be answered, before, during and after."""
    while True:
        seen.append((await Call(port, None, "/health").run()).status)
        await asyncio.sleep(0.02)


async def test_one_that_cannot_be_left_goes_on_with_its_screen(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            async with screen(home) as gateway:
                call = gateway.call(message())
                async with call.running() as answered:
                    await gateway.shows("1 in flight")
                    home.write_config("[server]\nport = 0\nhots = 1\n")
                    gateway.press(b"qk")
                    await gateway.shows("Not left running:")
                    assert (await gateway.health())["state"] == "serving"
                    gateway.press(CTRL_Q)
                    await gateway.shows("DRAINING 1 stream")
                    gate.set()
                    await answered
                assert await gateway.ended() == Exit.OK
            assert bytes(call.body) == TEXT


@pytest.mark.parametrize(("answer", "code"), [(b"\r", Exit.OK), (b"n\r", Exit.BIND)])
async def test_a_second_screen_offers_to_attach(tmp_path: Path, answer: bytes, code: int) -> None:
    with LifecycleHome(tmp_path) as home:
        async with home.serve() as gateway:
            with terminal(home) as second:
                await second.shows("already runs at", "Attach to it? [Y/n]")
                second.press(answer)
                if code == Exit.OK:
                    await second.shows(" ATTACHED ")
                    second.press(b"q")
                assert await second.ended() == code
            assert (await gateway.health())["ok"]


def test_there_must_be_something_to_attach_to(tmp_path: Path) -> None:
    with LifecycleHome(tmp_path) as home:
        done = home.quick("attach")
        assert (done.code, "no gateway runs here" in done.err) == (Exit.UNREACHABLE, True)
        for wrong in ("ftp://x", "http://u:p@x:1", "http://x:1/?a"):
            assert home.quick("attach", wrong).code == Exit.USAGE, wrong


async def test_a_key_of_another_home_is_asked_for_by_name(tmp_path: Path) -> None:
    with LifecycleHome(tmp_path / "here") as home, LifecycleHome(tmp_path / "there") as other:
        other.env["STACKBILT_GATEWAY_KEY"] = "their-own-key"
        async with other.serve() as gateway:
            port = json.loads((other.state_dir / "gateway.lock").read_text())["url"]
            with terminal(home, arguments=("attach", port)) as refused:
                assert await refused.ended() == Exit.UNREACHABLE
                await refused.shows("it does not take this gateway key; its key goes into SBGW_A")
            home.env["THEIRS"] = "their-own-key"
            with terminal(home, arguments=("attach", "--key-env", "THEIRS", port)) as shown:
                await shown.shows(" ATTACHED ", f"127.0.0.1:{gateway.port}")
                shown.press(b"c")
                await shown.shows("No agent can be started from this screen.")
                shown.press(b"q")
                assert await shown.ended() == Exit.OK
