from __future__ import annotations

from typing import Any

import pytest
from fake_engine import routing as fake_routing

from server.policy import LIVE_BY_DEFAULT
from server.settings_types import NEVER_MOVED
from tui import mode_text
from tui.sums import Saved


def routing(**modes: str) -> dict[str, Any]:
    return fake_routing() | {"modes": {"default": "live", "canary_percent": 10, **modes}}


@pytest.mark.parametrize("kind", sorted(LIVE_BY_DEFAULT))
def test_background_kinds_are_live_by_default(kind: str) -> None:
    assert mode_text.effective_mode(routing(), kind) == "live"
    said = mode_text.mode_words(routing(), kind, False)
    assert said == "live, now: moves; by default, as background work that nobody waits for"


def test_anything_else_waits_until_it_is_named() -> None:
    assert mode_text.effective_mode(routing(), "planning") == "observe"
    said = mode_text.mode_words(routing(), "planning", True)
    assert said.startswith("observe, once shadow is off: stays with its vendor")
    assert "only recaps, renames, titles and web-page digests move" in said
    assert mode_text.effective_mode(routing(planning="live"), "planning") == "live"
    assert "by default" not in mode_text.mode_words(routing(planning="live"), "planning", True)
    assert mode_text.effective_mode(routing(default="observe"), "title") == "observe"


def test_another_model_of_the_same_vendor_needs_no_mode_of_its_own() -> None:
    cheaper = routing() | {"kinds": {"subagent": ["anthropic/claude-haiku-5-5"]}}
    assert mode_text.effective_mode(cheaper, "subagent") == "live"
    assert "another model of the same vendor" in mode_text.mode_words(cheaper, "subagent", False)
    for entries in (["groq/x"], ["anthropic"], [], "odd", [5]):
        other = routing() | {"kinds": {"subagent": entries}}
        assert mode_text.effective_mode(other, "subagent") == "observe"


@pytest.mark.parametrize("kind", sorted(NEVER_MOVED))
def test_some_kinds_never_move(kind: str) -> None:
    assert mode_text.next_mode(routing(), kind) is None
    assert "never" in mode_text.mode_words(routing(), kind, False)


def test_a_key_goes_through_the_modes() -> None:
    seen = ["observe"]
    for _ in range(4):
        seen.append(mode_text.next_mode(routing(planning=seen[-1]), "planning") or "")
    assert seen == ["observe", "verify", "canary", "live", "observe"]
    assert mode_text.next_mode(routing(planning="odd"), "planning") == "canary"


def test_the_question_says_what_would_change() -> None:
    saved = Saved(turns=40, usd=-1.2)
    asked = mode_text.mode_question(routing(), "planning", "live", ["groq", "cerebras"], saved, True)  # fmt: skip
    for part in ("groq, cerebras", "leaves for that company", "-$1.20", "once shadow is off"):
        assert part in asked
    canary = mode_text.mode_question(routing(), "planning", "canary", [], None, False)
    assert canary.startswith("canary: 10 % of planning moves")
    assert "where its class goes" in canary
    back = mode_text.mode_question(routing(), "planning", "observe", ["groq"], None, False)
    assert "leaves" not in back


def test_the_question_before_verify_names_who_gets_a_sample() -> None:
    asked = mode_text.mode_question(routing(), "planning", "verify", ["groq"], None, shadow=True)
    assert asked == (
        "verify: planning stays with its vendor; a sample is tried elsewhere and compared. Once "
        "you consent (sbgw-tui verify on), the text of a sample goes to groq."
    )
