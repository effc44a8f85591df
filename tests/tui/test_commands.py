"""The keys that change something: what is asked first, what the engine is told, what is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import idle, lines_of, press, resize, settle, strips_of, text_of
from textual.events import Key, Paste
from textual.widgets import Button, Input

from server import events
from server.engine import CommandResult
from tui.agents import AGENTS, Command, Prepared
from tui.app import GatewayApp
from tui.launch_env import LaunchRefused
from tui.screens.confirm import Question
from tui.screens.edit_route import EditRoute
from tui.screens.going_live import GoingLive
from tui.screens.start_agent import FullScreen

SIZES = [(60, 20), (80, 24), (120, 40), (160, 48)]
SOURCE = "the screen"
MOVE = {
    "route": "planning",
    "kind": "user_turn",
    "provider": "groq",
    "model": "openai/gpt-oss-120b",
    "state": "would_move",
    "turns": 12,
    "input_tokens": 81_234,
    "usd": -0.41,
    "low_usd": -0.5,
    "high_usd": -0.3,
    "unpriced": 0,
}
PREVIEW = {"turns": 100, "moves": [MOVE], "stays": 88}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(clock: FakeClock) -> FakeEngine:
    engine = FakeEngine(clock)
    for name in ("anthropic", "groq", "cerebras"):
        engine.provider(name, "ok")
    engine.provider("cloudflare", "needs_key")
    engine.answers["preview_live"] = CommandResult(True, "", PREVIEW)
    engine.answers["check_route"] = CommandResult(True, "", {"before": PREVIEW, "after": PREVIEW})
    return engine


def app_of(engine: FakeEngine, **arguments: Any) -> GatewayApp:
    return GatewayApp(engine, clock=engine.clock, paint_s=None, **arguments)


async def until(app: GatewayApp, is_so: Callable[[], object]) -> None:
    """Let background work go on until ``is_so``."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.001)
            await idle(app)
    await settle(app)


async def said(app: GatewayApp, words: str) -> None:
    """Wait for a message to the user."""
    await until(app, lambda: any(words in str(note.message) for note in app._notifications))


def told(engine: FakeEngine, name: str) -> list[dict[str, Any]]:
    return [arguments for command, arguments in engine.commands if command == name]


# -- shadow ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["1", "2", "3", "4", "6", "question_mark"])
async def test_going_live_asks_on_every_screen_and_shows_what_it_changes(
    engine: FakeEngine, place: str
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 40)):
        await settle(app)
        await press(app, place, "s")
        await until(app, lambda: isinstance(app.screen, GoingLive))
        shown = text_of(app)
        assert "Text of these turns would go to Groq (api.groq.example)." in shown
        assert "-$0.4100" in shown
        assert isinstance(app.focused, Button)
        assert app.focused.id == "stay"
        await press(app, "enter")
        assert not isinstance(app.screen, GoingLive)
        assert told(engine, "set_shadow") == []


@pytest.mark.parametrize("key", ["n", "escape", "q"])
async def test_staying_changes_nothing(engine: FakeEngine, key: str) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "s")
        await until(app, lambda: isinstance(app.screen, GoingLive))
        await press(app, key)
        assert app.is_running
        assert told(engine, "set_shadow") == []
        await press(app, "s")
        await until(app, lambda: isinstance(app.screen, GoingLive))


@pytest.mark.parametrize(("key", "remember"), [("y", False), ("r", True)])
async def test_going_live_once_or_from_now_on(engine: FakeEngine, key: str, remember: bool) -> None:
    engine.answers["set_shadow"] = CommandResult(
        True, "The gateway is live.", {"shadow": False, "persisted": remember}
    )
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "s")
        await until(app, lambda: isinstance(app.screen, GoingLive))
        await press(app, key)
        words = "It will be at its next start, too." if remember else "Until you quit."
        await said(app, f"The gateway is live. {words}")
        expected = {"enabled": False, "remember": remember, "source": SOURCE}
        assert told(engine, "set_shadow") == [expected]


async def test_live_that_could_not_be_remembered_is_said(engine: FakeEngine) -> None:
    message = "The gateway is live. Not kept: config.toml is read-only."
    engine.answers["set_shadow"] = CommandResult(True, message, {"persisted": False})
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "s")
        await until(app, lambda: isinstance(app.screen, GoingLive))
        await press(app, "r")
        await said(app, message)
        assert [note.severity for note in app._notifications] == ["warning"]


