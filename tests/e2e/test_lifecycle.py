"""``up``, ``down``, ``restart``, ``status``, ``logs`` and ``shadow`` as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import fake_claude
import pytest
from anthropic_streams import MESSAGE_STOP, TEXT
from gateway_process import Call, message, until
from lifecycle_home import LifecycleHome
from scripted_upstream import Script, ScriptedUpstream, chunk, head, pause, send, steps

from server.leases import LEASES_FOLDER, Leases

UNFINISHED = TEXT.removesuffix(MESSAGE_STOP)
STREAM = [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[LifecycleHome]:
    with LifecycleHome(tmp_path) as found:
        yield found


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, STREAM) + chunk(UNFINISHED)
    return steps(send(begin), pause(gate), send(chunk(MESSAGE_STOP) + chunk(b"")))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# ---------------------------------------------------------------------- up, status, down


def test_up_then_status_then_down(home: LifecycleHome) -> None:
    up = home.run("up")
    assert up.code == 0, up
    assert up.out == f"http://127.0.0.1:{home.port}"
    pid = home.pid
    assert os.getsid(pid) == pid, "a session of its own, so that no terminal takes it along"

    status = home.quick("status")
    assert status.code == 0
    assert f"pid      {pid}" in status.out.splitlines()
    data = json.loads(home.quick("status", "--json").out)
    assert (data["state"], data["pid"], data["url"]) == ("up", pid, up.out)
    assert (data["mode"], data["screen"]) == ("shadow", False)
    assert data["uptime_s"] >= 0
    assert Path(data["log"]) == home.state_dir / "gateway.log"

    again = home.run("up")
    assert (again.code, again.out, home.pid) == (0, up.out, pid)

    assert home.run("down").code == 0
    assert not home.is_running(pid)
    gone = home.quick("status", "--json")
    assert (gone.code, json.loads(gone.out)["state"]) == (1, "down")
    idle = home.quick("down")
    assert (idle.code, "no gateway runs" in idle.err) == (0, True)


@pytest.mark.faults
def test_the_names_of_the_reference_work(home: LifecycleHome) -> None:
    started = home.run("start:bg")
    assert started.code == 0, started
    assert "`start:bg` is called `up` here" in started.err
    stopped = home.run("stop")
    assert (stopped.code, "`stop` is called `down` here" in stopped.err) == (0, True)
    assert home.lock() is None
    answered = home.quick("gateway", "up")
    assert answered.code == 2
    assert "leave out `gateway`" in answered.err


def test_two_at_once_give_one_gateway(home: LifecycleHome) -> None:
    both = [home.start("up"), home.start("up")]
    first, second = [home.finish(command) for command in both]
    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.out == second.out == f"http://127.0.0.1:{home.port}"


@pytest.mark.faults
def test_key_port_and_options_are_honoured(home: LifecycleHome) -> None:
    port = free_port()
    key = {"STACKBILT_GATEWAY_KEY": "my-own-key-for-this"}
    up = home.run("up", "--port", str(port), **key)
    assert (up.code, up.out) == (0, f"http://127.0.0.1:{port}")
    assert home.quick("shadow", "on", **key).out == "shadow"

    other = home.run("up")
    assert other.code == 2
    assert "another gateway key" in other.err
    assert home.quick("shadow", "on").code == 2

    moved = home.run("--port", str(free_port()), "up", **key)
    assert moved.code == 3
    assert f"runs at http://127.0.0.1:{port}" in moved.err

    down = home.run("down")
    assert down.code == 0, "stopping needs no key"


@pytest.mark.faults
def test_the_port_in_the_environment_is_honoured_by_every_command(home: LifecycleHome) -> None:
    ports = [free_port(), free_port()]
    first, second = ({"STACKBILT_GATEWAY_PORT": str(port)} for port in ports)
    up = home.run("up", **first)
    assert (up.code, up.out) == (0, f"http://127.0.0.1:{ports[0]}")
    assert f"address  {up.out}" in home.quick("status", **first).out.splitlines()
    again = home.run("restart", **first)
    assert (again.code, again.out) == (0, up.out)
    moved = home.run("up", **second)
    assert (moved.code, moved.out) == (0, up.out)
    assert f"the settings ask for port {ports[1]}: sbgw-tui restart moves it there" in moved.err
    diff = home.quick("connect", "claude", **second).out
    assert f"http://127.0.0.1:{ports[1]}/k/" in diff
    assert home.run("down", **first).code == 0


@pytest.mark.faults
def test_a_port_that_is_taken_is_exit_3(home: LifecycleHome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        up = home.run("up", "--port", str(port))
    assert up.code == 3, up
    assert f"port {port} is in use" in up.err


@pytest.mark.faults
def test_what_a_killed_gateway_left_is_healed(home: LifecycleHome) -> None:
    home.run("up")
    pid = home.pid
    os.kill(pid, signal.SIGKILL)
    home.wait_until_gone(pid)
    assert home.quick("status").code == 1
    assert home.run("up").code == 0
    assert home.pid != pid


@pytest.mark.faults
def test_a_pid_that_another_program_has_now_is_never_signalled(home: LifecycleHome) -> None:
    """The lock of a gateway that was killed names a pid that is ours by now."""
    home.state_dir.mkdir(exist_ok=True)
    line = {"v": 1, "pid": os.getpid(), "process_started": 1, "instance": "x", "started_at": 1.0}
    (home.state_dir / "gateway.lock").write_text(json.dumps(line | {"url": "http://127.0.0.1:9"}))
    down = home.quick("down", "--now")
    assert (down.code, "no gateway runs" in down.err) == (0, True)


# ---------------------------------------------------------------------- sessions


@pytest.mark.faults
async def test_down_names_whom_it_leaves_and_lets_answers_end(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            await asyncio.to_thread(home.run, "up")
            pid, call = home.pid, Call(home.port, message(), "/v1/messages")
            with Leases(home.state_dir / LEASES_FOLDER).take() as lease:
                lease.set_agent(os.getpid())
                async with call.running() as answered:
                    down = asyncio.create_task(asyncio.to_thread(home.run, "down"))
                    await until(lambda: not_serving(home.port), "down does not drain")
                    assert home.is_running(pid)
                    gate.set()
                    await answered
                done = await down
            assert done.code == 0, done
            assert "1 in flight" in done.err
            assert f"pid {os.getpid()}" in done.err
            assert "draining 1 running" in done.err
            assert call.is_whole
            assert not home.is_running(pid)


def not_serving(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return bool(json.loads(connection.getresponse().read())["state"] == "draining")
    finally:
        connection.close()


@pytest.mark.faults
async def test_down_now_does_not_wait(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            await asyncio.to_thread(home.run, "up")
            call = Call(home.port, message(), "/v1/messages")
            async with call.running() as answered:
                done = await asyncio.to_thread(home.run, "down", "--now")
                await answered
            gate.set()
            assert done.code == 0, done
            assert b"event: error" in call.body


# ---------------------------------------------------------------------- restart


@pytest.mark.faults
async def test_restart_refuses_nobody_and_running_answers_end_in_the_old(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        with LifecycleHome(tmp_path, upstream.base_url) as home:
            await asyncio.to_thread(home.run, "up")
            old, port = home.pid, home.port
            call = Call(port, message(), "/v1/messages")
            refused, asked, is_over = [], 0, asyncio.Event()

            async def knock() -> None:
                nonlocal asked
                while not is_over.is_set():
                    asked += 1
                    found = await Call(port, None, "/health").run()
                    if found.status != 200:
                        refused.append(found)

            async with call.running() as answered, asyncio.TaskGroup() as group:
                group.create_task(knock())
                done = await asyncio.to_thread(home.run, "restart")
                assert done.code == 0, done
                new = home.pid
                assert new != old
                assert home.is_running(old), "its answer still runs"
                assert not call.is_whole
                gate.set()
                await answered
                await until(lambda: not home.is_running(old), "the old one does not end")
                is_over.set()
            assert (call.status, call.is_whole) == (200, True)
            assert bytes(call.body) == TEXT
            assert (refused, asked > 5) == ([], True)
            assert (home.pid, home.port) == (new, port)
            after = await Call(port, message(), "/v1/messages").run()
            assert after.is_whole
            # The journal keeps a row before the database does.
            await until(
                lambda: sorted(home.statuses().values()) == ["completed", "completed"],
                "the record has not both turns",
            )
            assert json.loads(home.quick("status", "--json").out)["ledger"] == "ok"
            assert "ledger open too" not in home.quick("logs").out


@pytest.mark.faults
async def test_a_connection_that_is_kept_is_served_once_more_and_then_closed(
    tmp_path: Path,
) -> None:
    with LifecycleHome(tmp_path) as home:
        await asyncio.to_thread(home.run, "up")
        old, port = home.pid, home.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        try:
            for word in (b"", b"connection: close"):
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200")
                assert word in answer.lower()
                length = int(answer.lower().partition(b"content-length: ")[2].split()[0])
                await reader.readexactly(length)
                if not word:
                    assert (await asyncio.to_thread(home.run, "restart")).code == 0
            assert await reader.read() == b""
        finally:
            writer.close()
            await writer.wait_closed()
        await until(lambda: not home.is_running(old), "the old one does not end")


@pytest.mark.faults
def test_restart_keeps_options_takes_new_ones_and_moves(home: LifecycleHome) -> None:
    port, other = free_port(), free_port()
    assert home.run("restart", "--port", str(port)).out == f"http://127.0.0.1:{port}"
    first = home.pid
    assert home.run("restart").out == f"http://127.0.0.1:{port}"
    second = home.pid
    assert second != first
    assert home.run("restart", "--port", str(other)).out == f"http://127.0.0.1:{other}"
    assert not home.is_running(second)


@pytest.mark.faults
def test_a_restart_that_fails_leaves_the_old_one_serving(home: LifecycleHome) -> None:
    up = home.run("up")
    pid = home.pid
    (home.folder / "config.toml").write_text("[server]\nport = 0\n[network]\nca_bundle = '/no'\n")
    done = home.run("restart")
    assert done.code != 0
    assert (home.pid, home.run("up").code) == (pid, 2)
    home.write_config("[server]\nport = 0\n")
    status = home.quick("status", "--json")
    assert (status.code, json.loads(status.out)["url"]) == (0, up.out)


# ---------------------------------------------------------------------- logs, shadow, version


@pytest.mark.faults
def test_logs_shows_the_end_and_goes_on(home: LifecycleHome) -> None:
    nothing = home.quick("logs")
    assert (nothing.code, nothing.out) == (0, "")
    home.run("up")
    lines = home.quick("logs", "-n", "1").out.splitlines()
    assert len(lines) == 1
    assert "serving on" in lines[0]
    with home.start("logs", "-f", "-n", "0") as following:
        assert following.stdout is not None
        try:
            home.run("restart")
            assert following.stdout.readline().strip()
        finally:
            following.kill()


def test_shadow_is_shown_and_switched(home: LifecycleHome) -> None:
    assert home.quick("shadow").code == 4
    home.run("up")
    assert home.quick("shadow").out == "shadow"
    live = home.quick("shadow", "off")
    assert (live.code, live.out) == (0, "live")
    assert "not kept" in live.err
    assert "may go to" in live.err
    assert json.loads(home.quick("status", "--json").out)["mode"] == "live"
    assert home.quick("shadow", "on").out == "shadow"


@pytest.mark.faults
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_for_both_names(home: LifecycleHome, shell: str) -> None:
    done = home.quick("completions", shell)
    assert done.code == 0, done
    assert "_SBGW_TUI_COMPLETE" in done.out
    assert all(name in done.out for name in ("sbgw-tui", "stackbilt-gw"))


@pytest.mark.faults
def test_completions_complete(home: LifecycleHome) -> None:
    asked = {"_SBGW_TUI_COMPLETE": "bash_complete", "COMP_WORDS": "sbgw-tui st", "COMP_CWORD": "1"}
    assert "plain,status" in home.run(**asked).out


@pytest.mark.faults
async def test_a_launcher_brings_back_a_gateway_that_was_killed(tmp_path: Path) -> None:
    with LifecycleHome(tmp_path) as home:
        fake_claude.install(tmp_path / "bin")
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        launcher = home.start("claude", "trap", PATH=path)
        try:
            await until(lambda: bool((home.lock() or {}).get("url")), "no gateway was started")
            assert launcher.stdout is not None
            agent = json.loads(await asyncio.to_thread(launcher.stdout.readline))
            home.note()
            first, port = home.pid, home.port
            os.kill(first, signal.SIGKILL)

            def is_back() -> bool:
                line = home.lock()
                return bool(line and line["pid"] != first and line["url"])

            await until(is_back, "it was not brought back")
            assert home.port == port
            assert agent["env"]["ANTHROPIC_BASE_URL"] == f"http://127.0.0.1:{port}"
            assert (await Call(port, None, "/health").run()).status == 200
        finally:
            launcher.send_signal(signal.SIGTERM)
            done = await asyncio.to_thread(home.finish, launcher)
    assert done.code == 7


@pytest.mark.faults
def test_the_version_is_told(home: LifecycleHome) -> None:
    done = home.quick("--version")
    assert (done.code, done.out.startswith("sbgw-tui, version ")) == (0, True)
