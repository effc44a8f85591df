"""The program as a process: start-up errors, signals, draining, a ledger that cannot be written."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from anthropic_streams import MESSAGE_STOP, START_USAGE, TEXT, message_delta, message_start
from fake_clock import FakeClock
from gateway_process import Call, GatewayHome, GatewayProcess, message, run_program, until
from scripted_upstream import (
    Script,
    ScriptedUpstream,
    chunk,
    head,
    pause,
    respond,
    send,
    sse,
    steps,
)

from server.gateway import Gateway
from server.leases import IDLE_S, Leases
from server.paths import find_paths
from server.runner import CannotStart, Exit, RunOptions, Stop, _idle, make_state_dir, run
from server.settings_file import load

STREAM = (b"Content-Type", b"text/event-stream")
CHUNKED = (b"Transfer-Encoding", b"chunked")
FIRST = TEXT.removesuffix(MESSAGE_STOP)
LAST = MESSAGE_STOP
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells or lets do this")
SECRETS = ("sk-ant-in-the-environment", "gsk-in-the-env-file", "a-gateway-key-of-my-own")


def held(gate: asyncio.Event) -> Script:
    """A stream whose end waits for ``gate``."""
    begin = head(200, [STREAM, CHUNKED]) + chunk(FIRST)
    return steps(send(begin), pause(gate), send(chunk(LAST) + chunk(b"")))


def plain_lines(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """What a failed command said; nothing of it on stdout, and never a traceback."""
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    return done.stderr.decode().splitlines()


# ---------------------------------------------------------------------- exit codes


@needs_linux
def test_a_port_that_another_program_has_is_named_with_its_owner(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_program("--no-ui", "--port", str(port), env=home.env, cwd=home.work_dir)

    assert done.returncode == Exit.BIND
    (line,) = plain_lines(done)
    assert f"port {port} is in use by pid {os.getpid()} (" in line
    assert "--port" in line


async def test_a_second_gateway_in_one_home_names_the_first(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    async with home.serve() as gateway:
        done = await asyncio.to_thread(run_program, "--no-ui", env=home.env, cwd=home.work_dir)

        assert done.returncode == Exit.BIND
        (line,) = plain_lines(done)
        assert gateway.url in line
        assert f"pid {gateway.pid}" in line
        assert line.endswith(f"kill {gateway.pid}")
        assert (await gateway.health())["ok"]
        assert gateway.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", ["config.toml:2:", "server.prot", 'did you mean "port"']),
        (
            '[server]\nhost = "0.0.0.0"\n',
            ["config.toml:2:", "server.host", "STACKBILT_GATEWAY_KEY"],
        ),
        ('[network]\nca_bundle = "config.toml"\n', ["CA bundle", "no certificate"]),
    ],
    ids=["unknown key", "reachable with the default key", "no certificate"],
)
def test_a_broken_settings_file_is_named_with_key_and_reason(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.write_config(text.replace('"config.toml"', f'"{home.folder}/config.toml"'))

    done = run_program("--no-ui", env=home.env, cwd=home.work_dir)

    assert done.returncode == Exit.USAGE
    (line,) = plain_lines(done)
    assert [part for part in said if part not in line] == []


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "8_0"])
def test_a_port_that_is_none_is_refused_in_plain_words(tmp_path: Path, port: str) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")

    done = run_program("--no-ui", "--port", port, env=home.env, cwd=home.work_dir)

    assert done.returncode == Exit.USAGE
    assert plain_lines(done)[-1].endswith(f"{port!r} is not a number from 0 to 65535.")


def test_a_misspelt_key_of_the_screen_is_found_by_config(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.write_config('[keys]\n"live.opn" = "o"\n')

    done = run_program("config", env=home.env, cwd=home.work_dir)

    assert done.returncode == Exit.USAGE
    assert done.stdout == b""
    (line,) = plain_lines(done)
    assert "'live.opn'; the nearest is 'live.open'" in line


def test_a_database_of_another_program_is_one_line_and_left_alone(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.state_dir.mkdir()
    with closing(sqlite3.connect(home.ledger_file)) as database:
        database.execute("CREATE TABLE theirs (a)")
    before = home.ledger_file.read_bytes()

    done = run_program("--no-ui", env=home.env, cwd=home.work_dir)

    assert done.returncode == Exit.USAGE
    (line,) = plain_lines(done)
    assert "another program's database" in line
    assert home.ledger_file.read_bytes() == before


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    home.state_dir.write_text("a file")
    with pytest.raises(CannotStart, match="cannot keep state in") as caught:
        make_state_dir(find_paths(home.env, home.work_dir))
    assert caught.value.code == Exit.USAGE


def test_a_misspelled_command_suggests_the_nearest_and_a_screen_needs_a_terminal() -> None:
    done = run_program("confgi")
    assert done.returncode == Exit.USAGE
    assert "Did you mean 'config'?" in plain_lines(done)[-1]

    done = run_program()
    assert done.returncode == Exit.USAGE
    (line,) = plain_lines(done)
    assert "--no-ui" in line


# ---------------------------------------------------------------------- other commands


def test_commands_work_in_an_empty_environment_and_show_no_secret(tmp_path: Path) -> None:
    home = GatewayHome(tmp_path, "http://127.0.0.1:9")
    dotenv = home.folder / ".env"
    dotenv.touch(mode=0o600)
    dotenv.write_text(f"GROQ_API_KEY={SECRETS[1]}\n")
    keys = {"ANTHROPIC_API_KEY": SECRETS[0], "STACKBILT_GATEWAY_KEY": SECRETS[2]}
    env = {"PATH": os.defpath, "HOME": str(tmp_path)} | home.env | keys

    def ran(*arguments: str, stdin: bytes = b"") -> str:
        done = run_program(*arguments, only_env=env, cwd=home.work_dir, stdin=stdin)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done
        said = (done.stdout + done.stderr).decode()
        assert [secret for secret in SECRETS if secret in said] == []
        return done.stdout.decode()

    assert "sbgw-tui" in ran("--version")
    assert "--no-ui" in ran("--help")
    assert json.loads(ran("explain", "-", stdin=message()))["route"] == "fallback_safe"
    settings = {line.split()[0]: line.partition("# ")[2] for line in ran("config").splitlines()}
    assert settings["server.port"] == f"{home.folder / 'config.toml'}:2"
    assert settings["server.host"] == "default"
    assert "environment" in settings["$ANTHROPIC_API_KEY"]
    assert ".env" in settings["$GROQ_API_KEY"]


# ---------------------------------------------------------------------- signals


def native_error(call: Call) -> dict[str, Any]:
    """The error of a Messages answer made by the gateway."""
    body: dict[str, Any] = json.loads(bytes(call.body))
    assert body["type"] == "error"
    return cast(dict[str, Any], body["error"])


async def drains(gateway: GatewayProcess) -> None:
    """Wait until the gateway says that it is draining."""
    await gateway.reports(lambda health: health["state"] == "draining")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_lets_running_streams_end(tmp_path: Path, number: signal.Signals) -> None:
    gate = asyncio.Event()
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with home.serve() as gateway:
            running = gateway.call(message())
            async with running.running() as answer:
                gateway.signal(number)
                await drains(gateway)
                late = await gateway.call(message()).run()
                assert not answer.done()
                gate.set()
                await answer
            code = await gateway.ended()

    assert (late.status, late.headers["connection"]) == (503, "close")
    assert native_error(late)["type"] == "api_error"
    assert (running.is_whole, bytes(running.body)) == (True, FIRST + LAST)
    assert code == Exit.OK
    assert len(upstream.requests) == 1
    assert home.statuses() == {running.turn_id: "completed"}
    assert gateway.stdout == ""
    assert gateway.stderr_lines == [
        f"sbgw-tui: {gateway.version} serving on {gateway.url}"
        " (shadow: every request goes where it was sent)",
        "sbgw-tui: draining 1 stream, at most 60 s; interrupt again to end now",
    ]


async def test_a_second_signal_ends_the_rest_with_the_native_error(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with ScriptedUpstream(held(never)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with home.serve() as gateway:
            calls = [gateway.call(message()) for _ in range(3)]
            tasks = [asyncio.get_running_loop().create_task(call.run()) for call in calls]
            for call in calls:
                await call.begun.wait()
            gateway.signal(signal.SIGINT)
            await drains(gateway)
            gateway.signal(signal.SIGINT)
            await asyncio.gather(*tasks)
            code = await gateway.ended()

    assert code == Exit.INTERRUPT
    for call in calls:
        assert call.is_whole
        start, _, event = bytes(call.body).partition(b"event: error\n")
        assert start == FIRST
        error = json.loads(event.removeprefix(b"data: "))["error"]
        assert error["type"] == "api_error"
    assert sorted(home.statuses().values()) == ["partial"] * 3
    assert len(gateway.stderr_lines) == 2, gateway.stderr_lines


async def test_idle_connections_do_not_delay_the_end(tmp_path: Path) -> None:
    async with ScriptedUpstream(respond(200, body=b"{}")) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with home.serve() as gateway:
            writers = []
            for sent in (b"", b"POST /v1/mess", b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(sent % gateway.port if b"%" in sent else sent)
                writers.append(writer)
            assert b" 200 " in await reader.readline()
            gateway.signal(signal.SIGTERM)
            code = await gateway.ended()
            for writer in writers:
                writer.close()
                await asyncio.wait({asyncio.ensure_future(_closed(writer))})

    assert code == Exit.OK
    assert len(gateway.stderr_lines) == 1, gateway.stderr_lines


async def _closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


# ---------------------------------------------------------------------- front ends and leases


async def test_a_front_end_that_crashes_lets_running_streams_end(tmp_path: Path) -> None:
    gate, crash = asyncio.Event(), asyncio.Event()
    running: list[Call] = []
    async with ScriptedUpstream(held(gate)) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)

        async def front(gateway: Gateway, stop: Stop) -> None:
            running.append(Call(gateway.port, message(), "/v1/messages"))
            await crash.wait()
            raise RuntimeError("the screen is broken")

        said: list[str] = []
        loaded = load(env=home.env, cwd=home.work_dir)
        serving = asyncio.get_running_loop().create_task(
            run(loaded, home.env, RunOptions(say=said.append), front)
        )
        await until(lambda: bool(running), "the front end was not started")
        async with running[0].running() as answer:
            crash.set()
            await until(lambda: bool(said), "no drain")
            gate.set()
            await answer
        with pytest.raises(RuntimeError, match="the screen is broken"):
            await serving

    assert (running[0].is_whole, bytes(running[0].body)) == (True, FIRST + LAST)
    assert [line for line in said if "draining 1 stream" in line] == said
    assert home.statuses() == {running[0].turn_id: "completed"}


@dataclass
class _Leased:
    """As much of a gateway as its idle watch looks at."""

    clock: FakeClock
    state_dir: Path
    requests: int = 0
    active: dict[str, object] = field(default_factory=dict)
    refuses: bool = False

    @property
    def loaded(self) -> Any:
        return self

    paths = services = stats = loaded

    def counters(self) -> dict[str, int]:
        return {"requests": self.requests}

    def refuse_new(self) -> None:
        self.refuses = True


async def test_a_launched_gateway_ends_once_nobody_uses_it(tmp_path: Path) -> None:
    gateway = _Leased(FakeClock(), tmp_path)
    stop = Stop()
    watch = asyncio.get_running_loop().create_task(_idle(cast(Gateway, gateway), stop))

    with Leases(tmp_path / "leases").take():
        await gateway.clock.advance(3 * IDLE_S)
    gateway.active["a turn"] = object()
    await gateway.clock.advance(3 * IDLE_S)
    gateway.active.clear()
    await gateway.clock.advance(IDLE_S - 5)
    gateway.requests += 1
    await gateway.clock.advance(IDLE_S - 5)
    assert not stop.draining.is_set()

    await gateway.clock.advance(10)
    assert stop.draining.is_set()
    assert gateway.refuses
    await watch


# ---------------------------------------------------------------------- a ledger in trouble


@contextmanager
def locked(home: GatewayHome, _: GatewayProcess) -> Iterator[None]:
    """Another process, this one, has the database locked."""
    with closing(sqlite3.connect(home.ledger_file, isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@contextmanager
def full_disk(_: GatewayHome, gateway: GatewayProcess) -> Iterator[None]:
    """No file of the gateway can grow beyond a few bytes."""
    limits = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    yield
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("trouble", [locked, pytest.param(full_disk, marks=needs_linux)])
async def test_serving_goes_on_without_the_ledger(tmp_path: Path, trouble: Any) -> None:
    usage = {"output_tokens": 7}
    whole = message_start(START_USAGE) + message_delta("end_turn", usage) + MESSAGE_STOP
    async with ScriptedUpstream(sse([whole])) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with home.serve() as gateway:
            before = await gateway.call(message()).run()
            with trouble(home, gateway):
                during = [await gateway.call(message()).run() for _ in range(5)]
                health = await gateway.reports(lambda health: health["ledger"] == "degraded")
                during += [await gateway.call(message()).run() for _ in range(5)]
            await gateway.reports(lambda health: health["ledger"] == "ok")
            rows = dict(home.rows("SELECT id, output_tokens FROM turns WHERE status = 'completed'"))
            gateway.signal(signal.SIGTERM)
            assert await gateway.ended() == Exit.OK

    assert health["status"] == "degraded"
    assert {call.status for call in during} == {200}
    assert {bytes(call.body) for call in during} == {whole}
    assert rows == {call.turn_id: 7 for call in (before, *during)}
    assert not [line for line in gateway.stderr_lines if "Traceback" in line]
