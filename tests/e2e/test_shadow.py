"""Shadow mode through the whole gateway: nothing moves, everything is seen, one command changes it."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tomllib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import assistant as said
from agent_bodies import background_call, encode, main_turn, tool_result, tool_use, user
from anthropic_streams import TEXT
from live_gateway import Answer, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond, sse

AGENT = [
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"anthropic-version", b"2023-06-01"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
]
PROGRAM = [(b"User-Agent", b"curl/8.5.0")]
REQUESTS = 1_000
TITLE = "You are naming a coding session. Answer with a short title."


def title(words: str = "<session>\nfix the parser\n</session>") -> dict[str, Any]:
    return background_call(TITLE, words)


def mixed(count: int) -> list[tuple[str, list[tuple[bytes, bytes]], bytes]]:
    """Requests of every class, the same ones each time."""
    chance = random.Random(20261123)
    made = []
    for number in range(count):
        step = main_turn(
            user(f"make test {number} pass"),
            said(tool_use("Bash", f"toolu_{number}", command="make")),
            user(tool_result("3 failed", f"toolu_{number}")),
        )
        body = chance.choice(
            [
                step,
                step,
                title(f"<session>\ntask {number}\n</session>"),
                main_turn(user(f"How should I design a cache with {number} entries?")),
                main_turn(user("Write a function that adds two numbers in Python.")),
                main_turn(user("Explain what a monad is.")),
                main_turn(user("x" * 60_000)),
                background_call("", f"Web page content:\n---\nPage {number}\n---\nSummarise it."),
            ]
        )
        path = chance.choice(["/v1/messages?beta=true"] * 9 + ["/v1/messages/count_tokens"])
        headers = PROGRAM if chance.random() < 0.1 else AGENT
        made.append((path, headers, encode(body)))
    return made


class World:
    """A gateway with one upstream for each provider."""

    def __init__(self, gateway: LiveGateway, upstreams: dict[str, ScriptedUpstream]) -> None:
        self.gateway = gateway
        self.upstreams = upstreams

    async def play(self, requests: list[tuple[str, list[tuple[bytes, bytes]], bytes]]) -> str:
        """Send all requests, eight at a time; a digest of every byte that came back."""
        answers: list[Answer | None] = [None] * len(requests)
        waiting = list(enumerate(requests))

        async def client() -> None:
            while waiting:
                number, (path, headers, body) = waiting.pop()
                answers[number] = await self.gateway.ask(target=path, headers=headers, body=body)

        await asyncio.gather(*(client() for _ in range(8)))
        digest = hashlib.sha256()
        for answer in answers:
            assert answer is not None
            assert answer.status == 200
            digest.update(answer.body)
        return digest.hexdigest()

    def seen(self) -> dict[str, int]:
        return {name: len(up.requests) for name, up in self.upstreams.items()}

    def sent(self) -> str:
        """A digest of every request the baseline got, whatever the order."""
        bodies = sorted(
            request.target + b"\n" + request.body
            for request in self.upstreams["anthropic"].requests
        )
        return hashlib.sha256(b"".join(bodies)).hexdigest()


class worlds:  # noqa: N801
    """``async with worlds(folder, settings) as world``."""

    def __init__(self, folder: Path, settings: str = "", keys: bool = True) -> None:
        self._folder = folder
        self._settings = settings
        self._keys = keys
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> World:
        names = ("anthropic", "groq", "cerebras", "openai")
        script = sse([TEXT])
        upstreams = {
            name: await self._stack.enter_async_context(ScriptedUpstream(script)) for name in names
        }
        lines = [f'[providers.{n}]\nbase_url = "{upstreams[n].base_url}"' for n in names[1:]]
        keys = {"GROQ_API_KEY": "gsk_x", "CEREBRAS_API_KEY": "csk-x", "OPENAI_API_KEY": "sk-x"}
        gateway = await self._stack.enter_async_context(
            live_gateway(
                self._folder,
                upstreams["anthropic"].base_url,
                env=keys if self._keys else {},
                settings="\n".join([*lines, self._settings]),
            )
        )
        return World(gateway, upstreams)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def test_a_thousand_mixed_requests_touch_nobody_but_the_baseline(tmp_path: Path) -> None:
    requests = mixed(REQUESTS)
    async with worlds(tmp_path / "shadow") as world:
        answers = await world.play(requests)
        sent = world.sent()
        assert world.seen() == {"anthropic": REQUESTS, "groq": 0, "cerebras": 0, "openai": 0}
        rows = await world.gateway.gateway.recent(REQUESTS)
        assert {row["mode"] for row in rows} == {"shadow"}
        assert {row["provider"] for row in rows} == {"anthropic"}
        proposals = [row["proposal"]["provider"] for row in rows if row["proposal"]]
        assert len(proposals) > REQUESTS // 10
        assert set(proposals) <= {"groq", "cerebras"}
    watching = '[routing]\nshadow = false\n[routing.modes]\ndefault = "observe"\n'
    async with worlds(tmp_path / "off", watching) as world:
        assert await world.play(requests) == answers
        assert world.sent() == sent
        assert world.seen()["anthropic"] == REQUESTS
        rows = await world.gateway.gateway.recent(REQUESTS)
        assert {row["mode"] for row in rows} == {"live"}


async def test_what_the_baseline_gets_is_what_the_client_sent(tmp_path: Path) -> None:
    requests = mixed(60)
    async with worlds(tmp_path / "h") as world:
        await world.play(requests)
        got = {(r.target, r.body) for r in world.upstreams["anthropic"].requests}
    assert got == {(path.encode(), body) for path, _, body in requests}


async def test_without_a_key_it_is_projected_and_says_so(tmp_path: Path) -> None:
    async with worlds(tmp_path / "h", keys=False) as world:
        await world.gateway.ask(headers=AGENT, body=title())
        turn = await world.gateway.turn()
    assert turn["kind"] == "title"
    assert turn["proposal"]["state"] == "needs_key"
    assert "_API_KEY is not set" in turn["proposal"]["reason"]
    states = {c["provider"]: c["state"] for c in turn["candidates"]}
    assert states == {"cerebras": "needs_key", "groq": "needs_key", "anthropic": "baseline"}


async def test_the_decision_is_recorded_with_its_table(tmp_path: Path) -> None:
    async with worlds(tmp_path / "h") as world:
        await world.gateway.ask(headers=AGENT, body=title())
        turn = await world.gateway.turn()
        routing = (await world.gateway.get("/routing")).json
    assert turn["routing_version"] == routing["version"]
    assert turn["proposal"] == {
        "provider": "cerebras",
        "model": "gpt-oss-120b",
        "state": "would_move",
        "reason": "",
    }
    assert [c["state"] for c in turn["candidates"]] == ["chosen", "spare", "baseline"]


class TestSwitch:
    async def test_off_is_for_this_run_only_unless_told_to_remember(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            gateway = world.gateway
            off = await gateway.ask(target="/shadow", body={"enabled": False})
            assert off.json == {"shadowMode": False, "persisted": False, "reason": None}
            assert (await gateway.get("/health", key=None)).json["shadowMode"] is False
            assert (await gateway.get("/routing")).json["unsaved"] == ["routing.shadow"]
            assert "shadow" not in (tmp_path / "h" / "config.toml").read_text()
            kept = await gateway.ask(target="/shadow", body={"enabled": False, "remember": True})
            assert kept.json["persisted"] is True
            config = tomllib.loads((tmp_path / "h" / "config.toml").read_text())
            assert config["routing"]["shadow"] is False

    async def test_back_is_always_kept(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h", "[routing]\nshadow = false  # mine\n") as world:
            back = await world.gateway.ask(target="/shadow", body={"enabled": True})
            assert back.json == {"shadowMode": True, "persisted": True, "reason": None}
            assert (await world.gateway.get("/routing")).json["unsaved"] == []
        text = (tmp_path / "h" / "config.toml").read_text()
        assert "shadow = true # mine" in " ".join(text.split())

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"enabled": 1}', b'{"enabled": true, "x": 1}'])
    async def test_a_wrong_body_changes_nothing(self, body: bytes, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            got = await world.gateway.ask(target="/shadow", body=body)
            assert got.status == 400
            assert (await world.gateway.get("/routing")).json["shadow"] is True

    async def test_watchers_hear_of_it(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            watcher = world.gateway.gateway.subscribe()
            await world.gateway.ask(target="/shadow", body={"enabled": False})
            event = next(e for e in watcher.drain() if e["type"] == "mode.changed")
        assert (event["shadow"], event["source"], event["persisted"]) == (False, "HTTP", False)


class TestCommands:
    async def test_the_preview_says_what_would_leave(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            for _ in range(3):
                await world.gateway.ask(headers=AGENT, body=title())
            await world.gateway.ask(headers=AGENT, body=mixed(1)[0][2])
            await world.gateway.turns(4)
            done = await world.gateway.gateway.command("preview_live")
        assert done.ok
        assert done.data["turns"] == 4
        move = next(m for m in done.data["moves"] if m["kind"] == "title")
        assert (move["turns"], move["provider"], move["model"]) == (3, "cerebras", "gpt-oss-120b")

    async def test_a_list_is_set_and_kept_with_its_comments(self, tmp_path: Path) -> None:
        table = '[routing.routes]\n# cheap first\nsummary = ["cerebras"]  # for now\n'
        async with worlds(tmp_path / "h", table) as world:
            engine = world.gateway.gateway
            done = await engine.command("set_route", name="summary", entries=["groq", "baseline"])
            assert (done.ok, done.data["persisted"]) == (True, True)
            await world.gateway.ask(headers=AGENT, body=title())
            turn = await world.gateway.turn()
        assert turn["proposal"]["provider"] == "groq"
        text = (tmp_path / "h" / "config.toml").read_text()
        assert "# cheap first" in text
        assert tomllib.loads(text)["routing"]["routes"]["summary"] == ["groq", "baseline"]

    async def test_a_list_that_is_wrong_changes_nothing(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            engine = world.gateway.gateway
            before = (await engine.snapshot())["routing"]
            done = await engine.command("set_route", name="summary", entries=["gorq"])
            assert done.ok is False
            assert "gorq" in done.message
            unknown = await engine.command("set_route", name="sumary", entries=["groq"])
            assert "summary" in unknown.message
            assert (await engine.snapshot())["routing"] == before
            assert (await engine.command("dance")).ok is False
            assert (await engine.command("set_route", nonsense=1)).ok is False

    async def test_a_check_changes_nothing_and_shows_both(self, tmp_path: Path) -> None:
        async with worlds(tmp_path / "h") as world:
            engine = world.gateway.gateway
            await world.gateway.ask(headers=AGENT, body=title())
            await world.gateway.turns(1)
            done = await engine.command("check_route", name="summary", entries=["baseline"])
            assert len(done.data["before"]["moves"]) == 1
            assert done.data["after"] == {"turns": 1, "stays": 1, "moves": []}
            routing = (await engine.snapshot())["routing"]
            assert routing["routes"]["summary"] == ["cerebras", "groq"]


async def test_the_log_is_in_the_snapshot_without_secrets(tmp_path: Path) -> None:
    import logging

    async with worlds(tmp_path / "h") as world:
        watcher = world.gateway.gateway.subscribe()
        logging.getLogger("sbgw.test").warning("the disk is slow")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lines = (await world.gateway.get("/snapshot")).json["log"]
        told = [e for e in watcher.drain() if e["type"] == "log"]
    assert lines[-1]["message"] == "the disk is slow"
    assert (lines[-1]["level"], lines[-1]["logger"]) == ("warning", "sbgw.test")
    assert told[-1]["message"] == "the disk is slow"


async def test_an_unreachable_baseline_moves_nothing_either(tmp_path: Path) -> None:
    async with worlds(tmp_path / "h") as world:
        world.upstreams["anthropic"].script = respond(529, [], b"{}")
        got = await world.gateway.ask(headers=AGENT, body=title())
        assert got.status == 529
        assert world.seen()["groq"] == world.seen()["cerebras"] == 0
