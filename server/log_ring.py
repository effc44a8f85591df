"""The last lines of the engine's log, kept for front ends and announced to them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

LINES = 500


class LogRing(logging.Handler):
    """Keeps log lines as ``{"at", "level", "logger", "message"}``, newest last.

    ``announce`` is called with each one, on whatever thread logs; ``text_of`` makes the message,
    without secrets.
    """

    def __init__(
        self,
        announce: Callable[[dict[str, Any]], None],
        text_of: Callable[[logging.LogRecord], str],
    ) -> None:
        super().__init__()
        self._announce = announce
        self._text_of = text_of
        self._lines: deque[dict[str, Any]] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep and announce one line; never raises."""
        try:
            line = {
                "at": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": self._text_of(record),
            }
            self._lines.append(line)
            self._announce(line)
        except Exception:
            self.handleError(record)

    def lines(self) -> list[dict[str, Any]]:
        """The lines kept, oldest first."""
        return list(self._lines)
