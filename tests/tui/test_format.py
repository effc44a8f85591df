from __future__ import annotations

from datetime import UTC

import pytest
from hostile_text import HOSTILE, assert_safe
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size

from tui import format as fmt

quick = settings(max_examples=60, deadline=None)

texts = st.one_of(
    st.text(),
    st.text(alphabet=st.sampled_from("\x1b[]\x9b\x9d;0m\u202e\u200d\u0301a日👍\ufe0f")),
    st.sampled_from(HOSTILE),
)


@quick
@given(texts)
def test_neutralised_text_holds_nothing_a_terminal_acts_on(text: str) -> None:
    assert_safe(fmt.neutralise(text))


@quick
@given(texts, st.integers(-2, 60))
def test_a_width_is_never_exceeded(text: str, width: int) -> None:
    shown = fmt.neutralise(text, width)
    assert_safe(shown)
    assert cell_len(shown) <= max(0, width)


@quick
@given(texts, st.integers(0, 60), st.sampled_from(["left", "right"]))
def test_fitted_text_fills_its_width(text: str, width: int, align: fmt.Align) -> None:
    assert cell_len(fmt.fit(text, width, align)) == width


@quick
@given(texts)
def test_neutralising_twice_changes_nothing(text: str) -> None:
    once = fmt.neutralise(text)
    assert fmt.neutralise(once) == once


@quick
@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=500))
def test_plain_text_is_left_alone(text: str) -> None:
    assert fmt.neutralise(text) == text


@quick
@given(st.text(max_size=200))
def test_at_most_two_marks_stand_on_one_character(text: str) -> None:
    shown = fmt.neutralise("e" + "\u0301\u0302\u0303" * 20 + text)
    run = 0
    for char in shown:
        run = run + 1 if get_character_cell_size(char) == 0 else 0
        assert run <= 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛red␛"),
        ("\x9b31mred", "␛red"),
        ("\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "␛click␛"),
        ("\x1b]52;c;ZXZpbA==\x07", "␛"),
        ("\x1b]8;;unclosed", "␛8;;unclosed"),
        ("a\u202eb", "a\ufffdb"),
        ("a\u200bb\U000e0041", "a\ufffdb\ufffd"),
        ("a\nb\tc", "a b c"),
        ("\x00\x7f\x85", "␀␡ "),
        ("🇩🇪", "DE"),
        ("日本", "日本"),
        (None, ""),
        (12, "12"),
    ],
)
def test_what_is_shown_instead(text: object, shown: str) -> None:
    assert fmt.neutralise(text) == shown


def test_a_wide_character_is_not_cut_in_half() -> None:
    assert fmt.neutralise("日本語", 4) == "日…"
    assert fmt.fit("日本語", 4) == "日… "


def test_markup_is_text() -> None:
    assert fmt.neutralise("[red]x[/]") == "[red]x[/]"


def test_ascii_signs_take_the_room_of_those_they_replace() -> None:
    signs = "●▶◌✕▲◐⊘⊗◇▌…·–×≈→←↑↓─│█▓░␛␡\ufffd"
    assert fmt.to_ascii(signs).isascii()
    assert len(fmt.to_ascii(signs)) == len(signs)
    assert fmt.to_ascii("café 日本") == "café 日本"


# -- numbers ---------------------------------------------------------------------------------

amounts = st.floats(min_value=0, max_value=1e18, allow_nan=False)


@quick
@given(st.one_of(st.none(), st.integers(-(10**6), 10**30)))
def test_tokens_fit(count: int | None) -> None:
    assert len(fmt.tokens(count)) <= fmt.TOKENS_WIDTH


@quick
@given(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, max_value=1e15)))
def test_durations_fit(seconds: float | None) -> None:
    assert len(fmt.duration(seconds)) <= fmt.DURATION_WIDTH


@quick
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_ages_fit(seconds: float) -> None:
    assert len(fmt.age(seconds)) <= fmt.AGE_WIDTH


@quick
@given(amounts)
def test_costs_fit_with_both_marks(usd: float) -> None:
    # a payer mark stands behind the amount
    assert len(fmt.estimated(fmt.money(usd))) + 1 <= fmt.COST_WIDTH


@quick
@given(amounts)
def test_only_zero_is_shown_as_zero(usd: float) -> None:
    shown = fmt.money(usd)
    digits = {char for char in shown if char.isdigit()}
    assert (digits == {"0"}) == (usd == 0)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "?"),
        (0.0, "$0.0000"),
        (0.000001, "<$0.0001"),
        (0.0123, "$0.0123"),
        (1.5, "$1.5000"),
        (12.345, "$12.35"),
        (1234.0, "$1.2k"),
        (-0.5, "-$0.5000"),
    ],
)
def test_money(usd: float | None, shown: str) -> None:
    assert fmt.money(usd) == shown


@pytest.mark.parametrize(
    ("usd", "shown"), [(None, "?"), (0.0, "$0.00"), (0.0123, "$0.0123"), (1234.5, "$1,234.50")]
)
def test_totals(usd: float | None, shown: str) -> None:
    assert fmt.total(usd) == shown


@pytest.mark.parametrize(
    ("usd", "shown"), [(None, "?"), (0.0123, "≈$0.0123"), (0.00001, "≈<$.0001")]
)
def test_estimates_say_so(usd: float | None, shown: str) -> None:
    assert fmt.estimated(fmt.money(usd)) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "?"), (0, "0"), (9999, "9999"), (81_200, "81.2k"), (108_000, "108k"), (99_950, "100k"),
     (1_234_567, "1.23M"), (999_999, "1.00M"), (10**10, ">999M")],
)  # fmt: skip
def test_tokens(count: int | None, shown: str) -> None:
    assert fmt.tokens(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "?"), (0.003, "3ms"), (0.82, "0.82s"), (9.996, "10.0s"), (12.34, "12.3s"),
     (99.96, "1m39s"), (100, "1m40s"), (750, "12m"), (11_100, "3h05m"), (50_000, "13h"),
     (-4, "0ms")],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    assert fmt.duration(seconds) == shown


def test_times_are_local_and_never_fail() -> None:
    assert fmt.wall_clock(1_800_000_000.0, UTC) == "08:00"
    assert fmt.wall_seconds(1_800_000_000.0, UTC) == "2027-01-15 08:00:00"
    assert fmt.wall_clock(1e30) == "?"
    assert fmt.wall_clock(None) == "?"
