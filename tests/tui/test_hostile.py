"""Whatever clients, providers and models send, the screen shows text and nothing acts on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_clock import FakeClock
from hostile_engine import HostileEngine, check
from hostile_text import HOSTILE, assert_safe
from screen_text import press, resize, settle
from textual import events

from tui.app import GatewayApp
from tui.lines import clip, width_of
from tui.terminal.arrangement import Caption, caption
from tui.terminal.arrangement import welcome as pane_welcome

SOME = [
    "\x1b[31mred\x1b[0m\x9b2J",
    "[@click=app.quit]x[/] [red]",
    "a\u202eb👩\u200d👧日本\n\tz",
    "x" * 20_000,
]
"""One of each sort."""
_QUICK = {"the conversation", "an incident", "going live"}
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


WAYS: dict[str, tuple[str, ...]] = {
    "the conversation": ("enter", "v"),
    "a part of it": ("enter", "v", "j", "enter", "j"),
    "the sessions": ("w",),
    "a report": ("2",),
    "an incident": ("3", "G"),
    "going live": ("s",),
    "a route": ("4", "G", "e"),
    "what may be added": ("4", "G", "e", "a"),
    "a mode": ("4", "G", "m"),
    "a reset": ("3", "G", "b"),
}


@pytest.mark.parametrize(
    "way", [pytest.param(n, marks=[] if n in _QUICK else [pytest.mark.faults]) for n in WAYS]
)
async def test_hostile_text_in_what_opens_from_a_screen(way: str) -> None:
    clock = FakeClock()
    engine = HostileEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=(100, 40), notifications=True):
        for text in SOME:
            engine.text = text
            engine.gateway.update(url=text, version=text, key_hint=text)
            engine.announce()
            await clock.advance(30)
            await settle(app)
            await press(app, *WAYS[way])
            for _ in range(3):
                await settle(app)
            for size in ((60, 20), (40, 8), (20, 3), (100, 40)):
                await resize(app, size)
                check(app, size, text)
            while len(app.screen_stack) > 1:
                app.pop_screen()
            await settle(app)
        assert app.is_running


async def test_hostile_text_in_the_filter() -> None:
    clock = FakeClock()
    engine = HostileEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=(100, 40)):
        engine.open(label="a turn")
        await settle(app)
        await press(app, "slash")
        assert app.focused is not None
        for text in HOSTILE:
            app.focused.post_message(events.Paste(text[:2_000]))
            await settle(app)
            check(app, (100, 40), text)
        await press(app, "enter")
        await settle(app)
        for size in ((100, 40), (60, 20), (30, 5)):
            await resize(app, size)
            check(app, size, app.state.filter.text)
        assert_safe(app.state.filter.text)


def test_hostile_text_in_the_caption_of_a_pane() -> None:
    for text in HOSTILE:
        for width in (10, 20, 80, 160):
            for ended in ("", text):
                folder = Path("/tmp") / (text[:200].replace("\0", "").replace("/", "") or "x")
                shown = Caption(
                    1, text[:2_000], folder, 2, title=text, status=text, ended=ended,
                    is_chosen=True, leave="ctrl+]",
                )  # fmt: skip
                line = clip(caption(shown, width), width)
                assert width_of(line) <= width
                for part, _ in line:
                    assert_safe(part)
    assert_safe("".join(part for part, _ in pane_welcome("\x1b[31m", 80)[2]))
