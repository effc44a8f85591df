"""The open connections of a listener: which are idle, and how they all come to an end."""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

from server.tasks import spawn

SWEEP_S = 5.0
"""How exactly the idle time-out is kept."""


class _Closes(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T", bound=_Closes)


class Connections(Generic[_T]):
    """Closes connections that carry no request for ``timeout_s`` seconds.

    One sweep for all of them, because a timer for each is started and stopped with every request.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: dict[_T, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._is_closing = False
        self.is_leaving = False
        """Whether every connection is to end with its next answer."""

    def start(self) -> None:
        """Begin to look for idle connections."""
        self._sweeper = spawn("idle connections", self._sweep())

    def close(self) -> None:
        """Close the connections that are idle, and from now on each as soon as it is."""
        self.is_leaving = self._is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._since):
            self._drop(connection)

    def idles(self, connection: _T) -> None:
        """A connection carries no request any more, or not yet."""
        if self._is_closing:
            connection.close()
            return
        self._since.pop(connection, None)
        self._since[connection] = asyncio.get_running_loop().time()

    def works(self, connection: _T) -> None:
        """A connection carries a request, or is over."""
        self._since.pop(connection, None)

    def _drop(self, connection: _T) -> None:
        del self._since[connection]
        connection.close()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            last_good = loop.time() - self._timeout_s
            # The oldest come first, because one that is set again goes to the end.
            for connection, since in list(self._since.items()):
                if since > last_good:
                    break
                self._drop(connection)
