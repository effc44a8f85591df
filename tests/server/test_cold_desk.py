"""Cold caches as a running gateway finds them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic_streams as stream
from hand_session import PRICES, SONNET
from live_gateway import live_gateway
from msgspec import structs
from past_ledger import write_ledger
from scripted_upstream import ScriptedUpstream, in_turn, sse
from turn_factory import NOON, finished

from providers.pricing import Prices
from providers.types import Usage
from server.cold import Cold
from server.cold_desk import ColdDesk, past_of
from server.ledger_history import history
from server.prefix import digest_body
from server.record import Proposal, Saving, Turn

WARM = Usage(0, 1, 40_000, 1000)
COLD = Usage(0, 1, 0, 42_000)


def blocks(system: str = "be good") -> bytes:
    body = {"model": SONNET, "max_tokens": 9, "system": system, "messages": []}
    return digest_body(json.dumps(body).encode(), b"k" * 32)[0]


def call(at: float, usage: Usage, **changes: Any) -> Turn:
    same = {"model_asked": SONNET, "model_served": SONNET, "cache_ttl": "5m", "blocks": blocks()}
    return finished(**(same | {"at": NOON + at, "usage": usage} | changes))


def desk(path: Path, started_at: float = NOON) -> tuple[ColdDesk, list[tuple[str, Cold]]]:
    found: list[tuple[str, Cold]] = []
    made = ColdDesk(path, Prices(PRICES), lambda *one: found.append(one), started_at=started_at)
    return made, found


def test_a_turn_is_read_as_the_ledger_would_give_it_back(tmp_path: Path) -> None:
    turn = call(0, WARM, features={"n_tools": 3, "answered_before": True, "images": 1})
    turn.proposal = Proposal("groq", "m", "would_move")
    turn.saving = Saving("settled", 0.5, 0.25, 0.125, 0.375, 0.25, baseline_usd=0.5)
    path = tmp_path / "ledger.sqlite3"
    write_ledger(path, [turn])
    assert list(history(path, with_blocks=True)) == [past_of(turn)]


def test_a_cold_call_is_told_once_and_others_are_not(tmp_path: Path) -> None:
    office, found = desk(tmp_path / "none.sqlite3")
    calls = [call(0, WARM), call(10, WARM), call(20, COLD, blocks=blocks("be bad"))]
    for turn in calls:
        office.ended(turn)
    assert [(turn_id, cold.cause) for turn_id, cold in found] == [(calls[2].id, "system")]


def test_sessions_that_began_before_the_start_are_followed_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    now = call(600, COLD)
    # What this process recorded itself is not read a second time.
    write_ledger(path, [call(0, WARM), structs.replace(now, status=now.status)])
    office, found = desk(path, started_at=NOON + 500)
    office.ended(now)
    assert [(turn_id, cold.cause) for turn_id, cold in found] == [(now.id, "idle")]


def test_an_unreadable_record_only_forgets_the_sessions_before(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(b"no database" * 100)
    office, found = desk(path)
    office.ended(call(0, WARM))
    office.ended(call(400, COLD))
    assert [cold.cause for _, cold in found] == ["idle"]


def answer(read: int, written: int) -> bytes:
    usage = {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": read}
    usage["cache_creation_input_tokens"] = written
    return (
        stream.message_start(usage)
        + stream.text_start(0)
        + stream.text_delta(0, "ok")
        + stream.block_stop(0)
        + stream.message_delta("end_turn", usage)
        + stream.MESSAGE_STOP
    )


async def test_a_gateway_tells_of_a_cold_call_and_shows_it_in_the_turn(tmp_path: Path) -> None:
    bodies = [
        {
            "model": "claude-sonnet-5-5",
            "max_tokens": 64,
            "stream": True,
            "tools": [{"name": name, "description": "d", "input_schema": {"type": "object"}}],
            "messages": [{"role": "user", "content": "hello"}],
        }
        for name in ("Read", "Grep")
    ]
    headers = [(b"x-claude-code-session-id", b"s1")]
    script = in_turn(sse([answer(0, 50_000)]), sse([answer(0, 51_000)]))
    async with (
        ScriptedUpstream(route=script) as upstream,
        live_gateway(tmp_path, upstream.base_url) as live,
    ):
        watcher = live.gateway.subscribe()
        for body in bodies:
            await live.ask(body=body, headers=headers)
        first, second = await live.turns(2)
        assert first["cold"] is None
        assert second["cold"]["cause"] == "tools"
        assert (second["cold"]["tools_added"], second["cold"]["tools_removed"]) == (1, 1)
        async with asyncio.timeout(20):
            while (event := await watcher.get())["type"] != "cold.found":
                pass
        assert event["turn_id"] == second["id"]
        assert event["cold"] == second["cold"]
        rows = {row["id"]: row.get("cold") for row in await live.gateway.recent(10)}
        assert rows == {first["id"]: None, second["id"]: second["cold"]}