@pytest.mark.parametrize("key", ["s", "S"])
async def test_back_to_shadow_never_asks_and_is_kept(engine: FakeEngine, key: str) -> None:
    engine.gateway["shadow"] = False
    engine.answers["set_shadow"] = CommandResult(True, "In shadow.", {"persisted": True})
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, key)
        await said(app, "In shadow. Kept in your settings.")
        assert told(engine, "set_shadow") == [{"enabled": True, "remember": True, "source": SOURCE}]


async def test_capital_s_acts_even_when_the_screen_says_shadow(engine: FakeEngine) -> None:
    engine.answers["set_shadow"] = CommandResult(True, "In shadow.", {"persisted": True})
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "S")
        await said(app, "In shadow.")


async def test_what_the_engine_refuses_is_said_in_its_words(engine: FakeEngine) -> None:
    engine.answers["preview_live"] = CommandResult(False, "the ledger cannot be read")
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "s")
        await said(app, "the ledger cannot be read")
        engine.answers["set_shadow"] = CommandResult(False, "no such setting")
        await press(app, "S")
        await said(app, "Still live: no such setting")


async def test_an_engine_that_cannot_be_reached_is_no_crash(engine: FakeEngine) -> None:
    def fail(**_: Any) -> CommandResult:
        raise ConnectionResetError("gone")

    engine.answers["preview_live"] = fail
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "s")
        await said(app, "ConnectionResetError: gone")


# -- editing a route -------------------------------------------------------------------------


async def edit(app: GatewayApp, *, down: int = 2) -> EditRoute:
    """Open the editor of the third class."""
    await settle(app)
    await press(app, "4", *["j"] * down, "e")
    await until(app, lambda: isinstance(app.screen, EditRoute))
    assert isinstance(app.screen, EditRoute)
    return app.screen


async def test_a_list_is_put_in_order_and_saved(engine: FakeEngine) -> None:
    engine.answers["set_route"] = CommandResult(True, "planning now goes there.", {})
    app = app_of(engine)
    async with app.run_test(size=(100, 40)):
        await edit(app)
        assert "Where planning may go" in text_of(app)
        await press(app, "J", "b", "K", "enter")
        await said(app, "planning now goes there.")
        assert told(engine, "set_route") == [
            {"name": "planning", "entries": ["cerebras", "baseline", "groq"], "source": SOURCE}
        ]
        assert not isinstance(app.screen, EditRoute)


async def test_the_effect_is_shown_before_anything_is_saved(engine: FakeEngine) -> None:
    def check(name: str, entries: list[str]) -> CommandResult:
        after = [{**MOVE, "turns": 3, "usd": 0.25, "provider": entries[0]}]
        found = {"before": PREVIEW, "after": {**PREVIEW, "moves": after}}
        return CommandResult(True, "", found)

    engine.answers["check_route"] = check
    app = app_of(engine)
    async with app.run_test(size=(100, 40)):
        await edit(app)
        await press(app, "J")
        await until(app, lambda: "+$0.2500" in text_of(app))
        shown = text_of(app)
        assert "before  12 moved     -$0.4100" in shown
        assert "Text of these turns would go to Cerebras (api.cerebras.example)." in shown
        assert told(engine, "check_route")[-1] == {
            "name": "planning",
            "entries": ["cerebras", "groq"],
        }
        await press(app, "escape")
        assert told(engine, "set_route") == []


async def test_an_older_answer_never_replaces_a_newer_list(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(100, 40)):
        screen = await edit(app)
        await press(app, "J", "b", "d", "K")
        await until(app, lambda: screen._checking is None or screen._checking.done())
        assert tuple(told(engine, "check_route")[-1]["entries"]) == screen._draft.entries


async def test_adding_an_entry_that_is_offered_or_typed(engine: FakeEngine) -> None:
    engine.answers["set_route"] = CommandResult(True, "saved", {})
    app = app_of(engine)
    async with app.run_test(size=(100, 40)):
        await edit(app)
        await press(app, "a", "down", "enter")
        await until(app, lambda: not app.screen.has_class("-adding"))
        await press(app, "a", *"groq")
        app.post_message(Key("slash", "/"))
        await press(app, *"kbaj", "enter")
        await until(app, lambda: not app.screen.has_class("-adding"))
        await press(app, "enter")
        await said(app, "saved")
        added = told(engine, "set_route")[0]["entries"]
        assert added == ["groq", "cloudflare", "groq/kbaj", "cerebras"]


