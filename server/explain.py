"""What the gateway would make of one request, without sending it anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from providers.protocols import peek
from providers.protocols.anthropic import request as anthropic
from providers.protocols.openai_chat import request as chat
from providers.protocols.openai_responses import request as responses
from providers.protocols.peek import BadRequest
from providers.types import Protocol
from server.classify import AnyRequest, ClientFacts, Intent, classify

Decide = Callable[[Protocol, str, str, bool], Mapping[str, Any]]
"""``(protocol, route, kind, offload) -> {"provider", "model", ...}``; no model: the one asked for."""

_BASELINES = {Protocol.MESSAGES: "anthropic", Protocol.RESPONSES: "openai", Protocol.CHAT: "openai"}


def read_as(protocol: Protocol, body: bytes) -> AnyRequest:
    """Read a body of a known protocol; raises ``BadRequest``."""
    if protocol is Protocol.MESSAGES:
        return anthropic.read_request(body)
    if protocol is Protocol.RESPONSES:
        return responses.read_request(body)
    return chat.read_request(body)


def explain(
    payload: bytes | str | Mapping[str, Any],
    decide: Decide | None = None,
    facts: ClientFacts | None = None,
) -> dict[str, Any]:
    """Answer ``POST /v1/route/explain``.

    ``payload`` is ``{"request": body, "protocol": name}`` or a bare body, whose protocol is then
    told by its shape. Without ``decide`` everything goes to the protocol's own vendor. The answer has the keys ``route kind offload confidence confidenceLevel
    reasons decision estimatedInputTokens`` and ``protocol estimates features``. Raises
    ``BadRequest`` when the request cannot be read or the protocol is not one of ours.
    """
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "replace")
    body = payload if isinstance(payload, bytes) else _encode(payload)
    body, protocol = _unwrap(body)
    request = read_as(protocol, body)
    intent = classify(request, facts)
    return {
        "route": intent.route,
        "kind": intent.kind,
        "offload": intent.offload,
        "confidence": intent.confidence,
        "confidenceLevel": intent.confidence_level,
        "reasons": list(intent.reasons),
        "decision": _decision(intent, protocol, request.model, decide),
        "estimatedInputTokens": sum(intent.estimates.values()),
        "protocol": protocol.value,
        "estimates": dict(intent.estimates),
        "features": dict(intent.features),
    }


def _decision(
    intent: Intent, protocol: Protocol, model: str, decide: Decide | None
) -> dict[str, Any]:
    if decide is None:
        decision: dict[str, Any] = {"provider": _BASELINES[protocol], "model": model}
    else:
        decision = dict(decide(protocol, intent.route, intent.kind, intent.offload))
        if decision.get("model") is None:
            decision["model"] = model
    if intent.pinned_by is not None:
        decision["pinnedBy"] = intent.pinned_by
    return decision


def _encode(payload: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest("The request cannot be written as JSON.") from error


def _unwrap(body: bytes) -> tuple[bytes, Protocol]:
    fields = peek.read_object(body)
    wrapped = fields.get("request")
    if wrapped is None or "model" in fields:
        return body, _guess(fields)
    if "protocol" not in fields:
        return bytes(wrapped), _guess(peek.read_fields(wrapped))
    name = peek.text_of(fields["protocol"]) or ""
    try:
        return bytes(wrapped), Protocol(name)
    except ValueError as error:
        known = ", ".join(f"'{protocol.value}'" for protocol in Protocol)
        raise BadRequest(f"The protocol must be one of {known}.", "protocol") from error


def _guess(fields: Mapping[str, Raw]) -> Protocol:
    """The protocol of a bare body: only Responses has ``input``, only Messages a top ``system``."""
    if "messages" not in fields:
        return Protocol.RESPONSES if "input" in fields or "prompt" in fields else Protocol.MESSAGES
    if _looks_like_chat(fields):
        return Protocol.CHAT
    return Protocol.MESSAGES


def _looks_like_chat(fields: Mapping[str, Raw]) -> bool:
    if any(name in fields for name in ("system", "thinking", "output_config")):
        return False
    if any(name in fields for name in ("max_completion_tokens", "response_format", "functions")):
        return True
    tools = peek.read_list(fields.get("tools")) or []
    if any("function" in peek.read_fields(tool) for tool in tools):
        return True
    messages = peek.read_list(fields.get("messages")) or []
    return any(
        peek.text_of(message.get("role")) in ("tool", "function", "developer")
        or "tool_calls" in message
        for message in map(peek.read_fields, messages)
    )
