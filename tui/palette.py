"""The command palette, from the key table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui import keys
from tui.keys import Key
from tui.screens.base import GatewayScreen


class KeyCommands(Provider):
    """Every command of the screen it was opened on; one that cannot run now says why."""

    def _offers(self) -> Iterator[tuple[str, Key, str]]:
        screen = self.screen
        if not isinstance(screen, GatewayScreen):
            return
        facts = screen.context.facts()
        for key in keys.active_in(screen.CONTEXT, screen.context.keys):
            if key.palette:
                reason = keys.why_not(key, screen.CONTEXT, facts)
                note = f"not now: {reason}" if reason else keys.shown(key.keys)
                yield key.help.rstrip("."), key, note

    async def _run(self, key: Key) -> None:
        namespace = self.app if keys.EVERYWHERE in key.contexts else self.screen
        await self.app.run_action(key.action, namespace)

    async def discover(self) -> Hits:
        for name, key, note in self._offers():
            yield DiscoveryHit(name, partial(self._run, key), help=note or None)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, key, note in self._offers():
            if (score := matcher.match(name)) > 0:
                yield Hit(
                    score, matcher.highlight(name), partial(self._run, key), help=note or None
                )
