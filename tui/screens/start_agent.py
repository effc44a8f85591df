"""Questions before an agent starts: in which folder, or which one gets the whole terminal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input

from tui import format as fmt
from tui import keys
from tui.agents import AGENTS, Agent
from tui.context import Context
from tui.lines import EMPTY, Line, line, wrap
from tui.screens.base import bindings
from tui.screens.dialog import Answer, Dialog

_LONGEST = 1000
_MOST_LOOKED_AT = 2000


class FolderSuggester(Suggester):
    """Completes the path of a folder."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(completed, value)


def completed(text: str) -> str | None:
    """``text`` with the rest of the first folder that fits; ``None`` when none does."""
    head, separator, start = text.rpartition("/")
    if not separator:
        return None
    try:
        with os.scandir(os.path.expanduser(head) or "/") as entries:
            looked_at = [entry for entry, _ in zip(entries, range(_MOST_LOOKED_AT), strict=False)]
        names = sorted(entry.name for entry in looked_at if entry.is_dir())
    except OSError:
        return None
    is_hidden = start.startswith(".")
    fitting = (n for n in names if n.startswith(start) and n.startswith(".") == is_hidden)
    found = next(fitting, None)
    return f"{head}/{found}" if found is not None and found.isprintable() else None


def folder_of(text: str, start: Path) -> Path | str:
    """The folder that was typed, or why there is none; a relative one is below ``start``."""
    if not text.strip():
        return start
    try:
        folder = (start / Path(text.strip()).expanduser()).resolve()
        if not folder.is_dir():
            return "There is no such folder."
    except (OSError, RuntimeError, ValueError) as error:
        return f"This folder cannot be used: {error}"
    return folder if os.access(folder, os.X_OK) else "This folder may not be entered."


class StartAgent(Dialog["Path | None"]):
    """The folder, or ``None`` when nothing is to be started."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.START)
    FOCUS_ANSWERS = False
    DEFAULT_CSS = """
    StartAgent #folder { height: 1; border: none; padding: 0; background: $surface; }
    StartAgent #folder:focus { border: none; }
    """

    def __init__(self, context: Context, agent: Agent, folder: Path) -> None:
        super().__init__(context, f" {agent.title} in a pane ")
        self._agent = agent
        self._start = folder
        self._problem = ""
        self._input = Input(
            str(folder), id="folder", max_length=_LONGEST, suggester=FolderSuggester()
        )
        self._input.cursor_blink = False

    def below(self) -> Sequence[Widget]:
        return (self._input,)

    def extra_height(self) -> int:
        return 1

    def on_mount(self) -> None:
        self._input.focus(scroll_visible=False)

    def lines(self, width: int) -> Sequence[Line]:
        width = max(20, width)
        if self._problem:
            return wrap(self._problem, width, "bad")
        return [*wrap(f"The folder {self._agent.title} works in; → completes it.", width), EMPTY]

    def answers(self) -> Sequence[Answer]:
        return (
            Answer("stay", "Not now", "start.stay", is_safe=True),
            Answer("go", "Start", "start.go"),
        )

    def answered(self, answer_id: str) -> None:
        self.action_start_agent(answer_id == "go")

    @on(Input.Submitted)
    def _typed(self) -> None:
        self.action_start_agent(True)

    def action_start_agent(self, is_yes: bool) -> None:
        if not is_yes:
            self.dismiss(None)
            return
        found = folder_of(self._input.value, self._start)
        if isinstance(found, Path):
            self.dismiss(found)
        else:
            self._problem = found
            self.sync()


class FullScreen(Dialog[str]):
    """The name of the agent that gets the terminal, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.FULL)

    def __init__(self, context: Context, folder: Path) -> None:
        super().__init__(context, " The whole terminal ")
        self._folder = folder

    def lines(self, width: int) -> Sequence[Line]:
        width = max(20, width)
        text = (
            "The agent gets this terminal until it ends, with all that your terminal can do; this "
            "screen comes back then. The gateway and the panes go on meanwhile."
        )
        where = line(("In ", "muted"), (fmt.neutralise(str(self._folder), width - 3), "text"))
        return [*wrap(text, width), where]

    def answers(self) -> Sequence[Answer]:
        agents = (Answer(a.name, a.title, f"full.{a.name}") for a in AGENTS.values())
        return (Answer("none", "Neither", "full.none", is_safe=True), *agents)

    def answered(self, answer_id: str) -> None:
        self.action_full(answer_id)

    def action_full(self, name: str) -> None:
        self.dismiss(name if name in AGENTS else "")
