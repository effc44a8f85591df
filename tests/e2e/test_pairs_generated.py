"""Generated transcripts through every pair of protocols: nothing lost, nothing invented.

Hypothesis draws few examples and shrinks what fails; a plain generator draws the many.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pair_rounds import (
    Pair,
    check_cut,
    check_garbage,
    check_native,
    check_native_cut,
    check_round,
)
from pair_world import CROSSED, PAIRS, pair_name
from seeded import Seeded
from transcripts import Turn, conversations, cuts_of, replies, words
from vendor_replies import Reply

pytestmark = pytest.mark.faults

EXAMPLES = int(os.environ.get("PAIR_EXAMPLES", "300"))
"""How many each pair gets; 10,000 for all nine took 16 minutes on one busy core."""

shrinking = settings(
    deadline=None,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Hypothesis's choices."""

    data: Any

    def number(self, low: int, high: int) -> int:
        return int(self.data.draw(st.integers(low, high)))

    def cuts(self, data: bytes) -> list[bytes]:
        return cuts_of(self.data.draw, data)


crossed = pytest.mark.parametrize("pair", CROSSED, ids=pair_name)
noises = st.binary(max_size=20) | st.sampled_from(
    [b"\n\n", b"data: ", b"data: {}\n\n", b"event: error\ndata: {}\n\n", b"data: [DONE]\n\n"]
)


@crossed
@shrinking
@given(conversations(), words, replies(), st.data())
def test_a_round_loses_nothing(
    pair: Pair, turns: list[Turn], question: str, reply: Reply, data: Any
) -> None:
    check_round(pair, turns, question, reply, Drawn(data))


@crossed
@shrinking
@given(words, replies(), st.data())
def test_a_cut_is_never_a_short_success(pair: Pair, question: str, reply: Reply, data: Any) -> None:
    check_cut(pair, question, reply, Drawn(data))


@crossed
@shrinking
@given(noises, replies(), st.data())
def test_noise_never_breaks_the_grammar(pair: Pair, noise: bytes, reply: Reply, data: Any) -> None:
    check_garbage(pair, noise, reply, Drawn(data))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pair", PAIRS, ids=pair_name)
def test_many_transcripts(pair: Pair) -> None:
    for number in range(EXAMPLES):
        seed = f"{pair_name(pair)} {number}"
        try:
            _one(pair, Seeded(seed))
        except Exception as error:
            error.add_note(f"with Seeded({seed!r})")
            raise


def _one(pair: Pair, drawn: Seeded) -> None:
    if pair[0] is pair[1]:
        check_native(pair[0], drawn.reply(), drawn)
        check_native_cut(pair[0], drawn.reply(), drawn)
        return
    check_round(pair, drawn.conversation(), drawn.words(), drawn.reply(), drawn)
    check_cut(pair, drawn.words(), drawn.reply(), drawn)
    check_garbage(pair, drawn.noise(), drawn.reply(), drawn)
