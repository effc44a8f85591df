"""One conversation with the simulated vendor: its requests grow, and so does what is cached."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from server.demo import bodies
from server.demo.answers import NO_TROUBLE, Answer, ToolCall, Trouble, tokens
from server.demo.bodies import Json
from server.demo.steps import Caller, Step

OPUS = "claude-opus-5-5"
SONNET = "claude-sonnet-5-5"
HAIKU = "claude-haiku-5-5"

_UNCACHED = 4
"""Tokens after the last cache mark."""

Call = tuple[str, dict[str, Any]]
"""A tool and its input."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says in one turn of a conversation."""

    text: str
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    max_tokens: bool = False
    pace: float = 12.0
    """Pieces of text a second."""


@dataclass(slots=True)
class Vendor:
    """What the vendor's prompt cache holds across conversations: prefixes by their parts."""

    warm: set[tuple[str, str, int]] = field(default_factory=set)
    """Model, system prompt and number of tools."""


@dataclass(slots=True)
class Conversation:
    """Builds the requests of one line of talk and books what each reads and writes."""

    rng: random.Random
    caller: Caller
    model: str
    vendor: Vendor
    guide: str
    tools: tuple[Json, ...]
    ttl: str = "5m"
    messages: list[Json] = field(default_factory=list)
    _fixed: int = 0
    """Tokens of system prompt and tools."""
    _said: int = 0
    """Tokens of ``messages``."""
    _cached: int = 0
    _calls: tuple[ToolCall, ...] = ()

    def __post_init__(self) -> None:
        self._fixed = tokens(self._system()) + tokens(self.tools)
        key = (self.model, self.guide, len(self.tools))
        if key in self.vendor.warm:
            self._cached = self._fixed
        self.vendor.warm.add(key)

    # ------------------------------------------------------------------ what the client says

    def add(self, message: Json) -> None:
        """One more message, whoever says it."""
        self.messages.append(message)
        self._said += tokens(message)

    def ask(self, *blocks: Json | str) -> None:
        """A user message; strings become text blocks."""
        self.add(bodies.user(*blocks))

    def results(self, *contents: str) -> None:
        """The results of the calls of the last reply, in their order."""
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": content}
            for call, content in zip(self._calls, contents, strict=True)
        ]
        self.add({"role": "user", "content": blocks})

    def restart(self, summary: str) -> None:
        """Go on from a summary: the messages are gone, system prompt and tools stay cached."""
        self.messages, self._said, self._cached = [], 0, self._fixed
        self.ask(summary)

    # ------------------------------------------------------------------ what the model says

    def turn(
        self, reply: Reply, *, troubles: Sequence[Trouble] = (), fields: Json | None = None,
        **more: Any,
    ) -> Step:  # fmt: skip
        """The next request and its answer, which becomes part of the conversation.

        ``troubles`` are what goes wrong with the first tries; ``fields`` are further top-level
        fields of the body, and ``more`` are fields of the ``Step``.
        """
        step = self._step(self.messages, reply, troubles, fields or {}, more)
        self._reply(reply, step.answers[-1])
        return step

    def aside(self, question: str, reply: Reply, **more: Any) -> Step:
        """A question of the client on top of the conversation, which does not stay in it."""
        return self._step([*self.messages, bodies.user(question)], reply, (), {}, more)

    def prewarm(self) -> Step:
        """Fill the vendor's cache with the fixed part, and ask for nothing."""
        fields = {"max_tokens": 0, "stream": False}
        reply = Reply("", max_tokens=True)
        step = self._step([bodies.user("warm up")], reply, (), fields, {})
        self._cached = self._fixed
        return step

    def _reply(self, reply: Reply, answer: Answer) -> None:
        self._cached = answer.cache_read + answer.cache_write
        blocks: list[Json] = []
        if reply.thinking:
            sign = f"{self.rng.getrandbits(512):0128x}"
            blocks.append({"type": "thinking", "thinking": reply.thinking, "signature": sign})
        if reply.text:
            blocks.append(bodies.text(reply.text))
        for call in answer.calls:
            one = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
            blocks.append(one)
        self.add({"role": "assistant", "content": blocks})
        self._calls = answer.calls

    def cancelled(self, reply: Reply, leave_after_s: float) -> Step:
        """A request whose answer the client does not wait for; only the vendor's cache keeps it."""
        more = {"leave_after_s": leave_after_s}
        step = self._step(self.messages, reply, (), {}, more)
        answer = step.answers[-1]
        self._cached = answer.cache_read + answer.cache_write
        return step

    def interrupted(self, begun: str, text: str) -> None:
        """The user broke the running answer off after ``begun`` and says something else."""
        self.add({"role": "assistant", "content": [bodies.text(begun)]})
        self.ask("[Request interrupted by user]", text)

    # ------------------------------------------------------------------ the request

    def _step(
        self, messages: list[Json], reply: Reply, troubles: Sequence[Trouble], fields: Json,
        more: Json,
    ) -> Step:  # fmt: skip
        extra = tokens(messages[-1]) if messages is not self.messages else 0
        total = self._fixed + self._said + extra
        good = Answer(
            text=reply.text,
            thinking=reply.thinking,
            calls=tuple(self._call(name, given) for name, given in reply.calls),
            input_tokens=_UNCACHED,
            cache_read=self._cached,
            cache_write=max(0, total - self._cached - _UNCACHED),
            ttl=self.ttl,
            max_tokens=reply.max_tokens,
            first_byte_s=self.rng.uniform(0.4, 1.1),
            pieces_per_s=reply.pace * self.rng.uniform(0.8, 1.25),
        )
        body = self._body(messages) | fields
        return Step(self.caller, msgspec.json.encode(body), tries(good, troubles), **more)

    def _call(self, name: str, given: dict[str, Any]) -> ToolCall:
        return ToolCall(name, f"toolu_{self.rng.getrandbits(96):024x}", given)

    def _system(self) -> list[Json]:
        session, is_subagent = self.caller.session or "", self.caller.agent is not None
        return bodies.system(session, self.guide, self.ttl, is_subagent=is_subagent)

    def _body(self, messages: list[Json]) -> Json:
        return {
            "model": self.model,
            "messages": bodies.with_mark(messages, self.ttl),
            "system": self._system(),
            "tools": self.tools,
            "metadata": bodies.user_id(self.caller.session or ""),
            "max_tokens": 128_000,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "medium"},
            "stream": True,
        }


def tries(good: Answer, troubles: Sequence[Trouble]) -> tuple[Answer, ...]:
    """The answer to each try: one for each trouble, then the good one.

    A try that got as far as an answer has filled the cache, so the next one reads from it.
    """
    out: list[Answer] = []
    for trouble in troubles:
        out.append(replace(good, trouble=trouble))
        if trouble.status == NO_TROUBLE.status and good.cache_write:
            filled = good.cache_read + good.cache_write
            good = replace(good, cache_read=filled, cache_write=0)
    return (*out, good)


def uuid(rng: random.Random) -> str:
    """A session id."""
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
