"""The command palette, from the key table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui import keys
from tui.format import fit
from tui.keys import Key
from tui.screens.base import GatewayScreen

_KEY_WIDTH = 9


class KeyCommands(Provider):
    """Every command of the screen it was opened on; one that cannot run now says why."""

    def _offers(self) -> Iterator[tuple[str, Key, str | None]]:
        screen = self.screen
        if not isinstance(screen, GatewayScreen):
            return
        facts = screen.context.facts()
        for key in keys.active_in(screen.CONTEXT, screen.context.keys):
            if key.palette:
                yield key.help.rstrip("."), key, keys.why_not(key, screen.CONTEXT, facts)

    async def _run(self, key: Key) -> None:
        namespace = self.app if keys.EVERYWHERE in key.contexts else self.screen
        await self.app.run_action(key.action, namespace)

    async def discover(self) -> Hits:
        for name, key, reason in self._offers():
            shown = _row(Content(name), key, reason)
            yield DiscoveryHit(shown, partial(self._run, key), text=name)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, key, reason in self._offers():
            if (score := matcher.match(name)) > 0:
                shown = _row(matcher.highlight(name), key, reason)
                yield Hit(score, shown, partial(self._run, key), text=name)


def _row(name: Content, key: Key, reason: str | None) -> Content:
    """The key, what it does, and why it does nothing now, in one line."""
    head = fit(keys.first(key.keys), _KEY_WIDTH)
    if reason is None:
        return Content.assemble((head, "bold $primary"), name)
    return Content.assemble(
        (head, "dim"), name.stylize("dim"), (f"  not now: {reason}", "dim italic")
    )
