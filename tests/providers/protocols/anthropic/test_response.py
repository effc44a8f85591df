from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.protocols.anthropic.response import (
    ERROR_TYPES,
    ResponseFacts,
    UpstreamErrorBody,
    answer_kind,
    error_body,
    error_type,
    merge_usage,
    read_error,
    read_rate_limits,
    read_response,
    request_id,
    retry_after,
    usage_of,
)
from providers.types import Usage, UsageSource

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "abc"},
        {"type": "text", "text": "Let me look \u2028 here."},
        {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"a": [1, {"b": None}]}},
        {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 11},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        "service_tier": "priority",
    },
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_reads_a_message() -> None:
    assert read_response(body(MESSAGE)) == ResponseFacts(
        model="claude-haiku-5-5",
        id="msg_1",
        stop_reason="tool_use",
        usage=Usage(3, 40, 0, 100, 200, 11, 2, "priority", MESSAGE["usage"]),
        usage_source=UsageSource.FINAL,
        blocks={"thinking": 1, "text": 1, "tool_use": 2},
        tool_calls=2,
        answer_kind="mixed",
    )


def test_a_lone_surrogate_in_the_text_does_not_hide_the_usage() -> None:
    message = MESSAGE | {"id": "msg_\ud800", "content": [{"type": "text", "text": "\udfff"}]}
    facts = read_response(body(message))
    assert (facts.usage.output_tokens, facts.blocks) == (40, {"text": 1})


def test_the_answer_of_count_tokens_is_no_usage() -> None:
    facts = read_response(b'{"input_tokens": 2095}')
    assert facts == ResponseFacts(counted_tokens=2095)
    assert not facts.usage.is_known
    assert facts.usage_source is UsageSource.NONE


def test_an_answer_with_usage_is_no_count() -> None:
    facts = read_response(body(MESSAGE | {"input_tokens": 5}))
    assert (facts.usage.input_tokens, facts.counted_tokens) == (3, None)


def test_a_block_of_an_odd_shape_does_not_hide_the_others() -> None:
    content = [{"type": None}, 3, {}, {"type": "text", "text": "a"}]
    assert read_response(body(MESSAGE | {"content": content})).blocks == {"text": 1}


def test_an_answer_without_usage_has_an_unknown_one() -> None:
    facts = read_response(body({k: v for k, v in MESSAGE.items() if k != "usage"}))
    assert (facts.usage, facts.usage_source) == (Usage(), UsageSource.NONE)
    assert facts.tool_calls == 2


def test_an_answer_without_output_tokens_has_a_partial_usage() -> None:
    facts = read_response(body(MESSAGE | {"usage": {"input_tokens": 7}}))
    assert facts.usage_source is UsageSource.PARTIAL


def test_an_error_body_gives_the_error() -> None:
    raw = error_body("overloaded_error", "Overloaded", "req_1")
    assert read_response(raw) == ResponseFacts(
        error=UpstreamErrorBody("overloaded_error", "Overloaded")
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b"3",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"content": 3, "usage": [], "model": 1, "id": {}, "stop_reason": false}',
        b'{"content": [{"type": null}, 3], "usage": {"input_tokens": "x"}}',
        b'{"content": null, "usage": null}',
    ],
)
def test_garbage_gives_empty_facts(raw: bytes) -> None:
    facts = read_response(raw)
    assert (facts.model, facts.id, facts.stop_reason, facts.error) == (None, None, None, None)
    assert (facts.blocks, facts.tool_calls, facts.answer_kind) == ({}, 0, None)
    assert (facts.usage.is_known, facts.counted_tokens) == (False, None)


@given(st.binary(max_size=60))
def test_readers_never_raise(raw: bytes) -> None:
    read_response(raw)
    read_error(raw)
    read_response(b'{"usage":' + raw + b"}")


# errors


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (
            b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too '
            b'long: 2 tokens > 1 maximum","details":{"error_code":"x"}},"request_id":"req_1"}',
            ("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"),
        ),
        (b'{"error":{"message":"no type"}}', ("api_error", "no type")),
        (b'{"error":{"type":"x"}}', ("x", "")),
        (b'{"error":"flat"}', ("api_error", "flat")),
        (b'{"error":{}}', None),
        (b'{"error":null}', None),
        (b'{"id":"msg_1"}', None),
        (b"<html>", None),
        (b"[]", None),
    ],
)
def test_reads_error_bodies(raw: bytes, error: tuple[str, str] | None) -> None:
    assert read_error(raw) == (UpstreamErrorBody(*error) if error else None)


def test_error_bodies_have_the_vendors_shape() -> None:
    raw = error_body("api_error", 'a "b"\n\u2028 é', None)
    assert raw.isascii()
    assert b"\n" not in raw
    assert json.loads(raw) == {
        "type": "error",
        "error": {"type": "api_error", "message": 'a "b"\n\u2028 é'},
        "request_id": None,
    }


def test_error_types_by_status() -> None:
    assert ERROR_TYPES[401] == "authentication_error"
    assert (ERROR_TYPES[413], ERROR_TYPES[429]) == ("request_too_large", "rate_limit_error")
    assert (ERROR_TYPES[503], ERROR_TYPES[529]) == ("api_error", "overloaded_error")
    assert (ERROR_TYPES[504], ERROR_TYPES[402]) == ("timeout_error", "billing_error")
    for status in range(400, 600):
        assert error_type(status) == ERROR_TYPES.get(status, error_type(status))
    assert (error_type(418), error_type(599)) == ("invalid_request_error", "api_error")


