"""The session that was worked out by hand, played through the whole gateway.

CONTRIBUTING.md shows the figures turn by turn. Here Claude Code's own shapes of request bring the
same session to a real gateway, whose upstream reports the usage of each turn, and every figure it
answers with must be the one on paper: while the session runs, when it has ended, after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import Json, background_call, main_turn, text, tool_result, tool_use, user
from agent_bodies import assistant as said
from anthropic_streams import MESSAGE_STOP, block_stop, message_delta, message_start
from anthropic_streams import text_delta, text_start
from fake_clock import FakeClock
from hand_session import ASSUMED_MAX_TOKENS, END_S, PRICES, SESSION, TOTAL, Expected, Scripted
from live_gateway import LiveGateway, live_gateway
from scripted_upstream import Script, ScriptedUpstream, sse

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
EXACT = 1e-9
"""USD; the ledger keeps whole nano-dollars."""

SETTINGS = """
[routing.routes]
planning = ["groq"]
summary = ["groq"]
[routing.kinds]
title = ["groq"]
web_digest = ["cerebras"]
subagent = ["anthropic/claude-haiku-5-5"]
recap = ["workshop/local-model"]
[routing.modes]
summary = "observe"
title = "live"
recap = "live"
[providers.groq]
model = "openai/gpt-oss-120b"
[providers.groq.limits]
tokens_per_minute = 24_000
[providers.cerebras]
model = "gpt-oss-120b"
[providers.workshop]
kind = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
"""

AGENT = [
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"anthropic-version", b"2023-06-01"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
]

NOTE, NOTE_END = "<system-reminder>\n", "\n</system-reminder>"


# -- the requests -----------------------------------------------------------------------------


def padding(chars: int) -> str:
    """A note of the client that is exactly so long."""
    inner = chars - len(NOTE) - len(NOTE_END)
    assert inner > 0
    return NOTE + "x" * inner + NOTE_END


def chars_of(messages: Iterable[Json]) -> int:
    """Characters of what is said, called and returned."""
    total = 0
    for message in messages:
        for block in message["content"]:
            total += len(block.get("text", "")) + len(block.get("content", ""))
            if block["type"] == "tool_use":
                total += len(block["name"]) + sum(len(k) + len(v) for k, v in block["input"].items())
    return total


class Conversation:
    """The main conversation, which grows by what is said in it."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._calls = 0

    def asks(self, question: str, tokens: int) -> Json:
        """The user's next question; the whole conversation is then ``tokens`` long."""
        if self.messages:
            self.messages.append(said(text("All done")))
        room = 4 * tokens - chars_of(self.messages) - len(question)
        self.messages.append(user(text(padding(room)), text(question)))
        return self._request()

    def steps(self, tokens: int) -> Json:
        """The answer to the model's next tool call, likewise."""
        self._calls += 1
        call = f"toolu_{self._calls}"
        self.messages.append(said(tool_use("Bash", call, command="make test")))
        room = 4 * tokens - chars_of(self.messages)
        self.messages.append(user(tool_result("x" * room, call)))
        return self._request()

    def _request(self) -> Json:
        return main_turn(*self.messages, model="claude-sonnet-5-5")


CHOICE = "Which is better for a small service, SQLite or Postgres? What are the trade-offs?"
TASK = "Run the tests."


def alone(system: str, words: str, tokens: int, model: str, end: str = "") -> Json:
    """A background call with one message, ``tokens`` long."""
    full = words + "x" * (4 * tokens - len(words) - len(end)) + end
    return background_call(system, full, model=model)


def requests() -> dict[str, Json]:
    """The body of every turn, by its first word."""
    main, size = Conversation(), {turn.name: turn.conversation for turn in SESSION}
    bodies: dict[str, Json] = {}
    for name, tokens in size.items():
        match name.split()[0]:
            case "T1":
                naming = "You are naming a coding session. Answer with a short title."
                body = alone(naming, "<session>\n", tokens, "claude-sonnet-5-5", "</session>")
            case "T2":
                body = main.asks(CHOICE, tokens)
            case "T4":
                body = main.asks("How do I choose between a queue and a cron job?", tokens)
            case "T5":
                end = "\n---\nSummarise it."
                body = alone("", "Web page content:\n---\n", tokens, "claude-haiku-5-5", end)
            case "T7":
                room = 4 * tokens - len(TASK)
                task = user(text(padding(room)), text(TASK))
                body = main_turn(task, model="claude-sonnet-5-5")
            case "T8":
                body = main.asks("Explain what a monad is.", tokens)
            case "T9":
                begin = "The user stepped away and is coming back. Recap in one line.\n"
                body = alone("You recap.", begin, tokens, "claude-sonnet-5-5")
            case _:
                body = main.steps(tokens)
        bodies[name] = body
    return bodies


