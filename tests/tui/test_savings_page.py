from __future__ import annotations

from typing import Any

import pytest
from fake_engine import saved
from hostile_text import HOSTILE, assert_safe

from tui import savings_page
from tui.lines import Line, plain, width_of
from tui.period import Period
from tui.sums import Saved, Savings, saved_from, savings_from

WIDTHS = (59, 79, 119, 159)


def snapshot(**fields: Any) -> dict[str, Any]:
    return {
        "today": saved(
            38,
            0.1831,
            losses=4,
            losses_usd=-0.2591,
            open=3,
            unpriced=2,
            needs_key=37,
            needs_key_usd=0.21,
            observed_turns=512,
            cost_usd=39.81,
            low_usd=-0.05,
            high_usd=0.31,
        ),
        "all": saved(900, -3.25, observed_turns=15_120),
        "by_route": {"summary": saved(600, 5.1), "planning": saved(212, -1.2, losses=31)},
        "by_kind": {"title": saved(500, 1.1)},
        "by_target": {
            "groq/openai/gpt-oss-120b": saved(700, 6.2),
            "cerebras/gpt-oss-120b": saved(0, 0.0, needs_key=37),
        },
        **fields,
    }


def lines(
    value: dict[str, Any],
    width: int = 79,
    *,
    shadow: bool | None = True,
    period: Period = Period.TODAY,
    **arguments: Any,
) -> list[Line]:
    made = savings_page.page(
        savings_from(value), {}, width, shadow=shadow, period=period, key="t", **arguments
    )
    assert all(width_of(line) <= width for line in made)
    return made


def page(value: dict[str, Any], width: int = 79, **arguments: Any) -> str:
    return "\n".join(plain(line) for line in lines(value, width, **arguments))


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_reader_looks_for(width: int) -> None:
    text = flat(page(snapshot(), width))
    for part in (
        "WOULD HAVE SAVED TODAY",
        "+$0.1831 net, cache counted",
        "a loss of $0.0500 to a gain of $0.3100",
        "36 of 512 turns could move",
        "all 512 cost $39.81",
        "for comparison: it knows no cache and overstates",
        "-$0.2591",
        "~3",
        "? 2 turns without a known price or usage: counted, in no sum.",
        "37 turns more could move once CEREBRAS_API_KEY is set",
        "+$0.2100",
        "summary",
        "title",
        "t shows the last 7 days",
    ):
        assert part in text, part


def test_shadow_never_says_saved() -> None:
    for value in (snapshot(), {"today": saved(), "all": saved()}):
        for shadow in (True, None):
            text = page(value, shadow=shadow)
            assert "would have saved" in text.lower()
            assert " SAVED TODAY" not in text.replace("WOULD HAVE SAVED TODAY", "")


def test_live_says_saved_and_a_loss_is_a_loss() -> None:
    assert "  SAVED TODAY" in page(snapshot(), shadow=False)
    text = page(snapshot(), period=Period.ALL)
    assert "WOULD HAVE LOST ON RECORD" in text
    assert "$3.25  net" in text
    assert "+$3.25" not in text
    assert "LOST ON RECORD" in page(snapshot(), shadow=False, period=Period.ALL)


def test_a_loss_stands_out() -> None:
    made = lines(snapshot(), period=Period.ALL)
    head = next(line for line in made if "net, cache counted" in plain(line))
    assert ("$3.25", "bad") in head
    planning = next(line for line in made if "planning" in plain(line))
    assert any("-$1.20" in text and role == "bad" for text, role in planning)


def test_an_empty_page_explains_shadow_in_two_sentences() -> None:
    text = flat(page({"today": saved(), "all": saved()}))
    assert "In shadow mode every request goes to its own vendor, byte for byte" in text
    assert "BY TARGET" not in text
    said = text[text.index("In shadow mode") : text.index("HOW IT IS")]
    assert said.count(". ") == 2
    assert "512 turns today, and none that could have moved." in flat(
        page({"today": saved(observed_turns=512), "all": saved()})
    )
    assert "In live mode" in flat(page({"today": saved(), "all": saved()}, shadow=False))


def test_turns_without_a_price_give_no_figure() -> None:
    text = page({"today": saved(3, 0.0, unpriced=3), "all": saved()})
    assert "has a known price" in flat(text)
    assert "$0.00  net" not in text


def test_a_limit_that_takes_something_away_is_told() -> None:
    assert "within limits" not in page(snapshot())
    assert "within limits" in page(snapshot(today=saved(3, 1.0, quota_usd=0.2)))


def test_the_engine_may_bring_its_own_assumptions() -> None:
    text = page(snapshot(assumptions=["Prices of Monday.", 5, None]))
    assert "Prices of Monday." in text
    assert "list prices of the day" not in text


def test_before_the_gateway_answers() -> None:
    assert "Waiting" in page({})


@pytest.mark.parametrize(
    ("low", "usd", "high"), [(-1.0, 0.5, 2.0), (0.1, 0.2, 0.3), (-3.0, -2.0, -1.0), (0.0, 0.0, 0.0)]
)
def test_the_scale_has_one_dot_and_one_zero(low: float, usd: float, high: float) -> None:
    made = savings_page._scale(Saved(turns=1, usd=usd, low_usd=low, high_usd=high), 60)
    text = plain(made)
    assert width_of(made) <= 60
    assert text.count("●") == 1
    assert text.count("│") == (1 if usd else 0)


def test_nothing_but_numbers_are_numbers() -> None:
    odd = saved_from({"turns": "many", "usd": float("nan"), "losses": -3, "unpriced": True})
    assert odd == Saved()
    assert savings_from({"by_route": [1, 2], "today": None}) == Savings(is_known=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_the_page(width: int) -> None:
    for text in HOSTILE:
        table = {text: saved(3, -1.0, needs_key=2)}
        value = snapshot(by_route=table, by_kind=table, by_target=table, assumptions=[text])
        for made in (lines(value, width), lines(value, width, shadow=False)):
            for line in made:
                assert_safe(plain(line))


def test_a_week_waits_for_the_record() -> None:
    assert "Adding up" in page(snapshot(), period=Period.WEEK)
    report = {"turns": 9, "total": {"turns": 9, "projected": 3, "saved_usd": 0.5}}
    text = flat(page(snapshot(), period=Period.WEEK, report=report))
    assert "WOULD HAVE SAVED IN 7 DAYS" in text
    assert "+$0.5000 net" in text
    assert "3 of 9 turns could move" in text
