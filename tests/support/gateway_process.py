"""The real program as a child process with a throw-away home, and a raw client to talk to it.

::

    async with ScriptedUpstream(respond(200, body=b"{}")) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)
        async with home.serve() as gateway:                  # python sbgw.py --no-ui
            call = await gateway.call(message()).run()       # POST /v1/messages
            gateway.signal(signal.SIGTERM)
            assert await gateway.ended() == 0

The child is always ended by its pid, whatever the test did. ``run_program`` is for commands that
end by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
KEY = "local-dev-key"
PATIENCE_S = 30.0
"""How long anything that must happen may take on a busy machine."""

_PAUSE_S = 0.02


def program(*arguments: str) -> list[str]:
    """The command line that starts the program from the checkout."""
    return [sys.executable, str(ROOT / "sbgw.py"), *arguments]


def run_program(
    *arguments: str,
    env: dict[str, str] | None = None,
    only_env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; ``env`` is added to the test's own, ``only_env`` replaces it."""
    return subprocess.run(
        program(*arguments),
        env=os.environ | (env or {}) if only_env is None else only_env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


def message(stream: bool = True, **more: Any) -> bytes:
    """A small Messages request body."""
    asked = {
        "model": "claude-opus-5-5",
        "max_tokens": 64,
        "stream": stream,
        "messages": [{"role": "user", "content": "hello"}],
    }
    return json.dumps(asked | more).encode()


class GatewayHome:
    """One ``SBGW_HOME`` whose gateway sends Messages requests to ``upstream_url``."""

    def __init__(self, folder: Path, upstream_url: str, server: str = "") -> None:
        self.folder = folder / "home"
        self.folder.mkdir(mode=0o700, parents=True)
        self.work_dir = folder / "work"
        self.work_dir.mkdir()
        self.state_dir = self.folder / "state"
        self.ledger_file = self.state_dir / "ledger.sqlite3"
        self.env = {"SBGW_HOME": str(self.folder), "ANTHROPIC_API_KEY": "sk-ant-upstream-key"}
        self.write_config(
            f'[server]\nport = 0\n{server}\n[providers.anthropic]\nbase_url = "{upstream_url}"\n'
        )

    def write_config(self, text: str) -> None:
        """Replace ``config.toml``."""
        (self.folder / "config.toml").write_text(text)

    @contextlib.asynccontextmanager
    async def serve(self, *arguments: str) -> AsyncIterator[GatewayProcess]:
        """Run the headless gateway while the block lasts."""
        child = self._spawn(*arguments)
        async with GatewayProcess(self, child) as gateway:
            yield gateway

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.work_dir / "out").open("wb") as out, (self.work_dir / "err").open("wb") as err:
            return subprocess.Popen(
                program("--no-ui", *arguments),
                env=os.environ | self.env,
                cwd=self.work_dir,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds in the ledger, read without being able to write."""
        uri = f"{self.ledger_file.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as database:
            return database.execute(sql, values).fetchall()

    def statuses(self) -> dict[str, str]:
        """The status of every turn in the ledger, by id."""
        return dict(self.rows("SELECT id, status FROM turns"))


class GatewayProcess:
    """A gateway that runs in a child process; ``async with`` waits until it answers."""

    def __init__(self, home: GatewayHome, child: subprocess.Popen[bytes]) -> None:
        self.home = home
        self.port = 0
        self.version = ""
        self._child = child

    async def __aenter__(self) -> Self:
        try:
            await self._until_serving()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def url(self) -> str:
        """Where the gateway says it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stdout(self) -> str:
        """Everything the child wrote to stdout so far."""
        return (self.home.work_dir / "out").read_text()

    @property
    def stderr_lines(self) -> list[str]:
        """Everything the child wrote to stderr so far."""
        return (self.home.work_dir / "err").read_text().splitlines()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child, which must not have ended."""
        assert self._child.poll() is None, self.stderr_lines
        os.kill(self._child.pid, number)

    def kill(self) -> None:
        """``kill -9``, at once; returns when the process is gone."""
        self._child.kill()
        self._child.wait()

    async def ended(self) -> int:
        """Wait for the child's end; its exit code, negative for a signal."""
        await until(lambda: self._child.poll() is not None, "the gateway did not end")
        code = self._child.returncode
        assert code is not None
        return code

    def call(self, body: bytes | None = None, path: str = "/v1/messages", **options: Any) -> Call:
        """A request to this gateway, not yet sent."""
        return Call(self.port, body, path, **options)

    async def health(self) -> dict[str, Any]:
        """The body of ``GET /health``."""
        call = await self.call(path="/health").run()
        assert call.status == 200, call
        found: dict[str, Any] = json.loads(bytes(call.body))
        return found

    async def reports(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for ``/health`` until ``is_so``; what it said then."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so(found := await self.health()):
                await asyncio.sleep(_PAUSE_S)
        return found

    def end(self) -> None:
        """End the child by its pid, if it has not ended yet."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()

    async def _until_serving(self) -> None:
        await until(self._is_published, "the gateway did not start")
        assert self.port, (self._child.returncode, self.stderr_lines)
        self.version = (await self.health())["version"]

    def _is_published(self) -> bool:
        """Whether our child listens, or has ended instead."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            lock = json.loads((self.home.state_dir / "gateway.lock").read_text())
            if lock["pid"] == self._child.pid and lock["url"]:
                self.port = int(lock["url"].rpartition(":")[2])
        return bool(self.port) or self._child.poll() is not None


async def until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Look until ``is_so``; fails the test with ``otherwise`` when patience ends."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise AssertionError(otherwise) from None


class Call:
    """One request on a connection of its own, read to its end, byte for byte.

    ``body`` ``None`` makes it a GET, whatever the ``method``. ``on_news`` is called after every piece that arrived;
    ``fields`` are more lines of the head.
    """

    def __init__(
        self,
        port: int,
        body: bytes | None,
        path: str,
        *,
        on_news: Callable[[Call], None] = lambda _: None,
        key: str | None = KEY,
        fields: Sequence[str] = (),
        method: str = "POST",
    ) -> None:
        self.status: int | None = None
        """``None`` until the head of the answer has arrived."""
        self.headers: dict[str, str] = {}
        """Of the answer, names in lower case."""
        self.body = bytearray()
        """Of the answer, without its transfer coding."""
        self.is_whole = False
        """The answer has arrived up to its very last byte."""
        self.begun = asyncio.Event()
        """Set with the head of the answer, or at the end of the connection."""
        self._port = port
        self._on_news = on_news
        self._request = _request_bytes(port, body, path, key, fields, method)

    @property
    def turn_id(self) -> str | None:
        """The gateway's id of the turn."""
        return self.headers.get("x-gateway-request-id")

    async def run(self) -> Self:
        """Send the request and read the answer; a connection that breaks is not an error."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                await self._exchange()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self.begun.set()
        return self

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[Self]]:
        """Run beside the block, which begins when the answer has begun."""
        task = asyncio.get_running_loop().create_task(self.run())
        try:
            await self.begun.wait()
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _exchange(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._request)
            self._read_head(await reader.readuntil(b"\r\n\r\n"))
            self.begun.set()
            self._on_news(self)
            if self.headers.get("transfer-encoding") == "chunked":
                await self._read_chunks(reader)
            else:
                await self._read_length(reader, int(self.headers.get("content-length", "0")))
            self.is_whole = True
            self._on_news(self)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _read_head(self, head: bytes) -> None:
        status, *fields = head[:-4].decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1])
        for field in fields:
            name, _, value = field.partition(":")
            self.headers[name.lower()] = value.strip()

    async def _read_chunks(self, reader: asyncio.StreamReader) -> None:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            self.body += (await reader.readexactly(size + 2))[:-2]
            self._on_news(self)
        await reader.readexactly(2)

    async def _read_length(self, reader: asyncio.StreamReader, length: int) -> None:
        while len(self.body) < length:
            piece = await reader.read(length - len(self.body))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(self.body), length)
            self.body += piece


def _request_bytes(
    port: int, body: bytes | None, path: str, key: str | None, more: Sequence[str], method: str
) -> bytes:
    keys = [] if key is None else [f"x-api-key: {key}"]
    fields = [f"Host: 127.0.0.1:{port}", *keys, *more]
    if body is None:
        lines = [f"GET {path} HTTP/1.1", *fields]
    else:
        fields += ["content-type: application/json", f"content-length: {len(body)}"]
        lines = [f"{method} {path} HTTP/1.1", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