# -- the upstream -----------------------------------------------------------------------------


def answer(turn: Scripted) -> Script:
    """A streamed answer with exactly the turn's usage."""
    usage = turn.usage
    counts = {
        "input_tokens": usage.input_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 1,
    }
    events = [
        message_start(counts, model=turn.model),
        text_start(0) + text_delta(0, "Well."),
        block_stop(0) + message_delta("end_turn", {"output_tokens": usage.output_tokens}),
        MESSAGE_STOP,
    ]
    return sse(events)


def price_tables() -> str:
    """The session's prices as settings."""
    lines = []
    for rates in PRICES:
        lines.append(f'[prices."{rates.provider}/{rates.model}"]')
        named = {
            "in": rates.input,
            "out": rates.output,
            "cache_read": rates.cache_read,
            "cache_write_5m": rates.cache_write_5m,
            "cache_write_1h": rates.cache_write_1h,
        }
        lines += [f"{key} = {usd}" for key, usd in named.items() if usd is not None]
    return "\n".join(lines)


# -- the play ---------------------------------------------------------------------------------


class Play:
    """One gateway and its upstream, on a clock that the session moves."""

    def __init__(self, gateway: LiveGateway, upstream: ScriptedUpstream, clock: FakeClock) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.clock = clock
        self.ids: dict[str, str] = {}
        self._began = clock.time()
        self._bodies = requests()

    async def until(self, seconds: float) -> None:
        """Let the session's clock reach ``seconds``."""
        await self.clock.advance(seconds - (self.clock.time() - self._began))

    async def send(self, turn: Scripted) -> None:
        """One turn at its time, to its end."""
        await self.until(turn.at)
        self.upstream.script = answer(turn)
        headers = list(AGENT)
        if turn.agent is not None:
            headers.append((b"x-claude-code-agent-id", turn.agent.encode()))
        got = await self.gateway.ask(headers=headers, body=self._bodies[turn.name])
        assert got.status == 200
        self.ids[turn.name] = str(got.header("x-gateway-request-id"))
        await self.gateway.turns(len(self.ids))

    async def event(self, turn: Scripted) -> Json:
        found: Json = (await self.gateway.get(f"/events/{self.ids[turn.name]}")).json
        return found

    async def stats(self) -> Json:
        found: Json = (await self.gateway.get("/shadow/stats")).json
        return found


def gateway_of(
    home: Path, upstream: ScriptedUpstream, clock: FakeClock, instance: str = "first"
) -> AbstractAsyncContextManager[LiveGateway]:
    return live_gateway(
        home,
        upstream.base_url,
        clock=clock,
        env={"GROQ_API_KEY": "gsk_x"},
        settings=SETTINGS + price_tables(),
        instance=instance,
    )


def near(usd: float) -> Any:
    return pytest.approx(usd, abs=EXACT, rel=0)


def check_saving(saving: Json, expected: Expected) -> None:
    """Every figure of a settled proposal."""
    assert saving["state"] == "settled"
    assert saving["naive_usd"] == near(expected.naive)
    assert saving["baseline_usd"] == near(expected.baseline)
    assert saving["target_usd"] == near(expected.target)
    assert saving["penalty_write_usd"] == near(expected.write)
    assert saving["penalty_ttl_usd"] == near(expected.ttl)
    assert saving["redo_usd"] == near(expected.redo)
    assert saving["usd"] == near(expected.usd)
    assert saving["low_usd"] == near(expected.low)
    assert saving["high_usd"] == near(expected.high)
    assert saving["quota_usd"] == near(expected.quota)


def check_turn(event: Json, turn: Scripted) -> None:
    """What the gateway made of the request is what the calculation takes for granted."""
    assert (event["kind"], event["route"]) == (turn.kind, route_of(turn))
    assert (event["agent"], event["model_served"]) == (turn.agent, turn.model)
    assert event["max_tokens"] == ASSUMED_MAX_TOKENS
    assert event["estimates"]["history"] + event["estimates"]["turn"] == turn.conversation
    if turn.proposal is None:
        assert event["proposal"] is None
        assert event["saving"] is None
        return
    assert event["proposal"]["provider"] == turn.proposal.provider
    assert event["proposal"]["state"] == turn.proposal.state
    if turn.expected is None:
        assert (event["saving"]["state"], event["saving"]["usd"]) == ("unpriced", None)


