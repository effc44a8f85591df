"""The offload gate: whether another vendor could answer from the request alone.

Apart from the route on purpose: most planning and code turns need the project's files, and a wrong
yes costs a redo and the user's trust, where a wrong no costs a few cents. So everything is a no
until the message is seen to be complete in itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.classify.outline import Outline
from server.classify.reading import Reading

MAX_HISTORY_TOKENS = 12_000

LIKELY = 0.7
"""Probability from which a message counts as complete in itself although no rule says why."""
CERTAIN = 0.85
"""The same for advice on something that is not named in words known to be of no one project."""
NOT_UNLIKELY = 0.27
"""Probability that a rule's yes needs beside it."""

_FEWEST_WORDS = 2
_PURPOSES = (
    *("explain", "digest", "general", "choose", "howto", "design", "diagnose", "review"),
    *("make", "convert", "change", "snippet", "tech", "concept", "either", "talk"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer and its reason, a sentence for the user that quotes nothing."""

    may_leave: bool
    reason: str


def may_leave(request: Outline, reading: Reading, route: str, complete: float) -> Verdict:
    """Judge one turn of a person.

    ``route`` is what the scorer made of it, ``complete`` the trained probability that the message
    can be answered from itself. An obstacle always wins; without one the probability must be high,
    or not be low where the words name a ground of their own.
    """
    obstacle = find_obstacle(request, reading, route)
    if obstacle is not None:
        return Verdict(False, obstacle)
    ground = _find_ground(request, reading, route)
    # Without tools there is no tool call that the answer could need.
    if ground is not None and (complete >= NOT_UNLIKELY or request.n_tools == 0):
        return Verdict(True, ground)
    if complete >= LIKELY and not _is_doubtful(request, reading, route, complete):
        return Verdict(True, "It reads like a message that is complete in itself.")
    return Verdict(False, "Nothing shows that it can be answered without the project.")


def find_obstacle(request: Outline, reading: Reading, route: str) -> str | None:
    """What forbids an offload whatever else speaks for it; ``None`` if nothing does."""
    return _structural_obstacle(request) or _spoken_obstacle(request, reading, route)


def _structural_obstacle(request: Outline) -> str | None:
    if request.has_tool_result:
        return "A tool result is waiting for its answer."
    if request.forced_tool:
        return "The answer must be a tool call."
    if request.images or request.documents:
        return "It carries an image or a document."
    if request.server_tools or request.server_blocks:
        return "It uses tools that only the vendor can run."
    if request.conversation_tokens > MAX_HISTORY_TOKENS:
        return "The conversation is too long to send elsewhere."
    return None


def _spoken_obstacle(request: Outline, reading: Reading, route: str) -> str | None:
    if route not in ("planning", "code_draft", "summary") or reading.has("operate"):
        return "It asks for an action, or does not say clearly what it wants."
    if reading.has("path", "mention", "number"):
        return "It names files or changes of the project."
    if reading.has("url"):
        return "It names a page that would have to be fetched."
    if reading.has("repo"):
        return "It speaks of the project, which only a tool can read."
    if reading.has("look", "look~") and not _shows(reading):
        return "It asks to look at something that is not in the message."
    if reading.has("change") and not _shows(reading):
        return "It asks for a change, which needs tools."
    if reading.has("unclear"):
        return "It refers to something that the message does not name."
    return None


def _shows(reading: Reading) -> bool:
    """The message brings its own material."""
    return reading.has("fence", "given_here") or (reading.has("given") and reading.has("paste"))


def _is_doubtful(request: Outline, reading: Reading, route: str, complete: float) -> bool:
    """Whether the words may mean something of the project, so that a probability is not enough."""
    if reading.words < _FEWEST_WORDS or not reading.has(*_PURPOSES):
        # Nothing is asked in words that are known: what is left may be anything.
        return True
    if reading.has("talk") and not request.answered_before:
        return True
    if _shows(reading):
        return False
    if reading.has("here", "given") or (reading.has("digest") and not reading.has("quote")):
        return True
    if reading.has("code_name") and not reading.has("tech"):
        return True
    if route == "planning" and not reading.has("tech", "concept"):
        return complete < CERTAIN
    # Code of any size is usually wanted in a file, which takes a tool.
    return route == "code_draft" and request.n_tools > 0 and not reading.has("snippet", "alone")


def _find_ground(request: Outline, reading: Reading, route: str) -> str | None:
    """What makes the message complete in itself; ``None`` if nothing does."""
    if route == "summary":
        return _ground_of_summary(request, reading)
    if route == "code_draft":
        return _ground_of_code(request, reading)
    return _ground_of_planning(reading)


def _ground_of_summary(request: Outline, reading: Reading) -> str | None:
    if _shows(reading):
        return "What it asks about is in the message."
    if reading.has("talk") and request.answered_before and not reading.has("here", "given"):
        return "It asks about what was said in the conversation."
    if reading.has("here", "given", "fault", "paste"):
        return None
    if reading.has("code_name") and not reading.has("tech"):
        return None
    if reading.has("general", "tech", "concept") and reading.has("explain", "general"):
        return "It asks for general knowledge."
    return None


def _ground_of_code(request: Outline, reading: Reading) -> str | None:
    if not reading.has("make", "convert"):
        return None
    if reading.has("here") and not _shows(reading):
        return None
    if _shows(reading):
        return "What it is to be written from is in the message."
    if reading.has("snippet"):
        return "It asks for a few lines that stand alone."
    if reading.has("alone") or request.n_tools == 0:
        return "It asks for text in the answer, not for a file."
    return None


def _ground_of_planning(reading: Reading) -> str | None:
    if reading.has("review", "diagnose", "fault", "here", "paste") and not _shows(reading):
        return None
    is_choice = reading.has("choose") and reading.has("either")
    if reading.has("tech", "concept") and (is_choice or reading.has("general", "howto")):
        return "It asks for general advice."
    return None
