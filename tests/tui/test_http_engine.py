"""The engine of another process: the real gateway on a real socket, watched and steered over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import TEXT
from fake_clock import FakeClock
from live_gateway import KEY, LiveGateway, live_gateway
from screen_text import idle, press, settle, text_of
from scripted_upstream import ScriptedUpstream, respond, sse

from providers.transport import Transport
from server.clock import SystemClock
from server.engine import EngineUnreachable, Subscription
from server.http.command import SOURCE
from tui.app import GatewayApp, QuitReason
from tui.http_engine import HttpEngine, KeyRefused, Place


class QuickClock(SystemClock):
    """Pauses between attempts are a moment."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 50)


class World:
    """A gateway that can go away and come back, and an engine that looks for it."""

    def __init__(self, home: Path, upstream: ScriptedUpstream) -> None:
        self.home = home
        self.upstream = upstream
        self.key = KEY
        self.is_here = True
        self.looked = 0
        self._stack = AsyncExitStack()
        self._live: LiveGateway | None = None
        self.engine = HttpEngine(self.find, QuickClock())

    @property
    def live(self) -> LiveGateway:
        assert self._live is not None
        return self._live

    async def find(self) -> Place:
        self.looked += 1
        if self._live is None:
            raise EngineUnreachable("no gateway runs here")
        return Place(self.live.url, self.key, self.is_here, "/this/machine")

    async def start(self, instance: str) -> None:
        opened = live_gateway(self.home, self.upstream.base_url, instance=instance)
        self._live = await self._stack.enter_async_context(opened)

    async def stop(self) -> None:
        self._live = None
        await self._stack.aclose()
        self._stack = AsyncExitStack()


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedUpstream(sse([TEXT])) as upstream:
        made = World(tmp_path / "h", upstream)
        await made.start("first")
        try:
            yield made
        finally:
            await made.engine.aclose()
            await made.stop()


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_it_is_told_the_same_as_an_engine_of_this_process(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.live.ask()
        turn = await made.live.turn()
        far, near = await made.engine.snapshot(), await made.live.gateway.snapshot()
        totals = await made.engine.totals()
        whole = await made.engine.turn(turn["id"])
        missing = await made.engine.turn("gw_" + "0" * 24)
    for name in ("gateway", "counters", "money", "routing", "turns", "ledger"):
        for moving in ("uptime_s",):
            far[name].pop(moving, None) if isinstance(far[name], dict) else None
            near[name].pop(moving, None) if isinstance(near[name], dict) else None
        assert far[name] == near[name], name
    assert set(totals) == set(far)
    assert (totals["turns"], totals["log"]) == ([], [])
    assert whole is not None
    assert (whole["id"], whole["usage_raw"]) == (turn["id"], turn["usage_raw"])
    assert missing is None


async def test_events_arrive_in_order_and_a_fresh_snapshot_is_asked_for_first(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made:
        watching = made.engine.subscribe()
        await until(lambda: watching.resync)
        watching.resync = False
        await made.live.ask()
        seen = [await watching.get()]
        while seen[-1]["type"] != "turn.finished":
            seen.append(await watching.get())
        assert seen[0]["type"] == "turn.opened"
        numbers = [event["seq"] for event in seen]
        assert numbers == sorted(set(numbers))
        watching.close()
        with pytest.raises(StopAsyncIteration):
            await watching.get()


async def test_a_command_runs_there_and_everybody_sees_who_gave_it(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        watcher = made.live.gateway.subscribe()
        done = await made.engine.command("set_shadow", enabled=False, source="the owner himself")
        preview = await made.engine.command("preview_live")
        unknown = await made.engine.command("no_such")
        wrong = await made.engine.command("set_mode", colour="red")
        told = [event for event in watcher.drain() if event["type"] == "mode.changed"]
    assert (done.ok, done.data["shadow"]) == (True, False)
    assert [event["source"] for event in told] == [SOURCE]
    assert preview.ok
    assert set(preview.data) == {"turns", "moves", "stays"}
    assert (unknown.ok, "no_such" in unknown.message) == (False, True)
    assert (wrong.ok, "arguments" in wrong.message) == (False, True)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'{"name": "x", "more": 1}', b'{"name": 5}'])
async def test_a_command_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    async with world(tmp_path) as made:
        refused = await made.live.ask(target="/command", body=body)
        closed = await made.live.ask(target="/command", body=b'{"name": "x"}', key=None)
    assert (refused.status, closed.status) == (400, 401)


async def test_it_goes_on_where_it_was_when_only_the_connection_broke(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        watching = made.engine.subscribe()
        await until(lambda: watching.resync)
        await made.live.ask()
        seen: list[dict[str, Any]] = []
        await until(lambda: _ended(_more(seen, watching)) == 1)
        watching.resync = False
        made.engine._transport.drop_idle()
        for connection in list(made.engine._transport._origin_of):
            connection.abort()
        await until(lambda: watching.resync)
        watching.resync = False
        await made.live.ask()
        await until(lambda: _ended(_more(seen, watching)) == 2)
        assert not watching.resync, "nothing was missed, so no snapshot is needed"
        numbers = [event["seq"] for event in seen]
        assert numbers == sorted(set(numbers))


def _more(seen: list[dict[str, Any]], watching: Subscription) -> list[dict[str, Any]]:
    seen.extend(watching.drain())
    return seen


def _ended(seen: list[dict[str, Any]]) -> int:
    return sum(1 for event in seen if event["type"] == "turn.finished")


async def test_a_wrong_key_and_an_older_gateway_are_told_in_words(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.key = "another"
        with pytest.raises(KeyRefused, match="does not take this gateway key"):
            await made.engine.snapshot()
    for status, said in ((404, "older than this program"), (403, "tunnel"), (500, "status 500")):
        async with other(respond(status, body=b"{}")) as engine:
            with pytest.raises(EngineUnreachable, match=said):
                await engine.snapshot()
    async with other(respond(200, body=b"<html>")) as engine:
        with pytest.raises(EngineUnreachable, match="no gateway of this kind"):
            await engine.snapshot()


@asynccontextmanager
async def other(script: Any) -> AsyncIterator[HttpEngine]:
    """An engine that finds something else."""
    async with ScriptedUpstream(script) as upstream:

        async def find() -> Place:
            return Place(upstream.base_url, KEY)

        engine = HttpEngine(find, FakeClock(), Transport())
        try:
            yield engine
        finally:
            await engine.aclose()


async def test_a_gateway_elsewhere_has_its_address_and_folders_here(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.is_here = False
        found = (await made.engine.snapshot())["gateway"]
    assert found["home"] == "/this/machine"
    assert found["url"].startswith("http://127.0.0.1:")


async def test_the_screen_stays_through_a_restart_and_tells_of_it(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.live.ask()
        await made.live.turn()
        app = GatewayApp(made.engine, clock=made.engine._clock, is_attached=True, paint_s=None)
        async with app.run_test(size=(120, 40)):
            await shows(app, lambda: "claude-opus-5-5" in text_of(app))
            assert " ATTACHED " in text_of(app)
            await made.stop()
            await shows(app, lambda: "gateway does not answer" in text_of(app))
            assert "no gateway runs here; trying again" in text_of(app)
            assert " AWAY " in text_of(app), "the mode is not known while nobody answers"
            assert "claude-opus-5-5" in text_of(app), "what was seen stays"
            await press(app, "s")
            await shows(app, lambda: app._doing is None or app._doing.done())
            await made.start("second")
            await shows(app, lambda: " SHADOW " in text_of(app))
            assert "does not answer" not in text_of(app)
            await made.live.ask()
            await shows(app, lambda: app.state.total == 2)
            await press(app, "q")
        assert app.return_value is QuitReason.QUIT
        assert (await made.live.get("/health")).status == 200


async def shows(app: GatewayApp, is_so: Callable[[], bool]) -> None:
    """Let the screen follow until it is so."""
    async with asyncio.timeout(20):
        while True:
            await settle(app)
            await idle(app)
            if is_so():
                return
            await asyncio.sleep(0.02)


async def run_with(engine: HttpEngine, doing: Callable[[GatewayApp], Awaitable[None]]) -> Any:
    app = GatewayApp(engine, is_attached=True, paint_s=None)
    async with app.run_test(size=(80, 24), notifications=True):
        await settle(app)
        await doing(app)
    return app.return_value


async def test_leaving_asks_nothing_because_the_gateway_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.live.ask()

        async def leave(app: GatewayApp) -> None:
            await press(app, "ctrl+c")
            assert "ctrl+q leaves; the gateway goes on." in text_of(app)
            await press(app, "q")

        assert await run_with(made.engine, leave) is QuitReason.QUIT