async def check_settled(play: Play) -> None:
    """The table of the documents, in ``/events/{id}`` and in ``/shadow/stats``."""
    stats = await play.stats()
    recent = {row["id"]: row for row in stats["recentShadow"]}
    for turn in SESSION:
        event = await play.event(turn)
        check_turn(event, turn)
        if turn.expected is not None:
            check_saving(event["saving"], turn.expected)
            row = recent[play.ids[turn.name]]
            assert row["projectedSavingsUsd"] == near(turn.expected.usd)
            assert row["naiveUsd"] == near(turn.expected.naive)
            assert row["quotaLimitedUsd"] == near(turn.expected.quota)
            assert (row["lowUsd"], row["highUsd"]) == (
                near(turn.expected.low),
                near(turn.expected.high),
            )
    assert stats["totalRequests"] == len(SESSION)
    assert stats["shadowedRequests"] == sum(turn.proposal is not None for turn in SESSION)
    check_total(stats)
    check_routes(stats["byRoute"])


def check_total(stats: Json) -> None:
    assert stats["totalProjectedSavingsUsd"] == near(TOTAL["usd"])
    assert stats["cacheAwareUsd"] == near(TOTAL["usd"])
    assert stats["naiveUsd"] == near(TOTAL["naive_usd"])
    assert (stats["lowUsd"], stats["highUsd"]) == (near(TOTAL["low_usd"]), near(TOTAL["high_usd"]))
    assert stats["quotaLimitedUsd"] == near(TOTAL["quota_usd"])
    assert (stats["losses"], stats["lossesUsd"]) == (TOTAL["losses"], near(TOTAL["losses_usd"]))
    assert (stats["needsKey"], stats["needsKeyUsd"]) == (1, near(TOTAL["needs_key_usd"]))
    assert (stats["open"], stats["unpriced"]) == (0, TOTAL["unpriced"])
    assert stats["actualCostUsd"] == near(TOTAL["cost_usd"])


def check_routes(by_route: Json) -> None:
    """The sums of each class that has a proposal."""
    proposed = [turn for turn in SESSION if turn.proposal is not None]
    assert set(by_route) == {route_of(turn) for turn in proposed}
    for name, sums in by_route.items():
        turns = [turn for turn in proposed if route_of(turn) == name]
        keyless = [t.expected for t in turns if t.expected and is_keyless(t)]
        inside = [t.expected for t in turns if t.expected and not is_keyless(t)]
        lost = [expected for expected in inside if expected.usd < 0]
        assert sums["count"] == sum(sums["confidence"].values()) == len(turns)
        assert sums["projectedSavingsUsd"] == near(sum(e.usd for e in inside))
        assert sums["cacheAwareUsd"] == near(sum(e.usd for e in inside))
        assert sums["naiveUsd"] == near(sum(e.naive for e in inside))
        assert sums["quotaLimitedUsd"] == near(sum(e.quota for e in inside))
        assert sums["lowUsd"] == near(sum(e.low for e in inside))
        assert sums["highUsd"] == near(sum(e.high for e in inside))
        assert (sums["losses"], sums["lossesUsd"]) == (len(lost), near(sum(e.usd for e in lost)))
        assert (sums["needsKey"], sums["needsKeyUsd"]) == (
            len(keyless),
            near(sum(e.usd for e in keyless)),
        )
        assert sums["open"] == 0
        assert sums["unpriced"] == sum(turn.expected is None for turn in turns)


def is_keyless(turn: Scripted) -> bool:
    return turn.proposal is not None and turn.proposal.state == "needs_key"


def route_of(turn: Scripted) -> str:
    """The first request of a sub-agent waits for no tool yet, so its words decide."""
    return "fallback_safe" if turn.kind == "subagent" else turn.route


async def check_open(play: Play, turn: Scripted, so_far: list[Expected]) -> None:
    """A proposal whose next call is not known, and the sums with it; ``so_far`` are settled."""
    assert turn.opened_at is not None
    usd, low, high = turn.opened_at
    saving = (await play.event(turn))["saving"]
    assert saving["state"] == "open"
    assert (saving["usd"], saving["low_usd"], saving["high_usd"]) == (
        near(usd),
        near(low),
        near(high),
    )
    stats = await play.stats()
    assert stats["open"] == 1
    assert stats["totalProjectedSavingsUsd"] == near(usd + sum(e.usd for e in so_far))
    assert stats["lowUsd"] == near(low + sum(e.low for e in so_far))
    assert stats["highUsd"] == near(high + sum(e.high for e in so_far))


