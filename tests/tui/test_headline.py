from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe

from server import events
from tui import headline
from tui.lines import Line, plain, width_of
from tui.state import LiveState

WIDTHS = (60, 80, 120, 160)


def state_of(engine: FakeEngine) -> LiveState:
    state = LiveState()
    state.load(asyncio.run(engine.snapshot()))
    return state


def busy(**gateway: Any) -> tuple[LiveState, FakeEngine]:
    engine = FakeEngine(FakeClock())
    engine.gateway.update(gateway)
    engine.money.update(today_usd=12.3456, today_list_usd=0.42, today_unpriced=2)
    engine.requests_per_min = 34.4
    for _ in range(3):
        engine.open()
    return state_of(engine), engine


def roles(line: Line) -> dict[str, str]:
    return {text.strip(): role for text, role in line}


def test_the_whole_header_when_there_is_room() -> None:
    state, _ = busy()
    shown = plain(headline.headline(state, 160))
    assert shown.split("  ")[0] == " sbgw-tui"
    for part in (
        " SHADOW ",
        "http://127.0.0.1:8787",
        "▶ 3 in flight",
        "34 req/min",
        "today $12.35 billed",
        "+ $0.4200 list price, not billed",
        "+ 2 unpriced",
        "lag 0.4 ms",
    ):
        assert part in shown


@pytest.mark.parametrize("width", range(60, 200))
def test_it_never_exceeds_the_width_and_never_drops_what_matters(width: int) -> None:
    state, _ = busy(state="draining", demo=True)
    line = headline.headline(state, width)
    shown = plain(line)
    assert width_of(line) <= width
    assert " SHADOW " in shown
    assert " DRAINING 3" in shown
    assert " DEMO " in shown
    assert "$12.35" in shown
    assert "2" in shown[shown.index("$12.35") + 6 :], "what is not priced must be told"


def test_at_sixty_columns_address_money_and_work_are_left() -> None:
    state, _ = busy()
    shown = plain(headline.headline(state, 60))
    for part in (" SHADOW ", "127.0.0.1:8787", "▶ 3", "$12.35", "+2?"):
        assert part in shown


def test_items_go_in_the_documented_order() -> None:
    state, _ = busy()
    marks = {"lag": "lag", "version": "0.1.0", "rate": "/min", "list": "0.42", "name": "sbgw-tui"}
    gone_at = {
        name: max((w for w in range(40, 200) if mark not in plain(headline.headline(state, w))), default=0)
        for name, mark in marks.items()
    }  # fmt: skip
    assert (
        gone_at["version"]
        >= gone_at["lag"]
        >= gone_at["name"]
        >= gone_at["list"]
        >= gone_at["rate"]
    )


def test_every_item_of_the_order_exists_and_only_the_mode_is_fixed() -> None:
    state, _ = busy(state="draining", demo=True)
    items = {item.id for item in (*headline._left(state), *headline._right(state))}
    assert set(headline.SHRINK) == items - {"mode"}


@pytest.mark.parametrize(
    ("shadow", "word", "role"),
    [(True, "SHADOW", "shadow-badge"), (False, "LIVE", "live-badge"), (None, "?", "warn-badge")],
)
def test_the_mode_is_a_word_on_a_badge(shadow: bool | None, word: str, role: str) -> None:
    assert roles(headline.mode_badge(shadow)) == {word: role}


def test_estimates_in_the_sum_are_told() -> None:
    engine = FakeEngine(FakeClock())
    engine.money.update(today_usd=2.0, today_estimated_usd=0.5)
    state = state_of(engine)
    assert "today ≈$2.00 billed (≈$0.5000 estimated)" in plain(headline.headline(state, 160))
    assert "≈$2.00" in plain(headline.headline(state, 60))


def test_an_unknown_sum_is_a_question_mark() -> None:
    engine = FakeEngine(FakeClock())
    engine.money.clear()
    assert "today ? billed" in plain(headline.headline(state_of(engine), 160))


def test_before_the_first_snapshot() -> None:
    shown = plain(headline.headline(LiveState(), 80))
    assert "starting" in shown
    assert "SHADOW" not in shown
    assert "LIVE" not in shown


@pytest.mark.parametrize(("lag", "role"), [(0.4, "muted"), (80.0, "warn")])
def test_a_slow_loop_is_a_warning(lag: float, role: str) -> None:
    engine = FakeEngine(FakeClock())
    engine.loop_lag_ms = lag
    line = headline.headline(state_of(engine), 160)
    assert [found for text, found in line if text.startswith("lag")] == [role]


