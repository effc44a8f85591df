"""One way to end a running exchange from outside, with the reason kept."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any


class ClientGone(Exception):
    """The client closed its connection."""


class ClientStalled(Exception):
    """The client stopped reading for too long."""


class BodyStalled(Exception):
    """The client stopped sending in the middle of its request body."""


class Draining(Exception):
    """The gateway is shutting down and its patience is over."""


class Interrupt:
    """A scope that ``fire`` leaves by raising the given reason where the task awaits.

    The client's disconnect, our timers and a forced shutdown all use it, so that an exchange
    has one place where it learns why it must end; a second reason is ignored.
    """

    def __init__(self) -> None:
        self.reason: Exception | None = None
        self._task: asyncio.Task[Any] | None = None

    def fire(self, reason: Exception) -> None:
        """End the scope with ``reason``; without effect once it has ended."""
        if self.reason is None:
            self.reason = reason
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> Interrupt:
        if self.reason is not None:
            raise self.reason
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self.reason is None or task is None:
            return
        remaining = task.uncancel()
        if kind is asyncio.CancelledError and remaining == 0:
            raise self.reason from None
