"""Generated text in every field of every turn: rows keep their width, and nothing acts."""

from __future__ import annotations

import asyncio

import pytest
from fake_clock import FakeClock
from hostile_engine import HostileEngine, check
from hostile_text import assert_safe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from screen_text import press, resize, settle

from tui.app import GatewayApp
from tui.format import neutralise
from tui.lines import clip, line, width_of, wrap

ESCAPES = st.sampled_from(
    [
        "\x1b[2J", "\x1b[?1049l", "\x1b]0;t\x07", "\x1b]52;c;eA==\x07", "\x1bP+q\x1b\\", "\x1bc",
        "\x9b5n", "\x9d8;;http://x\x9c", "\x1b[", "\x1b]", "\x18", "\x1a", "\x05", "\x0e",
        "\x1b[6n", "\x1b[>c", "\x1b_Gi=1;AAAA\x1b\\", "\x1b^x\x1b\\",
    ]
)  # fmt: skip
BIDI = st.sampled_from(
    list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
)
EMOJI = st.sampled_from(
    ["👩\u200d👩\u200d👧", "🏳️\u200d🌈", "👍🏽", "🇩🇪", "🇩", "1️⃣", "❤️", "☠", "\u200d", "\ufe0f"]
)
MARKUP = st.sampled_from(["[red]", "[/]", "[@click=app.quit]", "[link=http://x]", "\\[", "[", "]]"])
WIDE = st.sampled_from(
    [
        "日",
        "한",
        "ｗ",
        "ﬀ",
        "a\u0301\u0302\u0303\u0304",
        "\u0e33",
        "\u1100\u1161\u11a8",
        "\U0001f9d1",
    ]
)
PIECES = st.one_of(ESCAPES, BIDI, EMOJI, MARKUP, WIDE, st.text(max_size=6), st.characters())
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map("".join)
WHOLE = st.one_of(TEXTS, TEXTS.map(lambda text: text * (1_000_000 // max(1, len(text)))))


@settings(max_examples=120, deadline=None)
@given(TEXTS, st.integers(0, 40))
def test_what_is_shown_is_safe_fits_and_stays_as_it_is(text: str, width: int) -> None:
    shown = neutralise(text, width)
    assert_safe(shown)
    assert cell_len(shown) <= width
    assert neutralise(shown, width) == shown, "a second time changes nothing"
    assert neutralise(neutralise(text)) == neutralise(text)


@settings(max_examples=30, deadline=None)
@given(TEXTS, TEXTS, st.integers(2, 60))
def test_lines_made_of_it_fit(first: str, second: str, width: int) -> None:
    cut = clip(line((neutralise(first), "text"), (neutralise(second), "bad")), width)
    assert width_of(cut) <= width
    assert all(width_of(part) <= width for part in wrap(first, width))


@settings(
    max_examples=1, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(st.lists(TEXTS, min_size=1, max_size=1))
def test_no_text_breaks_a_row_or_acts_on_the_terminal(texts: list[str]) -> None:
    asyncio.run(shown_everywhere(texts, [(80, 24)]))


@pytest.mark.faults
@pytest.mark.timeout(300)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(st.lists(WHOLE, min_size=1, max_size=2))
def test_no_text_does_so_at_any_size_however_long(texts: list[str]) -> None:
    asyncio.run(shown_everywhere(texts, [(60, 20), (120, 40), (160, 48), (30, 5)]))


async def shown_everywhere(texts: list[str], sizes: list[tuple[int, int]]) -> None:
    """Each text in every field, on every screen, at every size."""
    clock = FakeClock()
    engine = HostileEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=sizes[0]):
        for text in texts:
            engine.text = text
            engine.gateway.update(url=text, version=text, key_hint=text)
            engine.announce()
            await clock.advance(1)
            for size in sizes:
                await resize(app, size)
                for way in ([], ["enter"], ["w"], ["2"], ["3"], ["4"], ["6"]):
                    await press(app, *way)
                    await settle(app)
                    check(app, size, text)
                    await press(app, "1")
        assert app.is_running
