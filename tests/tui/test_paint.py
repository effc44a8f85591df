"""Lines written straight to the terminal: only where nothing else is shown, and the same lines."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fake_engine import FakeEngine
from rich.console import Console
from screen_text import idle, lines_of, settle
from textual.strip import Strip

from server.clock import SystemClock
from tui.app import GatewayApp
from tui.screens.live import LiveScreen
from tui.widgets.live_list import LiveList
from tui.widgets.paint import LinesUpdate


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(SystemClock())


def app_of(engine: FakeEngine) -> GatewayApp:
    return GatewayApp(engine, paint_s=None)


def list_of(app: GatewayApp) -> LiveList:
    return app.screen.query_one(LiveList)


async def test_the_list_stands_free_beside_its_scrollbar(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 30), notifications=True):
        engine.finish(engine.open())
        await settle(app)
        region = app.painter.region(list_of(app))
        assert region is not None
        assert region.width == 99
        assert region.height == list_of(app).size.height


async def test_a_message_over_the_list_leaves_it_to_the_toolkit(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        engine.finish(engine.open())
        await settle(app)
        app.notify("something to read", timeout=30)
        await pilot.pause(0.3)
        assert "something to read" in "\n".join(lines_of(app))
        assert app.painter.region(list_of(app)) is None
        app.clear_notifications()
        await pilot.pause(0.3)
        assert app.painter.region(list_of(app)) is not None


async def test_a_screen_below_a_question_is_left_to_the_toolkit(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 30)):
        engine.open()
        await settle(app)
        live = list_of(app)
        app.action_leave()
        await idle(app)
        assert not isinstance(app.screen, LiveScreen)
        assert app.painter.region(live) is None


async def test_what_is_written_is_what_the_toolkit_would_show(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(engine)
    written: dict[int, str] = {}

    def note(_screen: Any, update: Any) -> None:
        if isinstance(update, LinesUpdate):
            for row, text in update.placed():
                written[row] = text

    async with app.run_test(size=(100, 30)):
        turns = [engine.open() for _ in range(40)]
        await settle(app)
        monkeypatch.setattr(app, "_display", note)
        for turn in turns:
            engine.stream(turn, 33)
        await settle(app)
        await settle(app)
        shown = lines_of(app)
        assert len(written) >= 20
        for row, text in written.items():
            assert text.rstrip() == shown[row][: len(text)].rstrip()


def test_each_line_goes_to_its_own_place() -> None:
    update = LinesUpdate(3, [(5, Strip.blank(2)), (7, Strip.blank(2))])
    assert re.findall(r"\x1b\[(\d+);(\d+)H", update.render_segments(Console())) == [
        ("6", "4"),
        ("8", "4"),
    ]
