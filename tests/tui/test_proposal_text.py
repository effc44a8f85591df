from __future__ import annotations

from typing import Any

from fake_clock import FakeClock
from fake_engine import FakeEngine

from server.record import Candidate, Proposal, Saving
from tui import proposal_text
from tui.lines import plain

SAVING: dict[str, Any] = {
    "naive_usd": 0.02,
    "usd": -0.2475,
    "low_usd": -0.2501,
    "high_usd": -0.241,
    "quota_usd": -0.2475,
    "baseline_usd": 0.0754,
    "target_usd": 0.0021,
    "penalty_write_usd": 0.01,
    "penalty_ttl_usd": 0.248,
}


def detail(
    state: str = "would_move", saving: Saving | None = None, **fields: Any
) -> dict[str, Any]:
    engine = FakeEngine(FakeClock())
    turn = engine.open(
        proposal=Proposal("groq", "openai/gpt-oss-120b", state, "its class may leave")
    )
    engine.finish(turn, saving=saving, **fields)
    return turn.detail()


def text(found: dict[str, Any], width: int = 200) -> str:
    return "\n".join(plain(line) for line in proposal_text.lines(found, width))


def test_target_price_penalties_and_range() -> None:
    said = text(detail(saving=Saving("settled", **SAVING)))
    for part in (
        "WHAT LIVE MODE WOULD HAVE DONE",
        "groq/openai/gpt-oss-120b",
        "would go there in live mode",
        "its class may leave",
        "≈$0.0021, against $0.0754 at Anthropic",
        "leaving Anthropic with a warm prefix of 81.2k tokens would have cost $0.2480 to write again",
        "Anthropic would have had 2048 tokens of cache to write later all the same: $0.0100 not saved",
        "-$0.2475, cache counted; from a loss of $0.2410 to $0.2501",
        "+$0.0200, the seed's simple formula, for comparison",
    ):
        assert part in said, part
    assert "not settled" not in said
    assert "limits" not in said


def test_a_loss_stands_out() -> None:
    lines = proposal_text.lines(detail(saving=Saving("settled", **SAVING)), 200)
    net = next(line for line in lines if plain(line).startswith("net "))
    assert net[1][1] == "bad"


def test_what_is_open_limited_or_unpriced_says_so() -> None:
    said = text(detail(saving=Saving("open", **{**SAVING, "quota_usd": 0.0})))
    assert "not settled: the session's next call shows" in said
    assert "$0.0000 within the provider's own limits" in said
    unpriced = Saving("unpriced", 0.02, note="no price for this model")
    assert "unknown: no price for this model" in text(detail(saving=unpriced))
    assert "$0.0000" not in text(detail(saving=unpriced))


def test_every_state_has_words() -> None:
    for state, words in (
        ("needs_key", "its key is missing"),
        ("observed", "only observes"),
        ("unsupported", "cannot carry it"),
        ("moved", "went there"),
        ("odd", "odd"),
    ):
        assert words in text(detail(state, Saving("settled", **SAVING)))


def test_a_turn_that_stays_says_why() -> None:
    engine = FakeEngine(FakeClock())
    turn = engine.open(pinned_by="an image")
    assert "would have stayed with Anthropic too, pinned by an image." in text(turn.detail())
    turn.pinned_by = None
    assert "does not leave its vendor" in text(turn.detail())
    turn.mode = "live"
    said = text(turn.detail())
    assert "WHAT LIVE MODE DID" in said
    assert "It stayed with Anthropic" in said
    assert "would" not in said


def test_without_a_proposal_field_nothing_is_claimed() -> None:
    assert proposal_text.lines({"id": "gw_1"}, 80) == []


def test_alternatives_have_states_in_words_and_prices() -> None:
    candidates = [
        Candidate("groq", "gpt", "needs_key", "GROQ_API_KEY is not set", 0.0021),
        Candidate("anthropic", None, "baseline", "", 0.0754),
        Candidate("cerebras", None, "gated"),
    ]
    lines = [plain(line) for line in proposal_text.alternatives(detail(candidates=candidates), 80)]
    assert lines[0] == "ALTERNATIVES"
    assert lines[1].split() == ["groq/gpt", "≈$0.0021", "no", "key"]
    assert lines[2].strip() == "GROQ_API_KEY is not set"
    assert lines[3].split()[:2] == ["anthropic", "$0.0754"]
    assert "the turn may not leave" in lines[4]
    assert proposal_text.alternatives(detail(candidates=[]), 80) == []
