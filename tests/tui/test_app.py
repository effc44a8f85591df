from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from screen_text import idle, lines_of, press, resize, settle, strips_of, text_of
from textual.widgets import Button

from server import events
from server.record import Status
from tui import keys
from tui.app import GatewayApp, QuitReason
from tui.lifecycle.sessions import RECENT_S
from tui.screens.confirm import ConfirmQuit
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.live import LiveScreen
from tui.theme import THEMES
from tui.widgets.live_list import LiveList

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48)]

SMALLEST, LARGEST = SIZES[0], SIZES[-1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    return FakeEngine(clock)


def app_of(engine: FakeEngine, **arguments: Any) -> GatewayApp:
    return GatewayApp(engine, clock=engine.clock, paint_s=None, **arguments)


async def fill(engine: FakeEngine, clock: FakeClock, count: int) -> None:
    """``count`` finished turns, a second apart, the models numbered from 0."""
    for number in range(count):
        turn = engine.open(model_asked=f"model-{number}")
        await clock.advance(1)
        engine.finish(turn)


def selected_line(app: GatewayApp) -> str:
    return next(line for line in lines_of(app) if line.startswith("▌"))


# -- the list --------------------------------------------------------------------------------


async def test_a_turn_is_shown_while_it_runs_and_when_it_ends_at_every_size(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        for size in SIZES:
            await resize(app, size)
            turn = engine.open(model_asked=f"model-{size[0]}")
            await settle(app)
            assert "◌ waiting" in selected_line(app)
            await clock.advance(2)
            engine.stream(turn, 12)
            await settle(app)
            assert "▶ streaming" in selected_line(app)
            assert "~12" in selected_line(app)
            engine.progress(turn, 345)
            await settle(app)
            assert "~345" in selected_line(app)
            engine.finish(turn)
            await settle(app)
            line = selected_line(app)
            assert "● ok" in line
            assert "$0.0754G" in line
            assert f"model-{size[0]} " in line


async def test_every_line_is_as_wide_as_the_screen_whatever_is_open(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=LARGEST):
        await fill(engine, clock, 60)
        engine.open()
        await settle(app)
        for way in ([], ["enter"], ["f1"], ["q"]):
            await press(app, *way)
            for size in (SMALLEST, (20, 4), LARGEST):
                await resize(app, size)
                strips = strips_of(app)
                assert len(strips) == size[1]
                for strip in strips:
                    assert sum(segment.cell_length for segment in strip) == size[0]


async def test_ages_move_once_a_second_and_nothing_else_is_drawn(
    engine: FakeEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    original = LiveList.render_line

    def render_line(self: LiveList, y: int) -> Any:
        drawn.append(y)
        return original(self, y)

    monkeypatch.setattr(LiveList, "render_line", render_line)
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 5)
        turn = engine.open()
        await clock.advance(100)
        await settle(app)
        drawn.clear()
        await settle(app)
        assert drawn == []
        engine.progress(turn, 10)
        await settle(app)
        assert drawn == [0], "only the line that changed"
        drawn.clear()
        await clock.advance(0.1)
        await settle(app)
        assert drawn == []
        await clock.advance(60)
        await settle(app)
        assert sorted(set(drawn)) == [0, 1, 2, 3, 4, 5]


async def test_a_long_list_is_drawn_completely_a_few_lines_a_frame(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(160, 48)):
        await fill(engine, clock, 100)
        await settle(app)
        await clock.advance(30)
        await fill(engine, clock, 3)
        for _ in range(4):
            await settle(app)
        rows = [line for line in lines_of(app) if "● ok" in line]
        # the bridge made up what the first snapshot did not hold
        models = [next(word for word in row.split() if word.startswith("model-")) for row in rows]
        assert models[:3] == ["model-2", "model-1", "model-0"]
        assert models[3:] == [f"model-{n}" for n in range(99, 99 - len(models) + 3, -1)]
        assert len(models) == 43


# -- keys ------------------------------------------------------------------------------------


async def test_moving_and_following(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 60)
        await settle(app)
        assert "FOLLOW" in text_of(app)
        assert "model-59" in selected_line(app)
        await press(app, "j", "down")
        assert "model-57" in selected_line(app)
        assert "FOLLOW" not in text_of(app)
        await press(app, "k")
        assert "model-58" in selected_line(app)
        await press(app, "G")
        assert "model-0 " in selected_line(app)
        await press(app, "pageup")
        assert app.state.selected_index == 59 - 18
        await press(app, "ctrl+u")
        assert app.state.selected_index == 59 - 18 - 9
        await press(app, "ctrl+d", "pagedown", "pagedown")
        assert app.state.selected_index == 59
        await press(app, "g")
        assert "model-59" in selected_line(app)
        await press(app, "f")
        assert "FOLLOW" in text_of(app)


async def test_the_selected_turn_stays_in_place_while_others_arrive(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 60)
        await settle(app)
        await press(app, *["j"] * 30)
        line = lines_of(app).index(selected_line(app))
        chosen = selected_line(app)
        for _ in range(5):
            engine.open()
        await settle(app)
        assert selected_line(app) == chosen
        assert lines_of(app).index(chosen) == line


async def test_scrolling_with_the_wheel_stops_following(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 60)
        await settle(app)
        app.screen.query_one(LiveList).scroll_down(animate=False)
        await settle(app)
        assert not app.state.follow
        engine.open(model_asked="model-new")
        await settle(app)
        assert "model-new" not in text_of(app)


async def test_freezing_keeps_the_picture_and_counts_what_is_new(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        turn = engine.open(model_asked="model-old")
        await settle(app)
        await press(app, "space")
        assert "FROZEN +0 new" in text_of(app)
        engine.finish(turn)
        for _ in range(37):
            engine.open(model_asked="model-new")
        await clock.advance(100)
        await settle(app)
        text = text_of(app)
        assert "FROZEN +37 new" in text
        assert "model-new" not in text
        assert "◌ waiting    0s" in text
        assert "▶ 37" in text, "the header goes on"
        await press(app, "space")
        assert "FROZEN" not in text_of(app)
        assert "model-new" in text_of(app)


async def test_f_ends_a_freeze(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 3)
        await settle(app)
        await press(app, "space", "j", "f")
        assert "FROZEN" not in text_of(app)
        assert "FOLLOW" in text_of(app)
        assert "model-2" in selected_line(app)


async def test_the_mouse_selects_and_a_double_click_opens(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await fill(engine, clock, 10)
        await settle(app)
        await pilot.click(LiveList, offset=(20, 4))
        await settle(app)
        assert "model-5" in selected_line(app)
        await pilot.click(LiveList, offset=(20, 19))
        await settle(app)
        assert "model-5" in selected_line(app), "below the last row there is nothing to select"
        await pilot.click(LiveList, offset=(20, 3), times=2)
        await settle(app)
        assert isinstance(app.screen, DetailScreen)
        sixth = list(engine.turns.values())[6]
        assert sixth.id in text_of(app)


async def test_the_footer_can_be_clicked(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await fill(engine, clock, 3)
        await settle(app)
        footer = lines_of(app)[-1]
        await pilot.click("#footer", offset=(footer.index("freeze"), 0))
        await settle(app)
        assert app.state.is_frozen
        await pilot.click("#footer", offset=(footer.index("help"), 0))
        await settle(app)
        assert isinstance(app.screen, HelpScreen)
        await pilot.click("#footer", offset=(79, 0))
        assert isinstance(app.screen, HelpScreen)


async def test_the_error_of_the_selected_turn_is_told(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        turn = engine.open()
        engine.finish(
            turn, Status.ERROR, http_status=529, error_type="overloaded_error", error_message="Busy"
        )
        await settle(app)
        assert "▲ error 529" in text_of(app)
        assert "overloaded_error: Busy" in text_of(app)


async def test_copying_an_id(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24), notifications=True):
        await fill(engine, clock, 2)
        await settle(app)
        await press(app, "j", "y")
        assert app.clipboard == app.state.at(1).id
        assert f"Copied {app.clipboard}" in text_of(app)
        await press(app, "enter", "y")
        assert app.clipboard == app.state.at(1).id


# -- the empty list --------------------------------------------------------------------------


async def test_the_empty_list_tells_how_to_begin_at_every_size(engine: FakeEngine) -> None:
    engine.gateway["url"] = "http://127.0.0.1:18787"
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        for size in SIZES:
            await resize(app, size)
            text = text_of(app)
            assert text.index("sbgw-tui claude") < text.index("ANTHROPIC_BASE_URL")
            assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:18787" in text
            assert "export ANTHROPIC_API_KEY=local-dev-key" in text
            assert "What happens then" in text
        await press(app, "y")
        assert app.clipboard == (
            "export ANTHROPIC_BASE_URL=http://127.0.0.1:18787\n"
            "export ANTHROPIC_API_KEY=local-dev-key\n"
        )
        await press(app, "enter", "space", "f", "j")
        assert isinstance(app.screen, LiveScreen)
        assert not app.state.is_frozen


async def test_without_a_key_hint_no_key_is_made_up(engine: FakeEngine) -> None:
    del engine.gateway["key_hint"]
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        assert "ANTHROPIC_API_KEY=<your gateway key>" in text_of(app)


async def test_before_the_engine_answers_nothing_is_promised(engine: FakeEngine) -> None:
    engine.fail_with = ConnectionError("refused")
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        text = text_of(app)
        assert "Waiting for the gateway" in text
        assert "gateway does not answer: ConnectionError: refused" in text
        await press(app, "y")
        assert app.clipboard == ""


@pytest.mark.parametrize("size", SIZES)
async def test_the_invitation_names_a_program_that_can_be_run(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    program = "/home/somebody/src/with-a-long-name/sbgw-tui/.venv/bin/sbgw-tui"
    async with (app := app_of(engine, program=program)).run_test(size=size):
        await settle(app)
        shown = "".join(line.strip() for line in lines_of(app))
        assert program in shown
        assert "claude" in shown
        assert "runs Claude Code through here" in shown


async def test_the_first_turn_replaces_the_invitation(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        engine.open()
        await settle(app)
        assert "No requests yet" not in text_of(app)
        assert isinstance(app.focused, LiveList)
        await press(app, "enter")
        assert isinstance(app.screen, DetailScreen)


# -- the header ------------------------------------------------------------------------------


async def test_mode_badges_and_trouble_at_every_size(engine: FakeEngine) -> None:
    engine.gateway["demo"] = True
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        await settle(app)
        badge = next(s for s in strips_of(app)[0] if "SHADOW" in s.text)
        assert badge.style is not None
        assert badge.style.reverse
        engine.emit(events.MODE_CHANGED, shadow=False, source="tui")
        engine.provider("anthropic", "failing", "connection refused")
        engine.emit(events.GATEWAY_CHANGED, state="draining", in_flight=2)
        for size in SIZES:
            await resize(app, size)
            first, second = lines_of(app)[:2]
            assert " LIVE " in first
            assert " DEMO " in first
            assert "SHADOW" not in first
            assert " DRAINING 2" in first
            assert "anthropic failing since " in second
            assert "connection refused" in second
        engine.provider("anthropic", "ok")
        await settle(app)
        assert "anthropic" not in lines_of(app)[1]


# -- detail and help -------------------------------------------------------------------------


async def test_the_detail_follows_the_turn_at_every_size(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        for size in SIZES:
            await resize(app, size)
            turn = engine.open()
            await settle(app)
            await press(app, "enter")
            assert "◌ waiting" in text_of(app)
            await clock.advance(2)
            engine.stream(turn, 12)
            await settle(app)
            assert "▶ streaming" in text_of(app)
            await clock.advance(1)
            engine.finish(turn)
            await settle(app)
            text = text_of(app)
            assert "● ok" in text
            assert "200 success" in text
            assert "$0.0754" in text
            await press(app, "escape")
            assert isinstance(app.screen, LiveScreen)


async def test_progress_does_not_read_the_detail_more_than_once_a_second(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        turn = engine.open()
        engine.stream(turn)
        await settle(app)
        await press(app, "enter")
        before = len(engine.turns_read)
        for count in range(1, 9):
            engine.progress(turn, count * 111)
            await clock.advance(0.25)
            await settle(app)
        assert len(engine.turns_read) - before <= 3
        assert "~888" in text_of(app)


async def test_a_detail_that_cannot_be_read_says_so(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        turn = engine.open()
        await settle(app)
        engine.fail_with = ConnectionError("[red]gone[/]")
        await press(app, "enter")
        assert "ConnectionError: [red]gone[/]" in text_of(app)
        engine.fail_with = None
        engine.finish(turn)
        await settle(app)
        assert "● ok" in text_of(app)


async def test_a_turn_the_gateway_forgot(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        engine.open()
        await settle(app)
        engine.turns.clear()
        await press(app, "enter")
        assert "the gateway no longer knows this turn" in text_of(app)


async def test_the_detail_scrolls(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine)
    async with app.run_test(size=(60, 20)):
        await fill(engine, clock, 1)
        await settle(app)
        await press(app, "enter")
        assert "IDS AND OUTCOME" not in text_of(app)
        await press(app, "G")
        assert "decided by" in text_of(app)
        await press(app, "g")
        assert "ATTEMPTS" in text_of(app)


async def test_help_lists_every_key_of_the_screen_it_was_opened_on(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        for size in (SMALLEST, LARGEST):
            await resize(app, size)
            await press(app, "question_mark")
            seen = text_of(app)
            for _ in range(6):
                await press(app, "pagedown")
                seen += text_of(app)
            flat = " ".join(seen.split())
            for key in keys.active_in(keys.LIVE, keys.TABLE):
                assert " ".join(key.help.split()[:4]) in flat, key.id
            assert "Not now: no turns yet." in flat
            assert "the answer is arriving" in flat
            await press(app, "q")
            assert isinstance(app.screen, LiveScreen)


@pytest.mark.parametrize("size", SIZES)
async def test_the_scrollbar_covers_nothing_of_a_page(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    async with (app := app_of(engine)).run_test(size=size):
        await settle(app)
        await press(app, "question_mark", "G")
        flat = " ".join(" ".join(line[:-1] for line in lines_of(app)).split())
        assert "the price or the usage is not known; never counted as free" in flat
        assert "the model that served is not the one asked for" in flat


async def test_one_goes_back_to_the_list_from_anywhere(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 2)
        await settle(app)
        await press(app, "enter", "f1")
        assert isinstance(app.screen, HelpScreen)
        await press(app, "1")
        assert isinstance(app.screen, LiveScreen)


async def shows(app: GatewayApp, words: str, *, not_words: str = "no such words") -> None:
    """Wait for what the toolkit's palette finds in its own time."""
    for _ in range(500):
        await settle(app)
        text = text_of(app)
        if words in text and not_words not in text:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{words!r} never came up")


async def test_looking_for_a_theme_does_not_quit(engine: FakeEngine) -> None:
    drain = Drain()
    async with (app := app_of(engine, on_quit=drain)).run_test(size=(100, 40)):
        await settle(app)
        await press(app, "ctrl+p")
        await press(app, *"theme")
        await shows(app, "colour theme", not_words="already here")
        await press(app, "enter")
        await shows(app, "Search for themes")
        assert drain.calls == 0


async def test_the_palette_offers_the_table_and_runs_it(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 70)):
        await fill(engine, clock, 2)
        await settle(app)
        await press(app, "ctrl+p")
        await shows(app, "not now: already here")
        text = text_of(app)
        for key in keys.active_in(keys.LIVE, keys.TABLE):
            assert (key.help.rstrip(".") in text) == key.palette, key.id
        assert "not now: already here" in text
        await press(app, *"freeze")
        await shows(app, "Freeze the view", not_words="already here")
        await press(app, "enter")
        await settle(app)
        assert app.state.is_frozen


async def test_keys_can_be_changed(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine, keymap={"live.freeze": "z", "copy": "Y"})
    async with app.run_test(size=(80, 24)):
        await settle(app)
        assert "(Y copies both lines)" in text_of(app)
        await fill(engine, clock, 2)
        await settle(app)
        assert "z freeze" in lines_of(app)[-1]
        await press(app, "space")
        assert not app.state.is_frozen
        await press(app, "z")
        assert app.state.is_frozen
        assert "z shows the present" in text_of(app)


def test_a_wrong_key_name_is_an_error_before_anything_starts(engine: FakeEngine) -> None:
    with pytest.raises(ValueError, match=r"nearest is 'live.freeze'"):
        app_of(engine, keymap={"live.freez": "z"})


# -- quitting --------------------------------------------------------------------------------


async def test_q_quits_at_once_when_nobody_uses_the_gateway(
    engine: FakeEngine, clock: FakeClock
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 1)
        await clock.advance(RECENT_S)
        await settle(app)
        await press(app, "q")
    assert app.return_value is QuitReason.QUIT
    assert all(subscription.is_closed for subscription in engine.subscriptions)
    assert engine.commands == []


async def test_q_asks_when_requests_are_in_flight_and_one_can_stay(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        first = engine.open()
        engine.open()
        await settle(app)
        for stay in ("n", "escape", "q", "enter"):
            await press(app, "q")
            assert isinstance(app.screen, ConfirmQuit)
            assert "2 requests in flight" in text_of(app)
            await press(app, stay)
            assert isinstance(app.screen, LiveScreen), stay
        await press(app, "q")
        engine.finish(first)
        await settle(app)
        assert "1 request in flight" in text_of(app)
        assert app.is_running


@pytest.mark.parametrize("size", [SMALLEST, (30, 9)], ids=str)
async def test_the_question_can_be_answered_on_a_small_screen(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    app = app_of(engine)
    async with app.run_test(size=size):
        engine.open()
        await settle(app)
        await press(app, "q")
        assert isinstance(app.screen, ConfirmQuit)
        app.screen.query_one("#stop", Button).press()
        await idle(app)
    assert app.return_value is QuitReason.QUIT


@pytest.mark.parametrize("where", [[], ["enter"], ["q"], ["ctrl+p"]], ids=str)
async def test_ctrl_q_quits_from_everywhere(engine: FakeEngine, where: list[str]) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        engine.open()
        await settle(app)
        if where:
            await press(app, *where)
            assert len(app.screen_stack) == 2
        await press(app, "ctrl+q")
    assert app.return_value is QuitReason.QUIT


class Drain:
    """Ends when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.done = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.calls += 1
        await self.done.wait()
        if self.error is not None:
            raise self.error


async def test_the_screen_stays_until_the_drain_has_ended(engine: FakeEngine) -> None:
    drain = Drain()
    app = app_of(engine, on_quit=drain)
    async with app.run_test(size=(80, 24), notifications=True):
        turn = engine.open()
        await settle(app)
        await press(app, "q", "y")
        engine.emit(events.GATEWAY_CHANGED, state="draining", in_flight=1)
        await settle(app)
        assert app.is_running
        assert "DRAINING 1 stream" in text_of(app)
        await press(app, "q")
        assert drain.calls == 1
        assert "Draining 1 stream; ctrl+q ends it" in text_of(app)
        engine.finish(turn)
        drain.done.set()
        await idle(app)
    assert app.return_value is QuitReason.QUIT


async def test_asking_twice_ends_the_streams_now(engine: FakeEngine) -> None:
    drain = Drain()
    app = app_of(engine, on_quit=drain)
    async with app.run_test(size=(80, 24)):
        engine.open()
        await settle(app)
        await press(app, "ctrl+q")
        assert app.is_running
        await press(app, "ctrl+q")
        drain.done.set()
    assert app.return_value is QuitReason.FORCE
    assert drain.calls == 1


async def test_a_drain_that_fails_still_lets_one_out(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    drain = Drain()
    drain.error = RuntimeError("boom")
    drain.done.set()
    app = app_of(engine, on_quit=drain)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "ctrl+q")
        await idle(app)
    assert app.return_value is QuitReason.QUIT
    assert "draining failed" in caplog.text


async def test_a_signal_handler_may_start_quitting(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        asyncio.get_running_loop().call_soon(app.begin_quit)
        await idle(app)
    assert app.return_value is QuitReason.QUIT


async def test_ctrl_c_tells_how_to_quit(engine: FakeEngine) -> None:
    app = app_of(engine, keymap={"quit.now": "ctrl+x"})
    async with app.run_test(size=(80, 24), notifications=True):
        await settle(app)
        await press(app, "ctrl+c")
        assert "ctrl+x drains and quits." in text_of(app)
        await press(app, "ctrl+x")
    assert app.return_value is QuitReason.QUIT


# -- small, plain, colourless ----------------------------------------------------------------


async def test_a_screen_too_small_shows_one_line(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=SMALLEST):
        engine.open()
        await settle(app)
        for size in ((59, 30), (100, 14), (40, 5), (20, 2), (1, 1)):
            await resize(app, size)
            lines = lines_of(app)
            assert size[0] < 40 or "SHADOW   1 in flight" in lines[0]
            assert not any("Savings" in line or "? help" in line for line in lines)
            assert any("STATE" in line for line in lines) == (size[0] > 46)
        await resize(app, SMALLEST)
        assert "STATE" in text_of(app)


async def test_only_ascii_when_asked(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine, ascii=True)
    engine.provider("anthropic", "failing", "refused")
    async with app.run_test(size=SMALLEST, notifications=True):

        async def check() -> None:
            for size in (SMALLEST, LARGEST):
                await resize(app, size)
                odd = {char for char in text_of(app) if not char.isascii()}
                assert not odd, sorted(odd)

        await check()
        await fill(engine, clock, 60)
        engine.finish(engine.open(), Status.PARTIAL, cost_is_estimate=True, cost_usd=0.1)
        engine.open()
        await settle(app)
        await press(app, "y", "ctrl+c")
        await check()
        for way in ("enter", "f1", "q"):
            await press(app, way)
            await check()
            app.pop_screen()


async def test_states_differ_without_colour(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        for status in Status:
            turn = engine.open()
            if status is not Status.OPEN:
                engine.finish(turn, status)
        engine.stream(engine.open())
        await settle(app)
        words = {line[2:15].strip() for line in lines_of(app)[3:-2] if line[2:15].strip()}
        assert len(words) == len(Status) + 1
        for strip in strips_of(app):
            for segment in strip:
                for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    assert color is None or color.triplet is None or len(set(color.triplet)) == 1


async def test_every_theme_repaints_the_rows(engine: FakeEngine, clock: FakeClock) -> None:
    app = app_of(engine, theme="sbgw-light")

    def colours() -> str:
        strip = next(s for s in strips_of(app) if any("● ok" in x.text for x in s))
        return " ".join(f"{x.style.color} {x.style.bgcolor}" for x in strip if x.style)

    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 3)
        await settle(app)
        assert app.theme == "sbgw-light"
        seen = [colours()]
        for theme in ("sbgw-dark", "nord", "sbgw-ansi"):
            app.theme = theme
            await settle(app)
            seen.append(colours())
        assert len(set(seen)) == 4


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_the_program_starts_in_every_theme_of_its_own(
    engine: FakeEngine, clock: FakeClock, theme: str
) -> None:
    app = app_of(engine, theme=theme)
    async with app.run_test(size=(80, 24)):
        await fill(engine, clock, 3)
        await settle(app)
        assert "● ok" in text_of(app)
        await press(app, "s", "n", "slash", "x", "escape", "q")
        assert app.is_running or app.return_value is QuitReason.QUIT


async def test_the_paint_timer_runs_by_itself(engine: FakeEngine) -> None:
    app = GatewayApp(engine, clock=engine.clock, paint_s=0.01)
    async with app.run_test(size=(80, 24)) as pilot:
        engine.open(model_asked="model-x")

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                await pilot.pause(0.01)

        await asyncio.wait_for(until(lambda: "model-x" in text_of(app)), 20)