async def test_an_entry_that_the_engine_refuses_is_explained_and_not_added(
    engine: FakeEngine,
) -> None:
    app = app_of(engine)
    async with app.run_test(size=(60, 20)):
        screen = await edit(app)
        await until(app, lambda: told(engine, "check_route"))
        words = "no provider is named 'grok'"
        engine.answers["check_route"] = CommandResult(False, words)
        await press(app, "a", *"grok", "enter")
        await until(app, lambda: words in text_of(app))
        assert screen._draft.entries == ("groq", "cerebras")
        await press(app, "escape")
        assert isinstance(app.screen, EditRoute), "the first escape leaves the line"
        assert words not in text_of(app)
        await press(app, "escape")
        assert not isinstance(app.screen, EditRoute)


async def test_a_list_that_cannot_be_saved_stays_open_with_the_reason(engine: FakeEngine) -> None:
    engine.answers["set_route"] = CommandResult(False, "an empty list goes nowhere")
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        screen = await edit(app)
        await press(app, "d", "d", "d", "enter")
        await until(app, lambda: "an empty list goes nowhere" in text_of(app))
        assert app.screen is screen
        assert told(engine, "set_route")[0]["entries"] == []


async def test_a_change_that_was_not_kept_is_a_warning(engine: FakeEngine) -> None:
    message = "planning now goes to groq. Not kept: the file is read-only."
    engine.answers["set_route"] = CommandResult(True, message, {"persisted": False})
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await edit(app)
        await press(app, "d", "enter")
        await said(app, message)
        assert [note.severity for note in app._notifications] == ["warning"]


async def test_saving_what_did_not_change_tells_the_engine_nothing(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await edit(app)
        await press(app, "J", "K", "enter")
        assert not isinstance(app.screen, EditRoute)
        assert told(engine, "set_route") == []


async def test_the_mouse_chooses_an_entry_and_saves(engine: FakeEngine) -> None:
    engine.answers["set_route"] = CommandResult(True, "saved", {})
    app = app_of(engine)
    async with app.run_test(size=(100, 40)) as pilot:
        screen = await edit(app)
        await pilot.click("#said", offset=(5, 2))
        assert screen._draft.chosen == "cerebras"
        await press(app, "d")
        await pilot.click("#save")
        await said(app, "saved")
        assert told(engine, "set_route")[0]["entries"] == ["groq"]


async def test_a_long_list_scrolls_with_the_chosen_entry(engine: FakeEngine) -> None:
    engine.routing["routes"]["planning"] = [f"groq/model-{n}" for n in range(30)]
    app = app_of(engine)
    async with app.run_test(size=(60, 20)):
        await edit(app)
        await press(app, *["j"] * 29)
        assert "30 groq/model-29" in text_of(app)
        await press(app, *["k"] * 29)
        assert "1 groq/model-0" in text_of(app)


# -- agents ----------------------------------------------------------------------------------


def prepared(agent: Any, url: str, place: Any = None) -> Prepared:
    return Prepared(Command(agent.title, "/bin/false", (agent.name,), {}))


async def lend(app: GatewayApp, key: str) -> None:
    """Ask for the whole terminal and choose the agent."""
    await press(app, "5", "f")
    await until(app, lambda: isinstance(app.screen, FullScreen))
    await press(app, key)


async def test_without_a_terminal_of_its_own_the_screen_says_so(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "c")
        await said(app, "No agent can be started from this screen.")
        app.prepare = prepared
        await lend(app, "c")
        await said(app, "has no terminal of its own")


async def test_an_agent_that_is_not_installed_is_said_with_the_command(engine: FakeEngine) -> None:
    def missing(agent: Any, url: str, place: Any = None) -> Prepared:
        raise LaunchRefused(f"{agent.name} was not found. Install it: {agent.install}")

    app = app_of(engine)
    app.prepare = missing
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "c")
        await said(app, "npm install -g @anthropic-ai/claude-code")
        await press(app, "x")
        await said(app, "npm install -g @openai/codex")


async def test_codex_is_asked_about_where_its_route_is_not_served(engine: FakeEngine) -> None:
    app = app_of(engine)
    app.prepare = prepared
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await lend(app, "x")
        await until(app, lambda: isinstance(app.screen, Question))
        assert "/v1/responses" in text_of(app)
        assert isinstance(app.focused, Button)
        assert app.focused.id == "no"
        await press(app, "n")
        assert not app._notifications
        await lend(app, "x")
        await until(app, lambda: isinstance(app.screen, Question))
        await press(app, "y")
        await said(app, "has no terminal of its own")


