"""Sub-agents of a session: conversations of their own under the session's id."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from server.demo import bodies
from server.demo.bodies import Json
from server.demo.conversation import Conversation, Reply, Vendor
from server.demo.steps import Step
from server.demo.words import listing, prose

_EXPLORE = "You are a file search specialist for Claude Code. You read, and change nothing."
_PLAN = "You are a software architect and planning specialist. You read, and change nothing."
_WORK = "You are an agent for Claude Code. Finish the task you are given and report briefly."
_REVIEW = "# Review guidelines:\nSay what is wrong with a change, worst first, and nothing else."


def explore(parent: Conversation, vendor: Vendor) -> Iterator[Step]:
    """Searches the code and reports what it found."""
    sub = _subagent(parent, vendor, _EXPLORE, bodies.search_tools())
    sub.ask("List every caller of the clock and say on which thread it runs.")
    return _loop(sub, ("Grep", "Read"), "Four callers on two threads; the report has the lines.")


def planner(parent: Conversation, vendor: Vendor) -> Iterator[Step]:
    """Thinks a change through before anybody makes it."""
    sub = _subagent(parent, vendor, _PLAN, bodies.search_tools())
    sub.ask("Plan how the workers could get a clock each, in small steps.")
    return _loop(sub, ("Glob", "Read"), "Three steps: pass it in, default it, then drop the old.")


def worker(parent: Conversation, vendor: Vendor, task: str) -> Iterator[Step]:
    """Does one piece of the work by itself."""
    sub = _subagent(parent, vendor, _WORK, bodies.agent_tools()[:10])
    sub.ask(task)
    return _loop(sub, ("Read", "Edit", "Bash"), "Done, and the tests of that part pass.")


def reviewer(parent: Conversation, vendor: Vendor) -> Step:
    """Reads a change and says what is wrong with it."""
    sub = _subagent(parent, vendor, _REVIEW, bodies.search_tools())
    sub.ask(f"Review this change:\n\n{listing(parent.rng, 40)}")
    return sub.turn(Reply("One thing: an empty report writes no header. The rest looks right."))


def _subagent(
    parent: Conversation, vendor: Vendor, purpose: str, tools: tuple[Json, ...]
) -> Conversation:
    # Its own, because what runs side by side draws in no fixed order.
    rng = random.Random(parent.rng.getrandbits(64))  # noqa: S311
    caller = replace(parent.caller, agent=f"agent-{rng.getrandbits(32):08x}")
    guide = f"{purpose}\n\n{_habits()}"
    return Conversation(rng, caller, parent.model, vendor, guide, tools, "5m")


@cache
def _habits() -> str:
    """The long part of every sub-agent's system prompt."""
    return prose(random.Random(2), 3_400)  # noqa: S311


def _loop(sub: Conversation, tools: tuple[str, ...], done: str) -> Iterator[Step]:
    for tool in tools:
        calls = ((tool, {"input": "src"}),)
        yield sub.turn(Reply("Looking further.", calls=calls), pause_s=0.2)
        sub.results(listing(sub.rng, sub.rng.randint(10, 40)))
    yield sub.turn(Reply(done), pause_s=0.2)
