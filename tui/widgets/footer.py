"""The keys of the current screen; each can be clicked."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events

from tui import keys
from tui.context import Context
from tui.keys import Key
from tui.lines import Line, Span
from tui.widgets.lines_view import LineBlock

MOST_KEYS = 8
_KEPT = frozenset({"help", "quit", "back", "shadow"})


def _cells(key: Key) -> int:
    """The room a key takes, with the gap after it."""
    return cell_len(keys.first(key.keys)) + 1 + cell_len(key.short) + 2


class KeyFooter(LineBlock):
    """At most eight keys, those of the screen first, as many as fit."""

    def __init__(self, context: Context, name: str) -> None:
        super().__init__(lambda width: [self._line(width)], id="footer")
        self._shared = context
        self._place = name
        self._spots: list[tuple[int, int, Key]] = []

    def tell_of(self, name: str) -> None:
        """Show the keys of another context."""
        if name != self._place:
            self._place = name
            self.sync()

    def _line(self, width: int) -> Line:
        facts = self._shared.facts()
        spans: list[Span] = [(" ", "text")]
        self._spots = []
        at = 1
        for key in self._fitting(width - 1):
            name, word = keys.first(key.keys), key.short
            off = keys.why_not(key, self._place, facts) is not None
            spans.append((name, "muted" if off else "key"))
            spans.append((f" {word}  ", "muted" if off else "text"))
            end = at + _cells(key)
            self._spots.append((at, end - 2, key))
            at = end
        return tuple(spans)

    def _fitting(self, width: int) -> list[Key]:
        """The keys that fit; those that do nothing now go first, help and the way out last."""
        active = keys.active_in(self._place, self._shared.keys)
        listed = [key for key in active if key.footer and key.keys][:MOST_KEYS]
        facts = self._shared.facts()
        dropped = [key for key in listed if key.id not in _KEPT]
        dropped.sort(key=lambda key: keys.why_not(key, self._place, facts) is not None)
        while dropped and sum(map(_cells, listed)) - 2 > width:
            listed.remove(dropped.pop())
        return listed

    async def on_click(self, event: events.Click) -> None:
        for start, end, key in self._spots:
            if start <= event.x < end:
                namespace = self.app if keys.EVERYWHERE in key.contexts else self.screen
                await self.app.run_action(key.action, namespace)
