"""A framed question over the screen: a text that scrolls when it must, and answers below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button

from tui import format as fmt
from tui import keys
from tui.context import Context
from tui.lines import Line, line
from tui.small import flow
from tui.widgets.lines_view import LinesView

WIDEST = 112
_FRAME = 2
_GAP = 2
_LEAST_TEXT = 2
"""Lines of text without which there is no frame, and no button either."""
_MARGIN = 2
"""Cells between two answers, and what a compact button adds to its label."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Answer:
    """One button."""

    id: str
    label: str
    key: str
    """The id of its key in the table."""
    is_safe: bool = False
    """The one that changes nothing: it has the focus."""


class Dialog(ModalScreen[ResultT], Generic[ResultT]):
    """A frame as wide as there is room for and as high as its text, with answers."""

    DEFAULT_CSS = """
    Dialog #frame {
        height: auto; max-height: 100%; background: $panel; border: round $warning; padding: 0 1;
        border-title-color: $warning; border-title-style: bold;
    }
    Dialog.-ascii #frame { border: ascii $warning; }
    Dialog #said {
        background: $panel; overflow-x: hidden; overflow-y: hidden;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
    }
    Dialog #choices { height: auto; align-horizontal: right; layout: horizontal; padding: 1 0 0 0; }
    Dialog #choices Button { width: auto; min-width: 0; margin-left: 2; }
    Dialog.-stacked #choices { layout: vertical; }
    Dialog.-bare #frame { border: none; padding: 0; }
    Dialog.-bare #choices { display: none; }
    """

    FOCUS_ANSWERS: ClassVar[bool] = True
    """Whether the answers take the keyboard; else they are for the mouse alone."""

    def __init__(self, context: Context, title: str) -> None:
        super().__init__()
        self._shared = context
        self._title = title.strip()
        self.said = LinesView(self._said_lines, id="said")

    def lines(self, width: int) -> Sequence[Line]:
        """The text."""
        raise NotImplementedError

    def _said_lines(self, width: int) -> Sequence[Line]:
        """The text; where there is no room for buttons, below what each key answers."""
        if not self.has_class("-bare"):
            return self.lines(width)
        keyed = [
            line((keys.first(self._shared.key(answer.key).keys), "key"), f" {answer.label}")
            for answer in self.answers()
        ]
        parts = [line((fmt.neutralise(self._title, 60), "warn")), *keyed]
        return [*flow(parts, width, len(parts)), *self.lines(width)]

    def answers(self) -> Sequence[Answer]:
        """The buttons, from the left."""
        raise NotImplementedError

    def below(self) -> Sequence[Widget]:
        """What stands between the text and the answers."""
        return ()

    def compose(self) -> ComposeResult:
        with Vertical(id="frame") as frame:
            frame.border_title = Content(fmt.neutralise(self._title, 60))
            yield self.said
            yield from self.below()
            with Container(id="choices"):
                for answer in self.answers():
                    look = "default" if answer.is_safe else "warning"
                    label = self._label(answer)
                    yield Button(label, id=answer.id, variant=look, compact=True)  # type: ignore[arg-type]

    def _label(self, answer: Answer) -> str:
        return f"{answer.label} ({keys.first(self._shared.key(answer.key).keys)})"

    def on_mount(self) -> None:
        self.set_class(self.app.has_class("-ascii"), "-ascii")
        self.said.can_focus = False
        self.fit_frame()
        for answer in self.answers():
            button = self.query_one(f"#{answer.id}", Button)
            button.can_focus = self.FOCUS_ANSWERS
            if answer.is_safe and self.FOCUS_ANSWERS:
                button.focus(scroll_visible=False)

    def on_resize(self, event: events.Resize) -> None:
        self.fit_frame()

    def sync(self) -> None:
        """Show what the text says now."""
        self.fit_frame()
        self.said.sync()

    def fit_frame(self) -> None:
        """Fit the frame to the screen, and the text to the frame."""
        size = self.app.size
        width = min(WIDEST, size.width)
        inner = max(1, width - _FRAME - 2)
        answers = self.answers()
        row = sum(len(self._label(answer)) + _GAP + _MARGIN for answer in answers)
        is_stacked = row > inner
        self.set_class(is_stacked, "-stacked")
        widest = max((len(self._label(answer)) + _MARGIN for answer in answers), default=0)
        for answer in answers:
            button = self.query_one(f"#{answer.id}", Button)
            button.styles.width = widest if is_stacked else "auto"
        below = len(answers) if is_stacked else 1 if answers else 0
        below += 1 if answers else 0
        room = size.height - _FRAME - below - self.extra_height()
        is_bare = room < _LEAST_TEXT or widest > inner
        self.set_class(is_bare, "-bare")
        if is_bare:
            inner, room = size.width, size.height - self.extra_height()
        frame = self.query_one("#frame")
        frame.styles.width = width
        room, wanted = max(1, room), max(1, len(self._said_lines(inner)))
        self.said.styles.overflow_y = "scroll" if wanted > room and not is_bare else "hidden"
        self.said.styles.height = min(room, wanted)

    def extra_height(self) -> int:
        """The lines that ``below`` takes."""
        return 0

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.answered(event.button.id or "")

    def answered(self, answer_id: str) -> None:
        """A button was pressed."""
        raise NotImplementedError

    def action_move(self, step: str) -> None:
        self.said.move(step)
