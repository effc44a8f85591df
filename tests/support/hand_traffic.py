"""The traffic of ``hand_session`` as Claude Code would send it, and its vendor would answer."""

from __future__ import annotations

from collections.abc import Iterable

from agent_bodies import Json, background_call, main_turn, text, tool_result, tool_use, user
from agent_bodies import assistant as said
from anthropic_streams import (
    MESSAGE_STOP,
    block_stop,
    message_delta,
    message_start,
    text_delta,
    text_start,
)
from hand_session import PRICES, SESSION, Scripted
from scripted_upstream import Script, sse

ROUTES = """
[routing.routes]
planning = ["groq"]
summary = ["groq"]
[routing.kinds]
title = ["groq"]
web_digest = ["cerebras"]
subagent = ["anthropic/claude-haiku-5-5"]
recap = ["workshop/local-model"]
[routing.modes]
planning = "live"
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

_AGENT = [
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-app", b"cli"),
    (b"anthropic-version", b"2023-06-01"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
]

CHOICE = "Which is better for a small service, SQLite or Postgres? What are the trade-offs?"
TASK = "Run the tests."
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
                total += len(block["name"]) + sum(
                    len(k) + len(v) for k, v in block["input"].items()
                )
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


def settings() -> str:
    """The routes that make the session's proposals, and its prices."""
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
    return ROUTES + "\n".join(lines)


def headers_of(turn: Scripted) -> list[tuple[bytes, bytes]]:
    """What Claude Code sends with a turn."""
    agent = [(b"x-claude-code-agent-id", turn.agent.encode())] if turn.agent else []
    return [*_AGENT, *agent]
