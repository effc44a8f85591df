"""Figures of reliability, one at a time: each prints a row and what it must be.

python tests/soak/figures.py truncations 100000     silent ones among so many faulted streams
python tests/soak/figures.py kills 200              rows lost or doubled over so many kill -9
python tests/soak/figures.py cancels 500            ms until the vendor's connection is closed
python tests/soak/figures.py failover 300           ms added by a vendor that fails, p50 and p95
python tests/soak/figures.py down 3000              answered with the first vendor down
python tests/soak/figures.py shedding 500           ms until a refusal because of the load
python tests/soak/figures.py goodput 60             served at four times the load, of what fits
python tests/soak/figures.py drain 5                streams that a stop lets end
python tests/soak/figures.py all                    all of these

FIGURES_SECONDS ends each of the long ones after so long, with what it has by then.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from fault_world import (
    GATEWAY_KEY,
    TARGETS,
    VENDOR_KEYS,
    Lane,
    M,
    World,
    fault_world,
    settings_of,
)
from gateway_process import Call as RawCall
from gateway_process import GatewayHome
from scripted_upstream import ScriptedUpstream, chunk, hang, reset, send, steps
from vendor_replies import events

from tests.soak import pressure
from tests.soak._vendor import (
    CLIENTS,
    REPLY,
    SSE_HEAD,
    WITHIN,
    Crowd,
    Vendor,
    as_text,
    now,
    share_of,
    spread,
)
from tests.soak.soak import Report, settings

STREAMS = 32
LONGEST_S = float(os.environ.get("FIGURES_SECONDS", "inf"))


def _native(urls: Mapping[str, str]) -> str:
    return settings_of("native", urls)


@asynccontextmanager
async def _world(vendor: Vendor | None = None) -> AsyncIterator[World]:
    """A gateway whose every vendor is ``vendor``."""
    with tempfile.TemporaryDirectory() as folder:
        async with fault_world(Path(folder) / "w", _native) as world:
            for upstream in world.upstreams.values():
                if vendor is not None:
                    upstream.script = vendor
            yield world


async def truncations(count: int, report: Report) -> None:
    """Every answer breaks off after its first content; each client must be told so."""
    vendor = Vendor(random.Random(1), share=1.0, pause_s=0.0)
    vendor.faults = WITHIN
    async with _world(vendor) as world:
        crowd = Crowd(world, random.Random(2))
        lanes = [Lane(world, c, p, who) for c, (who, p) in CLIENTS.items()]
        begun = now()

        async def client(number: int) -> None:
            while sum(vendor.injected.values()) < count and now() - begun < LONGEST_S:
                await crowd.ask(lanes[number % 3], streamed=True)
                if crowd.asked % 5_000 == 0:
                    print(f"  {crowd.asked:,} so far, silent: {len(crowd.log.silent)}", flush=True)
                for upstream in world.upstreams.values():
                    # A long run has very many of them.
                    upstream.peers[:] = [p for p in upstream.peers if not p.closed.is_set()]

        await asyncio.gather(*(client(n) for n in range(STREAMS)))
        took = now() - begun
    ended = ", ".join(f"{how} {n:,}" for how, n in sorted(crowd.log.ended.items()))
    print(f"  {dict(spread({'': vendor}))}; ended: {ended}; {took:.0f} s")
    silent = len(crowd.log.silent)
    report.add(f"silent truncations in {crowd.asked:,} faulted streams", silent, "= 0", silent == 0)
    good = crowd.log.ended["good"]
    report.add("faulted streams taken for whole ones", good, "= 0", good == 0)


async def kills(rounds: int, report: Report) -> None:
    """kill -9 at a random moment under load; each turn a client knows of has one terminal row."""
    chance = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        home = GatewayHome(Path(folder), "")
        home.env |= VENDOR_KEYS | {"STACKBILT_GATEWAY_KEY": GATEWAY_KEY}
        vendor = Vendor(chance, share=0.05, pause_s=0.004)
        async with ScriptedUpstream(vendor) as upstream:
            names = ("anthropic", "openai", "groq")
            home.write_config(settings(dict.fromkeys(names, upstream.base_url)))
            turns: dict[str, str] = {}
            slowest = 0.0
            number, since = 0, now()
            while number < rounds and now() - since < LONGEST_S:
                if number and number % 20 == 0:
                    print(f"  {number} so far", flush=True)
                number += 1
                begun = now()
                async with home.serve() as gateway:
                    slowest = max(slowest, now() - begun)
                    crowd = Crowd(World(home, gateway, {}), chance)
                    moment = chance.uniform(0.6, 1.6)

                    async def kill(
                        moment: float = moment, crowd: Crowd = crowd, kill: object = gateway.kill
                    ) -> None:
                        await asyncio.sleep(moment)
                        crowd.stopping = True
                        assert callable(kill)
                        kill()

                    await asyncio.gather(kill(), crowd.run(16, lambda c=crowd: c.stopping))  # type: ignore[misc]
                turns |= crowd.log.turns
                upstream.peers[:] = [p for p in upstream.peers if not p.closed.is_set()]
        async with home.serve():
            rows = home.rows("SELECT id, status FROM turns")
            sound = home.rows("PRAGMA integrity_check") == [("ok",)]
    found = dict(rows)
    lost = len(turns.keys() - found.keys())
    wrong = sum(how == "good" and found.get(t) != "completed" for t, how in turns.items())
    add = report.add
    print(f"  {len(turns):,} turns known to clients, {len(rows):,} rows, {number} kills")
    add("rows lost", lost, "= 0", lost == 0)
    add("rows twice", len(rows) - len(found), "= 0", len(rows) == len(found))
    still_open = sum(status == "open" for status in found.values())
    add("rows left open", still_open, "= 0", still_open == 0)
    add("whole answers that are not completed", wrong, "= 0", wrong == 0)
    add("database sound", int(sound), "= 1", sound)
    add("slowest start with recovery, s", slowest, "seen; shares its cores", True)


async def cancels(count: int, report: Report) -> None:
    """From the client's close to the vendor's end of the other connection, half of them held."""
    took: list[float] = []
    async with _world() as world:
        lanes = [Lane(world, c, p, who) for c, (who, p) in CLIENTS.items()]
        for number in range(count):
            lane = lanes[number % 3]
            is_held = number % 2 == 0
            parts = b"".join(map(chunk, events(lane.provider, REPLY)[:6]))
            lane.play(hang() if is_held else steps(send(SSE_HEAD + parts), hang()))
            before = len(lane.upstream.requests)
            body = lane.body(streamed=True)
            call = RawCall(world.gateway.port, body, TARGETS[lane.client], key=GATEWAY_KEY)
            task = asyncio.get_running_loop().create_task(call.run())
            await lane.upstream.wait_for(requests=before + 1)
            if not is_held:
                await call.begun.wait()
            peer = lane.upstream.peers[lane.upstream.requests[-1].connection]
            begun = now()
            task.cancel()
            await peer.gone.wait()
            took.append(1000 * (now() - begun))
            await asyncio.wait({task})
    for share, most in ((0.5, 50.0), (0.99, 250.0)):
        value = share_of(took, share)
        report.add(
            f"cancel reaches the vendor, p{share:.0%}, ms", value, f"<= {most:.0f}", value <= most
        )


async def failover(count: int, report: Report) -> None:
    """Time to the whole answer of the spare vendor: alone, after a failure, with a breaker open."""
    with tempfile.TemporaryDirectory() as folder:
        async with fault_world(Path(folder) / "w", settings) as world:
            first = Lane(world, M, M, "anthropic")
            spare = Lane(world, M, M, "groq")
            vendor = Vendor(random.Random(1), share=0.0, pause_s=0.0)
            world.upstreams["groq"].script = vendor
            direct = await _timed(first, count, vendor, None)
            failed: list[float] = []
            for _ in range(count):
                # It refuses outright, which is noticed at once; its breaker is closed each time.
                await world.anew("anthropic")
                failed += await _timed(first, 1, reset_once, None)
            for _ in range(10):
                await first.ask()
            health = await world.provider("anthropic")
            assert health["breaker"] == "open", health
            opened = await _timed(first, count, reset_once, None)
            assert spare.name == "groq"
    base = share_of(direct, 0.5)
    for name, values, most in (("a failure", failed, 100.0), ("an open breaker", opened, 5.0)):
        for share in (0.5, 0.95):
            added = share_of(values, share) - (base if share == 0.5 else share_of(direct, share))
            bound = f"<= {most:.0f}" if share == 0.95 else "seen"
            report.add(
                f"added by {name}, p{share:.0%}, ms", added, bound, share == 0.5 or added <= most
            )


async def reset_once(peer: object) -> None:
    """The vendor is broken."""
    await reset()(peer)  # type: ignore[arg-type]


async def _timed(lane: Lane, count: int, script: object, _: None) -> list[float]:
    """Milliseconds of so many requests."""
    lane.upstream.route = None
    lane.upstream.script = script  # type: ignore[assignment]
    took = []
    for _number in range(count):
        body = lane.body(streamed=True)
        begun = now()
        call = await lane.world.call(TARGETS[lane.client], body)
        took.append(1000 * (now() - begun))
        assert call.status == 200, bytes(call.body)
    return took


FIGURES: Mapping[str, tuple[int, Callable[[int, Report], Awaitable[None]]]] = {
    "truncations": (100_000, truncations),
    "kills": (200, kills),
    "cancels": (500, cancels),
    "failover": (300, failover),
    "down": (3_000, pressure.down),
    "shedding": (500, pressure.shedding),
    "goodput": (60, pressure.goodput),
    "drain": (5, pressure.drain),
}


async def main(arguments: list[str]) -> int:
    """One figure, or all; 0 when they are as they must be."""
    what = arguments[0] if arguments else "all"
    report = Report()
    for name, (count, measure) in FIGURES.items():
        if what in (name, "all"):
            count = int(arguments[1]) if len(arguments) > 1 else count
            print(f"{name} {as_text(count)}", flush=True)
            await measure(count, report)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
