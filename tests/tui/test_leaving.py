"""Quitting while somebody uses the gateway: who that is, and what can become of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from screen_text import idle, press, resize, settle, text_of

from tui.app import GatewayApp, QuitReason
from tui.leaving import Departure, Users, question, users_of
from tui.lifecycle.sessions import RECENT_S
from tui.lines import plain
from tui.screens.confirm import ConfirmQuit
from tui.screens.live import LiveScreen
from tui.state import LiveState


class Leaving:
    """A departure that goes as a test says."""

    def __init__(self) -> None:
        self.calls = 0
        self.agents = 0
        self.taken = asyncio.Event()
        self.over = asyncio.Event()
        self.error: Exception | None = None

    async def hand_over(self) -> str:
        self.calls += 1
        await self.taken.wait()
        if self.error is not None:
            raise self.error
        return "http://127.0.0.1:8787"

    @property
    def departure(self) -> Departure:
        return Departure(self.hand_over, self.over.wait, lambda: self.agents)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    return FakeEngine(clock)


def app_of(engine: FakeEngine, leaving: Leaving | None = None, **more: Any) -> GatewayApp:
    departure = leaving.departure if leaving is not None else None
    return GatewayApp(engine, clock=engine.clock, paint_s=None, departure=departure, **more)


async def state_of(engine: FakeEngine) -> LiveState:
    state = LiveState()
    state.load(await engine.snapshot())
    return state


async def test_recent_sessions_are_users_and_old_ones_and_strangers_are_not(
    engine: FakeEngine, clock: FakeClock
) -> None:
    engine.finish(engine.open(session="old"))
    await clock.advance(RECENT_S + 1)
    engine.finish(engine.open(session="aaaaaaaa-1", project="/src/shop"))
    await clock.advance(120)
    engine.open(session="bbbbbbbb-2", project=None, client="codex\x1b[31m")
    engine.finish(engine.open(session=None, client="curl"))
    found = users_of(await state_of(engine), 2, clock.time())
    assert (found.in_flight, found.agents, found.is_anybody) == (1, 2, True)
    assert [name.split(",")[1] for name in found.sessions] == [" running", " 2m ago"]
    assert "claude-code in shop" in found.sessions[1]
    assert "\x1b" not in found.sessions[0]
    assert "bbbbbbbb" in found.sessions[0]
    engine.gateway["demo"] = True
    assert users_of(await state_of(engine), 0, clock.time()) == Users()
    assert not users_of(await state_of(FakeEngine(clock)), 0, clock.time()).is_anybody


def test_what_is_said_fits_and_counts() -> None:
    many = Users(1, tuple(f"claude-code in p{n}, 1m ago" for n in range(9)), 1)
    shown = [plain(one) for one in question(many, 40, can_keep=True, is_unsaved=True)]
    assert all(len(text) <= 40 for text in shown)
    text = " ".join(" ".join(shown).split())
    for part in (
        "1 request in flight",
        "1 agent started",
        "9 sessions",
        "and 5 more",
        "did not save",
    ):
        assert part in text
    less = [plain(one) for one in question(Users(), 80, can_keep=False, is_unsaved=True)]
    assert not any("Keep running" in text or "save" in text for text in less)


@pytest.mark.parametrize(
    "size", [(80, 24), pytest.param((30, 9), marks=pytest.mark.faults)], ids=str
)
async def test_an_idle_session_is_asked_about_and_the_gateway_kept(
    engine: FakeEngine, size: tuple[int, int]
) -> None:
    leaving = Leaving()
    app = app_of(engine, leaving)
    async with app.run_test(size=size, notifications=True):
        engine.finish(engine.open())
        await settle(app)
        await press(app, "q")
        assert isinstance(app.screen, ConfirmQuit)
        if size[0] >= 60:
            assert "1 session in 10 minutes" in text_of(app)
            assert "claude-code in shop" in text_of(app)
        await press(app, "k")
        assert isinstance(app.screen, LiveScreen)
        assert "Start" in text_of(app)
        await press(app, "q")
        assert leaving.calls == 1, "asked once"
        engine.open()
        await settle(app)
        leaving.taken.set()
        await idle(app)
        assert app.is_running, "an answer still runs here"
        await resize(app, (80, 24))
        assert "here first." in text_of(app)
        leaving.over.set()
        await idle(app)
    assert app.return_value is QuitReason.KEPT


async def test_a_gateway_that_cannot_be_left_goes_on(engine: FakeEngine) -> None:
    leaving = Leaving()
    leaving.error = RuntimeError("the port moved")
    leaving.taken.set()
    app = app_of(engine, leaving)
    async with app.run_test(size=(80, 24), notifications=True):
        engine.open()
        await settle(app)
        await press(app, "q", "k")
        await idle(app)
        assert "Not left running: the port moved" in text_of(app)
        await press(app, "q")
        assert isinstance(app.screen, ConfirmQuit), "one can choose again"
        await press(app, "y")
    assert app.return_value is QuitReason.QUIT


async def test_ctrl_q_ends_the_answers_that_a_kept_gateway_waits_for(engine: FakeEngine) -> None:
    leaving = Leaving()
    leaving.taken.set()
    app = app_of(engine, leaving)
    async with app.run_test(size=(80, 24)):
        engine.open()
        await settle(app)
        await press(app, "q", "k")
        assert app.is_running
        await press(app, "ctrl+q")
    assert app.return_value is QuitReason.FORCE


async def test_agents_under_a_lease_are_asked_about(engine: FakeEngine) -> None:
    leaving = Leaving()
    leaving.agents = 1
    app = app_of(engine, leaving)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "q")
        assert "1 agent started from here" in text_of(app)
        leaving.agents = 0
        await press(app, "n", "q")
    assert app.return_value is QuitReason.QUIT


async def test_the_demo_ends_without_a_question(engine: FakeEngine) -> None:
    leaving = Leaving()
    app = app_of(engine, leaving)
    engine.gateway["demo"] = True
    async with app.run_test(size=(80, 24)):
        engine.open()
        await settle(app)
        await press(app, "q")
    assert (app.return_value, leaving.calls) == (QuitReason.QUIT, 0)


async def test_the_answers_can_be_clicked(engine: FakeEngine) -> None:
    leaving = Leaving()
    leaving.taken.set()
    leaving.over.set()
    app = app_of(engine, leaving)
    async with app.run_test(size=(80, 24)) as pilot:
        engine.open()
        await settle(app)
        await press(app, "q")
        await pilot.click("#stay")
        assert isinstance(app.screen, LiveScreen)
        await press(app, "q")
        await pilot.click("#keep")
        await idle(app)
    assert app.return_value is QuitReason.KEPT
