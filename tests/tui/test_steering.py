"""The keys that act on a provider, or on the mode of a class or kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from screen_text import press, settle, text_of

from server.engine import CommandResult
from tui.app import GatewayApp
from tui.screens.confirm import Question
from tui.screens.providers import ProvidersScreen

SIZE = (80, 24)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(FakeClock())
    for name in ("reset", "pause", "resume", "probe"):
        engine.answers[name] = CommandResult(True, f"{name} done")
    engine.provider("anthropic", "ok")
    engine.provider("groq", "failing", "refused", breaker="open", failures=5, retry_in_s=42.0)
    engine.routing |= {"kind_hits": {"title": 5, "count_tokens": 2}}
    return engine


def opened(engine: FakeEngine) -> GatewayApp:
    return GatewayApp(engine, clock=engine.clock, paint_s=None)


async def done(app: GatewayApp) -> None:
    for _ in range(3):
        await settle(app)
        await asyncio.sleep(0)


def said(app: GatewayApp) -> str:
    return "\n".join(note.message for note in app._notifications)


def asked(engine: FakeEngine) -> list[tuple[str, dict[str, Any]]]:
    return [(name, given) for name, given in engine.commands if "source" in given]


async def test_a_breaker_is_reset_after_a_question(engine: FakeEngine) -> None:
    async with (app := opened(engine)).run_test(size=SIZE):
        await done(app)
        await press(app, "3", "j")
        assert "■ open 42s" in text_of(app)
        await press(app, "b")
        assert isinstance(app.screen, Question)
        assert "Reset groq" in text_of(app)
        await press(app, "n")
        assert asked(engine) == []
        await press(app, "b", "y")
        await done(app)
        assert asked(engine) == [("reset", {"provider": "groq", "source": "the screen"})]
        assert "reset done" in said(app)


async def test_only_a_baseline_asks_before_it_is_paused(engine: FakeEngine) -> None:
    async with (app := opened(engine)).run_test(size=SIZE):
        await done(app)
        await press(app, "3", "j", "p")
        await done(app)
        assert [name for name, _ in asked(engine)] == ["pause"]
        await press(app, "k", "p")
        assert isinstance(app.screen, Question)
        assert "baseline of messages and responses and chat" in " ".join(text_of(app).split())
        await press(app, "escape")
        assert len(asked(engine)) == 1
        engine.provider("anthropic", "ok", paused=True)
        await done(app)
        assert "‖ paused" in text_of(app)
        await press(app, "p")
        await done(app)
        assert asked(engine)[-1] == ("resume", {"provider": "anthropic", "source": "the screen"})


async def test_a_probe_tells_what_it_found(engine: FakeEngine) -> None:
    engine.answers["probe"] = CommandResult(False, "It refused our key (80 ms).")
    async with (app := opened(engine)).run_test(size=SIZE):
        await done(app)
        await press(app, "3", "t")
        await done(app)
        assert asked(engine) == [("probe", {"provider": "anthropic", "source": "the screen"})]
        assert "It refused our key" in said(app)
        assert isinstance(app.screen, ProvidersScreen)


async def test_without_a_provider_there_is_nothing_to_act_on() -> None:
    engine = FakeEngine(FakeClock())
    async with (app := opened(engine)).run_test(size=SIZE):
        await press(app, "3", "b", "p", "t")
        await done(app)
        assert asked(engine) == []
        assert "Choose a provider first" in said(app)


async def test_a_mode_is_set_after_a_question(engine: FakeEngine) -> None:
    engine.answers["set_mode"] = CommandResult(True, "planning is in mode verify.")
    async with (app := opened(engine)).run_test(size=SIZE):
        await done(app)
        await press(app, "4", "j", "j", "m")
        assert isinstance(app.screen, Question)
        assert "planning: verify" in text_of(app)
        await press(app, "escape", "m", "y")
        await done(app)
        given = {"name": "planning", "mode": "verify", "source": "the screen"}
        assert asked(engine) == [("set_mode", given)]
        await press(app, "G")
        await press(app, "m")
        await done(app)
        assert "count_tokens never moves" in said(app)
        assert len(asked(engine)) == 1
