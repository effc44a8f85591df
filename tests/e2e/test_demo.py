"""The demo: real relay, ledger and prices in front of the simulated vendors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from live_gateway import LiveGateway

from server.classify import KINDS, ROUTES
from server.clock import SystemClock
from server.demo.run import demo_home, traffic
from server.demo.script import tour
from server.demo.traffic import Traffic
from server.gateway import Gateway
from server.listen import bind
from server.settings_file import Flags

Turn = dict[str, Any]

TERMINAL = {"completed", "error", "failed", "partial", "cancelled", "rejected"}
"""Every state a turn can end in while the gateway lives."""


SPEED = 25
AFTERNOON = 1_800_020_220.0
"""13:37 UTC, far from midnight in every time zone: what was spent today must stay today."""


class FastClock(SystemClock):
    """Runs many times as fast, so that the scripted minute passes quickly."""

    def __init__(self) -> None:
        self._start = super().monotonic()

    def monotonic(self) -> float:
        return self._start + (super().monotonic() - self._start) * SPEED

    def time(self) -> float:
        return AFTERNOON + self.monotonic() - self._start

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


@dataclass
class Played:
    """What is known after the first minute was played."""

    turns: list[Turn] = field(default_factory=list)
    """In full, oldest first."""
    events: list[dict[str, Any]] = field(default_factory=list)
    snapshot: dict[str, Any] = field(default_factory=dict)
    home: Path = Path()


async def play() -> Played:
    """The tour through a real gateway, to its last turn."""
    clock, found = FastClock(), Played()
    async with demo_home(Flags(), clock) as loaded:
        found.home = loaded.paths.settings_dir
        assert found.home.exists()
        gateway = Gateway(
            loaded, env={}, secret=b"d" * 32, instance="demo", clock=clock, is_demo=True
        )
        await gateway.start(bind("127.0.0.1", 0))
        try:
            player = Traffic(gateway.url, "local-dev-key", clock)
            watcher = gateway.subscribe()
            await asyncio.gather(*map(player.play, tour(1)))
            await player.stop()
            found.turns = await LiveGateway(gateway).turns(20)
            found.events = watcher.drain()
            found.snapshot = await gateway.snapshot()
        finally:
            await gateway.stop()
    return found


@pytest.fixture(scope="module")
def played() -> Played:
    return asyncio.run(play())


def test_every_kind_and_class_occurs(played: Played) -> None:
    assert {turn["kind"] for turn in played.turns} == KINDS
    assert {turn["route"] for turn in played.turns} == set(ROUTES)


def test_every_way_to_end_occurs_and_nothing_stays_open(played: Played) -> None:
    assert {turn["status"] for turn in played.turns} == TERMINAL
    assert played.snapshot["counters"]["in_flight"] == 0
    opened = [e["turn"]["id"] for e in played.events if e["type"] == "turn.opened"]
    finished = [e["turn"]["id"] for e in played.events if e["type"] == "turn.finished"]
    assert len(set(finished)) == len(finished) == len(played.turns)
    assert set(opened) <= set(finished)


def test_the_errors_are_of_many_sorts(played: Played) -> None:
    seen = {(turn["status"], turn["http_status"]) for turn in played.turns}
    in_stream = ("error", 200)
    refusals = {("error", status) for status in (401, 404, 429, 529)}
    assert seen >= refusals | {in_stream, ("failed", 503), ("partial", 200), ("rejected", 400)}


def test_the_vendor_fails_and_comes_back(played: Played) -> None:
    ends = [turn["status"] for turn in played.turns]
    failed = ends.index("failed")
    assert "completed" in ends[:failed]
    assert "completed" in ends[failed:]
    vendor = next(p for p in played.snapshot["providers"] if p["name"] == "anthropic")
    assert vendor["status"] == "ok"
    assert vendor["errors"] > 5


def test_three_sessions_in_two_projects_with_agents_side_by_side(played: Played) -> None:
    sessions = {turn["session"] for turn in played.turns if turn["session"]}
    assert len(sessions) == 3
    assert {turn["project"] for turn in played.turns} == {"orchard", "lighthouse", None}
    spans: dict[str, tuple[float, float]] = {}
    for turn in played.turns:
        if turn["kind"] == "subagent":
            begin, end = spans.get(turn["agent"], (turn["at"], turn["at"]))
            spans[turn["agent"]] = min(begin, turn["at"]), max(end, turn["at"])
    (begin, _), (_, end) = sorted(spans.values())
    assert begin < end
    assert max(begin for begin, _ in spans.values()) < min(end for _, end in spans.values())


def test_the_money_is_real(played: Played) -> None:
    for turn in played.turns:
        if turn["status"] == "completed":
            assert turn["cost_usd"] is not None, turn["kind"]
            assert turn["cost_is_estimate"] is False
        elif turn["http_status"] in (401, 404, 429, 503, 529):
            assert turn["cost_usd"] is None
            assert turn["unpriced"] is False
    assert {turn["payer"] for turn in played.turns if turn["status"] != "rejected"} == {
        "login",
        "client key",
        "gateway key",
    }
    money = played.snapshot["money"]
    assert money["today_usd"] > 0.1
    assert money["today_list_usd"] > 0.1


def test_cached_prefixes_are_read_again(played: Played) -> None:
    warm = [turn for turn in played.turns if (turn["cache_read_tokens"] or 0) > 50_000]
    assert len(warm) > 5
    assert any((turn["cache_write_1h_tokens"] or 0) > 50_000 for turn in played.turns)


def test_what_live_mode_would_move_is_proposed(played: Played) -> None:
    found = {
        (turn["kind"], turn["route"], turn["proposal"]["provider"], turn["proposal"]["state"])
        for turn in played.turns
        if turn["proposal"]
    }
    assert found >= {
        ("title", "summary", "cerebras", "would_move"),
        ("web_digest", "summary", "cerebras", "would_move"),
        ("user_turn", "planning", "groq", "observed"),
        ("user_turn", "code_draft", "groq", "observed"),
        ("user_turn", "summary", "cerebras", "observed"),
        ("output_digest", "summary", "cloudflare", "observed"),
        ("edited_files", "summary", "mistral", "needs_key"),
        ("app", "summary", "cerebras", "observed"),
        ("subagent", "summary", "anthropic", "would_move"),
    }


def test_gains_and_a_loss_on_a_warm_prefix_are_shown_as_what_they_are(played: Played) -> None:
    saved: dict[tuple[str, str, str], Turn] = {
        (turn["kind"], turn["route"], turn["proposal"]["provider"]): turn
        for turn in played.turns
        if turn["saving"] and turn["saving"]["usd"] is not None
    }
    loss = saved["user_turn", "summary", "cerebras"]
    assert loss["cache_read_tokens"] > 50_000
    assert loss["saving"]["state"] == "settled"
    assert -0.02 < loss["saving"]["usd"] < -0.005
    assert saved["user_turn", "planning", "groq"]["saving"]["usd"] > 0.002
    assert saved["web_digest", "summary", "cerebras"]["saving"]["usd"] > 0.01
    assert saved["subagent", "summary", "anthropic"]["saving"]["usd"] > 0.01
    assert any(event["type"] == "saving.settled" for event in played.events)
    today = played.snapshot["savings"]["today"]
    assert today["losses"] > 0 > today["losses_usd"]
    assert today["needs_key"] == 1
    assert 0 < today["usd"] < today["naive_usd"]


def test_limits_are_filled(played: Played) -> None:
    vendor = next(p for p in played.snapshot["providers"] if p["name"] == "anthropic")
    window = vendor["rate_limits"]["anthropic-ratelimit-input-tokens"]
    assert 0 < int(window["remaining"]) < int(window["limit"])


def test_it_is_marked_as_a_demo_and_leaves_nothing(played: Played) -> None:
    assert all(turn["demo"] for turn in played.turns)
    assert played.snapshot["gateway"]["demo"] is True
    assert not played.home.exists()


async def test_the_traffic_stops_when_it_is_told_to() -> None:
    async with demo_home(Flags()) as loaded:
        gateway = Gateway(loaded, env={}, secret=b"d" * 32, instance="demo", is_demo=True)
        await gateway.start(bind("127.0.0.1", 0))
        try:
            async with traffic(gateway):
                while not gateway.stats.counters()["requests"]:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            while gateway.services.active:
                await asyncio.sleep(0.01)
        finally:
            await gateway.stop()
