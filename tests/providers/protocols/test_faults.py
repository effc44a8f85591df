"""Errors of every provider's dialect, and the two shapes that clients understand."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from sdk_readers import chat_answer, messages_answer

from providers.faults import CLIENT_FAULTS, PROVIDER_FAILURES, RETRYABLE, Fault, FaultKind
from providers.protocols.anthropic import faults as messages
from providers.protocols.openai_chat import faults as chat

NOW = 0.0


def error(message: str = "x", **more: Any) -> Any:
    return {"error": {"message": message} | more}


CHAT: list[tuple[int, Any, FaultKind]] = [
    (400, error(), FaultKind.INVALID),
    (400, error(code="context_length_exceeded"), FaultKind.CONTEXT),
    (400, error("This model's maximum context length is 8192 tokens"), FaultKind.CONTEXT),
    (400, error("Please reduce the length of the messages or completion."), FaultKind.CONTEXT),
    (400, error(code="tool_use_failed", failed_generation="<f>"), FaultKind.TOOL_FORMAT),
    (400, error("property 'store' is unsupported"), FaultKind.UNSUPPORTED),
    (400, error("Unsupported parameter", code="unsupported_parameter"), FaultKind.UNSUPPORTED),
    (422, {"message": "frequency_penalty is not supported", "code": "x"}, FaultKind.UNSUPPORTED),
    (401, error(code="invalid_api_key"), FaultKind.AUTH),
    (402, {"message": "pay", "type": "payment_required"}, FaultKind.BILLING),
    (429, error(code="insufficient_quota"), FaultKind.BILLING),
    (403, error(), FaultKind.PERMISSION),
    (404, error(code="model_not_found"), FaultKind.NOT_FOUND),
    (400, error(code="model_decommissioned"), FaultKind.NOT_FOUND),
    (413, error("Request too large on tokens per minute (TPM): Limit 6000"), FaultKind.TOO_LARGE),
    (
        413,
        error("tokens per minute (TPM): reduce the length of the messages", type="tokens"),
        FaultKind.TOO_LARGE,
    ),
    (413, error("Please reduce the length of the messages"), FaultKind.CONTEXT),
    (429, error(code="rate_limit_exceeded"), FaultKind.RATE_LIMIT),
    (429, error("on tokens per day (TPD)", code="rate_limit_exceeded"), FaultKind.QUOTA),
    (429, {"message": "high traffic", "code": "queue_exceeded"}, FaultKind.OVERLOADED),
    (429, {"success": False, "errors": [{"code": 3036, "message": "used"}]}, FaultKind.QUOTA),
    (429, {"success": False, "errors": [{"code": 3040, "message": "cap"}]}, FaultKind.OVERLOADED),
    (408, {"success": False, "errors": [{"code": 3007, "message": "slow"}]}, FaultKind.TIMEOUT),
    (413, {"success": False, "errors": [{"code": 3006, "message": "big"}]}, FaultKind.TOO_LARGE),
    (500, {"success": False, "errors": []}, FaultKind.SERVER),
    (500, {"error": "boom"}, FaultKind.SERVER),
    (422, {"detail": [{"loc": ["body"]}]}, FaultKind.INVALID),
    (498, error(), FaultKind.OVERLOADED),
    (503, error(), FaultKind.OVERLOADED),
    (504, None, FaultKind.TIMEOUT),
    (502, "<html>", FaultKind.SERVER),
    (418, {}, FaultKind.INVALID),
]


@pytest.mark.parametrize(("status", "body", "kind"), CHAT)
def test_chat_dialects(status: int, body: Any, kind: FaultKind) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fault = chat.read_fault(status, [(b"retry-after", b"3")], raw, NOW)

    assert (fault.kind, fault.status, fault.retry_after_s) == (kind, status, 3)
    assert fault.message


@pytest.mark.parametrize(
    "body", [{"choices": []}, {"error": None}, {"success": True, "errors": []}, [], None, {}]
)
def test_no_fault_is_seen_where_there_is_none(body: Any) -> None:
    assert chat.fault_in(body) is None


def test_the_field_and_the_code_are_kept() -> None:
    body = json.dumps(error("bad", code="c", param="tools")).encode()
    fault = chat.read_fault(400, [], body, NOW)

    assert (fault.message, fault.code, fault.param, fault.retry_after_s) == (
        "bad",
        "c",
        "tools",
        None,
    )


MESSAGES: list[tuple[int, Any, FaultKind]] = [
    (400, error(type="invalid_request_error"), FaultKind.INVALID),
    (
        400,
        error("prompt is too long: 2 tokens > 1 maximum", type="invalid_request_error"),
        FaultKind.CONTEXT,
    ),
    (401, error(type="authentication_error"), FaultKind.AUTH),
    (402, error(type="billing_error"), FaultKind.BILLING),
    (
        429,
        error(type="rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
        FaultKind.BILLING,
    ),
    (403, error(type="permission_error"), FaultKind.PERMISSION),
    (404, error(type="not_found_error"), FaultKind.NOT_FOUND),
    (413, error(type="request_too_large"), FaultKind.TOO_LARGE),
    (429, error(type="rate_limit_error"), FaultKind.RATE_LIMIT),
    (529, error(type="overloaded_error"), FaultKind.OVERLOADED),
    (529, "busy", FaultKind.OVERLOADED),
    (500, error(type="api_error"), FaultKind.SERVER),
    (502, "<html>", FaultKind.SERVER),
    (504, {}, FaultKind.TIMEOUT),
]


@pytest.mark.parametrize(("status", "body", "kind"), MESSAGES)
def test_messages_errors(status: int, body: Any, kind: FaultKind) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    assert messages.read_fault(status, [], raw, NOW).kind is kind


CLIENT: dict[FaultKind, tuple[int, str, str]] = {
    FaultKind.INVALID: (400, "invalid_request_error", "invalid_request_error"),
    FaultKind.UNSUPPORTED: (400, "invalid_request_error", "invalid_request_error"),
    FaultKind.CONTEXT: (400, "invalid_request_error", "invalid_request_error"),
    FaultKind.TOO_LARGE: (413, "request_too_large", "invalid_request_error"),
    FaultKind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_error"),
    FaultKind.QUOTA: (429, "rate_limit_error", "insufficient_quota"),
    FaultKind.TIMEOUT: (504, "timeout_error", "server_error"),
}


@pytest.mark.parametrize("kind", FaultKind)
def test_what_clients_get(kind: FaultKind) -> None:
    fault = Fault(kind, "boom", retry_after_s=2)
    with pytest.raises(anthropic.APIStatusError, match="boom") as messages_error:
        messages_answer(*_status_and_body(messages.write_fault(fault, "req_1")))
    with pytest.raises(openai.APIStatusError, match="boom") as chat_error:
        chat_answer(*_status_and_body(chat.write_fault(fault, "req_1")))

    default = (502, "api_error", "server_error")
    if kind is not FaultKind.OVERLOADED:
        status, messages_type, chat_type = CLIENT.get(kind, default)
        assert messages_error.value.status_code == chat_error.value.status_code == status
        assert messages_error.value.type == messages_type
        assert chat_error.value.type == chat_type


def _status_and_body(written: tuple[int, Any, bytes]) -> tuple[int, bytes]:
    return written[0], written[2]


def test_an_overloaded_provider() -> None:
    fault = Fault(FaultKind.OVERLOADED, "busy")

    assert messages.write_fault(fault, None)[0] == 529
    assert chat.write_fault(fault, None)[0] == 503


def test_a_full_window_is_said_in_the_words_the_clients_look_for() -> None:
    fault = Fault(FaultKind.CONTEXT, "131072 tokens at most")
    _, _, said = messages.write_fault(fault, None)
    _, _, other = chat.write_fault(fault, None)

    assert json.loads(said)["error"]["message"] == "prompt is too long: 131072 tokens at most"
    assert json.loads(other)["error"]["code"] == "context_length_exceeded"


def test_a_refused_key_of_ours_is_never_the_clients_401() -> None:
    for kind in (FaultKind.AUTH, FaultKind.PERMISSION, FaultKind.BILLING, FaultKind.NOT_FOUND):
        fault = Fault(kind, "no", status=401)
        assert messages.write_fault(fault, None)[0] == chat.write_fault(fault, None)[0] == 502


def test_every_kind_has_one_consequence() -> None:
    assert not CLIENT_FAULTS & RETRYABLE
    assert PROVIDER_FAILURES <= RETRYABLE
    assert FaultKind.RATE_LIMIT not in PROVIDER_FAILURES
