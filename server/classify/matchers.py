"""The conditions the table of kinds is written in."""

from __future__ import annotations

import re
from collections.abc import Callable

from server.classify.client import ClientFacts
from server.classify.continuation import is_bare_continuation
from server.classify.outline import Outline

Match = Callable[[Outline, ClientFacts], bool]


def system_says(*phrases: str) -> Match:
    """A system or developer text holds one of the phrases near its beginning."""
    return lambda o, _: any(phrase in text for text in o.system for phrase in phrases)


def system_opens(*phrases: str) -> Match:
    """A system or developer text begins with one of the phrases."""
    return lambda o, _: any(text.lstrip().startswith(phrases) for text in o.system)


def last_text_opens(*phrases: str) -> Match:
    """The last text of the turn begins with one of the phrases."""
    return lambda o, _: o.last_text.lstrip().startswith(phrases)


def last_text_says(*phrases: str) -> Match:
    """The last text of the turn holds one of the phrases near its beginning."""
    return lambda o, _: any(phrase in o.last_text[:2_000] for phrase in phrases)


def opening_starts(*phrases: str) -> Match:
    """The conversation itself begins with one of the phrases."""
    return lambda o, _: o.opening.lstrip().startswith(phrases)


def answer_keys(*names: str) -> Match:
    """The answer must be a JSON object with exactly these keys."""
    return lambda o, _: o.output_format == "json_schema" and set(o.output_keys) == set(names)


def codex_says(name: str, *values: str) -> Match:
    """Codex's turn metadata, in the header or in the body, has one of the values."""
    return lambda o, f: (f.turn_metadata.get(name) or o.turn_metadata.get(name)) in values


def subagent_header(*values: str) -> Match:
    """``x-openai-subagent`` has one of the values."""
    return lambda _, f: f.subagent in values


def all_of(*matches: Match) -> Match:
    """Every condition holds."""
    return lambda o, f: all(match(o, f) for match in matches)


def any_of(*matches: Match) -> Match:
    """At least one condition holds."""
    return lambda o, f: any(match(o, f) for match in matches)


def background(o: Outline, _: ClientFacts) -> bool:
    """The shape of a background call of Claude Code: one question, no tools, no thinking."""
    return o.n_tools == 0 and o.thinking is None and not o.tool_activity


_TITLE_ORDER = re.compile(
    r"\b(?:generate|write|create|suggest|propose|produce|give)\b[^.\n]{0,60}\btitle\b"
    r"|\btitle generator\b",
    re.I,
)
_HEAD = 400


def orders_a_title(o: Outline, _: ClientFacts) -> bool:
    """A system prompt that begins by asking for a title of what follows."""
    return not o.answered_before and any(_TITLE_ORDER.search(text[:_HEAD]) for text in o.system)


def first_turn(o: Outline, _: ClientFacts) -> bool:
    """The model has not spoken in this conversation yet."""
    return not o.answered_before


def bare_continuation(o: Outline, _: ClientFacts) -> bool:
    """The person only said to go on, with something there to go on with."""
    return o.answered_before and is_bare_continuation(o.human)


def judges_permission(o: Outline, _: ClientFacts) -> bool:
    """A system prompt that has the model allow or block what an agent wants to do."""
    if o.n_tools > 1:
        return False
    for text in o.system:
        words = text[:4_000].lower()
        allows = "allow" in words or "approve" in words
        blocks = "block" in words or "deny" in words or "reject" in words
        subject = any(w in words for w in ("permission", "tool call", "tool use", "coding agent"))
        verdict = any(w in words for w in ("decide", "judg", "classif", "review", "monitor"))
        if allows and blocks and subject and verdict:
            return True
    return False
