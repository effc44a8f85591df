"""Every screen at four sizes and in two themes, against what is kept; and what holds for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import expected_screens
import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from furnished import furnish
from screen_text import press, resize, settle, strips_of, text_of
from textual.pilot import Pilot

from tui import columns, keys, provider_health, provider_page
from tui.app import GatewayApp
from tui.headline import mode_badge
from tui.leaving import Departure
from tui.lines import plain
from tui.rows import Shown
from tui.screens.base import GatewayScreen
from tui.screens.detail import DetailScreen
from tui.screens.live import LiveScreen
from tui.screens.providers import ProvidersScreen
from tui.theme import DARK, LIGHT
from tui.widgets.footer import KeyFooter

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48)]
SHOWN = {
    "live": [], "savings": ["2"], "providers": ["3", "j"], "routes": ["4", "j", "j"],
    "agents": ["5"], "log": ["6"], "sessions": ["w"], "detail": ["j", "j", "enter"],
    "request": ["enter", "v"], "help": ["question_mark"], "quitting": ["q"],
    "going-live": ["s"], "editing": ["4", "j", "j", "e"], "pausing": ["3", "p"],
    "palette": ["ctrl+p"], "filter": ["slash"],
}  # fmt: skip
LEAST_CONTRAST = 3.0
"""What WCAG asks for between signs and what is behind them."""
FULL = ["live", "savings", "providers", "routes", "agents", "log", "sessions", "detail", "help"]


OVER = [name for name in SHOWN if name not in FULL]


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


async def url() -> str:
    return "http://127.0.0.1:8787"


@asynccontextmanager
async def opened(size: tuple[int, int], home: Path | None = None) -> AsyncIterator[GatewayApp]:
    clock = FakeClock()
    engine = FakeEngine(clock)
    if home is not None:
        engine.gateway["home"] = str(home)  # a turn may be written there
    app = GatewayApp(engine, clock=clock, paint_s=None, departure=Departure(url, url))
    async with app.run_test(size=size, notifications=True):
        await furnish(engine, clock)
        await settle(app)
        yield app


async def go(app: GatewayApp, name: str) -> None:
    """To a screen, from Live."""
    await press(app, *SHOWN[name])
    await settle(app)
    if name == "palette":  # it finds its commands in its own time
        async with asyncio.timeout(20):
            while "Freeze the view" not in text_of(app):
                await asyncio.sleep(0.01)
                await settle(app)


async def go_back(app: GatewayApp) -> None:
    """To Live, whatever is open."""
    while not isinstance(app.screen, LiveScreen):
        await press(app, "escape")
    if app.screen.focused is not None and app.screen.focused.id == "filter-text":
        await press(app, "escape")
    app.clear_notifications()
    await press(app, "g")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(FULL[:2], id="main"),
        pytest.param(FULL[2:], id="others", marks=pytest.mark.faults),
        pytest.param(OVER, id="questions", marks=pytest.mark.faults),
    ],
)
async def test_every_screen_is_as_it_is_expected_to_be(names: list[str]) -> None:
    async with opened(SIZES[0]) as app:
        for name in names:
            sections: dict[str, list[str]] = {}
            for size in SIZES:
                await resize(app, size)
                await go(app, name)
                strips = strips_of(app)
                assert {sum(part.cell_length for part in strip) for strip in strips} == {size[0]}
                assert "SHADOW" in text_of(app) or name in OVER, "the mode is on every screen"
                title = f"{size[0]}x{size[1]}"
                sections[title] = expected_screens.text(strips)
                looks = await both_themes(app, can_be_read=name not in OVER)
                sections |= {f"{title} {part}": lines for part, lines in looks.items()}
                await go_back(app)
            expected_screens.compare(name, sections)


async def both_themes(app: GatewayApp, *, can_be_read: bool) -> dict[str, list[str]]:
    """Where a screen has which look, and the looks in a dark and a light theme.

    Each time the other theme comes first, since changing it is what takes long. What lies behind
    a question is dim on purpose, all else has to stand out from what is behind it.
    """
    words, cells = text_of(app), {}
    looks: dict[str, list[str]] = {}
    for name in [app.theme, DARK.name if app.theme == LIGHT.name else LIGHT.name]:
        if app.theme != name:
            app.theme = name
            await settle(app)
        assert text_of(app) == words, "a theme changes colours and nothing else"
        strips = strips_of(app)
        cells[name], looks[name] = expected_screens.styles(strips)
        assert not can_be_read or expected_screens.least_contrast(strips) >= LEAST_CONTRAST
    dark, light = cells[DARK.name], cells[LIGHT.name]
    found = {"styles": dark, "dark": looks[DARK.name], "light": looks[LIGHT.name]}
    if dark != light:  # dimmed, two looks may come to be one
        assert not can_be_read
        found["light styles"] = light
    return found


@pytest.mark.faults
@pytest.mark.parametrize("name", FULL)
async def test_every_key_of_the_footer_does_what_it_says_or_says_why_not(
    name: str, tmp_path: Path
) -> None:
    def seen() -> tuple[object, ...]:
        return text_of(app), app.screen, len(app._notifications)

    async with opened((120, 40), tmp_path) as app:
        await go(app, name)
        footer = app.screen.query_one(KeyFooter)
        spots = list(footer._spots)
        assert spots
        for start, end, key in spots:
            shown = text_of(app).splitlines()[-1][start:end]
            assert shown == f"{keys.first(key.keys)} {key.short}"
            before = seen()
            await press(app, key.keys.partition(",")[0])
            async with asyncio.timeout(20):
                while before == seen():  # some write to the disk first
                    await asyncio.sleep(0.01)
            await go_back(app)
            await go(app, name)


async def click(app: GatewayApp, x: int, y: int, times: int = 1) -> None:
    await Pilot(app).click(offset=(x, y), times=times)
    await settle(app)


def place_of(app: GatewayApp, text: str) -> tuple[int, int]:
    """Column and line where a text stands."""
    for y, line in enumerate(text_of(app).splitlines()):
        if text in line:
            return line.index(text) + 1, y
    raise AssertionError(f"{text!r} is not shown")


async def test_the_mouse_reaches_tabs_rows_footers_and_answers() -> None:
    async with opened((120, 40)) as app:
        for name in (*keys.TABS, keys.LIVE):
            await click(app, *place_of(app, f" {name.capitalize()} "))
            assert isinstance(app.screen, GatewayScreen)
            assert name == app.screen.CONTEXT
        await click(app, *place_of(app, "cancelled"))
        row = app.state.row(app.state.selected or "")
        assert row is not None
        assert row.shown is Shown.CANCELLED
        await click(app, *place_of(app, "partial"), times=2)
        assert isinstance(app.screen, DetailScreen)
        await click(app, *place_of(app, "esc back"))
        await click(app, *place_of(app, " Providers "))
        await click(app, *place_of(app, "groq   "))
        assert "connection refused" in text_of(app)
        await click(app, *place_of(app, "b reset"))
        await click(app, *place_of(app, "Leave it"))
        assert isinstance(app.screen, ProvidersScreen)


LOOKS: dict[str, Mapping[Any, columns.Look]] = {
    "a turn": columns.LOOKS,
    "a provider": {
        **provider_page.LOOKS,
        "p": provider_health.PAUSED,
        "c": provider_health.COOLING,
    },
    "a breaker": provider_health.BREAKERS,
}


@pytest.mark.parametrize("what", list(LOOKS))
def test_no_state_is_told_by_colour_alone(what: str) -> None:
    looks = list(LOOKS[what].values())
    assert len({look.word for look in looks}) == len(looks)
    assert len({look.glyph for look in looks}) == len(looks)
    for look in looks:
        assert len(look.glyph) == 1
        assert not look.glyph.isalnum()
        assert look.word.replace(" ", "").replace("-", "").isalpha()


def test_no_mode_is_told_by_colour_alone() -> None:
    modes = [mode_badge(True), mode_badge(False), mode_badge(None), mode_badge(None, is_away=True)]
    assert len({plain(mode) for mode in modes}) == len(modes)
