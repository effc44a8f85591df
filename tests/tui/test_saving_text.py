from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui import saving_text
from tui.rows import Projected
from tui.sums import Saved


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0.0012, "+$0.0012"),
        (-0.0116, "-$0.0116"),
        (0.0, "$0.0000"),
        (0.00001, "+<$0.0001"),
        (-0.00001, "-<$0.0001"),
        (1234.5, "+$1.2k"),
        (None, "?"),
    ],
)
def test_a_gain_has_its_sign(usd: float | None, shown: str) -> None:
    assert saving_text.gain(usd) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_gain_is_never_wider_than_its_column(usd: float) -> None:
    assert cell_len(saving_text.gain(usd)) <= saving_text.GAIN_WIDTH


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.9, 1.6, "$0.9000 to $1.60"),
        (-0.1, 0.9, "a loss of $0.1000 to a gain of $0.9000"),
        (-0.9, -0.1, "a loss of $0.1000 to $0.9000"),
        (0.9, -0.1, "a loss of $0.1000 to a gain of $0.9000"),
        (None, 1.0, ""),
    ],
)
def test_a_range_in_words(low: float | None, high: float | None, said: str) -> None:
    assert saving_text.between(low, high) == said


def test_in_shadow_nothing_was_saved() -> None:
    for usd in (1.0, -1.0, 0.0):
        for words in (
            saving_text.headline(Saved(turns=1, usd=usd), True),
            saving_text.headline(Saved(turns=1, usd=usd), None),
            saving_text.verb(shadow=True, usd=usd),
        ):
            assert words.startswith("would ")
    assert saving_text.headline(Saved(turns=1, usd=-1.0), False) == "lost"
    assert saving_text.verb(shadow=False, usd=1.0) == "saved"
    assert "lose" in saving_text.verb(shadow=True, usd=-1.0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Projected("groq", None, "would_move"), "would go to groq"),
        (
            Projected("groq", "openai/gpt", "would_move", -0.2, -0.3, -0.1, "settled"),
            "would go to groq/gpt: -$0.2000 (a loss of $0.1000 to $0.3000)",
        ),
        (
            Projected("groq", None, "moved", 0.2, None, None, "open"),
            "went to groq: +$0.2000, not settled yet",
        ),
        (Projected("groq", None, "moved", None, saving="unpriced"), "went to groq, price unknown"),
        (Projected("groq", None, "needs_key", 1.0), "would go to groq once its key is set"),
    ],
)
def test_a_proposal_in_one_line(found: Projected, said: str) -> None:
    assert saving_text.note(found) == said


def test_what_only_observes_is_said_to_stay() -> None:
    for state in ("observed", "unsupported"):
        assert saving_text.note(Projected("groq", None, state)).startswith("stays; groq: ")
