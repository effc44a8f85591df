"""kill -9 under load: a turn of which the client has seen a byte is never lost.

Acknowledged means: the client got any byte of the answer (the turn has a row), or its very last
byte (the row is terminal, with the usage of that answer).
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    START_USAGE,
    block_stop,
    message_delta,
    message_start,
    text_delta,
    text_start,
)
from gateway_process import Call, GatewayHome, GatewayProcess, message
from scripted_upstream import Request, Script, ScriptedUpstream, respond, sse

from server.runner import Exit

CLIENTS = 16
MOST_NEWS = 400
"""Kill after at most so many pieces of answers; one answer has 3 to 20."""


class Answers:
    """Paced answers, each with an output count of its own, so that rows cannot be mixed up."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0

    def route(self, request: Request) -> Script:
        """A stream or a whole answer, as the request asks."""
        self._count += 1
        usage = {"output_tokens": self._count}
        if not json.loads(request.body)["stream"]:
            body = {"type": "message", "usage": START_USAGE | usage, "stop_reason": "end_turn"}
            kind = [(b"Content-Type", b"application/json")]
            return respond(200, kind, json.dumps(body).encode())
        pieces = [message_start(START_USAGE), text_start(0)]
        pieces += [text_delta(0, "word ") for _ in range(self._chance.randrange(1, 12))]
        pieces += [block_stop(0), message_delta("end_turn", usage), MESSAGE_STOP]
        return sse(pieces, delay=self._chance.choice([0.0, 0.001, 0.005]))


class Acknowledged:
    """What the clients have seen, by turn id."""

    def __init__(self) -> None:
        self.opened: set[str] = set()
        self.ended: dict[str, int] = {}
        """Output tokens of the answers that arrived whole."""
        self.news = 0

    def note(self, call: Call) -> None:
        """Take down what has arrived of one call."""
        self.news += 1
        if call.turn_id is None:
            return
        self.opened.add(call.turn_id)
        if call.is_whole and call.status == 200:
            self.ended[call.turn_id] = _output_tokens(bytes(call.body))


def _output_tokens(body: bytes) -> int:
    """The final count, from a stream or a whole answer."""
    return int(body.rpartition(b'"output_tokens":')[2].split(b"}")[0].split(b",")[0])


async def load_until_killed(
    gateway: GatewayProcess, seen: Acknowledged, chance: random.Random, moment: int
) -> None:
    """Keep ``CLIENTS`` requests running until that many pieces have arrived, then kill."""
    is_killed = False
    limit = seen.news + moment

    def on_news(call: Call) -> None:
        nonlocal is_killed
        seen.note(call)
        if seen.news >= limit and not is_killed:
            is_killed = True
            gateway.kill()

    async def client(is_stream: Callable[[], bool]) -> None:
        while not is_killed:
            await gateway.call(message(stream=is_stream()), on_news=on_news).run()

    await asyncio.gather(*(client(lambda: chance.random() < 0.8) for _ in range(CLIENTS)))


def check(home: GatewayHome, seen: Acknowledged) -> None:
    """The ledger, after a restart, against everything that was acknowledged so far."""
    rows = {
        turn_id: (status, tokens)
        for turn_id, status, tokens in home.rows("SELECT id, status, output_tokens FROM turns")
    }
    assert seen.opened - rows.keys() == set(), "acknowledged turns without a row"
    wrong = {
        turn_id: rows[turn_id]
        for turn_id, tokens in seen.ended.items()
        if rows[turn_id] != ("completed", tokens)
    }
    assert wrong == {}, f"{len(wrong)} of {len(seen.ended)} whole answers are not recorded"
    assert [turn_id for turn_id, (status, _) in rows.items() if status == "open"] == []
    assert home.rows("PRAGMA integrity_check") == [("ok",)]


async def run_rounds(folder: Path, rounds: int, seed: int) -> None:
    chance, seen = random.Random(seed), Acknowledged()
    async with ScriptedUpstream(route=Answers(seed).route) as upstream:
        home = GatewayHome(folder, upstream.base_url)
        for _ in range(rounds):
            async with home.serve() as gateway:
                if seen.opened:
                    check(home, seen)
                await load_until_killed(gateway, seen, chance, chance.randrange(1, MOST_NEWS))
        async with home.serve():
            check(home, seen)
    assert len(seen.ended) > rounds
    interrupted = [status for status in home.statuses().values() if status == "interrupted"]
    assert interrupted, "no kill met a running answer"


@pytest.mark.faults
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    await run_rounds(tmp_path, rounds=2, seed=1)


@pytest.mark.faults
async def test_nothing_acknowledged_is_lost_in_many_kills(tmp_path: Path) -> None:
    await run_rounds(tmp_path, rounds=24, seed=2)


def on_record(home: GatewayHome, turn_id: str | None) -> str | None:
    """The status of a turn in the database or, ahead of its commit, in the journal."""
    ahead: str | None = None
    # The journal first: it is cut only after the commit.
    for journal in home.state_dir.glob("*.ahead-*"):
        for line in journal.read_bytes().splitlines():
            turn = json.loads(line).get("turn", {})
            if turn.get("id") == turn_id and ahead in (None, "open"):
                ahead = str(turn.get("status", "open"))
    rows = home.rows("SELECT status FROM turns WHERE id = ?", turn_id)
    found: str | None = rows[0][0] if rows else None
    if found in (None, "open"):
        return ahead or found
    return found


async def test_the_rows_are_there_when_the_client_has_the_first_and_the_last_byte(
    tmp_path: Path,
) -> None:
    """Without a kill: what a successor would read, in the very moment the bytes arrive."""
    answers = Answers(3)
    refused = respond(400, [(b"Content-Type", b"application/json")], b'{"type":"error"}')
    found: list[str | None] = []

    def route(request: Request) -> Script:
        return refused if b"refuse" in request.body else answers.route(request)

    async with ScriptedUpstream(route=route) as upstream:
        home = GatewayHome(tmp_path, upstream.base_url)

        def look(call: Call) -> None:
            status = on_record(home, call.turn_id)
            if call.is_whole or status is None:
                found.append(status)

        async with home.serve() as gateway:
            for number in range(10):
                bodies = (message(number % 2 == 0), message(metadata="refuse"), b"no JSON")
                for body in bodies:
                    await gateway.call(body, on_news=look).run()

            gateway.signal(signal.SIGTERM)
            assert await gateway.ended() == Exit.OK

    assert found == ["completed", "error", "rejected"] * 10
    digested = home.rows("SELECT count(*) FROM turns WHERE blocks IS NOT NULL")
    assert digested == [(20,)], "what is left to do after the last byte was not done"
