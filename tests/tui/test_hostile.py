"""Whatever clients, providers and models send, the screen shows text and nothing acts on it."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock
from hostile_engine import HostileEngine, check
from hostile_text import HOSTILE, assert_safe
from screen_text import press, resize, settle

from tui.app import GatewayApp

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48), (30, 5)]


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
