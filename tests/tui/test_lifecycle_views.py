from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_gateway import HealthServer, paths_of

from server.instance import InstanceLock, load_secret
from tui.lifecycle.log_view import follow, shown, tail
from tui.lifecycle.sessions import attached, sessions_of
from tui.lifecycle.state import State, as_json, in_words, look

NOW = 10_000.0


def turn(**more: Any) -> dict[str, Any]:
    row = {"session": "s-1234567890", "client": "claude-code", "at": NOW, "status": "success"}
    empty = {"project": None, "branch": None, "label": None}
    return row | empty | more


def test_running_sessions_come_first_and_old_ones_do_not_count() -> None:
    lines = sessions_of(
        [
            turn(session="a", project="~/one", branch="main", at=NOW - 120),
            turn(session="b", client="codex", status="open", at=NOW - 5000),
            turn(session="c", at=NOW - 700),
            turn(session="a", project="~/old", at=NOW - 300),
        ],
        NOW,
    )
    assert lines == [
        "codex, session b, 1 in flight",
        "claude-code, ~/one, main, last request 2 min ago",
    ]


def test_what_a_session_calls_itself_steers_no_terminal() -> None:
    (line,) = sessions_of([turn(project="\x1b]0;x\x07\n")], NOW)
    assert line.isprintable()


def test_many_sessions_are_counted() -> None:
    lines = sessions_of([turn(session=f"s{n}") for n in range(20)], NOW)
    assert (len(lines), lines[-1]) == (9, "and 12 more")


def test_a_gateway_that_is_gone_or_has_another_key_is_not_asked_twice(tmp_path: Path) -> None:
    paths = paths_of(tmp_path)
    assert not attached(None, paths, "key").is_known
    with HealthServer(load_secret(paths)) as server, InstanceLock(paths, FakeClock()) as lock:
        lock.publish("127.0.0.1", server.port)
        found = attached(look(paths).health, paths, "wrong")
    assert (found.is_known, found.is_anybody) == (False, False)


@pytest.mark.parametrize(
    ("state", "raw", "expected", "code"),
    [
        ("serving", None, State.UP, 0),
        ("draining", None, State.DRAINING, 0),
        ("serving", b"nonsense\r\n\r\n", State.SILENT, 4),
    ],
)
def test_a_gateway_is_what_it_proves_to_be(
    tmp_path: Path, state: str, raw: bytes | None, expected: State, code: int
) -> None:
    paths, clock = paths_of(tmp_path), FakeClock()
    assert (look(paths).state, look(paths).exit_code) == (State.DOWN, 1)
    with InstanceLock(paths, clock) as lock:
        secret = load_secret(paths)
        assert look(paths).state is State.STARTING
        with HealthServer(secret, state=state, raw=raw) as server:
            lock.publish("127.0.0.1", server.port, has_screen=True)
            found = look(paths)
            data = as_json(found, paths, clock)
    assert (found.state, found.exit_code) == (expected, code)
    assert data["url"] == server.url
    assert data["screen"] is True
    rows = dict(in_words(data))
    assert rows["address"] == server.url
    assert rows["pid"].endswith("(in a screen)")


def test_a_json_line_is_spelled_out_and_any_line_is_harmless() -> None:
    line = json.dumps({"at": 0.0, "level": "warning", "message": "a\x1b[31m"}).encode()
    assert shown(line).endswith(" warning: a\\x1b[31m")
    assert shown(b"\xff\x07plain\r\n") == "\ufffd\\x07plain"
    assert shown(b'{"at": "x"}') == '{"at": "x"}'


@pytest.mark.parametrize("count", [0, 1, 3, 10_000, 200_000])
def test_the_tail_is_the_last_lines(count: int) -> None:
    lines = [b"line %d\n" % n for n in range(20_000)]
    file = BytesIO(b"".join(lines))
    assert tail(file, count) == (lines[-count:] if count else [])
    assert file.read() == b""


def test_following_goes_on_over_a_new_and_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def add(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: path.write_text("one\ntwo\n"),
            lambda: add("three\nfo"),
            lambda: add("ur\n"),
            lambda: (path.rename(tmp_path / "old"), path.write_text("five\n")),
            lambda: path.write_text("6\n"),
        ]
    )

    def pause(_: float) -> None:
        next(steps)()

    found = follow(path, 1, pause)
    assert list(itertools.islice(found, 6)) == ["one", "two", "three", "four", "five", "6"]
