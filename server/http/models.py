"""``GET /v1/models``: the vendor's list, in one object that every kind of client can read."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec

from providers.coding import BadCoding, decode_body
from providers.errors import UpstreamError
from providers.types import Headers, Protocol
from providers.upstream import Upstream
from server.credentials import NO_CREDENTIAL, choose
from server.exchange import Inbound, Sink
from server.headers import first, to_client, to_upstream
from server.http.errors import HttpError
from server.services import Services

_TIMEOUT_S = 2.5
"""Claude Code gives its model discovery three seconds."""
_MAX_BYTES = 8 * 1024 * 1024


class ModelsEndpoint:
    """Serves the list and single models from the Messages baseline."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def serve(self, inbound: Inbound, sink: Sink) -> None:
        """Answer with the union object, or with the vendor's error unchanged."""
        upstream, credential = self._upstream(inbound)
        headers = to_upstream(inbound.headers, credential)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                response = await upstream.send(b"GET", inbound.path, inbound.query, headers, b"")
                try:
                    body = await response.read_all(_MAX_BYTES)
                finally:
                    await response.aclose()
        except (UpstreamError, TimeoutError) as error:
            text = str(error) or "it did not answer in time"
            raise HttpError(503, "api_error", f"{upstream.name}: {text}") from error
        if 300 <= response.status < 400:
            text = f"{upstream.name} answered with a redirect, which is not followed"
            raise HttpError(502, "api_error", text)
        if response.status == 200:
            coding = first(response.headers, b"content-encoding")
            if (union := _union(body, coding)) is not None:
                await sink.respond(200, [(b"content-type", b"application/json")], union)
                return
        await sink.respond(response.status, to_client(response.headers), body)

    def _upstream(self, inbound: Inbound) -> tuple[Upstream, Headers]:
        services = self._services
        missing: Upstream | None = None
        for entry in services.settings.routing.baseline.messages:
            upstream = services.upstreams.get(entry.provider)
            if upstream is None or upstream.protocol is not Protocol.MESSAGES:
                continue
            credential = choose(
                inbound.access,
                inbound.headers,
                mode=upstream.credentials,
                own=upstream.own_credential,
            )
            if credential is not None:
                return upstream, credential.headers
            missing = missing or upstream
        name = missing.name if missing else "anthropic"
        env = (missing.api_key_env if missing else None) or "its API key"
        text = NO_CREDENTIAL.format(provider=name, env=env, env_file=services.env_file)
        raise HttpError(401, "authentication_error", text, reason="no_credential")


def _union(body: bytes, coding: str | None) -> bytes | None:
    """Anthropic's list with OpenAI's and Codex's fields beside its own, ``None`` if unreadable.

    Anthropic reads ``data[].type/display_name``, ``has_more``; OpenAI ``object``,
    ``data[].object/created/owned_by``; Codex ``models[].slug/display_name``.
    """
    try:
        answer = msgspec.json.decode(decode_body(body, coding, _MAX_BYTES))
    except (msgspec.DecodeError, BadCoding):
        return None
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    if isinstance(data, list):
        entries = [_entry(item) for item in data if isinstance(item, dict)]
        codex = [
            {"slug": e.get("id"), "display_name": e.get("display_name") or e.get("id")}
            for e in entries
        ]
        return msgspec.json.encode(answer | {"object": "list", "data": entries, "models": codex})
    return msgspec.json.encode(_entry(answer)) if "id" in answer else None


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "object": "model",
        "created": _epoch(item.get("created_at")),
        "owned_by": "anthropic",
    }


def _epoch(value: object) -> int:
    try:
        return int(datetime.fromisoformat(str(value)).timestamp())
    except ValueError:
        return 0
