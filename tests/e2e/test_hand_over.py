"""An agent in the terminal of the running program: it has the keys, the gateway goes on serving."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fake_agent
import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from gateway_process import Call, GatewayHome, message, until
from screen_process import ScreenProcess, screen, terminal
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.runner import Exit

ALTERNATE_SCREEN = 1049
CTRL_C, CTRL_Z = b"\x03", b"\x1a"
UNFINISHED = TEXT.removesuffix(MESSAGE_STOP)
SECRET = "sk-ant-from-the-env-file"


def home_with(folder: Path, upstream: ScriptedUpstream, name: str) -> tuple[GatewayHome, Path]:
    """A home whose user has an agent installed, and a key of ours in the settings folder."""
    home = GatewayHome(folder, upstream.base_url)
    agent = fake_agent.install(folder / "bin", name)
    home.env |= {"PATH": f"{agent.parent}:{os.environ['PATH']}", "HOME": str(folder)}
    del home.env["ANTHROPIC_API_KEY"]
    env_file = home.folder / ".env"
    env_file.write_text(f"ANTHROPIC_API_KEY={SECRET}\n")
    env_file.chmod(0o600)
    return home, agent


async def ask_for_it(gateway: ScreenProcess, key: bytes) -> None:
    """Have the whole terminal lent to an agent."""
    gateway.press(b"5")
    await gateway.shows("lends the whole terminal")
    gateway.press(b"f")
    await gateway.shows("Neither (n)")
    gateway.press(key)


@asynccontextmanager
async def lent(
    folder: Path, upstream: ScriptedUpstream, *, name: str = "claude"
) -> AsyncIterator[tuple[ScreenProcess, Path]]:
    """The program, with its terminal in the hands of an agent."""
    home, agent = home_with(folder, upstream, name)
    async with screen(home) as gateway:
        await gateway.shows(gateway.url)
        await ask_for_it(gateway, b"c" if name == "claude" else b"x")
        yield gateway, agent


async def has_agent(gateway: ScreenProcess) -> None:
    await until(lambda: gateway.display.modes.get(ALTERNATE_SCREEN) is False, "the screen stays")
    await gateway.shows("READY")


async def is_back(gateway: ScreenProcess, words: str) -> None:
    await until(lambda: gateway.display.modes.get(ALTERNATE_SCREEN) is True, "no screen")
    # Header, tabs, the middle and the footer: what left the screen is all painted anew.
    await gateway.shows(gateway.url, "6 Log", "help", words)
    gateway.press(b"1")


def answer(gate: asyncio.Event | None = None) -> Script:
    """A stream, whose end waits for ``gate``."""
    begin = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
    waits = [] if gate is None else [pause(gate)]
    return steps(send(begin + chunk(UNFINISHED)), *waits, send(chunk(MESSAGE_STOP) + chunk(b"")))


async def test_an_agent_gets_the_terminal_and_the_gateway_serves_meanwhile(
    tmp_path: Path,
) -> None:
    async with ScriptedUpstream(answer()) as upstream, lent(tmp_path, upstream) as (gateway, agent):
        await has_agent(gateway)
        assert (await gateway.health())["state"] == "serving"
        assert (await gateway.call(message()).run()).status == 200
        gateway.press(b"s")
        await gateway.shows("SIZE 120 40")
        gateway.resize(90, 30)
        await gateway.shows("SIZE 90 30")
        gateway.press(CTRL_C)
        await gateway.shows("INTERRUPTED")
        gateway.press(b"z")
        await gateway.shows("BACK")
        gateway.press(CTRL_Z)
        gateway.resize(80, 24)
        await gateway.shows("SIZE 80 24")
        assert (await gateway.health())["state"] == "serving"
        gateway.press(b"x")
        await is_back(gateway, "Claude Code ended.")
        await gateway.shows("1/1 turn")
        gateway.press(b"q")
        assert await gateway.ended() == Exit.OK
    found = fake_agent.started(agent)
    assert found["argv"] == [str(agent)]
    assert found["is_foreground"]
    assert found["is_echoing"]
    assert found["descriptors"][:3] == [0, 1, 2]
    assert len(found["descriptors"]) == 4, "its own look at the folder, and nothing of ours"
    assert found["cwd"] == str(gateway.home.work_dir)
    assert {n: h for n, h in found["handlers"].items() if n.startswith(("SIGQ", "SIGT"))} == {
        name: "SIG_DFL" for name in ("SIGQUIT", "SIGTSTP", "SIGTTOU", "SIGTTIN")
    }
    assert found["handlers"]["SIGINT"] != "SIG_IGN"
    env = found["env"]
    assert env["ANTHROPIC_BASE_URL"] == gateway.url
    assert "x-sbgw-key: local-dev-key" in env["ANTHROPIC_CUSTOM_HEADERS"]
    assert SECRET not in str(env)


@pytest.mark.faults
async def test_the_terminal_is_put_right_however_the_agent_ends(tmp_path: Path) -> None:
    endings = {
        b"x": "Claude Code ended.",
        b"3": "Claude Code ended with code 3.",
        b"k": "Claude Code was ended by SIGKILL.",
        b"d": "Claude Code ended with code 9.",
    }
    async with ScriptedUpstream(answer()) as upstream:
        home, _ = home_with(tmp_path, upstream, "claude")
        with terminal(home) as gateway:
            before = gateway.attributes()
            async with gateway:
                await gateway.shows(gateway.url)
                inside = gateway.attributes()
                assert inside != before
                for key, words in endings.items():
                    await ask_for_it(gateway, b"c")
                    await has_agent(gateway)
                    gateway.press(key)
                    await is_back(gateway, words)
                    assert gateway.attributes() == inside
                    assert not gateway.display.modes.get(1002)
                    assert not gateway.display.modes.get(2026)
                gateway.press(b"q")
                assert await gateway.ended() == Exit.OK
                assert gateway.attributes() == before


@pytest.mark.faults
async def test_a_drain_gives_the_terminal_back_first(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with (
        ScriptedUpstream(answer(gate)) as upstream,
        lent(tmp_path, upstream) as (gateway, agent),
    ):
        await has_agent(gateway)
        gateway.press(b"i")
        await gateway.shows("STUBBORN")
        call = gateway.call(message())
        async with call.running() as answered:
            gateway.signal(signal.SIGTERM)
            await is_back(gateway, "DRAINING 1 stream")
            with pytest.raises(ProcessLookupError):
                os.kill(fake_agent.started(agent)["pid"], 0)
            gate.set()
            await answered
        assert await gateway.ended() == Exit.OK
        assert gateway.display.modes[ALTERNATE_SCREEN] is False
        assert gateway.attributes()[3] & termios.ECHO
    assert_whole(call)


@pytest.mark.faults
async def test_a_signal_with_nothing_in_flight_ends_agent_and_program(tmp_path: Path) -> None:
    async with ScriptedUpstream(answer()) as upstream, lent(tmp_path, upstream) as (gateway, agent):
        await has_agent(gateway)
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == Exit.OK
        with pytest.raises(ProcessLookupError):
            os.kill(fake_agent.started(agent)["pid"], 0)
        assert gateway.attributes()[3] & termios.ECHO


@pytest.mark.faults
async def test_a_terminal_that_goes_away_takes_the_agent_along(tmp_path: Path) -> None:
    async with ScriptedUpstream(answer()) as upstream, lent(tmp_path, upstream) as (gateway, agent):
        await has_agent(gateway)
        pid = fake_agent.started(agent)["pid"]
        gateway.hang_up()
        assert await gateway.ended() == Exit.OK
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_codex_is_started_with_overrides(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(answer()) as upstream,
        lent(tmp_path, upstream, name="codex") as (gateway, agent),
    ):
        await has_agent(gateway)
        gateway.press(b"x")
        await is_back(gateway, "Codex ended.")
    found = fake_agent.started(agent)
    assert 'model_provider="sbgw"' in found["argv"]
    assert f'model_providers.sbgw.base_url="{gateway.url}/v1"' in found["argv"]
    assert "local-dev-key" not in str(found["argv"])
    assert found["env"]["SBGW_GATEWAY_KEY"] == "local-dev-key"


def assert_whole(call: Call) -> None:
    assert (call.status, call.is_whole, bytes(call.body)) == (200, True, TEXT)