# usage


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"cache_creation_input_tokens": 50}, (50, None)),
        ({"cache_creation_input_tokens": 0}, (0, None)),
        ({"cache_creation": {"ephemeral_1h_input_tokens": 4}}, (None, 4)),
        (
            {
                "cache_creation_input_tokens": 50,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 50},
            },
            (0, 50),
        ),
        # The total was revised after the split was sent.
        (
            {
                "cache_creation_input_tokens": 70,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 10,
                    "ephemeral_1h_input_tokens": 40,
                },
            },
            (30, 40),
        ),
        (
            {
                "cache_creation_input_tokens": 0,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 10,
                    "ephemeral_1h_input_tokens": 40,
                },
            },
            (0, 0),
        ),
        ({"cache_creation_input_tokens": 9, "cache_creation": None}, (9, None)),
        ({"cache_creation_input_tokens": 9, "cache_creation": 3}, (9, None)),
        ({}, (None, None)),
    ],
)
def test_cache_writes_by_lifetime(
    raw: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    usage = usage_of(raw)
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (5, 5), (5.0, 5), (-1, None), (True, None), (1.5, None), ("5", None), (None, None)],
)
def test_only_whole_numbers_are_counts(value: Any, expected: int | None) -> None:
    assert usage_of({"input_tokens": value}).input_tokens == expected


def test_infinite_counts_are_unknown() -> None:
    assert usage_of({"input_tokens": float("inf")}).input_tokens is None
    assert usage_of({"input_tokens": float("nan")}).input_tokens is None


def test_merging_keeps_what_an_update_does_not_say() -> None:
    first = {"input_tokens": 10, "server_tool_use": {"web_search_requests": 1, "x": 5}, "a": None}
    merged: dict[str, Any] = {}
    merge_usage(merged, first)
    merge_usage(
        merged,
        {
            "input_tokens": None,
            "output_tokens": 0,
            "server_tool_use": {"web_search_requests": 2},
            "iterations": [{"type": "message"}],
        },
    )
    assert merged == {
        "input_tokens": 10,
        "a": None,
        "output_tokens": 0,
        "server_tool_use": {"web_search_requests": 2, "x": 5},
        "iterations": [{"type": "message"}],
    }
    assert first["server_tool_use"] == {"web_search_requests": 1, "x": 5}


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        ([], None),
        (["text"], "text"),
        (["tool_use"], "tool_use"),
        (["thinking"], "thinking"),
        (["redacted_thinking", "thinking"], "thinking"),
        (["thinking", "text"], "text"),
        (["redacted_thinking", "tool_use"], "tool_use"),
        (["text", "tool_use"], "mixed"),
        (["server_tool_use"], "mixed"),
        (["text", "compaction"], "mixed"),
    ],
)
def test_kinds_of_answers(types: list[str], kind: str | None) -> None:
    assert answer_kind(dict.fromkeys(types, 1)) == kind


# headers


def test_reads_the_rate_limits_of_a_key() -> None:
    headers = [
        (b"Anthropic-RateLimit-Requests-Limit", b"4000"),
        (b"anthropic-ratelimit-requests-remaining", b" 3999 "),
        (b"anthropic-ratelimit-requests-reset", b"2026-11-23T10:00:00Z"),
        (b"anthropic-ratelimit-input-tokens-limit", b"1"),
        (b"anthropic-ratelimit-input-tokens-limit", b"2"),
        (b"x-ratelimit-limit-requests", b"5"),
    ]
    assert read_rate_limits(headers) == {
        "anthropic-ratelimit-requests": {
            "limit": "4000",
            "remaining": "3999",
            "reset": "2026-11-23T10:00:00Z",
        },
        "anthropic-ratelimit-input-tokens": {"limit": "2"},
    }


def test_reads_the_windows_of_a_login() -> None:
    prefix = b"anthropic-ratelimit-unified"
    headers = [
        (prefix + b"-status", b"allowed"),
        (prefix + b"-representative-claim", b"five_hour"),
        (prefix + b"-fallback-percentage", b"0.5"),
        (prefix + b"-5h-status", b"allowed"),
        (prefix + b"-5h-utilization", b"0.01"),
        (prefix + b"-5h-reset", b"1785182400"),
        (prefix + b"-7d_oi-utilization", b"0.02"),
        (prefix + b"-7d-surpassed-threshold", b"0.75"),
        (prefix + b"-overage-disabled-reason", b"org_level_disabled"),
    ]
    unified = "anthropic-ratelimit-unified"
    assert read_rate_limits(headers) == {
        unified: {
            "status": "allowed",
            "representative-claim": "five_hour",
            "fallback-percentage": "0.5",
        },
        f"{unified}-5h": {"status": "allowed", "utilization": "0.01", "reset": "1785182400"},
        f"{unified}-7d_oi": {"utilization": "0.02"},
        f"{unified}-7d": {"surpassed-threshold": "0.75"},
        f"{unified}-overage": {"disabled-reason": "org_level_disabled"},
    }


def test_single_headers() -> None:
    headers = [(b"Retry-After", b" 20 "), (b"REQUEST-ID", b"req_1"), (b"retry-after", b"9")]
    assert (retry_after(headers), request_id(headers)) == ("20", "req_1")
    assert (retry_after([]), request_id([])) == (None, None)