def test_trouble_takes_a_second_line() -> None:
    state, engine = busy()
    assert len(headline.header(state, 80, engine.clock.time())) == 1
    state.apply(engine.emit(events.LEDGER_CHANGED, ledger={"status": "degraded", "detail": "disk"}))
    engine.subscribe()
    engine.provider("anthropic", "failing", "connection refused")
    for event in engine.subscriptions[0].drain():
        state.apply(event)
    lines = headline.header(state, 120, engine.clock.time())
    assert len(lines) == 2
    assert plain(lines[1]) == "  ▲ ledger degraded: disk  +1 more"


def test_trouble_names_provider_time_and_reason() -> None:
    state, engine = busy()
    engine.subscribe()
    engine.provider("anthropic", "failing", "connection refused")
    state.apply(engine.subscriptions[0].drain()[0])
    shown = plain(headline.header(state, 120, engine.clock.time())[1])
    assert shown.startswith("  ▲ anthropic failing since ")
    assert shown.endswith(": connection refused")


def test_a_refusal_happened_at_a_time_and_has_a_reason_in_words() -> None:
    state, engine = busy()
    engine.subscribe()
    engine.emit(events.REJECTED, reason="wrong_method", http_status=405)
    state.apply(engine.subscriptions[0].drain()[0])
    shown = plain(headline.header(state, 120, engine.clock.time())[1])
    assert shown.startswith("  ▲ request refused (405) at ")
    assert shown.endswith(": wrong method")


def test_the_small_summary_tells_mode_work_money_and_trouble() -> None:
    state, engine = busy()
    assert " SHADOW " in plain(headline.summary(state, 80, engine.clock.time()))
    state.mark_unreachable("gone")
    shown = plain(headline.summary(state, 80, engine.clock.time()))
    for part in (" AWAY ", "3 in flight", "$12.35+2?", "gateway does not answer: gone"):
        assert part in shown
    for width in range(8, 80):
        assert width_of(headline.summary(state, width, engine.clock.time())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_the_header(width: int) -> None:
    for hostile in HOSTILE:
        engine = FakeEngine(FakeClock())
        engine.gateway.update(url=hostile, version=hostile)
        engine.provider(hostile, "failing", hostile)
        state = state_of(engine)
        for step in range(2):
            if step == 1:
                state.apply(engine.emit(events.REJECTED, reason=hostile, http_status=401))
            for line in headline.header(state, width, engine.clock.time()):
                assert width_of(line) <= width
                assert_safe(plain(line))


def test_a_logins_windows_come_before_its_money() -> None:
    state, engine = busy()
    for used, role in (("0.4", "strong"), ("0.9", "warn"), ("1.02", "bad")):
        limits = {
            f"anthropic-ratelimit-unified-{name}": {"utilization": used} for name in ("5h", "7d")
        }
        engine.provider("anthropic", "ok", rate_limits=limits)
        state = state_of(engine)
        shown = plain(line := headline.headline(state, 200))
        percent = f"{float(used):.0%}"
        assert f"5h {percent} week {percent}" in shown
        assert shown.index("week") < shown.index("$12.35")
        assert roles(line)[percent] == role
    for odd in ("many", None, "-1", "nan", [1]):
        engine.provider(
            "anthropic", "ok", rate_limits={"anthropic-ratelimit-unified-5h": {"utilization": odd}}
        )
        assert "5h" not in plain(headline.headline(state_of(engine), 200))


def test_the_last_minute_is_drawn_five_seconds_a_cell() -> None:
    engine = FakeEngine(clock := FakeClock())
    assert headline._spark(state_of(engine), clock.time()) == ()
    for _ in range(3):
        engine.open()
    asyncio.run(clock.advance(15))
    engine.open()
    (text, _) = headline._spark(state_of(engine), clock.time())[0]
    assert len(text) == 12
    assert text[-1] == "▃"
    assert text[-4] == "▇"
    assert set(text[:-4]) == {"▁"}


@pytest.mark.parametrize(
    ("leases", "badge"),
    [
        ([], None),
        ([{"name": "title", "until": None, "source": "HTTP"}], " title LIVE "),
        ([{"name": "title"}, {"name": "recap"}], " title +1 LIVE "),
        ([{"name": "x\x1b[31m"}], " x␛ LIVE "),
    ],
)
def test_what_is_live_in_spite_of_shadow_is_a_badge_of_its_own(
    leases: list[dict[str, Any]], badge: str | None
) -> None:
    state, _ = busy()
    state.verifier = {"leases": leases, "consent": False}
    found = {text for text, role in headline.headline(state, 200) if role == "live-badge"}
    assert found == ({badge} if badge else set())
    narrow = "".join(text for text, _ in headline.headline(state, 60))
    assert ("LIVE" in narrow) is (badge is not None)


def test_that_texts_go_to_candidates_is_on_the_screen() -> None:
    state, _ = busy()
    for consent in (False, True):
        state.verifier = {"leases": [], "consent": consent}
        assert ((" VERIFY ", "warn-badge") in headline.headline(state, 200)) is consent
        assert ((" V ", "warn-badge") in headline.headline(state, 60)) is consent
