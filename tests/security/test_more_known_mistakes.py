"""More of what other gateways got wrong, by the number of the published weakness."""

from __future__ import annotations

import json
from pathlib import Path

from live_gateway import HELLO, KEY, live_gateway
from scripted_upstream import ScriptedUpstream, respond, sse
from security_probe import canary
from vendor_replies import Reply, error_body, stream

from providers.types import Protocol
from server.http import routes
from server.redact import Redactor

WELL = sse([stream(Protocol.MESSAGES, Reply("Hello."))])
NOBODY: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer ")],
    [(b"authorization", b"Bearer null")],
    [(b"authorization", b"Bearer undefined")],
    [(b"authorization", b"Basic Og==")],
    [(b"authorization", KEY.encode()[:-1])],
    [(b"authorization", b"Digest " + KEY.encode())],
    [(b"x-api-key", b"")],
    [(b"x-api-key", b"null")],
    [(b"x-sbgw-key", b"")],
    [(b"api-key", KEY.encode())],
    [(b"cookie", b"x-api-key=" + KEY.encode())],
    [(b"x-forwarded-user", b"admin"), (b"x-real-ip", b"127.0.0.1")],
]


async def test_cve_2026_59822_nobody_is_let_in_by_default(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(WELL) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for fields in NOBODY:
            for target in ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses"):
                got = await gateway.ask(target=target, headers=fields, key=None)
                assert got.status in (401, 429), (target, fields)
        for path, methods in routes._TABLE.items():
            if "GET" in methods and not routes.is_open("GET", path):
                got = await gateway.get(path.decode(), key=None)
                assert got.status in (401, 429), path
    assert upstream.requests == []


async def test_cve_2026_35029_no_request_changes_where_a_provider_is(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with (
        canary() as elsewhere,
        ScriptedUpstream(WELL) as upstream,
        live_gateway(home, upstream.base_url) as gateway,
    ):
        before = (home / "config.toml").read_bytes()
        moved = {"anthropic": {"base_url": elsewhere.url, "api_key_env": "OTHER"}}
        for body in (
            {"providers": moved},
            {"routes": {"title": ["anthropic"]}, "providers": moved},
            {"server": {"host": "0.0.0.0", "port": 1}},  # The bind is what must not happen.
            {"routing": {"providers": moved}},
            {"base_url": elsewhere.url},
        ):
            for key in (None, KEY):
                got = await gateway.ask("PUT", "/routing", body=body, key=key)
                assert got.status in ((400,) if key else (401, 429)), (body, got.body)
        assert (await gateway.ask()).status == 200
        assert (home / "config.toml").read_bytes() == before
        assert elsewhere.hits == 0
    assert len(upstream.requests) == 1


TEMPLATES = [
    "{{7*7}}",
    "${7*7}",
    "{% print(7*7) %}",
    "#{7*7}",
    "%(key)s %s %n",
    "{0.__class__.__mro__}",
    "{self}",
    "$(id)",
    "`id`",
    "__import__('os')",
]


async def test_cve_2026_42203_words_are_never_a_template(tmp_path: Path) -> None:
    refused = respond(
        400,
        [(b"content-type", b"application/json")],
        error_body(Protocol.MESSAGES, "invalid_request_error", " ".join(TEMPLATES)),
    )
    async with (
        ScriptedUpstream(refused) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for text in TEMPLATES:
            fields = [(b"x-sbgw-label", text.encode()), (b"x-sbgw-project", text.encode())]
            sent = HELLO | {"model": text, "messages": [{"role": "user", "content": text}]}
            got = await gateway.ask(body=sent, headers=fields)
            assert got.status == 400
            assert json.loads(upstream.requests[-1].body) == sent
        turns = await gateway.turns(len(TEMPLATES))
    assert [turn["model_asked"] for turn in turns] == TEMPLATES
    assert [turn["label"] for turn in turns] == TEMPLATES
    assert {turn["error_message"] for turn in turns} == {" ".join(TEMPLATES)}


def test_cve_2024_9606_a_mask_shows_no_part_of_a_key() -> None:
    for key in ("sk-ant-api03-abcdefghijklmnop-QRSTUVWXYZ", "gsk_abcdefghijklmnopqrstuvwx"):
        for redact in (Redactor(), Redactor([key])):
            shown = redact(f"key is {key}.")
            parts = [key[n : n + 5] for n in range(len(key) - 4)]
            assert [part for part in parts if part in shown] == [], shown
