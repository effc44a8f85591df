"""``GET /v1/models``: one list that every kind of client can read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from live_gateway import KEY, VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, hang, respond

JSON_TYPE = ((b"Content-Type", b"application/json"),)
OPUS = {
    "type": "model",
    "id": "claude-opus-5-5",
    "display_name": "Opus",
    "created_at": "2026-02-19T00:00:00Z",
}
GPT = {"id": "gpt-5.5", "object": "model", "created": 1_767_225_600, "owned_by": "openai"}
ROUTED = ["groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b"]
KEYS = {"GROQ_API_KEY": "gsk_x", "CEREBRAS_API_KEY": "csk-x", "OPENAI_API_KEY": "sk-o"}


def answer(value: Any, status: int = 200) -> Script:
    return respond(status, JSON_TYPE, json.dumps(value).encode())


def vendor(request: Request) -> Script:
    path = request.target.partition(b"?")[0]
    if path == b"/v1/models":
        page = {"data": [OPUS], "has_more": False, "first_id": "a", "last_id": "b"}
        return answer(page)
    if path == b"/v1/models/claude-opus-5-5":
        return answer(OPUS)
    if path == b"/openai/models":
        return answer({"object": "list", "data": [GPT]})
    if path == b"/openai/models/gpt-5.5":
        return answer(GPT)
    return answer({"type": "error", "error": {"type": "not_found_error", "message": "no"}}, 404)


def _live(settings: str) -> str:
    """``settings`` with shadow off: only then are entries of routes offered."""
    table = "[routing]\n"
    if table in settings:
        return settings.replace(table, f"{table}shadow = false\n")
    return f"{table}shadow = false\n{settings}"


@asynccontextmanager
async def world(
    home: Path, env: dict[str, str] | None = None, settings: str = ""
) -> AsyncIterator[tuple[LiveGateway, ScriptedUpstream]]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream(route=vendor))
        url = f'[providers.openai]\nbase_url = "{upstream.base_url}/openai"\n'
        gateway = await stack.enter_async_context(
            live_gateway(
                home,
                upstream.base_url,
                env=KEYS if env is None else env,
                settings=url + _live(settings),
            )
        )
        yield gateway, upstream


async def test_the_anthropic_sdk_reads_it(tmp_path: Path) -> None:
    async with (
        world(tmp_path / "h") as (gateway, upstream),
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
    ):
        models = [model async for model in client.models.list(limit=10)]
        one = await client.models.retrieve("claude-opus-5-5")
        routed = await client.models.retrieve("groq/openai/gpt-oss-120b")
    assert [model.id for model in models] == ["claude-opus-5-5", *ROUTED]
    assert (models[0].display_name, models[0].created_at.year) == ("Opus", 2026)
    assert models[1].created_at.year == 1970
    assert (one.id, routed.id) == ("claude-opus-5-5", ROUTED[0])
    assert [r.target for r in upstream.requests] == [
        b"/v1/models?limit=10",
        b"/v1/models/claude-opus-5-5",
    ]


async def test_the_openai_sdk_reads_its_own_vendors(tmp_path: Path) -> None:
    async with (
        world(tmp_path / "h") as (gateway, upstream),
        openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client,
    ):
        models = [model async for model in client.models.list()]
        one = await client.models.retrieve("gpt-5.5")
        routed = await client.models.retrieve("cerebras/gpt-oss-120b")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("cerebras/other")
    assert [model.id for model in models] == ["gpt-5.5", *ROUTED]
    assert (models[0].owned_by, models[0].created) == ("openai", 1_767_225_600)
    assert (models[1].owned_by, models[1].created) == ("groq", 0)
    assert (one.id, routed.id) == ("gpt-5.5", "cerebras/gpt-oss-120b")
    assert [r.target for r in upstream.requests] == [b"/openai/models", b"/openai/models/gpt-5.5"]
    assert upstream.requests[0].header(b"authorization") == b"Bearer sk-o"


async def test_an_openai_client_with_an_anthropic_key_gets_that_list(tmp_path: Path) -> None:
    async with (
        world(tmp_path / "h", env={}) as (gateway, upstream),
        openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client,
    ):
        models = [model async for model in client.models.list()]
        assert (await client.models.retrieve("claude-opus-5-5")).id == "claude-opus-5-5"
    assert [model.id for model in models] == ["claude-opus-5-5"]
    assert models[0].created == 1_771_459_200
    sent = upstream.requests[0]
    assert sent.header(b"x-api-key") == VENDOR_KEY.encode()
    assert sent.header(b"anthropic-version") == b"2023-06-01"
    assert sent.header(b"authorization") is None


async def test_codex_finds_its_fields(tmp_path: Path) -> None:
    agent = [(b"User-Agent", b"codex_cli_rs/0.169.0"), (b"Authorization", b"Bearer " + b"x")]
    agent[1] = (b"Authorization", f"Bearer {KEY}".encode())
    async with world(tmp_path / "h") as (gateway, _):
        got = (await gateway.get("/v1/models", headers=agent, key=None)).json
    assert [model["slug"] for model in got["models"]] == ["gpt-5.5", *ROUTED]
    assert all(model["display_name"] for model in got["models"])


async def test_a_credential_goes_to_its_own_vendor_only(tmp_path: Path) -> None:
    own = [(b"x-sbgw-key", KEY.encode())]
    logins = {
        b"Bearer sk-ant-oat01-mine": b"/v1/models",
        b"Bearer something": b"/v1/models",
        b"Bearer sk-proj-mine": b"/openai/models",
    }
    async with world(tmp_path / "h") as (gateway, upstream):
        for login in logins:
            fields = [*own, (b"Authorization", login)]
            assert (await gateway.get("/v1/models", headers=fields, key=None)).status == 200
    got = {r.header(b"authorization"): r.target for r in upstream.requests}
    assert got == logins


class TestPages:
    async def test_ours_come_once_after_the_last_page(self, tmp_path: Path) -> None:
        def pages(request: Request) -> Script:
            is_second = b"after_id=claude-a" in request.target
            name = "claude-b" if is_second else "claude-a"
            page = {"data": [OPUS | {"id": name}], "has_more": not is_second}
            return answer(page | {"first_id": name, "last_id": name})

        async with (
            world(tmp_path / "h") as (gateway, upstream),
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
        ):
            upstream.route = pages
            names = [model.id async for model in client.models.list(limit=1)]
        assert names == ["claude-a", "claude-b", *ROUTED]

    async def test_a_failure_in_the_middle_is_no_end(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as (gateway, upstream):
            upstream.route = lambda _: answer({"error": {"message": "x"}}, 500)
            assert (await gateway.get("/v1/models?after_id=a")).status == 500

    async def test_going_back_adds_nothing(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as (gateway, _):
            got = (await gateway.get("/v1/models?before_id=x")).json
        assert [model["id"] for model in got["data"]] == ["claude-opus-5-5"]


class TestTrouble:
    @pytest.mark.parametrize(
        "script",
        [
            answer({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529),
            respond(200, (), b"<html>"),
            respond(302, ((b"Location", b"http://other.example/"),), b""),
            respond(200, JSON_TYPE, b"[" * 100_000),
        ],
    )
    async def test_a_failing_vendor_takes_nobody_with_it(
        self, script: Script, tmp_path: Path
    ) -> None:
        async with world(tmp_path / "h") as (gateway, upstream):
            upstream.route = lambda _: script
            got = await gateway.get("/v1/models")
        assert got.status == 200
        assert [model["id"] for model in got.json["data"]] == ROUTED

    async def test_a_slow_vendor_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("server.http.models._TIMEOUT_S", 0.05)
        async with world(tmp_path / "h") as (gateway, upstream):
            upstream.route = lambda _: hang()
            got = await gateway.get("/v1/models")
        assert [model["id"] for model in got.json["data"]] == ROUTED

    async def test_with_nothing_else_the_vendors_error_is_passed_on(self, tmp_path: Path) -> None:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
        async with world(tmp_path / "h", env={}) as (gateway, upstream):
            upstream.route = lambda _: answer(error, 529)
            got = await gateway.get("/v1/models")
        assert (got.status, got.json) == (529, error)

    async def test_without_any_key_the_answer_names_it(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", env={"ANTHROPIC_API_KEY": ""}) as (gateway, _):
            got = await gateway.get("/v1/models")
        assert got.status == 401
        assert "ANTHROPIC_API_KEY" in got.json["error"]["message"]

    async def test_an_unknown_model_is_the_vendors_to_refuse(self, tmp_path: Path) -> None:
        async with (
            world(tmp_path / "h") as (gateway, _),
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0) as client,
        ):
            with pytest.raises(anthropic.NotFoundError):
                await client.models.retrieve("claude-nobody")

    async def test_entries_of_routes_without_a_key_are_not_shown(self, tmp_path: Path) -> None:
        table = '[routing.kinds]\ntitle = ["anthropic/claude-haiku-5-5", "cerebras/x"]\n'
        env = {"GROQ_API_KEY": "gsk_x"}
        async with (
            world(tmp_path / "h", env=env, settings=table) as (gateway, _),
            httpx.AsyncClient(base_url=gateway.url, headers={"x-api-key": KEY}) as client,
        ):
            got = (await client.get("/v1/models")).json()
        assert [model["id"] for model in got["data"]] == ["claude-opus-5-5", ROUTED[0]]
        assert (got["first_id"], got["last_id"]) == ("claude-opus-5-5", ROUTED[0])
