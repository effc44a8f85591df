"""Real programs in panes of the running application, without a terminal around it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from screen_text import idle, lines_of, press, resize, settle, strips_of, text_of
from textual import events
from textual.widgets import Input

from server.clock import SystemClock
from tui.agents import Agent, Command, Place, Prepared
from tui.app import GatewayApp
from tui.launch_env import LaunchRefused
from tui.screens.agents import AgentsScreen
from tui.screens.confirm import Question
from tui.screens.start_agent import FullScreen, StartAgent, completed, folder_of
from tui.terminal.engine import EngineMissing
from tui.terminal.pane import TerminalPane

ENV = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "}
SIZES = [(60, 20), (80, 24), (120, 40), (160, 48)]
LEAVE = "ctrl+right_square_bracket"

ECHO = (
    "import os, sys, tty; tty.setraw(0); os.write(1, b'READY\\r\\n')\n"
    "while (key := os.read(0, 64)) != b'.': os.write(1, repr(key).encode() + b'\\r\\n')\n"
)
"""Shows the bytes it reads; a full stop ends it."""


class Bench:
    """What the application is asked to start, and in what places."""

    def __init__(self, *argv: str) -> None:
        self.argv = argv or ("/bin/sh", "-i")
        self.places: list[Place | None] = []
        self.refusal = ""

    def __call__(self, agent: Agent, url: str, place: Place | None = None) -> Prepared:
        self.places.append(place)
        if self.refusal:
            raise LaunchRefused(self.refusal)
        return Prepared(Command(agent.title, self.argv[0], self.argv, ENV))


@asynccontextmanager
async def application(
    bench: Bench, folder: Path, size: tuple[int, int] = (120, 40), **more: Any
) -> AsyncIterator[GatewayApp]:
    engine = FakeEngine(FakeClock())
    engine.gateway["protocols"] = ["anthropic-messages", "openai-responses"]
    app = GatewayApp(engine, clock=SystemClock(), paint_s=None, **more)
    app.prepare, app.folder = bench, folder
    async with app.run_test(size=size, notifications=True):
        await settle(app)
        yield app


async def until(app: GatewayApp, is_so: Callable[[], bool], what: str = "") -> None:
    try:
        async with asyncio.timeout(20):
            while not is_so():
                await asyncio.sleep(0.01)
                await idle(app)
    except TimeoutError:
        raise AssertionError(f"{what or 'it did not happen'}:\n{text_of(app)}") from None


async def shows(app: GatewayApp, *texts: str) -> None:
    await until(app, lambda: all(text in text_of(app) for text in texts), f"no {texts}")


async def said(app: GatewayApp, *texts: str) -> None:
    def is_told() -> bool:
        told = " ".join(note.message for note in app._notifications)
        return all(text in told for text in texts)

    await until(app, is_told, f"{texts} not said")


def focused(app: GatewayApp) -> bool:
    return isinstance(app.focused, TerminalPane)


async def open_pane(app: GatewayApp, key: str = "c", folder: str = "") -> None:
    await press(app, key)
    await until(app, lambda: isinstance(app.screen, StartAgent))
    if folder:
        app.screen.query_one(Input).value = folder
    await press(app, "enter")
    await until(app, lambda: focused(app), "the pane has not the keyboard")


@pytest.mark.faults
async def test_an_agent_runs_in_a_pane_in_the_chosen_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    bench = Bench()
    async with application(bench, tmp_path) as app:
        await press(app, "c")
        await until(app, lambda: isinstance(app.screen, StartAgent))
        assert app.screen.query_one(Input).value == str(tmp_path)
        app.screen.query_one(Input).value = "nowhere"
        await press(app, "enter")
        await shows(app, "There is no such folder.")
        app.screen.query_one(Input).value = "inner"
        await press(app, "enter")
        await until(app, lambda: focused(app))
        await press(app, *"pwd", "enter")
        await shows(app, f"\n{tmp_path}/inner")
        last = bench.places[-1]
        assert last is not None
        assert last.folder == tmp_path / "inner"
        assert last.pane.startswith("pane-")
        assert app.state.pane == last.pane


@pytest.mark.faults
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_line_is_as_wide_as_the_screen(size: tuple[int, int], tmp_path: Path) -> None:
    async with application(Bench("/bin/sh", "-c", "seq 1 99; cat"), tmp_path, (100, 30)) as app:
        await open_pane(app)
        await open_pane_again(app)
        await resize(app, size)
        for key in ("z", "z", "v", "tab", "v"):
            await press(app, key)
            await until(app, lambda: "99" in text_of(app))
            assert {sum(s.cell_length for s in strip) for strip in strips_of(app)} == {size[0]}
        columns, rows = app._shared.panes.all[0].session.engine.size  # type: ignore[union-attr]
        assert columns <= size[0]
        assert rows < size[1]


async def open_pane_again(app: GatewayApp) -> None:
    await press(app, LEAVE)
    await until(app, lambda: not focused(app))
    await open_pane(app, "x")
    await press(app, LEAVE)
    await until(app, lambda: not focused(app))


async def test_every_key_is_the_programs_but_one(tmp_path: Path) -> None:
    async with application(Bench(sys.executable, "-ISc", ECHO), tmp_path) as app:
        await open_pane(app)
        await shows(app, "READY")
        sent = {
            "q": "b'q'",
            "ctrl+q": "b'\\x11'",
            "ctrl+p": "b'\\x10'",
            "ctrl+c": "b'\\x03'",
            "escape": "b'\\x1b'",
            "1": "b'1'",
            "f1": "b'\\x1bOP'",
            "tab": "b'\\t'",
            "question_mark": "b'?'",
        }
        for key, shown in sent.items():
            app.post_message(events.Key(key, key if len(key) == 1 else None))
            await shows(app, shown)
            assert focused(app)
        assert "gives you the keyboard back" in lines_of(app)[-1]
        await press(app, LEAVE)
        await until(app, lambda: not focused(app))
        assert "b'\\x1d'" not in text_of(app)
        await press(app, LEAVE)
        await shows(app, "b'\\x1d'")
        assert focused(app)
        app.post_message(events.Paste("two\nlines\x1b[201~"))
        await shows(app, "b'two\\rlines'")
        await press(app, "full_stop")
        await shows(app, "Claude Code ended.", "r restarts")


@pytest.mark.faults
async def test_leaving_chooses_zooming_closing_and_restarting(tmp_path: Path) -> None:
    async with application(Bench("/bin/sh", "-c", "echo HELLO; read x; exit 3"), tmp_path) as app:
        await open_pane(app)
        await open_pane_again(app)
        first, second = app._shared.panes.all
        assert app._shared.panes.chosen is second
        assert "1 Claude Code" in text_of(app)
        assert "2 Codex" in text_of(app)
        await press(app, "z")
        assert "1 Claude Code" not in text_of(app)
        assert "+1 more, tab" in text_of(app)
        await press(app, "tab")
        assert app._shared.panes.chosen is first
        await press(app, "r")
        await said(app, "It runs; close it first.")
        await press(app, "enter")
        await until(app, lambda: focused(app))
        await press(app, "enter")
        await shows(app, "Claude Code ended with code 3.", "HELLO")
        pid = first.session.pid
        assert pid == 0
        await press(app, LEAVE, "r")
        await until(app, lambda: first.session.is_running and focused(app))
        await press(app, LEAVE, "d")
        await until(app, lambda: isinstance(app.screen, Question))
        await press(app, "y")
        await until(app, lambda: app._shared.panes.all == [second])
        await until(app, lambda: not first.session.is_running)
        await press(app, "d")
        await until(app, lambda: isinstance(app.screen, Question))
        await press(app, "n", "2", "5")
        await shows(app, "2 Codex", "HELLO")


@pytest.mark.faults
async def test_a_pane_lives_on_while_other_screens_are_shown(tmp_path: Path) -> None:
    async with application(Bench(sys.executable, "-ISc", ECHO), tmp_path) as app:
        await open_pane(app)
        await shows(app, "READY")
        await press(app, LEAVE, "1")
        session = app._shared.panes.all[0].session
        session.paste("meanwhile")
        await press(app, "2", "5")
        assert isinstance(app.screen, AgentsScreen)
        await shows(app, "b'meanwhile'")
        assert app.focused is None


@pytest.mark.faults
async def test_the_history_comes_back_and_a_key_returns(tmp_path: Path) -> None:
    async with application(Bench("/bin/sh", "-c", "seq 1 300; cat"), tmp_path) as app:
        await open_pane(app)
        await shows(app, "\n300")
        await press(app, *["shift+pageup"] * 20)
        await shows(app, "\n1 ", "lines below", "any key returns")
        await press(app, "x")
        await shows(app, "\n300")
        await press(app, LEAVE, "g")
        await shows(app, "\n1 ", "G returns")
        await press(app, "G")
        await shows(app, "\n300")


async def test_the_mouse_is_the_programs_where_it_asks_for_it(tmp_path: Path) -> None:
    mouse = ECHO.replace("READY", "\\x1b[?1000h\\x1b[?1006hREADY")
    async with application(Bench(sys.executable, "-ISc", mouse), tmp_path) as app:
        await open_pane(app)
        await shows(app, "READY")
        pane = (
            app.query_one(TerminalPane)
            if not isinstance(app.focused, TerminalPane)
            else app.focused
        )
        x, y = pane.region.x + 4, pane.region.y + 10
        for shift in (True, False):
            for kind in (events.MouseDown, events.MouseUp):
                app.post_message(_mouse(kind, x, y, shift=shift))
        await shows(app, "b'\\x1b[<0;5;11M", "\\x1b[<0;5;11m'")
        assert text_of(app).count("<0;5;11M") == 1
        assert not pane.allow_select


def _mouse(kind: type[events.MouseEvent], x: int, y: int, *, shift: bool) -> events.MouseEvent:
    return kind(None, x, y, 0, 0, 1, shift, False, False, screen_x=x, screen_y=y)


@pytest.mark.faults
async def test_painting_that_is_held_for_ever_goes_on(tmp_path: Path) -> None:
    held = "printf '\\033[?2026hHELD'; cat"
    async with application(Bench("/bin/sh", "-c", held), tmp_path) as app:
        await open_pane(app)
        await shows(app, "HELD")


async def test_quitting_asks_and_leaves_no_process(tmp_path: Path) -> None:
    async with application(Bench("/bin/sh", "-c", "trap '' HUP; echo $$; read x"), tmp_path) as app:
        await open_pane(app)
        session = app._shared.panes.all[0].session
        await until(app, lambda: session.is_running and session.pid > 0)
        pid = session.pid
        await press(app, LEAVE, "1", "q")
        await until(app, lambda: isinstance(app.screen, Question))
        await shows(app, "1 agent in a pane of this screen")
        await press(app, "y")
        await until(app, lambda: not session.is_running)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_without_an_engine_the_whole_terminal_is_offered(tmp_path: Path) -> None:
    def missing() -> None:
        raise EngineMissing("the terminal engine (pyghostty) is not installed")

    async with application(Bench(), tmp_path) as app:
        app.check_engine = missing
        await press(app, "c")
        await said(app, "not installed", "gets the whole terminal", "no terminal of its own")
        await press(app, "5")
        await shows(app, "Panes cannot be used: the terminal engine")
        await press(app, "f")
        await until(app, lambda: isinstance(app.screen, FullScreen))


async def test_what_cannot_be_started_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    bench = Bench()
    bench.refusal = "claude was not found on your PATH."
    async with application(bench, tmp_path) as app:
        await press(app, "c")
        await said(app, "claude was not found on your PATH.")
        assert not isinstance(app.screen, StartAgent)
        bench.refusal = ""
        bench.argv = ("/nowhere/claude",)
        await press(app, "c")
        await until(app, lambda: isinstance(app.screen, StartAgent))
        await press(app, "enter")
        await shows(app, "Claude Code cannot be run: No such file or directory.")


@pytest.mark.faults
async def test_the_theme_is_what_programs_are_told(tmp_path: Path) -> None:
    asks = ECHO.replace("READY", "\\x1b]11;?\\x1b\\\\\\x1b[?996nREADY")
    async with application(Bench(sys.executable, "-ISc", asks), tmp_path) as app:
        await open_pane(app)
        await shows(app, "rgb:0d0d/1111/1717", "?997;1n")
        engine = app._shared.panes.all[0].session.engine
        assert engine is not None
        app.theme = "sbgw-light"
        await idle(app)
        engine.feed(b"\x1b]11;?\x07")
        assert engine.take_replies() == b"\x1b]11;rgb:fbfb/fcfc/fefe\x07"


@pytest.mark.faults
async def test_ascii_screens_have_no_other_frames(tmp_path: Path) -> None:
    async with application(Bench("/bin/sh", "-c", "echo HELLO; cat"), tmp_path, ascii=True) as app:
        await open_pane(app)
        await open_pane_again(app)
        await shows(app, "HELLO")
        assert "│" not in text_of(app)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project-a").mkdir()
    (tmp_path / "project-b").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "proj.txt").touch()
    assert folder_of("", tmp_path) == tmp_path
    assert folder_of("~/project-a", Path("/")) == tmp_path / "project-a"
    assert folder_of("project-b", tmp_path) == tmp_path / "project-b"
    assert folder_of("proj.txt", tmp_path) == "There is no such folder."
    assert "cannot be used" in str(folder_of("a\0b", tmp_path))
    assert completed(f"{tmp_path}/proj") == f"{tmp_path}/project-a"
    assert completed("~/project-b") == "~/project-b"
    assert completed("~/.h") == "~/.hidden"
    assert completed("~/none") is None
    assert completed("/nowhere/x") is None
    assert completed("relative") is None
