"""A gateway in this process gives its place to a headless one, as a screen does that is left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from fake_gateway import HealthServer
from gateway_process import Call, message
from lifecycle_home import LifecycleHome
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.clock import SystemClock
from server.gateway import Gateway
from server.instance import InstanceLock, load_secret
from server.paths import find_paths
from server.runner import Exit, RunOptions, Stop, run
from server.settings_file import load
from tui import launch_gateway
from tui.launch_gateway import StartFailed
from tui.lifecycle.headless import leave_headless

STREAM = [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")]


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, STREAM) + chunk(TEXT.removesuffix(MESSAGE_STOP))
    return steps(send(begin), pause(gate), send(chunk(MESSAGE_STOP) + chunk(b"")))


def reap() -> None:
    for process in launch_gateway._background:
        process.kill()
        process.wait()
    launch_gateway._background.clear()


async def test_answers_end_here_and_new_requests_go_there(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            env = os.environ | home.env
            loaded = load(env=env, cwd=home.work_dir)
            call: list[Call] = []

            async def front(gateway: Gateway, stop: Stop) -> None:
                call.append(Call(gateway.port, message(), "/v1/messages"))
                async with call[0].running() as answered:
                    url = await leave_headless(loaded.paths, (), env, SystemClock())
                    assert url == gateway.url
                    assert home.pid != os.getpid()
                    home.note()
                    there = await Call(gateway.port, None, "/health").run()
                    assert there.status == 200
                    assert not call[0].is_whole
                    assert not stop.draining.is_set()
                    gate.set()
                    await answered
                await stop.ended.wait()

            assert await run(loaded, env, RunOptions(has_screen=True), front) is Exit.OK
            assert call[0].is_whole
            assert home.is_running(home.pid)
            after = await Call(home.port, message(), "/v1/messages").run()
            assert after.is_whole
            # Rows are committed a moment after the answer.
            while sorted(home.statuses().values()) != ["completed", "completed"]:
                await asyncio.sleep(0.05)
            reap()


async def test_one_that_cannot_start_changes_nothing(tmp_path: Path) -> None:
    with LifecycleHome(tmp_path) as home:
        env = os.environ | home.env
        loaded = load(env=env, cwd=home.work_dir)

        async def front(gateway: Gateway, stop: Stop) -> None:
            with pytest.raises(StartFailed, match="did not start"):
                await leave_headless(loaded.paths, ("--host", "0.0.0.0"), env, SystemClock())
            with pytest.raises(StartFailed, match="not for the socket of the old"):
                await leave_headless(loaded.paths, ("--port", "1"), env, SystemClock())
            assert home.pid == os.getpid()
            assert (await Call(gateway.port, None, "/health").run()).status == 200
            stop.request()
            await stop.ended.wait()

        assert await run(loaded, env, RunOptions(has_screen=True), front) is Exit.OK
        reap()


async def test_there_must_be_a_gateway_to_leave(tmp_path: Path) -> None:
    paths = find_paths({"SBGW_HOME": str(tmp_path)}, tmp_path)
    with pytest.raises(StartFailed, match="does not serve"):
        await leave_headless(paths, (), {}, SystemClock())


@pytest.mark.parametrize(
    ("has_screen", "is_service", "said"),
    [(True, False, "in a screen"), (False, True, "systemctl")],
)
def test_a_restart_of_a_screen_or_a_service_is_refused(
    tmp_path: Path, has_screen: bool, is_service: bool, said: str
) -> None:
    with LifecycleHome(tmp_path) as home:
        paths = find_paths(home.env, home.work_dir)
        with HealthServer(load_secret(paths)) as server, InstanceLock(paths, SystemClock()) as lock:
            lock.publish("127.0.0.1", server.port, has_screen=has_screen, is_service=is_service)
            done = home.quick("restart")
            line = home.lock()
    assert (done.code, said in done.err) == (2, True)
    assert line is not None
    assert line["pid"] == os.getpid()
