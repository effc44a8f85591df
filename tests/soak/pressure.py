"""Figures under pressure: a vendor that is down, more clients than places, a stop in the middle.

``figures.py`` runs them: ``down``, ``shedding``, ``goodput`` and ``drain``.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fault_world import GATEWAY_KEY, TARGETS, Lane, M, World, fault_world, settings_of
from gateway_process import Call as RawCall
from scripted_upstream import ScriptedUpstream, chunk, pause, send, steps
from vendor_replies import events

from tests.soak._vendor import CLIENTS, REPLY, SSE_HEAD, Crowd, Vendor, judge, now, share_of
from tests.soak.soak import Report, settings

PLACES = 20
OVERLOAD = 4
"""Times as many requests as there is room for."""


@asynccontextmanager
async def _world(make: object, more: str = "") -> AsyncIterator[World]:
    def made(urls: Mapping[str, str]) -> str:
        text: str = make(urls)  # type: ignore[operator]
        return text.replace("port = 0", f"port = 0\n{more}") if more else text

    with tempfile.TemporaryDirectory() as folder:
        async with fault_world(Path(folder) / "w", made) as world:
            yield world


async def down(count: int, report: Report) -> None:
    """Every client's own vendor refuses or breaks before its first byte; a spare one is well."""
    async with _world(settings) as world:
        for name, upstream in world.upstreams.items():
            vendor = Vendor(random.Random(1), share=0.0, pause_s=0.0)
            vendor.is_down = name in ("anthropic", "openai")
            upstream.script = vendor
        crowd = Crowd(world, random.Random(2))
        await crowd.run(8, lambda: crowd.asked >= count)
        sent = sum(peer.requests for up in world.upstreams.values() for peer in up.peers)
    share = 100 * crowd.log.ended["good"] / crowd.asked
    print(f"  {dict(crowd.log.ended)}")
    report.add(
        f"answered of {crowd.asked:,} with the first vendor down, %",
        share,
        ">= 99.9",
        share >= 99.9,
    )
    factor = sent / crowd.asked
    report.add("requests to vendors for each of the clients'", factor, "<= 1.2", factor <= 1.2)


async def shedding(count: int, report: Report) -> None:
    """Every place is taken and nobody may wait for one: whoever comes is refused."""
    took: list[float] = []
    native = 0
    places = f"max_in_flight = {PLACES}\nmax_waiting = 0"
    async with _world(lambda urls: settings_of("native", urls), places) as world:
        gate = asyncio.Event()
        lane = Lane(world, M, M, "anthropic")
        lane.upstream.script = steps(pause(gate), Vendor(random.Random(1), share=0.0, pause_s=0.0))

        def call() -> RawCall:
            return RawCall(
                world.gateway.port, lane.body(streamed=True), TARGETS[M], key=GATEWAY_KEY
            )

        held = [asyncio.ensure_future(call().run()) for _ in range(PLACES)]
        await lane.upstream.wait_for(requests=PLACES)
        while len(took) < count:
            begun = now()
            refused = await call().run()
            took.append(1000 * (now() - begun))
            error = json.loads(bytes(refused.body)).get("error", {})
            is_told = refused.status == 503 and "retry-after" in refused.headers
            native += is_told and error["type"] == "api_error"
        gate.set()
        ended = [judge(lane, await task, streamed=True) for task in held]
    worst = share_of(took, 0.99)
    report.add("a refusal because of the load, p99, ms", worst, "<= 50", worst <= 50)
    share = 100 * native / len(took)
    report.add("refusals in the client's shape, %", share, "= 100", native == len(took))
    report.add(
        "answered of those who were let in",
        ended.count("good"),
        f"= {PLACES}",
        set(ended) == {"good"},
    )


