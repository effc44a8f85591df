"""One request block by block, with what changed since the call before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from server.tasks import spawn
from tui import export, keys, request_page, small
from tui.asker import Asker
from tui.context import Context
from tui.lines import Line
from tui.screens.base import bindings
from tui.screens.pick import PickScreen
from tui.widgets.pick_list import PickLine

ASK_S = 3_600.0


class RequestScreen(PickScreen):
    """System, tools and messages, folded; the chosen one's text below."""

    CONTEXT = keys.REQUEST
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.REQUEST)

    def __init__(self, context: Context, turn_id: str) -> None:
        super().__init__(context)
        self._turn_id = turn_id
        self._unfolded: frozenset[str] = frozenset({"messages"})
        self._has_asked = False
        self._story = Asker(
            context.engine, context.clock, "request", every_s=ASK_S, answered=self.answered
        )

    def on_unmount(self) -> None:
        self._story.close()

    def sync(self) -> None:
        self._story.want(self._turn_id, turn_id=self._turn_id, texts=True)
        super().sync()

    def depends(self) -> tuple[object, ...]:
        return self._story.count, self._unfolded

    def told(self) -> Sequence[Line]:
        row = self.context.state.row(self._turn_id)
        return small.turn(row, self._turn_id, self.context.clock.time())

    def top_lines(self, width: int) -> Sequence[Line]:
        return request_page.title(self._story.data, self._turn_id, width)

    def list_lines(self, width: int) -> Sequence[PickLine]:
        return request_page.picks(self._story.data, self._unfolded, width)

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        return request_page.shown(self._story.data, picked, width)

    # -- actions -----------------------------------------------------------------------------

    def action_fold(self) -> None:
        """Unfold the chosen part, or fold it again."""
        picked = self.list.picked
        if picked in request_page.PARTS:
            self._unfolded ^= {picked}
            self.sync()

    def action_copy(self) -> None:
        """Copy the text that is shown."""
        text = request_page.text_at(self._story.data, self.list.picked)
        if text is None:
            self.tell("There is no text to copy.", is_bad=True)
        else:
            self.app.copy_to_clipboard(text)
            self.tell(f"Copied {len(text):,} characters.")

    def action_export(self) -> None:
        """Write the texts to a file, once asked a second time: they are prompts."""
        home, story = self.context.state.gateway.home, self._story.data
        if home is None or story is None or story.get("has_text") is not True:
            self.tell("The text of this request is not on record.", is_bad=True)
        elif not self._has_asked:
            self._has_asked = True
            key = keys.first(self.context.key("request.export").keys)
            self.tell(f"The file would hold the prompt itself. Press {key} again to write it.")
        else:
            self._has_asked = False
            spawn("tui.export", self._export(home))

    async def _export(self, home: str) -> None:
        write, story = export.write_request, self._story.data or {}
        try:
            path = await asyncio.to_thread(write, self._turn_id, story, home)
        except OSError as error:
            self.tell(f"Not written: {error.strerror or error}", is_bad=True)
        else:
            self.tell(f"Written: {path.name} in {path.parent}")
