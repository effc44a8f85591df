"""Whatever clients, providers and models send, the screen shows text and nothing acts on it."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine, saved
from hostile_text import HOSTILE, assert_safe
from screen_text import press, resize, settle, strips_of

from server import events
from server.engine import Snapshot
from server.record import Saving
from tui.app import GatewayApp

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48), (30, 5)]


class HostileEngine(FakeEngine):
    """Every text of every turn is hostile, and so are names, errors and the address."""

    text = ""

    def spoil(self, value: object) -> Any:
        if isinstance(value, str):
            return self.text
        if isinstance(value, dict):
            kept = {"id", "status", "phase", "type"}
            return {k: v if k in kept else self.spoil(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.spoil(item) for item in value]
        return value

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        detail = await super().turn(turn_id)
        return None if detail is None else self.spoil(detail)

    async def snapshot(self) -> Snapshot:
        spoiled = await super().snapshot()
        table = {self.text: saved(3, -1.0, needs_key=2, unpriced=1)}
        sums = {name: saved(9, 1.0, needs_key=2) for name in ("today", "all")}
        spoiled["savings"] = sums | dict.fromkeys(("by_route", "by_kind", "by_target"), table)
        spoiled["savings"]["assumptions"] = [self.text]
        lists = {self.text: [self.text]}
        spoiled["routing"] = dict.fromkeys(("routes", "kinds", "baseline"), lists) | {
            "modes": {self.text: self.text},
            "sources": {f"routing.kinds.{self.text}": self.text},
            "unsaved": [self.text],
            "hits": {self.text: 3},
            "kind_hits": {self.text: 3},
        }
        return spoiled

    def announce(self) -> None:
        turn = self.open(error_type="x", error_message="x", label="x", model_served="y")
        self.propose(turn, "x", "y")
        turn.saving = Saving("open", 1.0, note="x")
        self.emit(events.TURN_UPDATED, turn=self.spoil(turn.summary()))
        self.emit(events.LOG, level=self.text, logger=self.text, message=self.text)
        limits = {self.text: {"limit": self.text, self.text: self.text, "reset": self.text}}
        self.provider(self.text, "failing", self.text, key_env=self.text, rate_limits=limits)
        self.emit(events.REJECTED, reason=self.text, http_status=401, count=1)


def check(app: GatewayApp, size: tuple[int, int], text: str) -> None:
    for strip in strips_of(app):
        assert sum(segment.cell_length for segment in strip) == size[0], repr(text[:40])
        for segment in strip:
            # the toolkit's own scrollbar holds its own actions; our lines hold none
            assert_safe(segment.text)
            assert segment.style is None or segment.style.link is None
            meta = segment.style.meta if segment.style else {}
            assert "@click" not in meta


@pytest.mark.faults
async def test_every_hostile_text_in_every_field_at_every_size() -> None:
    clock = FakeClock()
    engine = HostileEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=SIZES[0]):
        for index, text in enumerate(HOSTILE):
            engine.text = text
            engine.gateway.update(url=text, version=text, key_hint=text)
            engine.announce()
            await clock.advance(1)
            await settle(app)
            check(app, app.size, text)
            if index % 4 == 0:
                for size in SIZES:
                    await resize(app, size)
                    check(app, size, text)
            await press(app, "enter")
            check(app, app.size, text)
            await press(app, "G")
            check(app, app.size, text)
            await press(app, "escape")
            for key in "2346":
                await press(app, key)
                await settle(app)
                check(app, app.size, text)
                await press(app, "G")
                check(app, app.size, text)
            await press(app, "1")
        assert app.is_running


async def test_hostile_text_in_the_invitation_and_in_messages() -> None:
    clock = FakeClock()
    for text in ("[@click=app.quit]x[/]", "\x1b]52;c;ZXZpbA==\x07\n\x9b31m", "[red"):
        engine = HostileEngine(clock)
        engine.gateway.update(url=text, key_hint=text)
        app = GatewayApp(engine, clock=clock, paint_s=None)
        async with app.run_test(size=(80, 24), notifications=True):
            await settle(app)
            check(app, (80, 24), text)
            await press(app, "y")
            assert_safe(app.clipboard.replace("\n", ""))
            assert app.clipboard.count("\n") == 2
            engine.open(id=text)
            await settle(app)
            await press(app, "y", "enter", "y")
            check(app, (80, 24), text)
            assert_safe(app.clipboard)
            assert app.is_running
