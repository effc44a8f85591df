"""Hours of trouble in minutes: many streams, failing vendors, a locked disk, signals and kills.

    SOAK_SECONDS=300 SOAK_STREAMS=200 SOAK_FAULTS=5 SOAK_SEED=1 python tests/soak/soak.py

Ends with 1 if anything of what is promised did not hold. Phases: load with faults, a vendor that
comes and goes and settings that change (60 % of the time); the ledger locked by another process,
then its disk full; SIGTERM in the middle of the load; kill -9 in the middle of the load, restart.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from fault_world import GATEWAY_KEY, IN_WORDS, VENDOR_KEYS, World, providers_of
from gateway_process import Call as RawCall
from gateway_process import GatewayHome
from scripted_upstream import ScriptedUpstream

from tests.soak._vendor import CLIENTS, SPARE, Crowd, Vendor, as_text, now, slope, spread

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
STREAMS = int(os.environ.get("SOAK_STREAMS", "200"))
FAULTS = float(os.environ.get("SOAK_FAULTS", "5")) / 100
SEED = int(os.environ.get("SOAK_SEED", "1"))
PAUSE_S = 0.2
"""Between two events of an answer, which has about 14."""


def settings(urls: Mapping[str, str]) -> str:
    """Every client's own vendor, and a spare one before anything has reached the client."""
    lines = ["[server]", "port = 0", "drain_s = 20.0"]
    lines += ["[routing]", "shadow = false", "cross_vendor_failover = true", "[routing.baseline]"]
    lines += [f'{IN_WORDS[c]} = ["{who}", "{SPARE}"]' for c, (who, _) in CLIENTS.items()]
    return "\n".join([*lines, *providers_of(urls)]) + "\n"


