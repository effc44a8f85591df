"""A ChatGPT login: it has a backend of its own, and nobody else gets to see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard
from chatgpt_login import ACCOUNT, login_headers
from live_gateway import KEY, Answer, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond, sse
from vendor_replies import JSON_TYPE, Reply, stream, whole

from providers.types import Headers, Protocol

R, C = Protocol.RESPONSES, Protocol.CHAT
REPLY = Reply("Hello from the backend.")
ASKED = {"model": "gpt-5.5", "input": "hi", "store": False, "stream": True}
GATEWAY_KEY: Headers = [(b"x-sbgw-key", KEY.encode())]


@dataclass(slots=True)
class World:
    """A gateway between a login and the vendor's two addresses, and one other company."""

    gateway: LiveGateway
    api: ScriptedUpstream
    backend: ScriptedUpstream
    other: ScriptedUpstream

    async def ask(
        self, headers: Headers | None = None, body: bytes | dict[str, Any] = ASKED
    ) -> Answer:
        return await self.gateway.ask(
            target="/v1/responses",
            body=body,
            headers=GATEWAY_KEY + (login_headers() if headers is None else headers),
            key=None,
        )


@asynccontextmanager
async def world(home: Path, settings: str = "", openai: str = "") -> AsyncIterator[World]:
    answer = sse([stream(R, REPLY)])
    async with (
        ScriptedUpstream(answer) as api,
        ScriptedUpstream(answer) as backend,
        ScriptedUpstream(respond(200, JSON_TYPE, whole(C, REPLY))) as other,
        live_gateway(
            home,
            other.base_url,
            env={"OPENAI_API_KEY": "sk-ours", "GROQ_API_KEY": "gsk", "MINE": "sk-mine"},
            settings=(
                f'[providers.openai]\nbase_url = "{api.base_url}"\n'
                f'login_base_url = "{backend.base_url}/backend"\n{openai}'
                f'[providers.groq]\nbase_url = "{other.base_url}"\n{settings}'
            ),
        ) as gateway,
    ):
        yield World(gateway, api, backend, other)


async def test_it_goes_to_its_own_backend_byte_for_byte(tmp_path: Path) -> None:
    packed = zstandard.ZstdCompressor().compress(json.dumps(ASKED).encode())
    sent = [*login_headers(), (b"content-encoding", b"zstd"), (b"originator", b"codex_exec")]
    async with world(tmp_path / "h") as at:
        got = await at.ask(sent, packed)
        turn = await at.gateway.turn()
    assert (got.status, got.body) == (200, stream(R, REPLY))
    (request,) = at.backend.requests
    assert request.target == b"/backend/responses"
    assert request.body == packed
    for name, value in sent:
        assert request.header(name) == value
    assert b"x-sbgw" not in request.head.lower()
    assert at.api.requests == at.other.requests == []
    # Our own key was there to be used, and was not: who pays never changes silently.
    assert (turn["payer"], turn["list_price_equivalent"]) == ("login", True)
    assert (turn["provider"], turn["model_asked"], turn["kind"]) == ("openai", "gpt-5.5", "app")


async def test_a_key_goes_to_the_api(tmp_path: Path) -> None:
    key = (b"authorization", b"Bearer sk-proj-own")
    async with world(tmp_path / "h") as at:
        await at.ask([key])
        await at.ask([])
        turns = await at.gateway.turns(2)
    assert at.backend.requests == []
    assert [r.header(b"authorization") for r in at.api.requests] == [key[1], b"Bearer sk-ours"]
    assert [turn["payer"] for turn in turns] == ["client key", "gateway key"]


async def test_whose_login_it_is_stays_with_the_login(tmp_path: Path) -> None:
    async with world(tmp_path / "h", openai='credentials = "key"\n') as at:
        await at.ask()
        turn = await at.gateway.turn()
    (request,) = at.api.requests
    assert request.header(b"authorization") == b"Bearer sk-ours"
    assert ACCOUNT not in request.head
    assert turn["payer"] == "gateway key"


async def test_another_company_that_speaks_the_protocol_learns_nothing(tmp_path: Path) -> None:
    async with ScriptedUpstream(sse([stream(R, REPLY)])) as mine:
        settings = (
            f'[providers.mine]\nkind = "openai-responses"\nbase_url = "{mine.base_url}"\n'
            'api_key_env = "MINE"\n[routing.baseline]\nresponses = ["mine"]\n'
        )
        async with world(tmp_path / "h", settings) as at:
            assert (await at.ask()).status == 200
    (request,) = mine.requests
    assert request.header(b"authorization") == b"Bearer sk-mine"
    assert ACCOUNT not in request.head
    assert at.backend.requests == at.api.requests == []


async def test_nor_does_one_that_speaks_another(tmp_path: Path) -> None:
    settings = '[routing.baseline]\nresponses = ["groq"]\n'
    async with world(tmp_path / "h", settings) as at:
        assert (await at.ask(body=ASKED | {"stream": False})).status == 200
    (request,) = at.other.requests
    assert request.header(b"authorization") == b"Bearer gsk"
    assert ACCOUNT not in request.head
    assert b"eyJ" not in request.head


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "token_expired"), (403, "forbidden"), (429, "usage_limit_reached")]
)
async def test_its_errors_are_the_backends_own(tmp_path: Path, status: int, kind: str) -> None:
    error = {"error": {"type": kind, "message": "say when", "resets_in_seconds": 77}}
    body = json.dumps(error).encode() + b"\n"
    fields = [*JSON_TYPE, (b"x-codex-primary-used-percent", b"100")]
    async with world(tmp_path / "h") as at:
        at.backend.route = lambda _: respond(status, fields, body)
        got = await at.ask()
        await at.ask()
        again = await at.ask([])
    assert (got.status, got.body) == (status, body)
    assert got.header("x-codex-primary-used-percent") == "100"
    # Its trouble is its owner's: those who pay otherwise are served on.
    assert len(at.backend.requests) == 2
    assert again.status == 200


async def test_its_list_of_models_comes_unchanged(tmp_path: Path) -> None:
    catalogue = b'{"models": [{"slug": "gpt-6.1-sol", "unknown": [1.0]}]}\n'
    agent = (b"user-agent", b"codex_cli_rs/0.169.0 (Debian)")
    async with world(tmp_path / "h") as at:
        at.backend.route = lambda _: respond(200, [*JSON_TYPE, (b"etag", b'W/"1"')], catalogue)
        got = await at.gateway.get(
            "/v1/models?client_version=0.169.0",
            headers=[*GATEWAY_KEY, *login_headers(), agent],
            key=None,
        )
    assert (got.status, got.body, got.header("etag")) == (200, catalogue, 'W/"1"')
    (request,) = at.backend.requests
    assert request.target == b"/backend/models?client_version=0.169.0"
    assert request.header(b"chatgpt-account-id") == ACCOUNT
    assert at.api.requests == []
