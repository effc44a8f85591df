"""Every provider: its state, how fast it answers, its key and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui import incident_card, incidents, keys, provider_page, sent_page, small
from tui.asker import Asker
from tui.context import Context
from tui.lines import EMPTY, Line, line
from tui.screens.base import bindings
from tui.screens.pick import PickScreen
from tui.widgets.pick_list import PickLine

SENT_S = 20.0


class ProvidersScreen(PickScreen):
    """The table, what each company was sent, and the chosen provider in full."""

    CONTEXT = keys.PROVIDERS
    BINDINGS: ClassVar[list[BindingType]] = bindings(keys.PROVIDERS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sent = Asker(
            context.engine, context.clock, "sent", every_s=SENT_S, answered=self.answered
        )

    def on_unmount(self) -> None:
        self._sent.close()

    def sync(self) -> None:
        self._sent.want(None, since=sent_page.since(self.context.clock.time()))
        super().sync()

    def depends(self) -> tuple[object, ...]:
        return *super().depends(), self.context.state.incidents, self._sent.count

    def told(self) -> Sequence[Line]:
        return small.providers(self.context.state.providers)

    def selected_provider(self) -> str:
        """The chosen provider; empty while there is none."""
        return self.list.picked or ""

    def top_lines(self, width: int) -> Sequence[Line]:
        return [provider_page.titles(width - 1)]

    def list_lines(self, width: int) -> Sequence[PickLine]:
        providers = self.context.state.providers
        if not providers:
            return [(None, line((" No provider is known yet.", "muted")))]
        lines: list[PickLine] = [
            (name, provider_page.row(name, p, width)) for name, p in providers.items()
        ]
        if found := sent_page.read(self._sent.data):
            lines += [(None, EMPTY), (None, sent_page.summary(found, providers, width))]
        return lines

    def picked_lines(self, picked: str | None, width: int) -> Sequence[Line]:
        provider = self.context.state.providers.get(picked or "")
        if picked is None or provider is None:
            return []
        lines = provider_page.detail(picked, provider, width)
        incident = self.context.state.incidents.get(picked)
        if incident is not None:
            toll = incidents.toll(incident, self.context.state.all_rows())
            lines.extend(incident_card.card(incident, toll, width))
        if self._sent.data is not None:
            sums = sent_page.read(self._sent.data).get(picked)
            lines.extend(sent_page.section(picked, provider, sums, width))
        return lines
