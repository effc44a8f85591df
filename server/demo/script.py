"""The sessions the demo plays: what is asked, and what the simulated vendor answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

OPUS = "claude-opus-5-5"
SONNET = "claude-sonnet-5-5"
HAIKU = "claude-haiku-5-5"

_IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
_TOOLS = ("Read", "Edit", "Write", "Bash", "Grep", "Glob", "Agent", "WebFetch", "WebSearch", "Task")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the simulated vendor does with one request."""

    text: str = ""
    thinking: str = ""
    tool: str | None = None
    input_tokens: int = 6
    cache_read: int = 0
    cache_write: int = 0
    status: int = 200
    first_byte_s: float = 0.6
    words_per_s: float = 40.0
    cut_after_words: int | None = None
    """Break the stream off after this many words."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a session, and the pause before it."""

    pause_s: float
    body: dict[str, Any]
    answer: Answer
    session: str
    project: str
    branch: str
    agent: str | None = None
    path: str = "/v1/messages"
    leave_after_s: float | None = None
    """The client goes away this long after it asked."""


@dataclass(slots=True)
class _Session:
    """Builds the requests of one conversation as it grows."""

    rng: random.Random
    project: str
    branch: str
    model: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    prefix: int = 0
    id: str = ""

    def __post_init__(self) -> None:
        self.id = str(_uuid(self.rng))

    def body(self, **changes: Any) -> dict[str, Any]:
        tools = [
            {"name": name, "description": f"The {name} tool.", "input_schema": {"type": "object"}}
            for name in _TOOLS
        ]
        system = [{"type": "text", "text": text} for text in (_IDENTITY, _GUIDE * 40)]
        base = {
            "model": self.model,
            "max_tokens": 32000,
            "stream": True,
            "system": system,
            "tools": tools,
            "messages": [dict(message) for message in self.messages],
            "thinking": {"type": "adaptive"},
        }
        return base | changes

    def step(self, answer: Answer, pause_s: float, **more: Any) -> Step:
        body = more.pop("body", None) or self.body()
        return Step(pause_s, body, answer, self.id, self.project, self.branch, **more)

    def ask(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def reply(self, answer: Answer) -> None:
        blocks: list[dict[str, Any]] = [{"type": "text", "text": answer.text}]
        if answer.tool:
            call = {"type": "tool_use", "id": "toolu_demo", "name": answer.tool, "input": {}}
            blocks.append(call)
        self.messages.append({"role": "assistant", "content": blocks})

    def result(self, text: str) -> None:
        block = {"type": "tool_result", "tool_use_id": "toolu_demo", "content": text}
        self.messages.append({"role": "user", "content": [block]})

    def grow(self, fresh: int) -> tuple[int, int]:
        """Cache read and write of the next turn when ``fresh`` tokens are new."""
        read, self.prefix = self.prefix, self.prefix + fresh
        return read, fresh


_GUIDE = "Work in small steps, run the tests, and say plainly what you did. "

_PROJECTS = (
    ("orchard", "main", OPUS, "The retry test fails about once in ten runs. Find out why."),
    ("lighthouse", "feature/export", SONNET, "Add a CSV export to the report page."),
    ("quarry", "fix/timezones", OPUS, "Dates shift by one day for users east of Greenwich."),
    ("postcard", "main", SONNET, "Split the upload module, it has grown too large."),
)

_TOOL_STEPS = (
    ("I will look at the module first.", "Read"),
    ("The suspicious part is the shared clock. Searching for its users.", "Grep"),
    ("Found it: two places write the same field. Changing both.", "Edit"),
    ("Running the tests now.", "Bash"),
    ("One assertion still expects the old value. Correcting it.", "Edit"),
    ("Running the tests once more.", "Bash"),
)

_FINAL = (
    "The test was flaky because two workers shared one clock object, and the slower one could "
    "overwrite the value the faster one had just read. Each worker has its own clock now, and the "
    "test runs with both orders. All tests pass; I changed two files and added one case."
)


def session(rng: random.Random, index: int) -> Iterator[Step]:
    """One working session: a title, the main loop, helpers beside it, and now and then trouble."""
    project, branch, model, question = _PROJECTS[index % len(_PROJECTS)]
    s = _Session(rng, project, branch, model)
    s.prefix = 0
    yield _title(s, question)
    s.ask(question)
    read, write = s.grow(rng.randint(16_000, 24_000))
    for number, (text, tool) in enumerate(_TOOL_STEPS):
        thinking = "Let me think about where this value comes from. " * rng.randint(2, 6)
        answer = Answer(
            text, thinking if number % 2 == 0 else "", tool, 6, read, write,
            first_byte_s=rng.uniform(0.4, 1.4), words_per_s=rng.uniform(30, 70),
        )  # fmt: skip
        if number == 2 and index % 4 == 1:
            yield s.step(Answer(status=529, first_byte_s=0.2), rng.uniform(0.2, 0.8))
        if number == 3 and index % 4 == 2:
            cut = Answer(_FINAL, "", None, 6, read, write, cut_after_words=12)
            yield s.step(cut, rng.uniform(0.2, 0.8))
        yield s.step(answer, rng.uniform(0.3, 1.5))
        s.reply(answer)
        s.result("ok " * rng.randint(40, 600))
        read, write = s.grow(rng.randint(400, 2_600))
        if number == 1:
            yield from _subagent(s, rng)
    final = Answer(_FINAL, "", None, 4, read, write, words_per_s=rng.uniform(35, 60))
    leave = 1.2 if index % 5 == 3 else None
    yield s.step(final, 0.6, leave_after_s=leave)
    s.reply(final)
    yield _count(s)


def _title(s: _Session, question: str) -> Step:
    body = s.body(
        tools=[],
        system=[
            {"type": "text", "text": _IDENTITY},
            {"type": "text", "text": "You are naming a coding session so it can be found again."},
        ],
        messages=[{"role": "user", "content": f"<session>\n{question}\n</session>"}],
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )
    body.pop("thinking")
    answer = Answer('{"title": "' + question[:32] + '"}', input_tokens=420, first_byte_s=0.3)
    return s.step(answer, 0.1, body=body)


def _subagent(s: _Session, rng: random.Random) -> Iterator[Step]:
    agent = f"agent-{rng.randrange(16**6):06x}"
    sub = _Session(rng, s.project, s.branch, HAIKU)
    sub.id = s.id
    sub.ask("List every caller of the clock helper and say which thread it runs on.")
    read, write = sub.grow(rng.randint(7_000, 11_000))
    for text, tool in (("Searching the callers.", "Grep"), ("Four callers, two threads.", None)):
        answer = Answer(text, "", tool, 5, read, write, words_per_s=60)
        yield sub.step(answer, 0.3, agent=agent)
        sub.reply(answer)
        sub.result("callers " * 60)
        read, write = sub.grow(rng.randint(500, 1_500))


def _count(s: _Session) -> Step:
    body = {"model": s.model, "messages": [{"role": "user", "content": "foo"}]}
    return s.step(Answer(input_tokens=9), 0.2, body=body, path="/v1/messages/count_tokens")


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
