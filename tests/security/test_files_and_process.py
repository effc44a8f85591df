"""S17-S19, S22: files of others, words that are code elsewhere, and what the process gives up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from anthropic_streams import TEXT
from gateway_process import GatewayHome
from live_gateway import HELLO, live_gateway
from scripted_upstream import ScriptedUpstream, sse

from server import hardening, logs, private_files
from server.hardening import as_the_user, hardened
from server.private_files import UnsafeFileError
from server.settings_file import load

# ---------------------------------------------------------------------- S17


def test_s17_a_project_moves_nothing_and_gives_no_key(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    home.mkdir(mode=0o700)
    evil = "https://evil.example"
    lines = [
        f"ANTHROPIC_BASE_URL={evil}",
        f"SBGW_PROVIDERS__ANTHROPIC__BASE_URL={evil}",
        "ANTHROPIC_API_KEY=sk-ant-of-the-project-0123",
        "STACKBILT_GATEWAY_KEY=known-to-the-project",
        f"HTTPS_PROXY={evil}",
    ]
    (project / ".env").write_text("\n".join(lines) + "\n")
    (project / ".env").chmod(0o600)
    seed = {
        "port": 1,
        "gatewayKey": "known-to-the-project",
        "routing": {"shadowMode": False, "summary": ["cerebras"]},
        "providers": {"anthropic": {"baseUrl": evil, "base_url": evil}},
    }
    for name in ("gateway.config.json", "stackbilt.gateway.json"):
        (project / name).write_text(json.dumps(seed))
    for name in ("config.toml", "sbgw.toml", ".sbgw.toml"):
        (project / name).write_text(f'[providers.anthropic]\nbase_url = "{evil}"\n')
    plain = load(env={"SBGW_HOME": str(home)}, cwd=home)
    loaded = load(
        env={"SBGW_HOME": str(home), "ANTHROPIC_BASE_URL": evil, "OPENAI_BASE_URL": evil},
        cwd=project,
    )
    assert loaded.settings == plain.settings
    assert loaded.gateway_key == plain.gateway_key
    assert loaded.secrets.get("ANTHROPIC_API_KEY") is None
    assert evil not in repr(loaded.settings)


# ---------------------------------------------------------------------- S18


def test_s18_a_log_is_private_and_follows_no_link(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with private_files.open_to_append(path) as file:
        file.write("one\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o666)
    with private_files.open_to_append(path) as file:
        file.write("two\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "one\ntwo\n"
    target = tmp_path / "target"
    for content in (None, "of somebody"):
        if content is not None:
            target.write_text(content)
        link = tmp_path / f"link {content}"
        link.symlink_to(target)
        with pytest.raises(OSError, match="symbolic"):
            private_files.open_to_append(link)
    assert target.read_text() == "of somebody"


def test_s18_a_log_is_no_pipe_folder_or_file_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device"):
        private_files.open_to_append(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(UnsafeFileError, match="regular"):
            private_files.open_to_append(pipe)
    finally:
        os.close(reader)
    with pytest.raises(OSError, match="directory"):
        private_files.open_to_append(tmp_path)
    monkeypatch.setattr(private_files, "is_us", lambda owner: False)
    with pytest.raises(UnsafeFileError, match="another user"):
        private_files.open_to_append(tmp_path / "file")


def test_s18_a_replaced_file_takes_the_place_of_a_link(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "state.json"
    target.write_text("of somebody")
    path.symlink_to(target)
    private_files.replace(path, b"ours")
    assert not path.is_symlink()
    assert path.read_bytes() == b"ours"
    assert target.read_text() == "of somebody"


@pytest.fixture
def loggers() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    hooks = sys.excepthook
    names = (logs.ROOT, "quart", "hypercorn", "asyncio")
    before = {n: (logging.getLogger(n).handlers[:], logging.getLogger(n).propagate) for n in names}
    levels = {n: logging.getLogger(n).level for n in names}
    yield logging.getLogger(logs.ROOT)
    sys.excepthook = hooks
    for name in names:
        log = logging.getLogger(name)
        for handler in log.handlers:
            handler.close()
        log.handlers[:], log.propagate = before[name]
        log.setLevel(levels[name])


def test_s18_logging_to_a_link_writes_nowhere(tmp_path: Path, loggers: logging.Logger) -> None:
    target, path = tmp_path / "target", tmp_path / "gateway.log"
    target.write_text("of somebody")
    path.symlink_to(target)
    logs.to_file(path, "info", [])
    loggers.error("a line")
    assert target.read_text() == "of somebody"
    assert path.is_symlink()


def test_s18_a_full_log_is_moved_aside_once(
    tmp_path: Path, loggers: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MAX_BYTES", 10)
    path = tmp_path / "gateway.log"
    path.write_text("more than ten bytes")
    logs.to_file(path, "info", [])
    loggers.error("a line")
    assert (tmp_path / "gateway.log.1").read_text() == "more than ten bytes"
    assert json.loads(path.read_text())["message"] == "a line"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---------------------------------------------------------------------- S19

SQL = [
    "'; DROP TABLE turns; --",
    "' OR (SELECT 1)--",
    '"); DELETE FROM turns WHERE ("1"="1',
    "x' UNION SELECT sql FROM sqlite_master --",
    "\\' OR 1=1 /*",
    "$(id) `id` {{7*7}} ${7*7} %s %(x)s ? :x @x",
]


async def test_s19_words_of_clients_are_data(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(home, upstream.base_url) as gateway,
    ):
        await gateway.ask()
        for text in SQL:
            data = text.encode()
            refused = [
                await gateway.ask(key=text),
                await gateway.ask(key=None, headers=[(b"Authorization", b"Bearer " + data)]),
                await gateway.ask(key=None, headers=[(b"x-sbgw-key", data)]),
            ]
            assert {answer.status for answer in refused} <= {401, 429}
            fields = [
                (b"x-claude-code-session-id", data),
                (b"x-claude-code-agent-id", data),
                (b"x-sbgw-project", data),
                (b"x-sbgw-branch", data),
                (b"x-sbgw-label", data),
                (b"user-agent", data),
            ]
            body = HELLO | {
                "model": text,
                "metadata": {"user_id": text},
                "tool_choice": {"type": text},
            }
            assert (await gateway.ask(body=body, headers=fields)).status == 200
        turns = await gateway.turns(1 + len(SQL))
        rejects = await asyncio.to_thread(gateway.gateway.reader.rejects)
        limit = await gateway.get("/events/recent?limit=1%27%3B%20DROP%20TABLE%20turns")
    assert limit.status == 400
    by_model = {turn["model_asked"]: turn for turn in turns}
    for text in SQL:
        turn = by_model[text]
        assert (turn["session"], turn["agent"], turn["project"]) == (
            text,
            text,
            text.replace("%", "%"),
        )
    assert sum(rejects.values()) == 3 * len(SQL)
    assert not [reason for reason in rejects if not reason.replace("_", "").isalpha()]
    with closing(sqlite3.connect(home / "state" / "ledger.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM turns").fetchone() == (len(turns),)


# ---------------------------------------------------------------------- S22


def test_s22_a_hardened_process_dumps_no_core_and_makes_private_files(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        before = resource.getrlimit(resource.RLIMIT_CORE)
        with hardened():
            assert resource.getrlimit(resource.RLIMIT_CORE) == (0, before[1])
            (tmp_path / "file").touch()
            (tmp_path / "folder").mkdir()
            with hardened():
                pass
            assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
        (tmp_path / "later").touch()
        assert resource.getrlimit(resource.RLIMIT_CORE) == before
    finally:
        os.umask(umask)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {"file": 0o600, "folder": 0o700, "later": 0o644}


def spawned(tmp_path: Path) -> list[str]:
    """The umask and the core limit that a program started here has."""
    out = tmp_path / "out"
    script = f"(umask; ulimit -S -c) > {out}"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], dict(os.environ))
    os.waitpid(pid, 0)
    return out.read_text().split()


def test_s22_the_users_programs_start_as_if_the_user_had_started_them(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        plain = spawned(tmp_path)
        with hardened():
            inherited = spawned(tmp_path)
            with as_the_user():
                given = spawned(tmp_path)
            assert hardening._before is not None
            assert spawned(tmp_path) == inherited
        with as_the_user():
            assert spawned(tmp_path) == plain
    finally:
        os.umask(umask)
    assert given == plain
    assert [int(inherited[0], 8), inherited[1]] == [0o077, "0"]
    assert int(plain[0], 8) == 0o027


def proc(pid: int, name: str) -> list[str]:
    """The lines of a file about a process."""
    return Path(f"/proc/{pid}/{name}").read_text().splitlines()


def modes_below(folder: Path) -> dict[str, int]:
    """The modes of a folder and of all in it, by name."""
    return {p.name: stat.S_IMODE(p.lstat().st_mode) for p in (folder, *folder.rglob("*"))}


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs /proc")
async def test_s22_the_running_gateway_is_hardened_and_what_it_writes_is_private(
    tmp_path: Path,
) -> None:
    umask = os.umask(0o000)
    try:
        home = GatewayHome(tmp_path, "http://127.0.0.1:9")
        async with home.serve() as gateway:
            limits, status = proc(gateway.pid, "limits"), proc(gateway.pid, "status")
            modes = modes_below(home.state_dir)
    finally:
        os.umask(umask)
    core = next(line for line in limits if line.startswith("Max core file size"))
    assert core.split()[4] == "0"
    assert "Umask:\t0077" in status
    assert "ledger.sqlite3" in modes
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


async def test_s22_nothing_helps_to_debug_a_running_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUART_DEBUG", "1")
    monkeypatch.setenv("FLASK_DEBUG", "1")
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:

        def fail() -> None:
            raise RuntimeError("words of the inside")

        monkeypatch.setattr(gateway.gateway.stats, "metrics_json", fail)
        got = await gateway.get("/metrics")
    assert (got.status, got.json["error"]["type"]) == (500, "api_error")
    assert b"words of the inside" not in got.body
    assert b"Traceback" not in got.body
