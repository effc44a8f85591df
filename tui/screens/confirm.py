"""Questions: any one with a yes and a no, and the one before a gateway in use loses its screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import keys
from tui.context import Context
from tui.leaving import Departure, Leave, question, users_of
from tui.lines import Line, wrap
from tui.rows import mapping_of
from tui.screens.base import bindings
from tui.screens.dialog import Answer, Dialog


class ConfirmQuit(Dialog[Leave]):
    """Who uses the gateway is up to date while one thinks; without ``departure`` it can only be
    stopped."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.LEAVING)

    def __init__(self, context: Context, departure: Departure | None = None) -> None:
        super().__init__(context, " Quit ")
        self._departure = departure
        self._agents = departure.agents() if departure is not None else 0

    def lines(self, width: int) -> Sequence[Line]:
        shared = self._shared
        unsaved = mapping_of(shared.state.routing).get("unsaved")
        return question(
            users_of(shared.state, self._agents, shared.clock.time()),
            max(10, width),
            can_keep=self._departure is not None,
            is_unsaved=bool(unsaved),
        )

    def answers(self) -> Sequence[Answer]:
        stay = Answer(Leave.STAY, "Stay", "leave.stay", is_safe=True)
        keep = Answer(Leave.KEEP, "Keep running", "leave.keep")
        stop = Answer(Leave.STOP, "Drain and stop", "leave.stop")
        return (stay, stop) if self._departure is None else (stay, keep, stop)

    def answered(self, answer_id: str) -> None:
        self.dismiss(Leave(answer_id))

    def action_leaving(self, choice: str) -> None:
        if choice != Leave.KEEP or self._departure is not None:
            self.dismiss(Leave(choice))


class Question(Dialog[bool]):
    """Asks in a sentence or two; nothing happens unless the user says yes."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.CONFIRM)

    def __init__(self, context: Context, title: str, text: str, *, yes: str, no: str) -> None:
        super().__init__(context, title)
        self._text = text
        self._labels = (no, yes)

    def lines(self, width: int) -> Sequence[Line]:
        return wrap(self._text, max(10, width))

    def answers(self) -> Sequence[Answer]:
        no, yes = self._labels
        return (Answer("no", no, "confirm.no", is_safe=True), Answer("yes", yes, "confirm.yes"))

    def answered(self, answer_id: str) -> None:
        self.dismiss(answer_id == "yes")

    def action_confirm(self, answer: bool) -> None:
        self.dismiss(answer)