@pytest.mark.parametrize("served", [["anthropic-messages", "openai-responses"], ["responses"]])
async def test_codex_needs_no_question_where_it_is_served(
    engine: FakeEngine, served: list[str]
) -> None:
    engine.gateway["protocols"] = served
    app = app_of(engine)
    app.prepare = prepared
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await lend(app, "x")
        await said(app, "has no terminal of its own")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"demo": True}, "start without --demo"), ({"state": "draining"}, "draining")],
)
async def test_no_agent_where_it_could_not_work(
    engine: FakeEngine, changes: dict[str, Any], words: str
) -> None:
    engine.gateway.update(changes)
    app = app_of(engine)
    app.prepare = prepared
    async with app.run_test(size=(80, 24)):
        await settle(app)
        await press(app, "c")
        await said(app, words)


# -- every key, every size, hostile text -----------------------------------------------------

EVERY_KEY = ["j", "k", "J", "K", "up", "down", "shift+up", "shift+down", "pageup", "pagedown"]
EVERY_KEY += ["ctrl+u", "ctrl+d", "g", "G", "b", "d", "delete", "tab", "shift+tab", "s", "S", "c"]
EVERY_KEY += ["x", "e", "1", "a", "z", "left", "right", "up", "down", "enter", "escape"]


@pytest.mark.parametrize(
    ("theme", "sizes"), [("sbgw-dark", SIZES[::2]), ("sbgw-light", SIZES[1::2])]
)
async def test_every_key_in_every_dialog_at_every_size(
    engine: FakeEngine, theme: str, sizes: list[tuple[int, int]]
) -> None:
    engine.answers["set_route"] = CommandResult(False, "refused " * 20)
    app = app_of(engine, theme=theme, ascii=theme.endswith("light"))
    app.prepare = prepared
    async with app.run_test(size=(70, 22)):
        for size in sizes:
            await resize(app, size)
            await press(app, "s")
            await until(app, lambda: isinstance(app.screen, GoingLive))
            await press(app, *(key for key in EVERY_KEY if key not in ("enter", "escape")))
            check_screen(app, size)
            await press(app, "escape")
            await edit(app)
            await press(app, *EVERY_KEY)
            check_screen(app, size)
            while isinstance(app.screen, EditRoute):
                await press(app, "escape")
            await lend(app, "x")
            await until(app, lambda: isinstance(app.screen, Question))
            await press(app, *(key for key in EVERY_KEY if key not in ("enter", "escape")))
            check_screen(app, size)
            await press(app, "n", "1")
        assert app.is_running
        assert not told(engine, "set_shadow")


def check_screen(app: GatewayApp, size: tuple[int, int]) -> None:
    assert len(lines_of(app)) == size[1]
    for strip in strips_of(app):
        assert sum(segment.cell_length for segment in strip) == size[0]


@pytest.mark.faults
async def test_hostile_text_in_previews_names_and_refusals(engine: FakeEngine) -> None:
    app = app_of(engine)
    async with app.run_test(size=(80, 24), notifications=True):
        for index in range(0, len(HOSTILE), 4):
            texts = (HOSTILE[index : index + 4] * 4)[:4]
            move = dict(zip(("route", "kind", "provider", "model"), texts, strict=True))
            moves = [{**MOVE, **move}, {**MOVE, **move, "state": "needs_key"}]
            text = "\n".join(texts)
            engine.answers["preview_live"] = CommandResult(True, text, {"turns": 9, "moves": moves})
            engine.answers["check_route"] = CommandResult(False, text)
            engine.answers["set_shadow"] = CommandResult(True, text, {"persisted": False})
            engine.routing["routes"]["planning"] = [*texts, texts[0] + "/x"]
            engine.emit(events.ROUTING_CHANGED, routing=engine.routing)
            await press(app, "s")
            await until(app, lambda: isinstance(app.screen, GoingLive))
            assert_clean(app)
            await press(app, "y")
            await until(app, lambda: told(engine, "set_shadow"))
            engine.commands.clear()
            await edit(app)
            assert_clean(app)
            await press(app, "a")
            app.screen.query_one(Input).post_message(Paste(text))
            await press(app, "enter")
            assert_clean(app)
            await press(app, "escape", "escape")
            await press(app, "1")
        assert app.is_running


def assert_clean(app: GatewayApp) -> None:
    for strip in strips_of(app):
        for segment in strip:
            assert_safe(segment.text)
            assert segment.style is None or segment.style.link is None


def test_the_agents_are_those_that_can_be_started() -> None:
    assert set(AGENTS) == {"claude", "codex"}
