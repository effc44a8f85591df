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
from server.engine import Snapshot
from server.record import Saving
from tui.app import GatewayApp

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class HostileEngine(FakeEngine):
    """Every text of every turn is hostile, and so are names, errors and the address."""

    text = ""

    def spoil(self, value: object) -> Any:
        if isinstance(value, str):
            return self.text
        if isinstance(value, dict):
            kept = {"id", "status", "phase", "type"}
            return {k: v if k in kept else self.spoil(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.spoil(item) for item in value]
        return value

    async def turn(self, turn_id: str) -> dict[str, Any] | None:
        detail = await super().turn(turn_id)
        return None if detail is None else self.spoil(detail)

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
