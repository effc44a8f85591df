"""Upstream HTTP clients side by side: what each adds to a bare socket, in one run.

    python tests/benchmarks/bench_transports.py [--rounds 3] [--only floor,ours]

The upstream is a child process. Every round visits every client once, in rotating order; the
table shows the median over the rounds, and each cell also as a multiple of ``ours``. CPU is this
process alone. Only ratios within one table mean anything. Plain HTTP on loopback: no TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self, cast

from providers.transport import HttpxTransport, Origin, Transport

BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 1900 + b'"}]}'
ANSWER = b'{"id":"msg_1","content":[{"type":"text","text":"' + b"y" * 400 + b'"}]}'
HEADERS = [
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
    (b"anthropic-version", b"2026-10-21"),
    (b"user-agent", b"bench/1.0 (external, cli)"),
    (b"accept", b"application/json"),
    *[(b"x-stainless-field-%d" % n, b"value-%d" % n) for n in range(8)],
]
SMALL_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_0123456789\r\n"
    b"anthropic-ratelimit-requests-remaining: 999\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nrequest-id: req_0123456789\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
STAMP = re.compile(rb"@(\d+)@")
PADDING = b'"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word "}'

SEQUENTIAL = 300
CLOSED_LOOP_S = 0.7
STAGGER_S = 0.002
"""Between the starts of two streams, so that chunk latency is not that of a connection storm."""
BUDGET_S = 60.0
"""No further round is begun that would end later."""
STREAM_LOADS = ((50, 30, 20), (200, 24, 50))
"""Streams, chunks each, milliseconds between chunks."""


# -- the upstream, in a child process -------------------------------------------------------------


class Upstream(asyncio.Protocol):
    """Answers ``/small`` at once and ``/stream/COUNT/MS`` with time-stamped chunks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < len(BODY):
            return
        self._buffer = body[len(BODY) :]
        path = head.split(b" ", 2)[1].decode()
        if path == "/small":
            self._transport.write(SMALL_HEAD + ANSWER)
            return
        _, _, count, interval_ms = path.split("/")
        self._transport.write(STREAM_HEAD)
        self._stream(int(count), int(interval_ms) / 1000)

    def _stream(self, left: int, interval_s: float) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(END)
            return
        event = b"data: {%s,@%d@}\n\n" % (PADDING, time.perf_counter_ns())
        self._transport.write(b"%x\r\n%s\r\n" % (len(event), event))
        asyncio.get_running_loop().call_later(interval_s, self._stream, left - 1, interval_s)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    await server.serve_forever()


# -- the clients ----------------------------------------------------------------------------------


class Client:
    """One way to talk to the upstream."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def small(self) -> bytes:
        """POST ``BODY`` to ``/small``; the whole body of the answer."""
        return b"".join([part async for part in self.parts("/small")])

    def parts(self, path: str) -> AsyncIterator[bytes]:
        """POST ``BODY``; the body of the answer as it arrives."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class _Socket(asyncio.BufferedProtocol):
    buffer = memoryview(bytearray(256 * 1024))

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] | None = None
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def more(self) -> bytes:
        if not self.data:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        data, self.data = self.data, b""
        return data