async def goodput(seconds: int, report: Report) -> None:
    """Four times as many requests as can be served: those who are let in notice nothing."""
    places = f"max_in_flight = {PLACES}\nmax_waiting = {PLACES // 2}"
    async with _world(lambda urls: settings_of("native", urls), places) as world:
        lane = Lane(world, M, M, "anthropic")
        lane.upstream.script = Vendor(random.Random(1), share=0.0, pause_s=0.03)
        peak, calm = await _as_many_as_fit(lane, seconds / 4)
        good, let_in, refused, strange = await _more_than_fit(lane, OVERLOAD * peak, seconds)
    share = 100 * good / peak
    print(f"  {peak:.0f} a second fit; let in {len(let_in):,}, refused {len(refused):,}")
    report.add("served under four times the load, of what fits, %", share, ">= 90", share >= 90)
    slower = share_of(let_in, 0.99) / share_of(calm, 0.99)
    report.add("p99 of those let in, times that without pressure", slower, "<= 2", slower <= 2)
    worst = share_of(refused, 0.99)
    report.add("a refusal meanwhile, p99, ms", worst, "<= 50", worst <= 50)
    report.add("answers that are neither whole nor a refusal", strange, "= 0", strange == 0)


async def _timed(lane: Lane) -> tuple[RawCall, float]:
    begun = now()
    body = lane.body(streamed=True)
    call = await RawCall(lane.world.gateway.port, body, TARGETS[M], key=GATEWAY_KEY).run()
    return call, 1000 * (now() - begun)


async def _as_many_as_fit(lane: Lane, seconds: float) -> tuple[float, list[float]]:
    """Whole answers a second with every place taken all the time, and how long each took, ms."""
    took: list[float] = []
    begun = now()

    async def client() -> None:
        while now() - begun < seconds:
            call, ms = await _timed(lane)
            assert judge(lane, call, streamed=True) == "good"
            took.append(ms)

    await asyncio.gather(*(client() for _ in range(PLACES)))
    return len(took) / (now() - begun), took


async def _more_than_fit(
    lane: Lane, per_s: float, seconds: float
) -> tuple[float, list[float], list[float], int]:
    """Whole answers a second, ms of those and of refusals, and how many were neither."""
    let_in: list[float] = []
    refused: list[float] = []
    strange = 0
    begun = now()

    async def client() -> None:
        nonlocal strange
        call, ms = await _timed(lane)
        if call.status == 503 and "retry-after" in call.headers:
            refused.append(ms)
        elif judge(lane, call, streamed=True) == "good":
            let_in.append(ms)
        else:
            strange += 1

    tasks: list[asyncio.Task[None]] = []
    while (passed := now() - begun) < seconds:
        while len(tasks) < passed * per_s:
            tasks.append(asyncio.get_running_loop().create_task(client()))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    return len(let_in) / (now() - begun), let_in, refused, strange


async def drain(rounds: int, report: Report) -> None:
    """SIGTERM with 60 streams that take a second more, of a grace of 20: each is whole."""
    ended: list[str] = []
    codes: list[int] = []
    for _ in range(rounds):
        async with _world(lambda urls: settings_of("native", urls), "drain_s = 20.0") as world:
            gate = asyncio.Event()
            tasks = []
            for number in range(60):
                client, (who, protocol) = list(CLIENTS.items())[number % 3]
                lane = Lane(world, client, protocol, who)
                _halves(lane, gate)
                body = lane.body(streamed=True)
                call = RawCall(world.gateway.port, body, TARGETS[client], key=GATEWAY_KEY)
                task = asyncio.ensure_future(call.run())
                await call.begun.wait()
                tasks.append((lane, task))
            world.gateway.signal(signal.SIGTERM)
            await asyncio.sleep(1.0)
            gate.set()
            ended += [judge(lane, await task, streamed=True) for lane, task in tasks]
            codes.append(await world.gateway.ended())
    whole = ended.count("good")
    report.add(
        f"whole of {len(ended)} streams that end within the grace",
        whole,
        f"= {len(ended)}",
        whole == len(ended),
    )
    report.add("exit codes that are not 0", sum(map(bool, codes)), "= 0", not any(codes))


def _halves(lane: Lane, gate: asyncio.Event) -> None:
    """The vendor says one half at once and the other when told."""
    found = events(lane.provider, REPLY)
    first, rest = found[:6], found[6:]
    upstream: ScriptedUpstream = lane.upstream
    upstream.route = None
    lane.play(
        *[
            steps(
                send(SSE_HEAD + b"".join(map(chunk, first))),
                pause(gate),
                send(b"".join(map(chunk, rest)) + chunk(b"")),
            )
        ]
        * 99
    )
