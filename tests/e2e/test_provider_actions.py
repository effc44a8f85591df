"""Reset, pause, resume and probe of providers, over HTTP and as commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import background_call, encode
from fake_clock import FakeClock
from live_gateway import VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, hang, pause, respond, steps

from server.config import Settings
from server.health import Cause
from server.probe import Outcome, Prober, models_of

JSON_TYPE = ((b"Content-Type", b"application/json"),)


def listing(*models: str) -> Script:
    body = {"object": "list", "data": [{"id": model, "object": "model"} for model in models]}
    return respond(200, JSON_TYPE, json.dumps(body).encode())


SERVED = listing("claude-sonnet-5-5-20260101", "openai/gpt-oss-120b", "gpt-oss-120b")


@asynccontextmanager
async def world(
    home: Path,
    script: Script = SERVED,
    *,
    env: dict[str, str] | None = None,
    settings: str = "",
) -> AsyncIterator[tuple[LiveGateway, ScriptedUpstream]]:
    """A gateway whose Anthropic and Groq are one scripted upstream; Cerebras has no key."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream(script))
        keys = {"GROQ_API_KEY": "gsk_x"} if env is None else env
        text = "".join(
            f'[providers.{name}]\nbase_url = "{upstream.base_url}/{name}/v1"\n'
            for name in ("groq", "cerebras", "openai")
        )
        gateway = await stack.enter_async_context(
            live_gateway(home, upstream.base_url, env=keys, settings=text + settings)
        )
        yield gateway, upstream


async def act(gateway: LiveGateway, name: str, action: str) -> Any:
    return await gateway.ask(target=f"/providers/{name}/{action}", body=b"")


