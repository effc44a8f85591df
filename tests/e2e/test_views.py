"""What a front end asks of the record: sums, reports, what was sent, and a request block by block."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from anthropic_streams import TEXT
from live_gateway import VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, sse

CANARY = "the canary sings at midnight"
CAPTURE = "[capture]\nenabled = true\n"
SESSION = [(b"x-claude-code-session-id", b"session-one"), (b"x-sbgw-project", b"/src/shop")]


def body(*said: str, tool: str = "reads", **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 64,
        "stream": True,
        "tools": [{"name": "Read", "description": tool, "input_schema": {"type": "object"}}],
        "system": [{"type": "text", "text": f"be good, {VENDOR_KEY}"}],
        "messages": [{"role": "user", "content": text} for text in said],
        **more,
    }


async def told(gateway: LiveGateway, name: str, **arguments: Any) -> dict[str, Any]:
    found = await gateway.gateway.command(name, **arguments)
    assert found.ok, found.message
    return found.data


def files(home: Path) -> list[Path]:
    return list((home / "state" / "captures").glob("*"))


async def test_nothing_of_a_body_is_kept_unless_asked(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with ScriptedUpstream(sse([TEXT])) as upstream, live_gateway(
        home, upstream.base_url
    ) as gateway:  # fmt: skip
        await gateway.ask(body=body(CANARY), headers=SESSION)
        turn = await gateway.turn()
        found = await told(gateway, "request", turn_id=turn["id"])
        snapshot = await gateway.gateway.snapshot()
    assert snapshot["gateway"]["capture"]["enabled"] is False
    assert found["has_text"] is False
    assert "capture.enabled" in found["why"]
    assert [block["part"] for block in found["blocks"]] == ["tools", "system", "messages"]
    assert found["blocks"][0]["label"] == "Read", "a name that everybody knows is found again"
    assert files(home) == []
    for path in (home / "state").rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


@pytest.mark.parametrize("coding", [None, b"gzip"])
async def test_a_kept_body_is_masked_private_and_shows_what_broke_the_cache(
    coding: bytes | None, tmp_path: Path
) -> None:
    home = tmp_path / "h"
    headers = [*SESSION, *([(b"content-encoding", coding)] if coding else [])]

    def sent(content: dict[str, Any]) -> Any:
        return gzip.compress(json.dumps(content).encode()) if coding else content

    async with ScriptedUpstream(sse([TEXT])) as upstream, live_gateway(
        home, upstream.base_url, settings=CAPTURE
    ) as gateway:  # fmt: skip
        for content in (body(CANARY), body(CANARY, "more"), body(CANARY, "more", tool="writes")):
            await gateway.ask(body=sent(content), headers=headers)
            await gateway.gateway.services.capture.drain()
        first, on, broken = await gateway.turns(3)
        shown = [
            await told(gateway, "request", turn_id=t["id"], texts=True) for t in (first, on, broken)
        ]
        short = await told(gateway, "request", turn_id=first["id"])
        kept = (await gateway.gateway.snapshot())["gateway"]["capture"]
    assert kept["enabled"] is True
    assert kept["files"] == 3
    assert kept["bytes"] == sum(path.stat().st_size for path in files(home))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(home)} == {0o600}
    assert [s["has_text"] for s in shown] == [True, True, True]
    assert CANARY in shown[0]["blocks"][2]["text"]
    assert "text" not in short["blocks"][2], "texts cross only when they are asked for"
    assert VENDOR_KEY not in repr(shown)
    assert shown[0]["previous"] is None
    assert (shown[1]["previous"], shown[1]["difference"]) == (first["id"], None)
    assert [block["is_same"] for block in shown[1]["blocks"]] == [True, True, True, False]
    found = shown[2]["difference"]
    assert (found["name"], found["how"]) == ("tool Read", "changed")
    assert found["offset"] > 0
    assert shown[2]["change"]["part"] == "tools"
    assert shown[2]["kept_blocks"] == 0


async def test_a_project_file_cannot_have_bodies_kept(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    (home / "gateway.config.json").write_text('{"capture": {"enabled": true}}')
    async with ScriptedUpstream(sse([TEXT])) as upstream, live_gateway(
        home, upstream.base_url
    ) as gateway:  # fmt: skip
        assert not gateway.gateway.services.capture.is_on


async def test_sums_by_session_and_sub_agent_and_what_was_sent(tmp_path: Path) -> None:
    agent = [*SESSION, (b"x-claude-code-agent-id", b"agent-7")]
    async with ScriptedUpstream(sse([TEXT])) as upstream, live_gateway(
        tmp_path / "h", upstream.base_url
    ) as gateway:  # fmt: skip
        for headers in (SESSION, SESSION, agent):
            await gateway.ask(body=body("hello"), headers=headers)
        turns = await gateway.turns(3)
        found = await told(gateway, "sessions")
        nothing = await told(gateway, "sessions", since=2e9)
        of_session = await told(gateway, "session_turns", session="session-one")
        sent = await told(gateway, "sent")
        report = await told(gateway, "report")
    assert found["turns"] == 3
    lines = {line["agent"]: line for line in found["lines"]}
    assert {name: line["turns"] for name, line in lines.items()} == {None: 2, "agent-7": 1}
    cost = sum(turn["cost_usd"] for turn in turns)
    assert cost > 0
    assert sum(line["cost_usd"] for line in lines.values()) == pytest.approx(cost)
    assert sum(line["hour_usd"] for line in lines.values()) == pytest.approx(cost)
    assert {line["project"] for line in lines.values()} == {"/src/shop"}
    assert lines["agent-7"]["payers"] == ["gateway key"]
    assert (nothing["turns"], nothing["lines"]) == (0, [])
    assert [t["id"] for t in of_session["turns"]] == [t["id"] for t in reversed(turns)]
    up = sum(len(request.body) for request in upstream.requests)
    assert sum(row["bytes_up"] for row in sent["sent"]) == up
    assert {row["provider"] for row in sent["sent"]} == {"anthropic"}
    assert report["turns"] == 3
    assert report["total"]["cost_usd"] == pytest.approx(cost)


async def test_questions_that_make_no_sense(tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, live_gateway(
        tmp_path / "h", upstream.base_url
    ) as gateway:  # fmt: skip
        for arguments in ({"since": "x"}, {"since": float("nan")}, {"other": 1}, {"since": True}):
            assert not (await gateway.gateway.command("sessions", **arguments)).ok
        assert not (await gateway.gateway.command("request", turn_id=3)).ok
        assert (await told(gateway, "request", turn_id="gw_none"))["blocks"] == []


@pytest.mark.parametrize(("key", "is_told"), [("local-dev-key", False), ("a-key-of-my-own", True)])
async def test_texts_cross_http_only_for_a_key_that_is_not_public(
    key: str, is_told: bool, tmp_path: Path
) -> None:
    env = {"STACKBILT_GATEWAY_KEY": key}
    async with ScriptedUpstream(sse([TEXT])) as upstream, live_gateway(
        tmp_path / "h", upstream.base_url, settings=CAPTURE, env=env
    ) as gateway:  # fmt: skip
        await gateway.ask(body=body(CANARY), headers=SESSION, key=key)
        turn = await gateway.turn()
        await gateway.gateway.services.capture.drain()
        for claim in ({}, {"is_remote": False}):
            asked = {"turn_id": turn["id"], "texts": True, **claim}
            command = {"name": "request", "arguments": asked}
            got = await gateway.ask("POST", "/command", body=command, key=key)
            assert got.json["ok"] is True
            assert got.json["data"]["has_text"] is is_told
            assert (CANARY in got.body.decode()) is is_told
        none = await gateway.ask("POST", "/command", body=command, key=None)
    assert none.status == 401
