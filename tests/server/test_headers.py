"""The deny-list in both directions: what we do not know passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.headers import first, to_client, to_upstream, values

KEY = [(b"x-api-key", b"sk-ant-real")]


def test_unknown_fields_pass_with_case_order_and_duplicates() -> None:
    sent = [
        (b"Anthropic-Beta", b"a-2026-01-01"),
        (b"anthropic-beta", b"b-2026-02-02"),
        (b"X-Stainless-Timeout", b"600"),
        (b"X-Brand-New", b"1"),
    ]
    assert to_upstream(sent, []) == sent


def test_the_clients_credential_fields_are_replaced_where_they_stood() -> None:
    sent = [(b"a", b"1"), (b"X-Api-Key", b"gw"), (b"Authorization", b"Bearer gw"), (b"b", b"2")]
    assert to_upstream(sent, KEY) == [(b"a", b"1"), *KEY, (b"b", b"2")]


def test_a_credential_is_added_when_the_client_sent_none() -> None:
    assert to_upstream([(b"a", b"1")], KEY) == [(b"a", b"1"), *KEY]


def test_our_own_fields_and_those_of_the_connection_stay_here() -> None:
    sent = [
        (b"Host", b"127.0.0.1:8787"),
        (b"Content-Length", b"12"),
        (b"Connection", b"keep-alive, X-Drop-Me"),
        (b"X-Drop-Me", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Cookie", b"a=b"),
        (b"X-Sbgw-Key", b"local-dev-key"),
        (b"x-sbgw-project", b"orchard"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
    ]
    assert to_upstream(sent, []) == []


def test_the_answer_is_asked_for_without_compression() -> None:
    assert to_upstream([(b"Accept-Encoding", b"gzip, br")], []) == [
        (b"Accept-Encoding", b"identity")
    ]


def test_downwards_everything_but_the_connection_passes() -> None:
    got = [
        (b"Content-Type", b"text/event-stream"),
        (b"Request-Id", b"req_1"),
        (b"anthropic-ratelimit-tokens-remaining", b"9"),
        (b"x-should-retry", b"false"),
        (b"retry-after", b"3"),
        (b"Set-Cookie", b"a=b"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"5"),
        (b"Alt-Svc", b"h3"),
        (b"CF-Ray", b"abc"),
    ]
    assert [name for name, _ in to_client(got)] == [
        b"Content-Type",
        b"Request-Id",
        b"anthropic-ratelimit-tokens-remaining",
        b"x-should-retry",
        b"retry-after",
        b"CF-Ray",
    ]


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=10))
def test_any_fields_are_survived(headers: list[tuple[bytes, bytes]]) -> None:
    to_upstream(headers, [])
    to_client(headers)
    for name, _ in headers:
        assert len(values(headers, name.lower())) >= 1
        assert first(headers, name.lower()) is not None
