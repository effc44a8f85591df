from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE, assert_safe

from tui import log_book, log_lines
from tui.lines import plain, width_of
from tui.log_book import Log
from tui.log_lines import LogLines

WIDTHS = (59, 79, 159)


def record(message: str, level: str = "info", **fields: Any) -> dict[str, Any]:
    return {
        "at": 1_800_000_000.0,
        "level": level,
        "logger": "sbgw.relay",
        "message": message,
        **fields,
    }


def shown(log: Log, level: str = "debug", width: int = 79) -> list[str]:
    return [plain(line) for line in LogLines().lines(log.at_least(level), width)]


def test_newest_last_and_bounded() -> None:
    log = Log()
    for number in range(log_book.MOST_LINES + 20):
        log.add(record(f"line {number}"))
    assert len(log) == log_book.MOST_LINES
    lines = shown(log)
    assert lines[0].endswith(" line 20")
    assert lines[-1].endswith(f" line {log_book.MOST_LINES + 19}")
    log.load([record(f"other {number}") for number in range(log_book.MOST_LINES + 5)])
    assert shown(log)[0].endswith(" other 5")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["d", "i", "w", "e", "c", "odd"]),
        ("info", ["i", "w", "e", "c", "odd"]),
        ("warning", ["w", "e", "c"]),
        ("error", ["e", "c"]),
    ],
)
def test_levels(level: str, expected: list[str]) -> None:
    log = Log()
    for name, message in (
        ("debug", "d"), ("INFO", "i"), ("WARNING", "w"), ("ERROR", "e"), ("critical", "c"), ("x", "odd"),
    ):  # fmt: skip
        log.add(record(message, name))
    assert [entry.message for entry in log.at_least(level)] == expected


def test_levels_are_told_without_colour() -> None:
    log = Log()
    for name in log_book.LEVELS:
        log.add(record("x", name))
    assert len({line[10:20] for line in shown(log)}) == len(log_book.LEVELS)


def test_a_long_message_is_wrapped_under_itself_and_ends() -> None:
    log = Log()
    log.add(record("word " * 500))
    lines = shown(log)
    assert 1 < len(lines) <= 6
    assert all(line.startswith(" " * 20) for line in lines[1:])


def test_lines_are_made_once_for_a_width() -> None:
    log, made = Log(), LogLines()
    log.add(record("one"))
    first = made.lines(log.at_least("debug"), 79)[0]
    log.add(record("two"))
    again = made.lines(log.at_least("debug"), 79)
    assert again[0] is first
    assert made.lines(log.at_least("debug"), 60)[0] is not first


def test_every_change_is_seen() -> None:
    log = Log()
    before = log.newest
    log.add(record("x"))
    assert log.newest != before
    before = log.newest
    log.load([record("y")])
    assert log.newest != before


def test_nothing_to_show_is_said() -> None:
    assert "empty" in plain(log_lines.empty("debug", True)[0])
    assert "level error" in plain(log_lines.empty("error", True)[0])
    assert "Waiting" in plain(log_lines.empty("debug", False)[0])


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        log = Log()
        log.add({"at": text, "level": text, "logger": text, "message": text})
        log.add({})
        log.add(record(text, at=1e300))
        for line in LogLines().lines(log.at_least("debug"), width):
            assert_safe(plain(line))
            assert width_of(line) <= width