class TestActions:
    async def test_a_paused_provider_is_passed_over_until_it_is_resumed(
        self, tmp_path: Path
    ) -> None:
        live = '[routing]\nshadow = false\n[routing.kinds]\ntitle = ["groq"]\n'
        agent = [(b"User-Agent", b"claude-cli/2.1.330 (external, cli)")]
        system = "You are naming a coding session. Answer with a short title."
        ask = encode(background_call(system, "<session>\nfix the parser\n</session>"))
        async with world(tmp_path / "h", respond(400, JSON_TYPE, b"{}"), settings=live) as (
            gateway,
            upstream,
        ):
            watcher = gateway.gateway.subscribe()
            paused = await act(gateway, "groq", "pause")
            assert (paused.status, paused.json["ok"]) == (200, True)
            assert paused.json["provider"]["paused"] is True
            told = [e for e in watcher.drain() if e["type"] == "provider.changed"]
            assert (told[0]["provider"]["name"], told[0]["provider"]["paused"]) == ("groq", True)
            await gateway.ask(headers=agent, body=ask)
            assert [r.target for r in upstream.requests] == [b"/v1/messages"]
            resumed = await act(gateway, "groq", "resume")
            assert resumed.json["provider"]["paused"] is False
            await gateway.ask(headers=agent, body=ask)
            assert upstream.requests[1].target == b"/groq/v1/chat/completions"

    async def test_a_reset_forgets_what_went_wrong(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as (gateway, _):
            health = gateway.gateway.health_book
            health.cool_down("groq", None, Cause.CONFIG)
            assert health.refuses("groq", "m") is not None
            watcher = gateway.gateway.subscribe()
            done = await act(gateway, "groq", "reset")
            assert health.refuses("groq", "m") is None
            assert done.json["ok"] is True
            assert done.json["provider"]["cooldown"] is None
            assert [e["type"] for e in watcher.drain()].count("provider.changed") == 1

    @pytest.mark.parametrize("action", ["reset", "pause", "resume", "probe"])
    async def test_an_unknown_name_is_a_404_with_the_nearest(
        self, action: str, tmp_path: Path
    ) -> None:
        async with world(tmp_path / "h") as (gateway, upstream):
            got = await act(gateway, "gorq", action)
            far = await act(gateway, "cloudflare", action)
            assert upstream.requests == []
        assert (got.status, got.json["error"]["type"]) == (404, "not_found_error")
        assert 'did you mean "groq"' in got.json["error"]["message"]
        assert far.status == 404
        assert "CLOUDFLARE_ACCOUNT_ID is not set" in far.json["error"]["message"]

    async def test_other_actions_and_methods_are_not_there(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as (gateway, _):
            assert (await act(gateway, "groq", "explode")).status == 404
            assert (await act(gateway, "gr%2Foq", "reset")).status == 404
            assert (await gateway.get("/providers/groq/reset")).status == 405

    async def test_they_are_commands_too(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as (gateway, _):
            engine = gateway.gateway
            assert (await engine.command("pause", provider="groq", source="me")).ok
            entry = next(p for p in (await engine.snapshot())["providers"] if p["name"] == "groq")
            assert entry["paused"] is True
            assert not (await engine.command("pause", provider="nobody")).ok
            assert not (await engine.command("pause")).ok
            assert not (await engine.command("pause", provider="groq", force=1)).ok


class TestProbe:
    async def test_it_says_how_long_it_took_and_that_the_models_are_there(
        self, tmp_path: Path
    ) -> None:
        async with world(tmp_path / "h") as (gateway, upstream):
            watcher = gateway.gateway.subscribe()
            got = (await act(gateway, "groq", "probe")).json
            vendor = (await act(gateway, "anthropic", "probe")).json
            told = [e for e in watcher.drain() if e["type"] == "provider.changed"]
        assert (got["ok"], got["probe"]["outcome"]) == (True, "ok")
        assert got["probe"]["latency_s"] >= 0
        assert got["probe"]["models"] == [
            {"model": "openai/gpt-oss-120b", "served": True, "replacement": None}
        ]
        assert got["provider"]["probe"] == got["probe"]
        assert told[0]["provider"]["probe"] == got["probe"]
        assert vendor["ok"] is True
        groq, anthropic = upstream.requests
        assert groq.target == b"/groq/v1/models"
        assert groq.header(b"authorization") == b"Bearer gsk_x"
        assert anthropic.target == b"/v1/models?limit=1000"
        assert anthropic.header(b"x-api-key") == VENDOR_KEY.encode()
        assert anthropic.header(b"anthropic-version") == b"2023-06-01"

    async def test_a_retired_model_is_told_with_its_replacement(self, tmp_path: Path) -> None:
        route = '[routing.routes]\nsummary = ["groq/llama-3.3-70b-versatile", "groq/gone"]\n'
        async with world(tmp_path / "h", settings=route) as (gateway, _):
            got = (await act(gateway, "groq", "probe")).json
        assert got["ok"] is False
        models = {m["model"]: (m["served"], m["replacement"]) for m in got["probe"]["models"]}
        assert models == {
            "openai/gpt-oss-120b": (True, None),
            "llama-3.3-70b-versatile": (False, "openai/gpt-oss-120b"),
            "gone": (False, None),
        }
        assert "no longer serves llama-3.3-70b-versatile: use openai/gpt" in got["message"]

    @pytest.mark.parametrize(
        ("script", "outcome", "ok"),
        [
            (respond(401, JSON_TYPE, b"{}"), "refused", False),
            (respond(404, JSON_TYPE, b"{}"), "no_list", True),
            (respond(503, JSON_TYPE, b"{}"), "failing", False),
            (respond(429, JSON_TYPE, b"{}"), "failing", False),
            (respond(302, ((b"Location", b"http://other.example/"),), b""), "failing", False),
            (respond(200, (), b"<html>"), "failing", False),
            (respond(200, JSON_TYPE, b'{"data": 5}'), "failing", False),
            (respond(200, JSON_TYPE, b"[" * 200_000), "failing", False),
        ],
    )
    async def test_what_goes_wrong_is_told(
        self, script: Script, outcome: str, ok: bool, tmp_path: Path
    ) -> None:
        async with world(tmp_path / "h", script) as (gateway, _):
            got = await act(gateway, "groq", "probe")
        assert got.status == 200
        assert (got.json["probe"]["outcome"], got.json["ok"]) == (outcome, ok)
        assert "gsk_x" not in got.body.decode()

    async def test_without_a_key_nothing_is_sent(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", env={"ANTHROPIC_API_KEY": ""}) as (gateway, upstream):
            groq = (await act(gateway, "groq", "probe")).json
            vendor = (await act(gateway, "anthropic", "probe")).json
            assert upstream.requests == []
        assert groq["probe"]["outcome"] == vendor["probe"]["outcome"] == "no_key"
        assert groq["probe"]["message"] == "GROQ_API_KEY is not set"
        assert "clients bring their own" in vendor["probe"]["message"]

    async def test_one_that_hangs_or_is_away_is_told(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", hang()) as (gateway, upstream):
            engine = gateway.gateway
            prober = Prober(engine.services.upstreams, FakeClock(), timeout_s=0.05)
            slow = await prober.probe("groq", engine.services.settings)
            assert slow.outcome is Outcome.UNREACHABLE
            assert "within 0.05 s" in slow.message
            await upstream.all_gone()
        away = '[providers.ollama]\nkind = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
        async with world(tmp_path / "i", settings=away) as (gateway, _):
            got = (await act(gateway, "ollama", "probe")).json
        assert (got["ok"], got["probe"]["outcome"]) == (False, "unreachable")

    async def test_who_asks_meanwhile_gets_the_same_answer(self, tmp_path: Path) -> None:
        gate = asyncio.Event()
        async with world(tmp_path / "h", steps(pause(gate), SERVED)) as (gateway, upstream):
            asked = [
                asyncio.get_running_loop().create_task(act(gateway, "groq", "probe"))
                for _ in range(5)
            ]
            await upstream.wait_for(requests=1)
            gate.set()
            answers = [(await task).json["probe"]["at"] for task in asked]
        assert len(set(answers)) == len(upstream.requests) == 1

    async def test_a_gateway_stops_while_a_probe_runs(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", hang()) as (gateway, upstream):
            asked = asyncio.get_running_loop().create_task(act(gateway, "groq", "probe"))
            await upstream.wait_for(requests=1)
        await asyncio.gather(asked, return_exceptions=True)

    async def test_all_at_once_each_failure_told(self, tmp_path: Path) -> None:
        def route(request: Request) -> Script:
            return hang() if b"/openai/" in request.target else SERVED

        env = {"GROQ_API_KEY": "gsk_x", "OPENAI_API_KEY": "sk-o"}
        async with world(tmp_path / "h", env=env) as (gateway, upstream):
            upstream.route = route
            commands = gateway.gateway._provider_commands
            commands.prober._timeout_s = 0.2
            got = (await gateway.get("/providers?live=1")).json
            plain = (await gateway.get("/providers")).json
        found = {p["name"]: p["live"]["outcome"] for p in got["providers"]}
        assert found == {
            "anthropic": "ok",
            "openai": "unreachable",
            "groq": "ok",
            "cerebras": "no_key",
        }
        assert all("live" not in p for p in plain["providers"])
        assert {p["name"]: p["probe"]["outcome"] for p in plain["providers"]} == found


def test_every_model_the_settings_name_is_checked_once() -> None:
    settings = Settings.model_validate(
        {
            "routing": {
                "routes": {"summary": ["groq/a", "groq"]},
                "kinds": {"title": ["groq/b", "groq/a"]},
                "baseline": {"chat": ["groq/c"]},
            }
        }
    )
    found = models_of("groq", settings.provider("groq"), settings)
    assert found == ["openai/gpt-oss-120b", "a", "b", "c"]
