"""An answer on the wire: its head, its framing, and what must never get into either."""

from __future__ import annotations

import pytest

from server.answer import Answer, BadAnswer

TEXT = (b"content-type", b"text/plain")


def test_a_length_needs_no_other_framing() -> None:
    answer = Answer("POST", "1.1", is_last=False)
    head = answer.start(200, [TEXT, (b"content-length", b"4")])
    assert head == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\n"
    assert answer.body(b"ab") + answer.body(b"cd") + answer.end() == b"abcd"
    assert answer.is_whole
    assert not answer.is_last


def test_without_a_length_it_is_chunked() -> None:
    answer = Answer("POST", "1.1", is_last=False)
    assert answer.start(200, [TEXT]).endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert answer.body(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert answer.body(b"") == b""
    assert answer.end() == b"0\r\n\r\n"
    assert answer.is_whole


def test_an_old_client_sees_the_end_by_the_end_of_the_connection() -> None:
    answer = Answer("GET", "1.0", is_last=True)
    assert answer.start(200, []) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    assert answer.body(b"abc") + answer.end() == b"abc"
    assert answer.is_last


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_answers_have_no_body(method: str, status: int) -> None:
    answer = Answer(method, "1.1", is_last=False)
    head = answer.start(status, [(b"content-length", b"9")] if method == "HEAD" else [])
    assert b"chunked" not in head
    assert answer.body(b"dropped") + answer.end() == b""
    assert answer.is_whole


def test_a_short_answer_is_not_whole() -> None:
    answer = Answer("GET", "1.1", is_last=False)
    answer.start(200, [(b"content-length", b"4")])
    answer.body(b"abc")
    answer.end()
    assert not answer.is_whole


def test_a_long_answer_is_a_mistake() -> None:
    answer = Answer("GET", "1.1", is_last=False)
    answer.start(200, [(b"content-length", b"2")])
    with pytest.raises(BadAnswer):
        answer.body(b"abc")


def test_the_last_answer_says_so_once() -> None:
    said = Answer("GET", "1.1", is_last=True).start(200, [(b"Connection", b"close")])
    assert said.lower().count(b"connection: close") == 1
    own = Answer("GET", "1.1", is_last=False)
    own.start(503, [(b"connection", b"close"), (b"content-length", b"0")])
    assert own.is_last


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nx: y", b"a\rb", b"a\0b"])
def test_a_field_cannot_become_two(value: bytes) -> None:
    for field in ((b"x", value), (value, b"x")):
        with pytest.raises(BadAnswer):
            Answer("GET", "1.1", is_last=False).start(200, [field])


def test_a_status_without_a_name_is_passed_on() -> None:
    answer = Answer("GET", "1.1", is_last=False)
    assert answer.start(529, [(b"content-length", b"0")]).startswith(b"HTTP/1.1 529 \r\n")
