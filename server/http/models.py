"""``GET /v1/models``: the vendor's list, in one object that every kind of client can read.

Which vendor is told by the caller's headers. What routes may name besides (``provider/model``,
where we have the key) follows after the vendor's own models; a vendor that does not answer takes
nobody else's entries with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from providers.coding import BadCoding, decode_body
from providers.errors import UpstreamError
from providers.types import Headers, Protocol
from server.classify import client_facts
from server.credentials import NO_CREDENTIAL, Credential
from server.exchange import Inbound, Sink
from server.headers import first, to_client
from server.http.errors import HttpError
from server.planning import Planner
from server.probe import fetch_models
from server.services import Services
from server.settings_types import RouteEntry

_TIMEOUT_S = 2.5
"""Claude Code gives its model discovery three seconds."""
_MAX_BYTES = 8 * 1024 * 1024
_PATH = b"/v1/models"
_NO_DATE = "1970-01-01T00:00:00Z"
"""What Anthropic's list gives for a model whose release date is not known."""


@dataclass(frozen=True, slots=True)
class _Vendor:
    """Who is asked for the list, and as whom."""

    name: str
    credential: Credential
    is_native: bool
    """Whether the caller speaks this provider's protocol, so that its fields are for it."""


@dataclass(frozen=True, slots=True)
class _Got:
    """A vendor's answer."""

    status: int
    headers: Headers
    raw: bytes
    body: bytes
    """``raw`` without its content coding."""


class ModelsEndpoint:
    """Serves the list and single models."""

    def __init__(self, services: Services, planner: Planner) -> None:
        self._services = services
        self._planner = planner

    async def serve(self, inbound: Inbound, sink: Sink) -> None:
        """Answer with the union object, or with the vendor's error unchanged."""
        model = unquote(inbound.path[len(_PATH) + 1 :].decode("latin-1"))
        if "/" in model:
            await self._one_of_ours(model, sink)
            return
        vendor = self._vendor(_protocols(inbound), inbound)
        is_backwards = _asks_for(inbound, "before_id")
        more = [] if model or is_backwards else list(self._listed(vendor))
        # In the middle of a list, a failure must not look like its end.
        stand_in = [] if _asks_for(inbound, "after_id") else more
        try:
            if vendor is None:
                raise self._no_credential(inbound)
            got = await self._ask(vendor, inbound)
        except HttpError:
            if not stand_in:
                raise
            await _respond(sink, _union({"data": []}, "", stand_in))
            return
        owner = vendor.name
        union = _read_union(got.body, owner, more) if got.status == 200 else None
        if union is None and stand_in:
            union = _union({"data": []}, owner, stand_in)
        if union is not None:
            await _respond(sink, union)
            return
        await sink.respond(got.status, to_client(got.headers), got.raw)

    async def _one_of_ours(self, model: str, sink: Sink) -> None:
        for entry in self._listed(None):
            if entry["id"] == model:
                await _respond(sink, entry)
                return
        raise HttpError(404, "not_found_error", "no route names this model, or its key is missing")

    # ------------------------------------------------------------------ the vendor

    def _vendor(self, protocols: tuple[Protocol, ...], inbound: Inbound) -> _Vendor | None:
        """The first baseline entry with a credential, of the first protocol that has one."""
        settings = self._services.settings
        for protocol in protocols:
            for entry in settings.routing.baseline_of(protocol):
                if entry.provider not in self._services.upstreams:
                    continue
                credential = self._planner.credential(
                    protocol, inbound.access, inbound.headers, entry.provider
                )
                if credential is not None:
                    spoken = settings.provider(entry.provider).protocols
                    return _Vendor(entry.provider, credential, protocol in spoken)
        return None

    def _no_credential(self, inbound: Inbound) -> HttpError:
        protocol = _protocols(inbound)[0]
        entries = self._services.settings.routing.baseline_of(protocol)
        known = [e.provider for e in entries if e.provider in self._services.upstreams]
        name = known[0] if known else "anthropic"
        upstream = self._services.upstreams.get(name)
        env = (upstream.api_key_env if upstream else None) or "its API key"
        said = NO_CREDENTIAL.format(provider=name, env=env, env_file=self._services.env_file)
        return HttpError(401, "authentication_error", said, reason="no_credential")

    async def _ask(self, vendor: _Vendor, inbound: Inbound) -> _Got:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                got = await self._fetch(vendor, inbound)
        except (UpstreamError, TimeoutError) as error:
            said = str(error) or "it did not answer in time"
            raise HttpError(503, "api_error", f"{vendor.name}: {said}") from error
        if 300 <= got.status < 400:
            said = f"{vendor.name} answered with a redirect, which is not followed"
            raise HttpError(502, "api_error", said)
        return got

    async def _fetch(self, vendor: _Vendor, inbound: Inbound) -> _Got:
        upstream = self._services.upstreams[vendor.name]
        provider = self._services.settings.provider(vendor.name)
        if not vendor.is_native:
            one = inbound.path[len(_PATH) :]
            status, body = await fetch_models(upstream, provider, vendor.credential.headers, one)
            return _Got(status, [(b"content-type", b"application/json")], body, body)
        path = inbound.path
        if provider.protocol is not Protocol.MESSAGES:
            path = path.removeprefix(b"/v1")
        headers = vendor.credential.dress(inbound.headers)
        have = {name.lower() for name, _ in headers}
        for name, value in provider.headers_if_missing.items():
            if name.encode() not in have:
                headers.append((name.encode(), value.encode()))
        upstream = upstream.paid_by(vendor.credential.payer)
        response = await upstream.send(b"GET", path, inbound.query, headers, b"")
        try:
            raw = await response.read_all(_MAX_BYTES)
        finally:
            await response.aclose()
        try:
            coding = first(response.headers, b"content-encoding")
            body = decode_body(raw, coding, _MAX_BYTES)
        except BadCoding:
            body = b""
        return _Got(response.status, response.headers, raw, body)

    # ------------------------------------------------------------------ what routes name

    def _listed(self, vendor: _Vendor | None) -> Iterator[dict[str, Any]]:
        """Entries for the models of routes whose key we have, each once.

        The vendor's own are left out: its list has them, under the names it takes.
        """
        seen = set()
        for provider, model in self._named():
            upstream = self._services.upstreams.get(provider)
            if upstream is None or upstream.own_credential is None:
                continue
            if vendor is not None and provider == vendor.name:
                continue
            if (provider, model) not in seen:
                seen.add((provider, model))
                yield _entry({"id": f"{provider}/{model}"}, provider)

    def _named(self) -> Iterator[tuple[str, str]]:
        settings = self._services.settings
        for entry in self._entries():
            if entry.is_baseline or entry.provider not in settings.providers:
                continue
            provider = settings.provider(entry.provider)
            model = entry.model or provider.model or provider.translated_model
            if model is not None:
                yield entry.provider, model

    def _entries(self) -> Iterator[RouteEntry]:
        routing = self._services.settings.routing
        if routing.shadow:
            # Nothing leaves its vendor in shadow, so nothing else is offered either.
            return
        for _, entries in routing.routes:
            yield from entries
        for entries in routing.kinds.values():
            yield from entries


