"""Where log lines go: stderr when headless, a file of JSON lines while a screen is up.

Every line is one line whatever it holds: control characters are escaped, and configured secrets
are masked by value, so that no client or upstream can forge or leak through a log.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = "sbgw"
MASK = "***"
_MAX_BYTES = 8 * 1024 * 1024


def one_line(text: str) -> str:
    """``text`` with every character that is not printable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._secrets = [secret for secret in secrets if len(secret) >= 6]

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def format(self, record: logging.LogRecord) -> str:
        lines = (one_line(line) for line in self._text(record).splitlines())
        level = record.levelname.lower()
        return f"{self.formatTime(record, self.datefmt)} {level}: " + "\n    ".join(lines)


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._text(record),
        }
        return json.dumps(entry, ensure_ascii=True)


def to_stderr(level: str, secrets: Iterable[str]) -> None:
    """Log to stderr, for people."""
    _install(logging.StreamHandler(sys.stderr), _Formatter(secrets), level)


def to_file(path: Path, level: str, secrets: Iterable[str]) -> None:
    """Log to ``path`` (mode 0600) as JSON lines; one older file is kept beside it."""
    try:
        if path.exists() and path.stat().st_size > _MAX_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        _install(logging.NullHandler(), _Formatter(()), level)
        return
    handler = logging.StreamHandler(os.fdopen(fd, "a", encoding="utf-8"))
    _install(handler, _JsonFormatter(secrets), level)


def _install(handler: logging.Handler, formatter: logging.Formatter, level: str) -> None:
    handler.setFormatter(formatter)
    for name in (ROOT, "quart", "hypercorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name == ROOT else logging.WARNING)
