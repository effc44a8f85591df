"""Every endpoint of the gateway itself, over a real socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import TEXT
from fake_clock import FakeClock
from live_gateway import HELLO, KEY, live_gateway
from prometheus_client.parser import text_string_to_metric_families
from scripted_upstream import ScriptedUpstream, pause, respond, send, sse, steps

from server.instance import verify


async def test_health_is_open_and_proves_itself(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        plain = (await gateway.get("/health", key=None)).json
        nonce = "n" * 24
        proved = (await gateway.get(f"/health?nonce={nonce}", key=None)).json
        unknown = (await gateway.get("/health?live=1", key=None)).json
        live = (await gateway.get("/health?live=1")).json
    assert plain["ok"] is True
    assert (plain["service"], plain["shadowMode"], plain["ledger"]) == ("sbgw-tui", True, "ok")
    assert plain["providers"]["availableProviders"] == ["anthropic"]
    assert "proof" not in plain
    assert verify(b"s" * 32, nonce, gateway.origin.port, proved["proof"])
    assert unknown["live"] == "needs key"
    assert "detail" not in unknown["providers"]
    assert live["providers"]["detail"]["anthropic"]["status"] == "unused"


@pytest.mark.parametrize(
    "target",
    ["/providers", "/metrics", "/snapshot", "/events/recent", "/events/stream", "/v1/models"],
)
async def test_everything_else_needs_the_key(target: str, tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.get(target, key=None)
    assert got.status == 401
    assert got.json["error"]["type"] == "authentication_error"


async def test_a_path_token_serves_clients_that_cannot_add_a_header(tmp_path: Path) -> None:
    login = (b"Authorization", b"Bearer sk-ant-oat01-login")
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(target=f"/k/{KEY}/v1/messages?beta=true", key=None, headers=[login])
        wrong = await gateway.ask(target="/k/other/v1/messages", key=None, headers=[login])
        turn = await gateway.turn()
    assert (got.status, got.body) == (200, TEXT)
    assert wrong.status == 401
    assert upstream.requests[0].target == b"/v1/messages?beta=true"
    assert upstream.requests[0].header(b"authorization") == login[1]
    assert upstream.requests[0].header(b"x-api-key") is None
    assert (turn["payer"], turn["list_price_equivalent"]) == ("login", True)


async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        await gateway.ask()
        await gateway.ask(body=b"{bad")
        turns = await gateway.turns(2)
        seed = (await gateway.get("/metrics")).json
        text = await gateway.get("/metrics", headers=[(b"Accept", b"text/plain")])
    assert (seed["totalRequests"], seed["rejected"]) == (1, 1)
    assert seed["successCount"] == 1
    assert seed["byProvider"]["anthropic"] == 1
    assert seed["estimatedCostUsd"] == pytest.approx(turns[0]["cost_usd"], abs=1e-6)
    families = {family.name for family in text_string_to_metric_families(text.body.decode())}
    assert {"sbgw_turns", "sbgw_tokens", "sbgw_cost_usd"} <= families


async def test_recent_events_have_the_seeds_names_and_survive_a_restart(tmp_path: Path) -> None:
    async with ScriptedUpstream(sse([TEXT])) as upstream:
        async with live_gateway(tmp_path / "h", upstream.base_url) as gateway:
            await gateway.ask()
            turn = await gateway.turn()
        async with live_gateway(tmp_path / "h", upstream.base_url) as gateway:
            events = (await gateway.get("/events/recent?limit=5")).json["events"]
            one = await gateway.get(f"/events/{events[0]['id']}")
            metrics = (await gateway.get("/metrics")).json
            missing = await gateway.get("/events/gw_" + "0" * 24)
            bad = await gateway.get("/events/recent?limit=x")
    assert [event["id"] for event in events] == [turn["id"]]
    assert events[0]["requestedModel"] == "claude-opus-5-5"
    assert events[0]["status"] == "success"
    assert one.json["usage_raw"] == turn["usage_raw"]
    assert metrics["totalRequests"] == 1
    assert (missing.status, bad.status) == (404, 400)


async def test_the_event_stream_tells_a_turn_as_it_happens_and_resumes(tmp_path: Path) -> None:
    gate = asyncio.Event()
    script = steps(
        send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"),
        pause(gate),
        send(TEXT),
        lambda peer: _close(peer),
    )
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        async with await gateway.open("GET", "/events/stream") as stream:
            seen = await stream.read()
            asking = asyncio.ensure_future(gateway.ask())
            while b"turn.opened" not in seen:
                seen += await stream.read()
            assert b"turn.finished" not in seen
            gate.set()
            while b"event: turn.finished" not in seen or not seen.endswith(b"\n\n"):
                seen += await stream.read()
            await asking
        events = _events(seen)
        after = next(e["seq"] for e in events if e["type"] == "turn.opened")
        headers = [(b"Last-Event-ID", str(after).encode())]
        async with await gateway.open("GET", "/events/stream", headers=headers) as stream:
            again = b""
            while b"event: turn.finished" not in again or not again.endswith(b"\n\n"):
                again += await stream.read()
    kinds = [event["type"] for event in events]
    assert kinds[0] == "turn.opened"
    assert kinds[-1] == "turn.finished"
    assert events[-1]["turn"]["status"] == "completed"
    assert "hello" not in json.dumps(events)
    assert all(event["seq"] > after for event in _events(again))


async def _close(peer: object) -> None:
    peer.close()  # type: ignore[attr-defined]


def _events(data: bytes) -> list[dict[str, Any]]:
    lines = [line for line in data.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


async def test_the_event_stream_keeps_its_connection_alive(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
        await gateway.open("GET", "/events/stream") as stream,
    ):
        assert await stream.read() == b": connected\n\n"
        for _ in range(2):
            reading = asyncio.ensure_future(stream.read())
            while not reading.done():
                await clock.advance(1.0)
                await asyncio.sleep(0.001)
            assert await reading == b": keep-alive\n\n"


async def test_explain_dispatches_nothing(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        wrapped = {"request": HELLO, "protocol": "anthropic-messages"}
        got = await gateway.ask(target="/v1/route/explain", body=wrapped)
        bare = await gateway.ask(target="/v1/route/explain", body=HELLO)
        bad = await gateway.ask(target="/v1/route/explain", body=b"{bad")
    assert got.json == bare.json
    assert {
        "route",
        "kind",
        "offload",
        "confidence",
        "confidenceLevel",
        "reasons",
        "decision",
        "estimatedInputTokens",
    } <= set(got.json)
    assert got.json["decision"]["provider"] == "anthropic"
    assert (bad.status, bad.json["error"]["type"]) == (400, "invalid_request_error")
    assert upstream.requests == []


async def test_models_are_one_list_for_every_reader(tmp_path: Path) -> None:
    vendor = {
        "data": [
            {
                "type": "model",
                "id": "claude-x",
                "display_name": "X",
                "created_at": "2026-01-01T00:00:00Z",
            }
        ],
        "has_more": False,
        "new": 1,
    }
    script = respond(200, [(b"Content-Type", b"application/json")], json.dumps(vendor).encode())
    async with (
        ScriptedUpstream(script) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = (await gateway.get("/v1/models?limit=1000")).json
    assert upstream.requests[0].target == b"/v1/models?limit=1000"
    assert got["data"][0]["display_name"] == "X"
    assert got["data"][0]["object"] == "model"
    assert got["data"][0]["created"] == 1767225600
    assert got["models"] == [{"slug": "claude-x", "display_name": "X"}]
    assert (got["object"], got["has_more"], got["new"]) == ("list", False, 1)


async def test_the_snapshot_has_what_a_front_end_starts_from(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        await gateway.ask()
        turn = await gateway.turn()
        got = (await gateway.get("/snapshot")).json
    assert got["gateway"]["url"] == gateway.url
    assert got["gateway"]["shadow"] is True
    assert got["gateway"]["key_hint"] == KEY
    assert got["counters"]["requests"] == 1
    assert got["money"]["today_usd"] == pytest.approx(turn["cost_usd"], abs=1e-6)
    assert [t["id"] for t in got["turns"]] == [turn["id"]]
    assert got["ledger"]["status"] == "ok"
    assert {"name", "status", "configured", "credential"} <= set(got["providers"][0])