class Floor(Client):
    """A socket and prepared bytes: no HTTP is parsed, nothing can go wrong."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._port = int(url.rpartition(":")[2])
        self._idle: list[_Socket] = []
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in HEADERS)
        self._rest = (
            b" HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n" % (lines, len(BODY))
        ) + BODY

    async def parts(self, path: str) -> AsyncIterator[bytes]:
        sock = self._idle.pop() if self._idle else await self._connect()
        sock.transport.write(b"POST " + path.encode() + self._rest)
        left = len(SMALL_HEAD) + len(ANSWER)
        while True:
            data = await sock.more()
            yield data
            left -= len(data)
            if left == 0 if path == "/small" else data.endswith(END):
                break
        self._idle.append(sock)

    async def _connect(self) -> _Socket:
        loop = asyncio.get_running_loop()
        _, sock = await loop.create_connection(_Socket, "127.0.0.1", self._port)
        return sock

    async def __aexit__(self, *_: object) -> None:
        for sock in self._idle:
            sock.transport.abort()


class Ours(Client):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._origin = Origin.parse(url)[0]
        self._transport = Transport()

    async def parts(self, path: str) -> AsyncIterator[bytes]:
        response = await self._transport.request(
            self._origin, b"POST", path.encode(), HEADERS, BODY
        )
        try:
            while data := await response.read():
                yield data
        finally:
            await response.aclose()

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()


class HttpxLike(Client):
    """Any client with the API of httpx; ``module`` is httpx or httpx2."""

    def __init__(self, url: str, module: Any, transport: Any, close: Any = None) -> None:
        super().__init__(url)
        self._client = module.AsyncClient(
            transport=transport, timeout=module.Timeout(None), trust_env=False
        )
        self._close = close

    async def parts(self, path: str) -> AsyncIterator[bytes]:
        async with self._client.stream(
            "POST", self.url + path, headers=HEADERS, content=BODY
        ) as response:
            async for data in response.aiter_raw():
                yield data

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        if self._close is not None:
            await self._close()


def _stock(name: str) -> Callable[[str], Client]:
    module = importlib.import_module(name)
    limits = module.Limits(max_connections=None, max_keepalive_connections=20)
    return lambda url: HttpxLike(url, module, module.AsyncHTTPTransport(limits=limits))


def _over_aiohttp() -> Callable[[str], Client]:
    httpx = importlib.import_module("httpx")
    adapter = importlib.import_module("httpx_aiohttp")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return lambda url: HttpxLike(
        url, httpx, adapter.AiohttpTransport(limits=limits, trust_env=False)
    )


def _ours_under_httpx() -> Callable[[str], Client]:
    httpx = importlib.import_module("httpx")

    def make(url: str) -> Client:
        transport = Transport()
        return HttpxLike(url, httpx, HttpxTransport(transport), transport.aclose)

    return make


CLIENTS: dict[str, Callable[[], Callable[[str], Client]]] = {
    "floor": lambda: Floor,
    "ours": lambda: Ours,
    "ours/httpx": _ours_under_httpx,
    "httpx": lambda: _stock("httpx"),
    "httpx2": lambda: _stock("httpx2"),
    "httpx-aiohttp": _over_aiohttp,
}


# -- measuring ------------------------------------------------------------------------------------


async def sequential(client: Client) -> dict[str, float]:
    times = []
    for _ in range(SEQUENTIAL):
        start = time.perf_counter()
        body = await client.small()
        times.append(time.perf_counter() - start)
        assert body.endswith(ANSWER)
    return {"seq p50 ms": statistics.median(times) * 1e3}


async def closed_loop(client: Client, width: int = 32) -> dict[str, float]:
    done = 0
    end = time.perf_counter() + CLOSED_LOOP_S

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await client.small()
            done += 1

    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    elapsed = time.perf_counter() - start
    return {
        "rps c=32": done / elapsed,
        "CPU ms/req": (time.process_time() - cpu) * 1e3 / done,
    }


async def streams(client: Client, count: int, chunks: int, interval_ms: int) -> dict[str, float]:
    late: list[float] = []
    first: list[float] = []

    async def one(number: int) -> None:
        await asyncio.sleep(number * STAGGER_S)
        seen = 0
        start = time.perf_counter()
        async for data in client.parts(f"/stream/{chunks}/{interval_ms}"):
            now = time.perf_counter_ns()
            stamps = STAMP.findall(data)
            if stamps and not seen:
                first.append(time.perf_counter() - start)
            seen += len(stamps)
            late.extend((now - int(stamp)) / 1e6 for stamp in stamps)
        if seen != chunks:
            raise RuntimeError(f"{seen} of {chunks} chunks arrived")

    cpu = time.process_time()
    await asyncio.gather(*(one(number) for number in range(count)))
    cpu = time.process_time() - cpu
    late.sort()
    return {
        f"{count} str: first ms": statistics.median(first) * 1e3,
        "p50 ms": late[len(late) // 2],
        "p99 ms": late[len(late) * 99 // 100],
        "CPU us/chunk": cpu * 1e6 / (count * chunks),
    }


async def measure(client: Client) -> dict[str, float]:
    for _ in range(20):
        await client.small()
    result = await sequential(client)
    result |= await closed_loop(client)
    for count, chunks, interval_ms in STREAM_LOADS:
        figures = await streams(client, count, chunks, interval_ms)
        result |= {f"{count} {name.removeprefix(f'{count} ')}": v for name, v in figures.items()}
    return result


async def run(url: str, rounds: int, makers: dict[str, Callable[[str], Client]]) -> None:
    names = list(makers)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    start = time.perf_counter()
    for number in range(rounds):
        if number and (time.perf_counter() - start) * (number + 1) / number > BUDGET_S:
            print(f"stopped after {number} of {rounds} rounds: the machine is slow or busy")
            break
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            async with makers[name](url) as client:
                results[name].append(await measure(client))
            gc.collect()
    table = {
        name: {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        for name, runs in results.items()
    }
    noise = {
        key: max(_spread([r[key] for r in runs]) for runs in results.values())
        for key in next(iter(table.values()))
    }
    if "floor" in table:
        for figures in table.values():
            figures["seq added ms"] = figures["seq p50 ms"] - table["floor"]["seq p50 ms"]
    show(table, noise)


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def show(table: dict[str, dict[str, float]], noise: dict[str, float]) -> None:
    names = list(table)
    base = table.get("ours", table[names[0]])
    print(f"{'':24}" + "".join(f"{name:>20}" for name in names) + f"{'spread':>9}")
    for key in sorted(base, key=lambda key: (key[0].isdigit(), key != "seq added ms")):
        cells = [
            f"{table[name][key]:11.3f} ({_ratio(table[name][key], base[key]):>5})" for name in names
        ]
        spread = f"{noise[key]:9.2f}" if key in noise else ""
        print(f"{key:24}" + "".join(f"{cell:>20}" for cell in cells) + spread)


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}" if base > 0 else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="comma-separated names")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
        return 0
    wanted = [name for name in options.only.split(",") if name] or list(CLIENTS)
    makers: dict[str, Callable[[str], Client]] = {}
    for name in wanted:
        try:
            makers[name] = CLIENTS[name]()
        except ImportError as error:
            print(f"{name}: left out, {error.name} is not installed")
    child = subprocess.Popen([sys.executable, __file__, "--upstream"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        # Lifts glibc's mmap threshold over asyncio's 256 KiB reads: otherwise every read of the
        # other clients would map and unmap memory, or not, depending on what was imported before.
        bytearray(1 << 20).clear()
        gc.freeze()
        factory = importlib.import_module("uvloop").new_event_loop if options.uvloop else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run(url, options.rounds, makers))
    finally:
        child.terminate()
        child.communicate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
