"""Where log lines go: stderr when headless, a file of JSON lines while a screen is up.

Every line is one line whatever it holds: control characters are escaped, and credentials are
masked (server.redact), so that no client or upstream can forge or leak through a log. What a crash
prints is treated alike.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from server import private_files
from server.redact import Redactor

ROOT = "sbgw"
_MAX_BYTES = 8 * 1024 * 1024


def one_line(text: str) -> str:
    """``text`` with every character that is not printable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def text_of(secrets: Iterable[str]) -> Callable[[logging.LogRecord], str]:
    """A function that gives the text of a log record, its traceback included, without secrets."""
    redact = Redactor(secrets)
    formatter = logging.Formatter()

    def text(record: logging.LogRecord) -> str:
        found = record.getMessage()
        if record.exc_info:
            found += "\n" + formatter.formatException(record.exc_info)
        return redact(found)

    return text


class _Formatter(logging.Formatter):
    """For people: a time, a level, and every further line indented."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._text = text_of(secrets)

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
    secrets = list(secrets)
    _install(logging.StreamHandler(sys.stderr), _Formatter(secrets), level)
    mask_crashes(secrets)


def to_file(path: Path, level: str, secrets: Iterable[str]) -> None:
    """Log to ``path`` (mode 0600) as JSON lines; one older file is kept beside it."""
    secrets = list(secrets)
    mask_crashes(secrets)
    try:
        if path.lstat().st_size > _MAX_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    except OSError:
        pass
    try:
        file = private_files.open_to_append(path)
    except (OSError, private_files.UnsafeFileError):
        _install(logging.NullHandler(), _Formatter(()), level)
        return
    _install(_FileHandler(file), _JsonFormatter(secrets), level)


def mask_crashes(secrets: Iterable[str]) -> None:
    """Mask credentials in what Python prints when the program, or a thread of it, crashes."""
    redact = Redactor(secrets)

    def crashed(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines = redact("".join(traceback.format_exception(kind, error, trace))).splitlines()
        if sys.stderr is not None:
            sys.stderr.write("\n".join(one_line(line) for line in lines) + "\n")

    def thread_crashed(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            crashed(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = crashed
    threading.excepthook = thread_crashed


class _FileHandler(logging.StreamHandler[TextIO]):
    """Writes to a file that is its own."""

    def close(self) -> None:
        self.stream.close()
        super().close()


def _install(handler: logging.Handler, formatter: logging.Formatter, level: str) -> None:
    handler.setFormatter(formatter)
    for name in (ROOT, "quart", "hypercorn", "asyncio"):
        logger = logging.getLogger(name)
        for old in logger.handlers:
            if isinstance(old, _FileHandler):
                old.close()
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name == ROOT else logging.WARNING)