async def test_the_session_gives_the_figures_on_paper(tmp_path: Path) -> None:
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        async with gateway_of(tmp_path / "h", upstream, clock) as gateway:
            play = Play(gateway, upstream, clock)
            settled: list[Expected] = []
            waiting: Scripted | None = None
            for turn in SESSION:
                await play.send(turn)
                if waiting is not None and turn.usage.cache_read_tokens and turn.agent is None:
                    assert waiting.expected is not None
                    check_saving((await play.event(waiting))["saving"], waiting.expected)
                    settled.append(waiting.expected)
                    waiting = None
                if turn.opened_at is not None:
                    await check_open(play, turn, settled)
                    waiting = turn
                elif turn.expected is not None and not is_keyless(turn):
                    settled.append(turn.expected)
            assert waiting is SESSION[7]
            assert (await play.stats())["open"] == 1
            await play.until(END_S)
            await check_settled(play)
        async with gateway_of(tmp_path / "h", upstream, clock, "second") as gateway:
            play.gateway = gateway
            await check_settled(play)


async def test_a_restart_in_the_middle_keeps_the_range_and_says_why(tmp_path: Path) -> None:
    clock, first, second = FakeClock(), SESSION[0], SESSION[1]
    assert first.expected is not None
    assert second.opened_at is not None
    usd, low, high = second.opened_at
    async with ScriptedUpstream() as upstream:
        async with gateway_of(tmp_path / "h", upstream, clock) as gateway:
            play = Play(gateway, upstream, clock)
            await play.send(first)
            await play.send(second)
        async with gateway_of(tmp_path / "h", upstream, clock, "second") as gateway:
            play.gateway = gateway
            saving, stats = (await play.event(second))["saving"], await play.stats()
    assert saving["state"] == "settled"
    assert (saving["usd"], saving["low_usd"], saving["high_usd"]) == (
        near(usd),
        near(low),
        near(high),
    )
    assert "stopped before the session" in saving["note"]
    assert stats["open"] == 0
    assert stats["totalProjectedSavingsUsd"] == near(first.expected.usd + usd)


def test_the_documents_show_the_same_figures() -> None:
    """The table of results in the text, against the session that the gateway is held to."""
    document = CONTRIBUTING.read_text("utf-8")
    shown = {row[0].strip("* "): row[1:] for row in rows_of(document, "| turn | naive |")}
    for turn in SESSION:
        name, expected = turn.name.split()[0], turn.expected
        if expected is None:
            assert name not in shown
            continue
        found = shown[f"{name}, needs a key" if is_keyless(turn) else name]
        figures = (expected.naive, expected.low, expected.usd, expected.high, expected.quota)
        assert [usd_in(cell) for cell in found] == [near(usd) for usd in figures], name
    total = [TOTAL[f"{name}_usd"] for name in ("naive", "low")]
    total += [TOTAL[name] for name in ("usd", "high_usd", "quota_usd")]
    assert [usd_in(cell) for cell in shown["sum"]] == [near(usd) for usd in total]


def test_the_documents_show_the_same_session() -> None:
    document = CONTRIBUTING.read_text("utf-8")
    costs = Decimal(0)
    for turn, row in zip(SESSION, rows_of(document, "| turn | at s |"), strict=True):
        usage = turn.usage
        assert row[0].split()[0] == turn.name.split()[0]
        assert [count_in(cell) for cell in row[1:2]] == [turn.at]
        counts = [count_in(cell) for cell in row[3:7]]
        assert counts == [
            usage.input_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
        ]
        if turn.expected is not None:
            assert usd_in(row[7]) == near(turn.expected.baseline)
        costs += Decimal(row[7].strip())
    assert float(costs) == near(TOTAL["cost_usd"])


def rows_of(document: str, head: str) -> list[list[str]]:
    """The cells of the table that begins with ``head``."""
    lines = document[document.index(head) :].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def usd_in(cell: str) -> float:
    return float(cell.strip("* "))


def count_in(cell: str) -> int:
    return int(re.sub(r"[ ,]", "", cell) or 0)
