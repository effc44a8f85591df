"""``PUT /routing``: changed, kept, explained; and never live by itself."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import background_call, encode
from anthropic_streams import TEXT
from live_gateway import Answer, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, sse

AGENT = [
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
]
KEYS = {"GROQ_API_KEY": "gsk_x", "CEREBRAS_API_KEY": "csk-x"}
SYSTEM = "You are naming a coding session. Answer with a short title."


@asynccontextmanager
async def world(
    home: Path, settings: str = "", env: dict[str, str] | None = None
) -> AsyncIterator[LiveGateway]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream(sse([TEXT])))
        yield await stack.enter_async_context(
            live_gateway(home, upstream.base_url, env=KEYS | (env or {}), settings=settings)
        )


async def title(gateway: LiveGateway) -> None:
    body = encode(background_call(SYSTEM, "<session>\nfix the parser\n</session>"))
    assert (await gateway.ask(headers=AGENT, body=body)).status == 200


async def put(gateway: LiveGateway, body: Any, query: str = "") -> Answer:
    return await gateway.ask("PUT", f"/routing{query}", body=body)


async def routing(gateway: LiveGateway) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.get("/routing")).json
    return found


def config(home: Path) -> dict[str, Any]:
    return tomllib.loads((home / "config.toml").read_text())


async def test_a_part_is_changed_and_kept_with_its_comments(tmp_path: Path) -> None:
    home = tmp_path / "h"
    table = '[routing.routes]\n# cheap first\nsummary = ["cerebras"]  # as measured\n'
    async with world(home, table) as gateway:
        watcher = gateway.gateway.subscribe()
        got = await put(
            gateway,
            {
                "routes": {"summary": ["groq", "baseline"]},
                "kinds": {"title": ["groq/llama-x"]},
                "modes": {"title": "canary", "canary_percent": 25},
                "baseline": {"chat": ["anthropic"]},
                "cross_vendor_failover": True,
            },
        )
        told = [e for e in watcher.drain() if e["type"] == "routing.changed"]
        now = await routing(gateway)
    answer = got.json
    assert got.status == 200
    assert set(answer) == {"applied", "persisted", "reason", "source", "routing", "effect"}
    assert (answer["applied"], answer["persisted"], answer["reason"]) == (True, True, None)
    assert answer["source"] == str(home / "config.toml")
    assert now == answer["routing"] == told[0]["routing"]
    assert told[0]["source"] == "HTTP"
    assert now["routes"]["summary"] == ["groq", "baseline"]
    assert now["routes"]["planning"] == ["groq", "cerebras"]
    assert now["kinds"] == {"title": ["groq/llama-x"]}
    assert (now["modes"]["title"], now["modes"]["canary_percent"]) == ("canary", 25)
    assert now["sources"]["routing.kinds.title"] == str(home / "config.toml")
    assert (now["unsaved"], now["shadow"]) == ([], True)
    kept = config(home)["routing"]
    assert kept["routes"] == {"summary": ["groq", "baseline"]}
    assert (kept["baseline"], kept["cross_vendor_failover"]) == ({"chat": ["anthropic"]}, True)
    text = (home / "config.toml").read_text()
    assert "# cheap first" in text
    assert "# as measured" in text


async def test_null_takes_a_key_back_to_its_default(tmp_path: Path) -> None:
    home = tmp_path / "h"
    table = '[routing.kinds]\ntitle = ["groq"]\n[routing.routes]\nsummary = ["groq"]\n'
    async with world(home, table) as gateway:
        change = {"kinds": {"title": None}, "routes": {"summary": None}}
        now = (await put(gateway, change)).json["routing"]
    assert now["kinds"] == {}
    assert now["routes"]["summary"] == ["cerebras", "groq"]
    assert "title" not in config(home)["routing"]["kinds"]


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with world(home) as gateway:
        await title(gateway)
        await gateway.turns(1)
        text = (home / "config.toml").read_text()
        before = await routing(gateway)
        watcher = gateway.gateway.subscribe()
        change = {"routes": {"summary": ["baseline"]}}
        got = (await put(gateway, change, "?dry_run=1")).json
        assert [e for e in watcher.drain() if e["type"] == "routing.changed"] == []
        assert await routing(gateway) == before
    assert (got["applied"], got["persisted"], got["source"]) == (False, False, None)
    assert got["routing"]["routes"]["summary"] == ["baseline"]
    assert got["routing"]["version"] != before["version"]
    assert [move["provider"] for move in got["effect"]["before"]["moves"]] == ["cerebras"]
    assert got["effect"]["after"] == {"turns": 1, "stays": 1, "moves": []}
    assert (home / "config.toml").read_text() == text


async def test_a_dry_run_replays_what_is_on_record(tmp_path: Path) -> None:
    async with world(tmp_path / "h") as gateway:
        for _ in range(3):
            await title(gateway)
        (turn, *_) = await gateway.turns(3)
        stays = (await put(gateway, {"kinds": {"title": ["baseline"]}}, "?dry_run=1")).json
        moves = (await put(gateway, {"kinds": {"title": ["groq"]}}, "?dry_run=1")).json
        done = (await put(gateway, {"kinds": {"title": ["groq"]}})).json
    assert "backtest" not in done
    total = stays["backtest"]["total"]
    assert (total["turns"], total["moved"]) == (3, 0)
    assert total["before_usd"] == total["after_usd"] == pytest.approx(3 * turn["cost_usd"])
    route = moves["backtest"]["routes"][turn["route"]]
    assert (route["turns"], route["moved"]) == (3, 3)
    assert route["after_low_usd"] < route["after_usd"] < route["after_high_usd"]
    assert route["saved_usd"] == pytest.approx(route["before_usd"] - route["after_usd"])
    assert route["broken"] == {"context": 0, "tools": 0, "images": 0, "rate_limit": 0}
    assert [move["provider"] for move in moves["backtest"]["moves"]] == ["groq"]


async def test_another_target_is_priced_as_well(tmp_path: Path) -> None:
    async with world(tmp_path / "h") as gateway:
        await title(gateway)
        recorded = (await gateway.turns(1))[0]["saving"]["usd"]
        change = {"kinds": {"title": ["groq"]}}
        effect = (await put(gateway, change, "?dry_run=1")).json["effect"]
        back = {"kinds": {"title": ["cerebras", "groq"]}}
        same = (await put(gateway, back, "?dry_run=1")).json["effect"]
        nobody = {"kinds": {"title": ["groq/no-such-model"]}}
        unknown = (await put(gateway, nobody, "?dry_run=1")).json["effect"]
    old, new = effect["before"]["moves"][0], effect["after"]["moves"][0]
    assert (old["provider"], old["usd"], old["unpriced"]) == ("cerebras", recorded, 0)
    assert (new["provider"], new["unpriced"]) == ("groq", 0)
    # Groq asks less for a token of the same model than Cerebras.
    assert new["usd"] > old["usd"]
    assert new["low_usd"] < new["usd"] < new["high_usd"]
    assert same["after"]["moves"][0]["usd"] == recorded
    assert (unknown["after"]["moves"][0]["unpriced"], unknown["after"]["moves"][0]["usd"]) == (1, 0)


async def test_without_remember_it_ends_with_this_run(tmp_path: Path) -> None:
    home = tmp_path / "h"
    async with world(home) as gateway:
        got = (await put(gateway, {"modes": {"title": "verify"}, "remember": False})).json
        now = await routing(gateway)
    assert (got["applied"], got["persisted"], got["reason"]) == (True, False, None)
    assert now["unsaved"] == ["routing.modes.title"]
    assert now["sources"]["routing.modes.title"] == got["source"]
    assert "not kept" in got["source"]
    assert "routing" not in config(home)


class TestNotKept:
    async def test_a_read_only_file(self, tmp_path: Path) -> None:
        home = tmp_path / "h"
        async with world(home) as gateway:
            (home / "config.toml").chmod(0o400)
            got = (await put(gateway, {"routes": {"summary": ["groq"]}})).json
            now = await routing(gateway)
        assert (got["applied"], got["persisted"]) == (True, False)
        assert "read-only" in got["reason"]
        assert now["routes"]["summary"] == ["groq"]
        assert now["unsaved"] == ["routing.routes.summary"]

    async def test_a_key_that_a_stronger_layer_owns(self, tmp_path: Path) -> None:
        env = {"SBGW_ROUTING__CROSS_VENDOR_FAILOVER": "false"}
        async with world(tmp_path / "h", env=env) as gateway:
            source = (await routing(gateway))["sources"].get("routing.cross_vendor_failover")
            assert source is not None
            assert source.startswith("environment")
            got = (await put(gateway, {"cross_vendor_failover": True})).json
            now = await routing(gateway)
        assert (got["applied"], got["persisted"]) == (True, False)
        assert "which wins over" in got["reason"]
        assert now["unsaved"] == ["routing.cross_vendor_failover"]

    async def test_what_is_kept_later_is_unsaved_no_more(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as gateway:
            change = {"routes": {"summary": ["groq"]}}
            await put(gateway, change | {"remember": False})
            assert (await put(gateway, change)).json["routing"]["unsaved"] == []


WRONG: list[tuple[Any, str]] = [
    ({"shadow": False}, "POST /shadow"),
    ({"routs": {}}, 'did you mean "routes"'),
    ({"routes": []}, "routes must be an object"),
    ({"routes": {"sumary": ["groq"]}}, "summary"),
    ({"routes": {"summary": ["gorq"]}}, 'did you mean "groq"'),
    ({"routes": {"summary": []}}, "routing.routes.summary"),
    ({"routes": {"summary": "groq"}}, "routing.routes.summary"),
    ({"kinds": {"titel": ["groq"]}}, "title"),
    ({"modes": {"title": "lively"}}, "routing.modes.title"),
    ({"modes": {"canary_percent": 101}}, "canary_percent"),
    ({"baseline": {"chat": ["baseline"]}}, "cannot stand for itself"),
    ({"cross_vendor_failover": 1}, "cross_vendor_failover"),
    ({"patience_s": 3}, "settings file"),
    ({"remember": "yes", "routes": {}}, "true or false"),
    ({}, "nothing is named"),
    ({"routes": {}}, "nothing is named"),
    (b"[]", "the body is not right"),
    (b"{", "the body is not right"),
]


class TestWrong:
    async def test_it_is_refused_in_words_and_changes_nothing(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as gateway:
            text = (tmp_path / "h" / "config.toml").read_text()
            before = await routing(gateway)
            for body, words in WRONG:
                for query in ("", "?dry_run=1"):
                    got = await put(gateway, body, query)
                    assert got.status == 400, body
                    assert got.json["error"]["type"] == "invalid_request_error"
                    assert words in got.json["error"]["message"]
            assert await routing(gateway) == before
            assert (tmp_path / "h" / "config.toml").read_text() == text

    async def test_it_needs_the_key(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as gateway:
            got = await gateway.ask("PUT", "/routing", body={}, key=None)
        assert got.status == 401


class TestModes:
    async def test_a_mode_is_set_kept_and_taken_away(self, tmp_path: Path) -> None:
        home = tmp_path / "h"
        async with world(home) as gateway:
            engine = gateway.gateway
            watcher = engine.subscribe()
            done = await engine.command("set_mode", name="title", mode="live", source="me")
            assert (done.ok, done.data["persisted"]) == (True, True)
            assert "once shadow is off" in done.message
            told = [e for e in watcher.drain() if e["type"] == "routing.changed"]
            assert (told[0]["source"], told[0]["routing"]["modes"]["title"]) == ("me", "live")
            assert config(home)["routing"]["modes"] == {"title": "live"}
            await engine.command("set_mode", name="title", mode=None)
            assert "title" not in (await routing(gateway))["modes"]
            assert config(home)["routing"]["modes"] == {}
            assert (await routing(gateway))["shadow"] is True

    async def test_a_wrong_one_changes_nothing(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as gateway:
            before = await routing(gateway)
            for name, mode in (("titel", "live"), ("title", "lively")):
                done = await gateway.gateway.command("set_mode", name=name, mode=mode)
                assert not done.ok
                assert "title" in done.message
            assert await routing(gateway) == before
