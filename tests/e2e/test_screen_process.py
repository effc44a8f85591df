"""The program with its screen, in a real pseudo-terminal: shown, drained, and gone without trace."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from gateway_process import Call, GatewayHome, message, until
from screen_process import Display, screen, terminal
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.runner import Exit

CTRL_Q = b"\x11"
ALTERNATE_SCREEN, CURSOR, PASTE = 1049, 25, 2004
MOUSE = {1000, 1002, 1003, 1006, 1015}


def assert_restored(display: Display) -> None:
    """The terminal is as it was before the program."""
    assert display.modes[ALTERNATE_SCREEN] is False
    assert display.modes[CURSOR] is True
    assert not display.modes.get(PASTE)
    assert {mode for mode in MOUSE if display.modes.get(mode)} == set()


FIRST = TEXT.removesuffix(MESSAGE_STOP)


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
    last = chunk(MESSAGE_STOP) + chunk(b"")
    return steps(send(begin + chunk(FIRST)), pause(gate), send(last))


def assert_exact(call: Call) -> None:
    """The client got the whole stream, unchanged."""
    assert (call.status, call.is_whole, bytes(call.body)) == (200, True, TEXT)


async def test_the_screen_shows_address_and_requests_and_q_quits(tmp_path: Path) -> None:
    gate = asyncio.Event()
    gate.set()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            await gateway.shows(gateway.url)
            assert gateway.display.modes[ALTERNATE_SCREEN] is True
            assert_exact(await gateway.call(message()).run())
            await gateway.shows("claude-opus-5-5", "1/1 turn", "0 in flight")
            gateway.press(b"q")
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)


async def test_ctrl_q_drains_the_running_stream(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            call = gateway.call(message())
            async with call.running() as answer:
                await gateway.shows("1 in flight")
                gateway.press(CTRL_Q)
                await gateway.shows("DRAINING 1 stream")
                assert (await gateway.call(message()).run()).status == 503
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)
    assert_exact(call)
    assert home.statuses() == {call.turn_id: "completed"}


async def test_a_second_ctrl_q_ends_the_stream_with_the_native_error(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with ScriptedUpstream(held(never)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home) as gateway:
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.press(CTRL_Q)
                await gateway.shows("DRAINING 1 stream")
                gateway.press(CTRL_Q)
                await answer
            assert await gateway.ended() == Exit.INTERRUPT
            assert_restored(gateway.display)
    assert call.is_whole
    assert bytes(call.body).startswith(FIRST + b"event: error\n")
    assert home.statuses() == {call.turn_id: "partial"}


async def test_a_signal_drains_and_restores_even_the_smallest_terminal(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home, (1, 1)) as gateway:
            await until(lambda: ALTERNATE_SCREEN in gateway.display.modes, "no screen")
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.signal(signal.SIGTERM)
                await gateway.reports(lambda health: health["state"] == "draining")
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
            assert_restored(gateway.display)
    assert_exact(call)


@pytest.mark.parametrize("arguments", [(), ("--no-ui",)])
async def test_a_terminal_that_goes_away_drains_too(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with screen(home, arguments=arguments) as gateway:
            await gateway.shows(gateway.url)
            call = gateway.call(message())
            async with call.running() as answer:
                gateway.hang_up()
                await gateway.reports(lambda health: health["state"] == "draining")
                gate.set()
                await answer
            assert await gateway.ended() == Exit.OK
    assert_exact(call)
    assert home.statuses() == {call.turn_id: "completed"}


async def test_a_key_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.write_config('[server]\nport = 0\n[keys]\nqit = "x"\n')
    with terminal(home) as program_alone:
        assert await program_alone.ended() == Exit.USAGE
        await program_alone.shows("no key is named 'qit'; the nearest is 'quit'")
    assert ALTERNATE_SCREEN not in program_alone.display.modes
    assert "Traceback" not in program_alone.display.text
