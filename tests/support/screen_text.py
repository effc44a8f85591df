"""What a running application shows, as text and as segments."""

from __future__ import annotations

from typing import Any

from rich.segment import Segment
from textual.app import App
from textual.pilot import Pilot

from tui.app import GatewayApp


def strips_of(app: App[Any]) -> list[list[Segment]]:
    """Every line of the screen as its segments."""
    return [list(strip) for strip in app.screen._compositor.render_strips()]


def lines_of(app: App[Any]) -> list[str]:
    """Every line of the screen as text."""
    return ["".join(segment.text for segment in strip) for strip in strips_of(app)]


def text_of(app: App[Any]) -> str:
    """The whole screen as text."""
    return "\n".join(lines_of(app))


async def settle(pilot: Pilot[Any]) -> None:
    """Fold and paint until nothing is left to read, fold or paint."""
    app = pilot.app
    assert isinstance(app, GatewayApp)
    for _ in range(3):
        app.tick()
        await app.bridge.settled()
        await pilot.pause()
