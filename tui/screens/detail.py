"""One turn in full, up to date while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from server.tasks import spawn
from tui import export, keys, small, turn_text
from tui import format as fmt
from tui.asker import Asker
from tui.context import Context
from tui.lines import Line, line
from tui.rows import TurnRow
from tui.screens.base import GatewayScreen, bindings
from tui.screens.request import RequestScreen
from tui.widgets.lines_view import LineBlock, LinesView

STORY_S = 3_600.0
"""What is on record of an ended turn's request does not change."""
RELOAD_S = 1.0
"""At most this often while the turn only grows; a change of state is read at once."""

_log = logging.getLogger("sbgw.tui")


class DetailScreen(GatewayScreen):
    """Reads ``EngineClient.turn`` when opened and whenever the turn's row has changed."""

    CONTEXT = keys.DETAIL
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.DETAIL)

    def __init__(self, context: Context, turn_id: str) -> None:
        super().__init__(context)
        self._turn_id = turn_id
        self._detail: Mapping[str, Any] | None = None
        self._problem: str | None = None
        self._read_row: TurnRow | None = None
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._story = Asker(
            context.engine, context.clock, "request", every_s=STORY_S, answered=self.answered
        )
        self._title = LineBlock(self._title_lines, id="turn-title")
        self._page = LinesView(self._page_lines, id="turn")

    def compose_body(self) -> Iterable[Widget]:
        yield self._title
        yield self._page

    def on_mount(self) -> None:
        self._page.focus(scroll_visible=False)
        self._read()

    def on_unmount(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._story.close()

    def sync(self) -> None:
        self._reread_if_changed()
        if self._detail is not None and self._detail.get("status") != "open":
            self._story.want(self._turn_id, turn_id=self._turn_id)
        super().sync()
        self._page.sync()

    # -- reading -----------------------------------------------------------------------------

    def _reread_if_changed(self) -> None:
        row, read = self.context.state.row(self._turn_id), self._read_row
        if row is None or row == read:
            return
        moved = read is None or (row.shown, row.attempts) != (read.shown, read.attempts)
        if moved or self.context.clock.monotonic() - self._read_at >= RELOAD_S:
            self._read()

    def _read(self) -> None:
        if self._reading is not None and not self._reading.done():
            return
        self._read_row = self.context.state.row(self._turn_id)
        self._read_at = self.context.clock.monotonic()
        self._reading = spawn("tui.detail", self._load())

    async def _load(self) -> None:
        try:
            detail = await self.context.engine.turn(self._turn_id)
        except Exception as error:  # whatever the engine's transport raises
            _log.warning("reading a turn failed: %r", error)
            self._problem = f"{type(error).__name__}: {error}"
        else:
            self._problem = None if detail is not None else "the gateway no longer knows this turn"
            self._detail = detail if detail is not None else self._detail
        if self.is_mounted and self.is_current:
            super().sync()
            self._page.sync()

    def told(self) -> Sequence[Line]:
        row = self.context.state.row(self._turn_id)
        return small.turn(row, self._turn_id, self.context.clock.time())

    # -- lines -------------------------------------------------------------------------------

    def _merged(self) -> Mapping[str, Any]:
        """The detail with what the row knows better: how much has been streamed so far."""
        detail = self._detail or {"id": self._turn_id, "status": "open", "phase": "waiting"}
        row = self.context.state.row(self._turn_id)
        return detail if row is None else {**detail, "output_estimate": row.output_estimate}

    def _title_lines(self, width: int) -> list[Line]:
        if self._detail is None:
            return [line(" ", (self._problem or "Reading the turn ...", "muted"))]
        return [line(" ", *turn_text.title(self._merged(), self.context.clock.time(), width - 1))]

    def _page_lines(self, width: int) -> list[Line]:
        lines: list[Line] = []
        if self._problem is not None:
            lines.append(line((fmt.neutralise(self._problem, width), "warn")))
        if self._detail is not None:
            now = float(int(self.context.clock.time()))
            lines.extend(turn_text.body(self._merged(), width, now, self._story.data))
        return lines

    # -- actions -----------------------------------------------------------------------------

    def action_move(self, step: str) -> None:
        self._page.move(step)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(fmt.neutralise(self._turn_id))
        self.tell(f"Copied {self._turn_id}")

    def action_request(self) -> None:
        """The request itself, block by block."""
        self.app.push_screen(RequestScreen(self.context, self._turn_id))

    def action_curl(self) -> None:
        """Copy a command that sends such a request; it names the key and holds no prompt."""
        if self._detail is None:
            self.tell("The turn has not been read yet.", is_bad=True)
            return
        self.app.copy_to_clipboard(export.curl(self._detail, self.context.state.gateway.url))
        self.tell(
            f"Copied as curl, without key and prompt; put the request into {export.BODY_FILE}."
        )

    def action_export(self) -> None:
        """Write what is recorded of the turn into a file in the gateway's folder."""
        home = self.context.state.gateway.home
        if self._detail is None or home is None:
            self.tell("There is nothing to write yet.", is_bad=True)
        else:
            spawn("tui.export", self._export(self._detail, home))

    async def _export(self, detail: Mapping[str, Any], home: str) -> None:
        try:
            path = await asyncio.to_thread(export.write, detail, home)
        except OSError as error:
            self.tell(f"Not written: {error.strerror or error}", is_bad=True)
        else:
            self.tell(f"Written: {path.name} in {path.parent}")

    def action_back(self) -> None:
        self.dismiss()
