"""CPU of one request inside the engine: ``python tests/benchmarks/bench_engine.py [NAME...]``.

Drives ``Dispatcher.handle`` in this process, between a receive and a send that cost nothing and an
upstream in a child process, so that neither the HTTP server nor a client is part of the figures.
Prints milliseconds of CPU a request: the loop's thread, the ledger's thread, all other threads;
beside them what the call of the upstream alone takes, and reading and classifying the body alone.
``--profile NAME`` prints a profile of the loop's thread instead.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from live_gateway import live_gateway

from providers.transport import Origin, Transport
from providers.types import Headers, Protocol
from server.classify import classify, client_facts
from server.credentials import authenticate
from server.dispatch import Dispatcher
from server.exchange import Inbound, Sink
from server.explain import read_as
from server.gateway import Gateway
from tests.benchmarks._load import HEADERS, Body, agent_body

ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, and how often in a round."""

    name: str
    body: Body
    plan: str
    count: int
    width: int = 1
    """Requests at the same time."""


def _hello() -> Body:
    text = "Say hello to everybody who reads this. " * 18
    return Body(
        b'{"model":"claude-opus-5-5","max_tokens":1024,"messages":'
        b'[{"role":"user","content":"' + text.encode() + b'@0000000000@"}]}'
    )


CASES = (
    Case("1 kB", _hello(), "whole", 50),
    Case("1 kB, 32 at once", _hello(), "whole", 128, 32),
    Case("5 kB agent", agent_body(1_000, stream=False), "whole", 60),
    Case("50 kB agent, streamed", agent_body(50_000), "burst", 30),
    Case("200 kB agent", agent_body(200_000), "burst", 15),
    Case("4 MB agent", agent_body(4_000_000), "burst", 3),
)


def _fields(plan: str, size: int) -> Headers:
    fields = [tuple(line.split(b": ", 1)) for line in HEADERS.splitlines()]
    fields += [(b"x-bench", plan.encode()), (b"content-length", b"%d" % size)]
    return [(name.lower(), value) for name, value in fields]


class Engine:
    """One request after another through the dispatcher of a running gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._dispatcher: Dispatcher = gateway._edge._dispatcher

    async def ask(self, case: Case) -> None:
        """Serve one request; raises when its answer is not a whole one with status 200."""
        data = b"".join(case.body.next())
        headers = _fields(case.plan, len(data))
        services = self._gateway.services
        access = authenticate(headers, None, services.keys)
        passing = services.keys.without_key(headers)
        waiting = [{"type": "http.request", "body": data, "more_body": False}]
        told: list[Any] = []

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            told.append(message)

        inbound = Inbound("POST", b"/v1/messages", b"beta=true", passing, access)
        await self._dispatcher.handle(inbound, receive, Sink(send, services.clock))
        if told[0]["status"] != 200 or told[-1].get("more_body"):
            raise RuntimeError(f"answered {told[0]}")


async def _all(ask: Callable[[Case], Awaitable[None]], case: Case) -> None:
    async def worker() -> None:
        for _ in range(case.count // case.width):
            await ask(case)

    await asyncio.gather(*(worker() for _ in range(case.width)))


class Meter:
    """CPU milliseconds since the last look, by thread."""

    def __init__(self) -> None:
        ledger = next(t for t in threading.enumerate() if t.name == "sbgw-ledger")
        assert ledger.ident is not None
        self._ledger_clock = time.pthread_getcpuclockid(ledger.ident)
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        main, ledger = time.thread_time(), time.clock_gettime(self._ledger_clock)
        return main, ledger, time.process_time() - main - ledger

    def per(self, count: int) -> tuple[float, float, float]:
        before, self._before = self._before, self._now()
        main, ledger, other = (
            (now - then) * 1e3 / count for now, then in zip(self._now(), before, strict=True)
        )
        return main, ledger, other


async def _upstream_alone(origin: Origin, case: Case) -> float:
    transport = Transport()

    async def call(case: Case) -> None:
        data = b"".join(case.body.next())
        fields = _fields(case.plan, len(data))
        answer = await transport.request(origin, b"POST", b"/v1/messages", fields, data)
        while await answer.read():
            pass
        await answer.aclose()

    times = []
    for _ in range(ROUNDS):
        before = time.thread_time()
        await _all(call, case)
        times.append((time.thread_time() - before) * 1e3 / case.count)
    await transport.aclose()
    return min(times)


def _reading_alone(case: Case) -> float:
    facts = client_facts(_fields(case.plan, case.body.size), "/v1/messages")
    times = []
    for _ in range(ROUNDS):
        before = time.thread_time()
        for _ in range(case.count):
            classify(read_as(Protocol.MESSAGES, b"".join(case.body.next())), facts)
        times.append((time.thread_time() - before) * 1e3 / case.count)
    return min(times)


async def _measure(gateway: Gateway, origin: Origin, case: Case) -> None:
    engine = Engine(gateway)
    await _all(engine.ask, case)
    found = []
    for _ in range(ROUNDS):
        await asyncio.to_thread(gateway.services.ledger.flush, 10.0)
        gc.collect()
        meter = Meter()
        await _all(engine.ask, case)
        main = meter.per(case.count)
        await asyncio.to_thread(gateway.services.ledger.flush, 10.0)
        late = meter.per(case.count)
        found.append((main[0], main[1] + late[1], main[2] + late[2]))
    best = [min(values) for values in zip(*found, strict=True)]
    middle = statistics.median(row[0] for row in found)
    alone, reading = await _upstream_alone(origin, case), _reading_alone(case)
    print(
        f"{case.name:24}{best[0]:9.3f}{middle:9.3f}{best[1]:9.3f}{best[2]:9.3f}"
        f"{alone:11.3f}{reading:9.3f}{best[0] - alone - reading:9.3f}",
        flush=True,
    )


async def _profile(gateway: Gateway, case: Case) -> None:
    engine = Engine(gateway)
    await _all(engine.ask, case)
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    await _all(engine.ask, case)
    profile.disable()
    stats = pstats.Stats(profile)
    print(f"{case.count} requests")
    stats.sort_stats("tottime").print_stats(70)
    stats.sort_stats("cumtime").print_stats(70)


async def _run(base_url: str, names: list[str], profiled: str | None) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with live_gateway(Path(home) / "home", base_url) as live:
            if profiled is not None:
                await _profile(live.gateway, next(c for c in CASES if c.name == profiled))
                return
            titles = ("loop", "median", "ledger", "others", "upstream", "reading", "engine")
            print(" " * 24 + "".join(f"{t:>{11 if t == 'upstream' else 9}}" for t in titles))
            for case in CASES:
                if not names or case.name in names:
                    await _measure(live.gateway, Origin.parse(base_url)[0], case)


def main() -> None:
    """Measure the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--profile")
    wanted = parser.parse_args()
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("_upstream.py"))], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        base_url = f"http://127.0.0.1:{int(child.stdout.readline())}"
        asyncio.run(_run(base_url, wanted.names, wanted.profile))
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    main()