class Report:
    """Figures, each with what it must be."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any, str, bool]] = []

    def add(self, name: str, value: Any, bound: str, holds: bool) -> None:
        """One figure."""
        self.rows.append((name, value, bound, holds))
        print(f"  {'ok ' if holds else 'BAD'} {name}: {as_text(value)}  ({bound})", flush=True)

    @property
    def holds(self) -> bool:
        """Whether all of them are as they must be."""
        return all(row[3] for row in self.rows)


class Soak:
    """One home whose gateway is started again and again, and its vendors."""

    def __init__(self, home: GatewayHome, vendors: dict[str, Vendor], report: Report) -> None:
        self.home = home
        self.vendors = vendors
        self.report = report
        self.chance = random.Random(SEED)
        self.upstreams: dict[str, ScriptedUpstream] = {}
        self.crowds: list[Crowd] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[World, Crowd]]:
        """A gateway and the clients for it."""
        async with self.home.serve() as gateway:
            world = World(self.home, gateway, self.upstreams)
            await world.rest()
            crowd = Crowd(world, self.chance, cancels=0.05)
            self.crowds.append(crowd)
            yield world, crowd

    async def load(
        self, crowd: Crowd, seconds: float, *beside: Callable[[World], Awaitable[None]]
    ) -> None:
        """Clients for so long, and what happens meanwhile."""
        end = now() + seconds
        tasks = [asyncio.ensure_future(act(crowd.world)) for act in beside]
        await crowd.run(STREAMS, lambda: now() > end or crowd.stopping)
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found


async def flapping(soak: Soak, _: World) -> None:
    """One vendor is away half of the time."""
    vendor = soak.vendors["anthropic"]
    while True:
        await asyncio.sleep(3)
        vendor.is_down = not vendor.is_down


async def changing(world: World) -> None:
    """The settings change while requests run; every second change is not valid."""
    number = 0
    while True:
        await asyncio.sleep(1)
        number += 1
        for percent, status in ((number % 100, 200), (-1, 400)):
            body = json.dumps({"modes": {"canary_percent": percent}}).encode()
            call = RawCall(world.gateway.port, body, "/routing", key=GATEWAY_KEY, method="PUT")
            await call.run()
            assert call.status == status, bytes(call.body)


async def watching(samples: list[tuple[float, float]], world: World) -> None:
    """Resident memory in MiB, twice a second."""
    begun = now()
    while True:
        await asyncio.sleep(0.5)
        samples.append((now() - begun, _rss_mib(world.gateway.pid)))


def _rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


# ---------------------------------------------------------------- the phases


async def steady(soak: Soak, seconds: float) -> None:
    """Load with faults, a vendor that flaps and settings that change; nothing may be left over."""
    print(f"load of {STREAMS} streams for {seconds:.0f} s", flush=True)
    samples: list[tuple[float, float]] = []
    async with soak.serving() as (world, crowd):
        before = sum(_asked(upstream) for upstream in soak.upstreams.values())
        fds = len(os.listdir(f"/proc/{world.gateway.pid}/fd"))
        await soak.load(
            crowd,
            seconds,
            lambda w: flapping(soak, w),
            changing,
            lambda w: watching(samples, w),
        )
        soak.vendors["anthropic"].is_down = False
        sent = sum(_asked(upstream) for upstream in soak.upstreams.values()) - before
        add, log = soak.report.add, crowd.log
        add("requests", crowd.asked, "> 0", crowd.asked > 0)
        add("amplification", sent / crowd.asked, "<= 1.2", sent / crowd.asked <= 1.2)
        answered = crowd.asked - log.ended["left"] - log.ended["left at its end"]
        expected = log.ended["told"]
        share = 100 * log.ended["good"] / max(1, answered - expected)
        add("whole answers, % of those not broken off by the vendor", share, ">= 98", share >= 98)
        add("connections cut", log.ended["cut"], "= 0", log.ended["cut"] == 0)
        warm = [sample for sample in samples if sample[0] > seconds / 3]
        rise = (warm[-1][1] - warm[0][1]) if warm else 0.0
        add("memory, MiB at the end", samples[-1][1], "<= 300", samples[-1][1] <= 300)
        add("memory, MiB an hour after the first third", slope(warm), "seen", True)
        add("memory, MiB more than after the first third", rise, "<= 30", rise <= 30)
        for upstream in soak.upstreams.values():
            await upstream.drop_all()
        leaks = await _left_over(world, fds)
        for name, count in leaks.items():
            # The ledger's files are opened when they are first needed.
            most = 6 if name == "descriptors" else 0
            add(f"{name} left over", count, f"<= {most}", count <= most)
    await _ledger(soak, "after the load")


async def _left_over(world: World, fds: int) -> dict[str, int]:
    """Tasks and descriptors more than at the start, once the gateway has come to rest."""
    found: dict[str, int] = {}
    for _ in range(100):
        await asyncio.sleep(0.1)
        tasks = await world.count_tasks() - world.tasks
        descriptors = len(os.listdir(f"/proc/{world.gateway.pid}/fd")) - fds
        found = {"tasks": tasks, "descriptors": descriptors}
        if max(found.values()) <= 0:
            break
    return found


async def sick_ledger(soak: Soak, seconds: float) -> None:
    """The ledger locked by somebody else, then its disk full: serving goes on, no row is lost."""
    print(f"a ledger that is locked, then full, for {seconds:.0f} s", flush=True)

    async def locked(world: World) -> None:
        await asyncio.sleep(seconds * 0.1)
        lock = sqlite3.connect(soak.home.ledger_file, isolation_level=None, timeout=30)
        lock.execute("BEGIN EXCLUSIVE")
        await asyncio.sleep(seconds * 0.3)
        lock.execute("ROLLBACK")
        lock.close()
        await asyncio.sleep(seconds * 0.1)
        size = soak.home.ledger_file.stat().st_size
        limits = resource.prlimit(world.gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(world.gateway.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
        await asyncio.sleep(seconds * 0.2)
        resource.prlimit(world.gateway.pid, resource.RLIMIT_FSIZE, limits)
        await asyncio.Event().wait()

    async with soak.serving() as (world, crowd):
        await soak.load(crowd, seconds, locked)
        refused = crowd.log.ended["refused"] / max(1, crowd.asked)
        soak.report.add("refused meanwhile, %", 100 * refused, "<= 5", refused <= 0.05)
        world.gateway.signal(signal.SIGTERM)
        code = await world.gateway.ended()
        soak.report.add("exit code", code, "= 0", code == 0)
    await _ledger(soak, "after lock and full disk")


async def terminated(soak: Soak) -> None:
    """SIGTERM under load: what runs ends or is told, what comes is refused, the code is 0."""
    print("SIGTERM under load", flush=True)
    async with soak.serving() as (world, crowd):

        async def end(_: World) -> None:
            await asyncio.sleep(5)
            world.gateway.signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            crowd.stopping = True
            await asyncio.Event().wait()

        await soak.load(crowd, 60, end)
        code = await world.gateway.ended()
        soak.report.add("exit code", code, "= 0", code == 0)
        cut = crowd.log.ended["cut"]
        soak.report.add("connections cut", cut, "= 0", cut == 0)
    await _ledger(soak, "after SIGTERM")


async def killed(soak: Soak, rounds: int) -> None:
    """kill -9 under load, and start again: nothing that a client has seen is lost."""
    print(f"kill -9 under load, {rounds} times", flush=True)
    for _ in range(rounds):
        async with soak.serving() as (world, crowd):

            async def kill(_: World, crowd: Crowd = crowd, world: World = world) -> None:
                await asyncio.sleep(soak.chance.uniform(1.0, 4.0))
                crowd.stopping = True
                world.gateway.kill()
                await asyncio.Event().wait()

            await soak.load(crowd, 60, kill)
    await _ledger(soak, "after kill -9")


async def _ledger(soak: Soak, when: str) -> None:
    """Start once more, and compare every row with what the clients have seen."""
    async with soak.home.serve() as gateway:
        await gateway.health()
        rows = dict(soak.home.rows("SELECT id, status FROM turns"))
        sound = soak.home.rows("PRAGMA integrity_check") == [("ok",)]
    turns = {k: v for crowd in soak.crowds for k, v in crowd.log.turns.items()}
    missing = turns.keys() - rows.keys()
    if missing:
        print("    missing:", Counter(turns[turn] for turn in missing))
    lost = len(missing)
    still_open = sum(status == "open" for status in rows.values())
    wrong = sum(how == "good" and rows.get(turn) != "completed" for turn, how in turns.items())
    add = soak.report.add
    add(f"{when}: rows lost", lost, "= 0", lost == 0)
    add(f"{when}: rows open", still_open, "= 0", still_open == 0)
    add(f"{when}: whole answers not completed", wrong, "= 0", wrong == 0)
    add(f"{when}: sound", int(sound), "= 1", sound)


def _asked(upstream: ScriptedUpstream) -> int:
    return sum(peer.requests for peer in upstream.peers)


async def main() -> int:
    """All phases; 0 when everything held."""
    report = Report()
    chance = random.Random(SEED)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = {
            name: Vendor(chance, share=FAULTS if name != SPARE else 0.0, pause_s=PAUSE_S)
            for name in ("anthropic", "openai", SPARE)
        }
        home = GatewayHome(folder, "")
        home.env |= VENDOR_KEYS | {"STACKBILT_GATEWAY_KEY": GATEWAY_KEY}
        soak = Soak(home, vendors, report)
        for name, vendor in vendors.items():
            soak.upstreams[name] = await stack.enter_async_context(ScriptedUpstream(vendor))
        home.write_config(settings({n: u.base_url for n, u in soak.upstreams.items()}))
        await steady(soak, SECONDS * 0.6)
        await sick_ledger(soak, SECONDS * 0.2)
        await terminated(soak)
        await killed(soak, max(2, int(SECONDS * 0.15 / 5)))
        silent = [text for crowd in soak.crowds for text in crowd.log.silent]
        report.add("answers that were short and did not say so", len(silent), "= 0", not silent)
        for text in silent[:3]:
            print("    ...", repr(text[-200:]))
        found = World(home, None, {}).secrets_found()  # type: ignore[arg-type]
        report.add("files with a key or a prompt", len(found), "= 0", not found)
        print("faults:", ", ".join(f"{name} {count}" for name, count in spread(vendors)))
        total = sum(
            (crowd.log.ended for crowd in soak.crowds), start=type(soak.crowds[0].log.ended)()
        )
        print("ended:", ", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    print("everything held" if report.holds else "NOT everything held")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
