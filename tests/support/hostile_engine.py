"""An engine whose every text is hostile, and the check that a screen shows it harmlessly."""

from __future__ import annotations

import re
from typing import Any

from fake_engine import FakeEngine, saved
from hostile_text import assert_safe
from rich.segment import Segment
from screen_text import strips_of
from textual.strip import Strip

from server import events
from server.engine import CommandResult, Snapshot
from server.record import Saving
from tui.app import GatewayApp

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


_SUMS = {
    "name": "x", "turns": 3, "projected": 2, "cost_usd": 1.0, "saved_usd": -0.5, "losses": 1,
    "saved_low_usd": -1.0, "saved_high_usd": 0.5, "unpriced": 1,
}  # fmt: skip
_PREVIEW = {
    "turns": 9, "stays": 3, "moves": [
        {"route": "x", "kind": "x", "provider": "x", "model": "x", "state": state, "turns": 2,
         "input_tokens": 9, "usd": 0.1, "low_usd": -0.1, "high_usd": 0.2, "key_env": "x"}
        for state in ("would_move", "needs_key", "observed", "x")
    ],
}  # fmt: skip
_ANSWERS: dict[str, dict[str, Any]] = {
    "request": {
        "previous": "x", "previous_at": 1.0, "kept_blocks": 1, "kept_tokens": 3, "tokens": 10,
        "has_text": True, "why": "x",
        "change": {"part": "messages", "index": 1, "how": "x", "label": "x", "lost_tokens": 7},
        "difference": {"index": 1, "name": "x", "offset": 4, "how": "changed", "lines": ["x", "x"]},
        "blocks": [
            {"part": part, "title": "x", "label": "x", "role": "x", "text": "x", "chars": 9}
            for part in ("tools", "system", "messages")
        ],
    },
    "report": {
        "turns": 5, "total": _SUMS, "losses": ["x", "x"],
        "by": {name: [_SUMS, _SUMS] for name in ("day", "route", "kind", "model", "project", "session")},
        "cold": {"turns": 1, "usd": 1.0, "causes": [{"cause": "x", "turns": 1, "usd": 1.0}]},
        "prefix": {"parts": [{"name": "x", "tokens": 9, "usd_per_turn": 0.1}]},
        "advice": [{"text": "x", "usd": 1.0, "low_usd": 0.5, "high_usd": 2.0}],
    },
    "sent": {"sent": [{"provider": "x", "kind": "x", "turns": 3, "bytes": 9}]},
    "sessions": {
        "lines": [
            {"session": "x", "agent": agent, "project": "x", "client": "x", "payers": ["x"],
             "context_provider": "x", "context_model": "x", "turns": 3, "cost_usd": 1.0,
             "last_at": 1.0, "first_at": 0.5}
            for agent in (None, "x")
        ]
    },
    "session_turns": {"turns": []},
    "preview_live": _PREVIEW,
    "check_route": {"before": _PREVIEW, "after": _PREVIEW},
}  # fmt: skip
"""In the shapes of the gateway; each ``x`` becomes the hostile text."""
_WORDS_OF_OURS = {"id", "status", "phase", "type", "part", "how", "state"}


class HostileEngine(FakeEngine):
    """Every text of every turn is hostile, and so are names, errors and the address."""

    text = ""

    def spoil(self, value: object) -> Any:
        if isinstance(value, str):
            return self.text
        if isinstance(value, dict):
            return {k: v if k in _WORDS_OF_OURS else self.spoil(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.spoil(item) for item in value]
        return value

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        detail = await super().turn(turn_id)
        return None if detail is None else self.spoil(detail)

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """Every answer of ``server.views`` and of the questions, with a text in every field."""
        self.commands.append((name, arguments))
        data = self.spoil(_ANSWERS.get(name))
        return CommandResult(data is not None, self.text, data)

    async def snapshot(self) -> Snapshot:
        spoiled = await super().snapshot()
        table = {self.text: saved(3, -1.0, needs_key=2, unpriced=1)}
        sums = {name: saved(9, 1.0, needs_key=2) for name in ("today", "all")}
        spoiled["savings"] = sums | dict.fromkeys(("by_route", "by_kind", "by_target"), table)
        spoiled["savings"]["assumptions"] = [self.text]
        lists = {self.text: [self.text]}
        spoiled["routing"] = dict.fromkeys(("routes", "kinds", "baseline"), lists) | {
            "modes": {self.text: self.text},
            "sources": {f"routing.kinds.{self.text}": self.text},
            "unsaved": [self.text],
            "hits": {self.text: 3},
            "kind_hits": {self.text: 3},
        }
        return spoiled

    def announce(self) -> None:
        turn = self.open(error_type="x", error_message="x", label="x", model_served="y")
        self.propose(turn, "x", "y")
        turn.saving = Saving("open", 1.0, note="x")
        self.emit(events.TURN_UPDATED, turn=self.spoil(turn.summary()))
        self.emit(events.LOG, level=self.text, logger=self.text, message=self.text)
        limits = {self.text: {"limit": self.text, self.text: self.text, "reset": self.text}}
        self.provider(self.text, "failing", self.text, key_env=self.text, rate_limits=limits)
        self.emit(events.REJECTED, reason=self.text, http_status=401, count=1)


def check(app: GatewayApp, size: tuple[int, int], text: str) -> None:
    for strip in strips_of(app):
        assert sum(segment.cell_length for segment in strip) == size[0], repr(text[:40])
        for segment in strip:
            # the toolkit's own scrollbar holds its own actions; our lines hold none
            assert_safe(segment.text)
            assert segment.style is None or segment.style.link is None
            meta = segment.style.meta if segment.style else {}
            assert "@click" not in meta
    for strip in strips_of(app):
        written = _COLOURS.sub("", Strip(_without_meta(strip)).render(app.console))
        assert written.isprintable(), "the terminal is told colours and text, and nothing else"


def _without_meta(strip: list[Segment]) -> list[Segment]:
    return [Segment(part.text, part.style) for part in strip]
