"""The numbered screens: getting there and back, what they show, and every key on each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine, saved
from screen_text import idle, lines_of, press, resize, settle, strips_of, text_of
from textual import events as input_events

from server.record import Status
from tui import keys
from tui.app import GatewayApp
from tui.lines import Line
from tui.screens.agents import AgentsScreen
from tui.screens.confirm import ConfirmQuit
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.live import LiveScreen
from tui.screens.log import LogScreen, LogView
from tui.screens.providers import ProvidersScreen
from tui.screens.routes import RoutesScreen
from tui.screens.savings import SavingsScreen

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48)]
SMALLEST = SIZES[0]
SCREENS = {
    "1": LiveScreen, "2": SavingsScreen, "3": ProvidersScreen, "4": RoutesScreen,
    "5": AgentsScreen, "6": LogScreen,
}  # fmt: skip


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock, tmp_path: Path) -> FakeEngine:
    engine = FakeEngine(clock)
    engine.gateway["home"] = str(tmp_path)  # a turn may be written there
    return engine


def app_of(engine: FakeEngine, **arguments: Any) -> GatewayApp:
    return GatewayApp(engine, clock=engine.clock, paint_s=None, **arguments)


async def furnish(engine: FakeEngine, clock: FakeClock) -> None:
    """Something to show on every screen."""
    engine.savings = {
        "today": saved(38, 0.1831, needs_key=7, unpriced=2, losses=4, losses_usd=-0.2),
        "all": saved(900, -3.25),
        "by_route": {"planning": saved(40, -1.2)},
        "by_kind": {"title": saved(500, 1.1)},
        "by_target": {"cerebras/gpt-oss-120b": saved(0, needs_key=7)},
    }
    engine.routing |= {"hits": {"planning": 212}, "kind_hits": {"title": 500, "tool_step": 9}}
    engine.provider("anthropic", "ok", credential="the client's", requests=12)
    engine.provider("groq", "failing", "connection refused", credential="our key")
    engine.provider("cerebras", "needs_key", configured=False, credential="none")
    for number in range(60):
        engine.log(f"line {number}", ("info", "warning", "error")[number % 3])
    for number in range(30):
        turn = engine.open(model_asked=f"model-{number}", kind=("title", "tool_step")[number % 2])
        engine.propose(turn, "groq", "openai/gpt-oss-120b")
        await clock.advance(1)
        engine.finish(turn)
        engine.settle(turn, 0.0012 if number % 3 else -0.0116)
    engine.open()


async def write(app: GatewayApp, text: str) -> None:
    """Type text as a terminal would send it."""
    for char in text:
        app.post_message(input_events.Key("space" if char == " " else char, char))
        await idle(app)


def chosen_line(app: GatewayApp) -> str:
    return next(line for line in lines_of(app) if line.startswith("▌"))


# -- getting there ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_numbers_lead_to_screens_and_escape_leads_back(
    engine: FakeEngine, clock: FakeClock, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await furnish(engine, clock)
        await settle(app)
        for key in "1234561":
            await press(app, key)
            assert type(app.screen) is SCREENS[key]
            assert len(app.screen_stack) <= 2
            tabs = " ".join(text_of(app).split())
            assert "1 Live 2 Savings 3 Providers 4 Routes 5 Agents 6 Log" in tabs
            assert " SHADOW " in lines_of(app)[0]
        for key in ("escape", "q"):
            await press(app, "3", key)
            assert isinstance(app.screen, LiveScreen)


async def test_help_and_detail_lead_back_to_where_one_was(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "3", "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "PROVIDERS" in text_of(app)
        await press(app, "escape")
        assert isinstance(app.screen, ProvidersScreen)
        await press(app, "question_mark", "2")
        assert isinstance(app.screen, SavingsScreen)
        await press(app, "q", "enter")
        assert isinstance(app.screen, DetailScreen)
        await press(app, "4")
        assert isinstance(app.screen, RoutesScreen)


async def test_tabs_can_be_clicked_and_the_shown_one_is_marked(engine: FakeEngine) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)) as pilot:
        await settle(app)
        tabs = next(line for line in lines_of(app) if "2 Savings" in line)
        await pilot.click("#tabs", offset=(tabs.index("Providers"), 0))
        await settle(app)
        assert isinstance(app.screen, ProvidersScreen)
        strip = next(s for s in strips_of(app) if any("Providers" in x.text for x in s))
        marked = [x.text for x in strip if x.style is not None and x.style.reverse]
        assert marked == [" 3 Providers "]


async def test_a_changed_key_is_shown_on_its_tab(engine: FakeEngine) -> None:
    async with (app := app_of(engine, keymap={"screen.log": "8"})).run_test(size=(80, 24)):
        await settle(app)
        assert " 8 Log " in text_of(app)
        await press(app, "8")
        assert isinstance(app.screen, LogScreen)


# -- every key -------------------------------------------------------------------------------

PLACES = [
    "live", "savings", "providers", "routes", "agents", "log", "sessions", "detail", "help", "confirm",
    "empty",
]  # fmt: skip
SAMPLE = frozenset({"move.down", "move.bottom"})
"""Of the movements, those that are tried at every size; at the smallest all are."""
WAYS = {
    "sessions": ["w"],
    "savings": ["2"], "providers": ["3"], "routes": ["4"], "agents": ["5"], "log": ["6"],
    "detail": ["enter"], "help": ["f1"], "confirm": ["q"],
}  # fmt: skip


async def home_again(app: GatewayApp, way: list[str]) -> None:
    while len(app.screen_stack) > 1:
        app.pop_screen()
    await idle(app)
    if (
        app.state.filter.text
        or app.screen.focused is None
        or app.screen.focused.id == "filter-text"
    ):
        await press(app, "escape")
    await press(app, *way)


@pytest.mark.parametrize(
    ("place", "theme"),
    [
        *((place, "sbgw-dark") for place in PLACES),
        pytest.param("live", "sbgw-light", marks=pytest.mark.faults),
        pytest.param("providers", "sbgw-light", marks=pytest.mark.faults),
    ],
)
async def test_every_key_of_the_table_can_be_pressed_on_every_screen(
    engine: FakeEngine, clock: FakeClock, place: str, theme: str
) -> None:
    way = WAYS.get(place, [])
    away = {"ctrl+q", *({"y"} if place == "confirm" else ()), *({"q"} if place == "empty" else ())}
    away |= {"c", "x", "f"}  # these start agents and have their own tests
    home = place if place != "empty" else keys.LIVE
    every = [key for key in keys.TABLE if key.keys]
    told = [key for key in every if key.id in SAMPLE or not key.id.startswith("move.")]
    own = [name for key in told if home in key.contexts for name in key.keys.split(",")[:1]]
    names = [name for key in every for name in key.keys.split(",")]
    sizes = SIZES if place in (*keys.TABS, keys.SESSIONS) else SIZES[:1]
    app = app_of(engine, theme=theme)
    async with app.run_test(size=SMALLEST):
        if place != "empty":
            await furnish(engine, clock)
        for size in sizes if theme == "sbgw-dark" else SIZES[1:2]:
            await resize(app, size)
            await home_again(app, way)
            for name in dict.fromkeys(names if size == SMALLEST else own):
                if name in away:
                    continue
                before = app.screen
                await press(app, name)
                assert app.is_running, name
                if app.screen is not before or name == "slash":
                    await home_again(app, way)
            widths = {sum(segment.cell_length for segment in strip) for strip in strips_of(app)}
            assert widths == {size[0]}


# -- savings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_savings_of_today_and_of_all(
    engine: FakeEngine, clock: FakeClock, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "2")
        assert "WOULD HAVE SAVED TODAY" in text_of(app)
        assert "+$0.1831" in text_of(app)
        await press(app, "t", "t", "t")
        assert "WOULD HAVE LOST ON RECORD" in text_of(app)
        assert "$3.25" in text_of(app)
        await press(app, "t", "G")
        assert "list-price" in text_of(app)


async def test_savings_follow_the_engine_and_the_mode(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(120, 40)):
        await settle(app)
        await press(app, "2")
        assert "In shadow mode every request goes to its own vendor" in text_of(app)
        engine.savings["today"] = saved(3, 1.5)
        engine.set_shadow(False)
        await clock.advance(6)
        await settle(app)
        assert "  SAVED TODAY" in text_of(app)
        assert "saved $1.50 today" in lines_of(app)[0]


async def test_nothing_is_built_again_while_nothing_changes(
    engine: FakeEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui import savings_page

    built: list[int] = []
    original = savings_page.page

    def page(*values: Any, **named: Any) -> list[Line]:
        built.append(1)
        return original(*values, **named)

    monkeypatch.setattr(savings_page, "page", page)
    async with (app := app_of(engine)).run_test(size=(120, 40)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "2")
        built.clear()
        for _ in range(3):
            engine.progress(list(engine.turns.values())[-1], 100)
            await settle(app)
        assert built == []


# -- the header ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_header_tells_what_today_would_have_saved(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    engine.savings["today"] = saved(3, -1.5)
    async with (app := app_of(engine)).run_test(size=size):
        await settle(app)
        first = lines_of(app)[0]
        assert "$1.50" in first
        assert "would lose" in first or "would -$1.50" in first
        engine.savings["today"] = saved(3, 0.0, unpriced=3)
        app.state.load_totals(await engine.snapshot())
        await settle(app)
        assert "would" not in lines_of(app)[0]


# -- providers and routes --------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_choosing_a_provider_shows_all_of_it(
    engine: FakeEngine, clock: FakeClock, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "3")
        assert "anthropic" in chosen_line(app)
        assert "https://api.anthropic.example" in text_of(app)
        await press(app, "j")
        assert "✕ failing" in chosen_line(app)
        assert "connection refused" in text_of(app)
        await press(app, "G")
        assert "CEREBRAS_API_KEY is not set" in text_of(app)
        await press(app, "down", "k", "g")
        assert "anthropic" in chosen_line(app)
        engine.provider("anthropic", "offline", "no route", credential="the client's")
        await settle(app)
        assert "◌ offline" in chosen_line(app)


async def test_a_provider_can_be_clicked_and_a_list_may_shrink(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)) as pilot:
        await furnish(engine, clock)
        await settle(app)
        await press(app, "3")
        await pilot.click("#picks", offset=(20, 2))
        await settle(app)
        assert "cerebras" in chosen_line(app)
        del engine.providers["cerebras"]
        await clock.advance(6)
        await settle(app)
        assert "anthropic" in chosen_line(app)
        engine.providers.clear()
        await clock.advance(6)
        await settle(app)
        assert "No provider is known yet." in text_of(app)
        await press(app, "j", "k", "pagedown")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_route_can_be_reached_and_is_named(
    engine: FakeEngine, clock: FakeClock, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await press(app, "4")
        screen = app.screen
        assert isinstance(screen, RoutesScreen)
        assert isinstance(screen.selected_route(), str)
        await furnish(engine, clock)
        await settle(app)
        seen = []
        for _ in range(12):
            seen.append(screen.selected_route())
            assert screen.selected_route() in chosen_line(app)
            await press(app, "j")
        assert list(dict.fromkeys(seen)) == [
            "tool_loop", "long_context", "planning", "code_draft", "summary", "fallback_safe",
            "title", "tool_step",
        ]  # fmt: skip
        await press(app, "g")
        assert "CLASSES" in text_of(app)
        await press(app, "j", "j")
        assert "questions about how to do something" in text_of(app)
        assert " 212 " in chosen_line(app)
        assert "-$1.20" in chosen_line(app)


# -- the log ---------------------------------------------------------------------------------


async def test_the_log_follows_its_end_until_one_scrolls_up(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "6")
        await settle(app)
        assert "line 59" in text_of(app)
        assert " FOLLOW " in text_of(app)
        engine.log("line new")
        await settle(app)
        assert "line new" in text_of(app)
        await press(app, "k")
        assert " FOLLOW " not in text_of(app)
        engine.log("line unseen")
        await settle(app)
        assert "line unseen" not in text_of(app)
        await press(app, "f")
        await settle(app)
        assert "line unseen" in text_of(app)
        await press(app, "g")
        assert "line 0 " in text_of(app)
        await press(app, "G")
        assert " FOLLOW " in text_of(app)
        for size in SIZES:
            await resize(app, size)
            assert "line unseen" in text_of(app), size


async def test_the_wheel_stops_the_log(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "6")
        await settle(app)
        page = app.screen.query_one("#log", LogView)
        page.post_message(input_events.MouseScrollUp(page, 1, 1, 0, -1, 0, False, False, False))
        await settle(app)
        assert " FOLLOW " not in text_of(app)


async def test_levels_of_the_log(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "6")
        for shown, count in (("info", 60), ("warning", 40), ("error", 20)):
            await press(app, "l")
            await settle(app)
            assert f"{shown} and worse" in text_of(app)
            assert f"{count} of 60" in text_of(app) or f"{count} entries" in text_of(app)
        assert "● info" not in text_of(app)
        await press(app, "l")
        assert "60 entries, all levels" in text_of(app)


async def test_an_empty_log_says_so(engine: FakeEngine) -> None:
    async with (app := app_of(engine)).run_test(size=SMALLEST):
        await settle(app)
        await press(app, "6")
        assert "The log is empty." in text_of(app)


# -- live: the filter ------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_filter_works_as_one_types_and_escape_clears_it(
    engine: FakeEngine, clock: FakeClock, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        await write(app, "kind:ti")
        assert "FILTER 15 of 31" in text_of(app)
        await write(app, "tle saved<0")
        assert "FILTER 5 of 31" in text_of(app)
        rows = [line for line in lines_of(app) if "● ok" in line]
        assert len(rows) == 5
        await press(app, "enter")
        assert "FILTER 5 of 31" in text_of(app)
        await press(app, "j")
        assert app.state.selected_index == 1
        await press(app, "enter")
        assert isinstance(app.screen, DetailScreen)
        await press(app, "escape", "escape")
        assert "FILTER" not in text_of(app)
        assert len(app.state) == 31


async def test_keys_typed_into_the_filter_do_nothing_else(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        await write(app, "q123456sScxfy/ ?:")
        assert type(app.screen) is LiveScreen
        assert app.state.filter.text == "q123456sScxfy/ ?:"
        assert not app.state.is_frozen
        assert "None of 31 turns matches" in text_of(app)
        await press(app, "enter")
        await press(app, "j", "enter", "y")
        assert type(app.screen) is LiveScreen
        await press(app, "slash", "escape")
        assert len(app.state) == 31


async def test_an_unknown_field_is_told_below_the_line(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        assert "esc clears it" in text_of(app)
        await write(app, "knd:x")
        below = text_of(app).partition("/ knd:x")[2]
        assert "no field is named knd; known: client kind model" in below


async def test_filter_follow_and_freeze_together(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(120, 40)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        await write(app, "kind:title")
        await press(app, "enter")
        assert " FOLLOW " in text_of(app)
        engine.open(model_asked="model-new", kind="title")
        engine.open(model_asked="model-other", kind="tool_step")
        await settle(app)
        assert "model-new" in chosen_line(app)
        assert "model-other" not in text_of(app)
        await press(app, "space")
        engine.open(model_asked="model-later", kind="title")
        await settle(app)
        assert "FROZEN +1 new" in text_of(app)
        assert "FILTER 16 of 33" in text_of(app)
        await press(app, "f")
        assert "model-later" in chosen_line(app)


async def test_pasted_text_is_harmless(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        assert app.focused is not None
        app.focused.post_message(input_events.Paste("\x1b[31mtitle\x07\nsecond"))
        await settle(app)
        assert "\x1b" not in app.state.filter.text
        assert "second" not in app.state.filter.text
        assert "title" in app.state.filter.text


async def test_a_filter_does_not_outlive_the_small_screen(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "slash")
        await write(app, "title")
        await resize(app, (40, 8))
        assert "FILTER" not in text_of(app)
        await resize(app, (80, 24))
        assert "FILTER 15 of 31" in text_of(app)


async def test_the_status_line_names_where_the_chosen_turn_would_go(
    engine: FakeEngine, clock: FakeClock
) -> None:
    async with (app := app_of(engine)).run_test(size=(120, 40)):
        turn = engine.open()
        engine.propose(turn, "groq", "openai/gpt-oss-120b")
        engine.finish(turn)
        engine.settle(turn, -0.0116)
        await settle(app)
        assert "would go to groq/gpt-oss-120b: -$0.0116 (a loss of" in text_of(app)
        assert "-$0.0116" in chosen_line(app)
        await press(app, "enter")
        assert "WHAT LIVE MODE WOULD HAVE DONE" in text_of(app)
        engine.finish(turn, Status.COMPLETED)


async def test_a_question_hides_the_screens_behind_it(engine: FakeEngine, clock: FakeClock) -> None:
    async with (app := app_of(engine)).run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "q")
        assert isinstance(app.screen, ConfirmQuit)
        await press(app, "2")
        assert isinstance(app.screen, ConfirmQuit)


@pytest.mark.parametrize("key", list(SCREENS))
async def test_only_ascii_when_asked(engine: FakeEngine, clock: FakeClock, key: str) -> None:
    async with (app := app_of(engine, ascii=True)).run_test(size=SMALLEST):
        await furnish(engine, clock)
        await settle(app)
        await press(app, key)
        for size in SIZES:
            await resize(app, size)
            odd = {char for char in text_of(app) if not char.isascii()}
            assert not odd, (size, sorted(odd))
