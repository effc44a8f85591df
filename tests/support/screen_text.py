"""Drives a running application and reads what it shows, without waiting for a wall clock."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.segment import Segment
from textual import events
from textual.app import App
from textual.geometry import Size

from tui.app import GatewayApp
from tui.widgets.live_list import LiveList

_QUIET_TURNS = 6
_MOST_TURNS = 2_000


def strips_of(app: App[Any]) -> list[list[Segment]]:
    """Every line of the screen as its segments."""
    return [list(strip) for strip in app.screen._compositor.render_strips()]


def lines_of(app: App[Any]) -> list[str]:
    """Every line of the screen as text."""
    return ["".join(segment.text for segment in strip) for strip in strips_of(app)]


def text_of(app: App[Any]) -> str:
    """The whole screen as text."""
    return "\n".join(lines_of(app))


async def idle(app: App[Any]) -> None:
    """Let every message be handled, paint, and handle what painting led to."""
    for _ in range(2):
        quiet = 0
        for turn in range(_MOST_TURNS):
            await asyncio.sleep(0)
            if turn % _QUIET_TURNS == 0:
                pumps = (
                    [app, *app.screen_stack, *app.screen.walk_children()] if app.is_running else []
                )
            busy = any(pump.message_queue_size for pump in pumps)
            quiet = 0 if busy else quiet + 1
            if quiet == _QUIET_TURNS:
                break
        if app.is_running:
            app.screen._on_timer_update()
            for lines in app.screen.query(LiveList):
                while lines.is_painting:
                    await asyncio.sleep(0.005)


async def settle(app: GatewayApp) -> None:
    """Fold, read and paint until nothing is left to do."""
    for _ in range(2):
        app.tick()
        await app.bridge.settled()
        await idle(app)


async def press(app: GatewayApp, *names: str) -> None:
    """Press keys one after another, each handled before the next."""
    for name in names:
        app.post_message(events.Key(name, name if len(name) == 1 else None))
        await idle(app)


async def resize(app: GatewayApp, size: tuple[int, int]) -> None:
    """Give the terminal another size."""
    new = Size(*size)
    assert app._driver is not None
    app._driver._size = size
    app.post_message(events.Resize(new, new))
    while app.screen._compositor.size != new:  # the toolkit gathers resizes for a moment
        await asyncio.sleep(0.005)
    await settle(app)
