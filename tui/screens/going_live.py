"""The question before shadow goes off: what would change, what it pays, and who reads the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from textual.binding import BindingType

from tui import keys
from tui.context import Context
from tui.lines import Line
from tui.live_preview import Preview, going_live
from tui.screens.base import bindings
from tui.screens.dialog import Answer, Dialog


class GoLive(StrEnum):
    """What the user chose."""

    STAY = "stay"
    ONCE = "once"
    """Live until the gateway stops."""
    REMEMBER = "remember"
    """Live now and at every start."""


_ANSWERS = (
    Answer("stay", "Stay in shadow", "go_live.stay", is_safe=True),
    Answer("once", "Live until quit", "go_live.once"),
    Answer("remember", "Live, and remember", "go_live.remember"),
)
_ANSWERS_ELSEWHERE = (
    _ANSWERS[0],
    Answer("once", "Live until it stops", "go_live.once"),
    _ANSWERS[2],
)
"""Where quitting leaves the gateway running."""


class GoingLive(Dialog[GoLive]):
    """Made of one preview; it does not change while one reads it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.GO_LIVE)

    def __init__(
        self, context: Context, preview: Preview, providers: Mapping[str, Mapping[str, Any]]
    ) -> None:
        super().__init__(context, " Go live? ")
        self._preview = preview
        self._providers = dict(providers)

    def lines(self, width: int) -> Sequence[Line]:
        return going_live(self._preview, self._providers, max(10, width))

    def answers(self) -> Sequence[Answer]:
        return _ANSWERS_ELSEWHERE if self._shared.state.is_attached else _ANSWERS

    def answered(self, answer_id: str) -> None:
        self.dismiss(GoLive(answer_id))

    def action_go_live(self, choice: str) -> None:
        self.dismiss(GoLive(choice))