_ANTHROPIC = (Protocol.MESSAGES,)
_OPENAI = (Protocol.RESPONSES, Protocol.CHAT)
_CLIENTS = {
    "claude-code": _ANTHROPIC,
    "anthropic-sdk": _ANTHROPIC,
    "codex": _OPENAI,
    "openai-sdk": _OPENAI,
}


def _protocols(inbound: Inbound) -> tuple[Protocol, ...]:
    """The protocols the caller speaks, by its headers; where they do not tell, Anthropic's.

    A credential of the caller's own must never come to the other vendor, so a bare
    ``Authorization`` counts as OpenAI's only if it was the gateway key or looks like theirs.
    """
    headers = inbound.headers
    if any(first(headers, name) is not None for name in (b"anthropic-version", b"x-api-key")):
        return _ANTHROPIC
    known = _CLIENTS.get(client_facts(headers, inbound.path.decode("latin-1")).client)
    if known is not None:
        return known
    if first(headers, b"authorization") is None:
        return _ANTHROPIC
    own = inbound.access.client_secrets
    is_theirs = all(token.startswith("sk-") and token[:7] != "sk-ant-" for token in own)
    return _OPENAI if is_theirs else _ANTHROPIC


def _asks_for(inbound: Inbound, name: str) -> bool:
    return name in parse_qs(inbound.query.decode("latin-1"), keep_blank_values=True)


async def _respond(sink: Sink, body: object) -> None:
    await sink.respond(200, [(b"content-type", b"application/json")], msgspec.json.encode(body))


def _read_union(body: bytes, owner: str, more: list[dict[str, Any]]) -> Any:
    """A vendor's list or model with the fields of all readers, ``None`` if unreadable."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    if isinstance(answer.get("data"), list):
        return _union(answer, owner, more)
    return _entry(answer, owner) if "id" in answer else None


def _union(answer: dict[str, Any], owner: str, more: list[dict[str, Any]]) -> dict[str, Any]:
    """The list with OpenAI's, Anthropic's and Codex's fields side by side.

    Anthropic reads ``data[].type/display_name/created_at``, ``has_more``, ``first_id``,
    ``last_id``; OpenAI ``object``, ``data[].object/created/owned_by``; Codex
    ``models[].slug/display_name``.
    """
    own = [_entry(item, owner) for item in answer["data"] if isinstance(item, dict)]
    # A page that is followed by others must end with the id that they go on from.
    entries = own if answer.get("has_more") else [*own, *more]
    ids = [entry.get("id") for entry in entries]
    return answer | {
        "object": "list",
        "data": entries,
        "models": [
            {"slug": e.get("id"), "display_name": e["display_name"] or e.get("id")} for e in entries
        ],
        "has_more": bool(answer.get("has_more")),
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }


def _entry(item: dict[str, Any], owner: str) -> dict[str, Any]:
    created_at, created = item.get("created_at"), item.get("created")
    if not isinstance(created_at, str):
        created_at = _date(created)
    if not isinstance(created, int):
        created = _epoch(created_at)
    return (
        {"owned_by": owner, "display_name": item.get("id")}
        | item
        | {
            "type": "model",
            "object": "model",
            "created": created,
            "created_at": created_at,
        }
    )


def _date(created: object) -> str:
    if not isinstance(created, int | float) or isinstance(created, bool):
        return _NO_DATE
    try:
        return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return _NO_DATE


def _epoch(value: str) -> int:
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except ValueError:
        return 0
