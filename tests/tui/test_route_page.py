from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine, routing, saved
from hostile_text import HOSTILE, assert_safe

from tui import route_page
from tui.lines import plain, width_of
from tui.sums import Savings, savings_from

WIDTHS = (58, 78, 118, 158)


def providers() -> dict[str, Any]:
    engine = FakeEngine(FakeClock())
    engine.provider("anthropic", "ok", credential="the client's")
    engine.provider("openai", "ok", credential="our key")
    engine.provider("groq", "ok", credential="our key")
    engine.provider("cerebras", "needs_key", configured=False, credential="none")
    return engine.providers


def table(**fields: Any) -> dict[str, Any]:
    return {
        **routing(),
        "hits": {"planning": 212, "tool_loop": 12_040},
        "kind_hits": {"title": 500, "tool_step": 12_040},
        "kinds": {"subagent": ["anthropic/claude-haiku-5-5"]},
        "sources": {"routing.routes.planning": "config.toml"},
        **fields,
    }


def sums() -> Savings:
    return savings_from(
        {
            "by_route": {"planning": saved(40, -1.2, losses=31, losses_usd=-2.2, needs_key=7)},
            "by_kind": {"title": saved(500, 1.1)},
        }
    )


def listed(
    value: dict[str, Any], width: int = 78, *, shadow: bool | None = True
) -> list[tuple[str | None, str]]:
    rows = route_page.listed(value, sums(), providers(), width, shadow=shadow)
    assert all(width_of(line) <= width for _, line in rows)
    return [(name, plain(line)) for name, line in rows]


def detail(value: dict[str, Any], name: str, *, shadow: bool | None = True) -> str:
    made = route_page.detail(value, sums(), providers(), name, 78, shadow=shadow)
    return "\n".join(plain(line) for line in made)


@pytest.mark.parametrize("width", WIDTHS)
def test_classes_kinds_and_baselines_are_listed(width: int) -> None:
    rows = listed(table(), width)
    chosen = [name for name, _ in rows if name is not None]
    assert chosen == [*route_page.CLASSES, "subagent", "tool_step", "title"]
    text = "\n".join(line for _, line in rows)
    for part in (
        "CLASSES",
        "KINDS",
        "BASELINE",
        "as its class",
        "openai → anthropic",
        "WOULD SAVE",
    ):
        assert part in text, part
    planning = next(line for name, line in rows if name == "planning")
    assert "groq → cerebras ⊘" in planning
    assert " 212 " in planning
    assert "-$1.20" in planning


def test_live_says_saved() -> None:
    heads = [line for _, line in listed(table(), shadow=False)]
    assert any("SAVED" in line for line in heads)
    assert not any("WOULD" in line for line in heads)


def test_a_wide_screen_shows_modes_and_sources() -> None:
    rows = dict((name, line) for name, line in listed(table(), 118) if name)
    assert " observe " in rows["planning"], "a mode that no setting names moves background calls"
    assert " live " in rows["title"]
    assert rows["planning"].rstrip().endswith("config.toml")
    assert rows["summary"].rstrip().endswith("default")


def test_what_a_reader_looks_for() -> None:
    text = " ".join(detail(table(), "planning").split())
    for part in (
        "questions about how to do something",
        "1 groq ● has a key",
        "2 cerebras ⊘ CEREBRAS_API_KEY is not set",
        "observe, once shadow is off: stays with its vendor",
        "212 on record, 40 of them could move, 7 more with a key",
        "would have lost $1.20 net",
        "31 turns at a loss of $2.20",
        "set in config.toml",
    ):
        assert part in text, part


def test_modes_of_a_class_and_of_all() -> None:
    value = table(modes={"default": "observe", "planning": "canary"})
    assert "canary, once" in detail(value, "planning")
    assert "observe, once" in detail(value, "summary")
    assert "observe, now" in detail(value, "summary", shadow=False)


def test_a_kind_without_a_list_follows_its_class() -> None:
    text = detail(table(), "tool_step")
    assert "where its class sends it" in text
    assert "nowhere: it follows its class" in text


@pytest.mark.parametrize("key", ["routing.routes.planning", "routing.routes", "routing"])
def test_what_is_not_saved_has_a_badge(key: str) -> None:
    value = table(unsaved=[key])
    assert " UNSAVED " in plain(route_page.top(value, True, 78)[0])
    assert " UNSAVED " in detail(value, "planning")
    assert "holds until the gateway stops" in detail(value, "planning")
    assert "*" in next(line for name, line in listed(value) if name == "planning")
    saved_value = table(unsaved=["routing.kinds.title"])
    assert "UNSAVED" not in detail(saved_value, "planning")


def test_the_mode_is_told_in_words() -> None:
    assert "Shadow: nothing moves" in plain(route_page.top(table(), True, 78)[0])
    assert "Live: what has a mode of its own moves" in plain(route_page.top(table(), False, 78)[0])
    assert len(route_page.top(table(cross_vendor_failover=True), True, 78)) == 2
    assert "Waiting" in plain(route_page.top({}, None, 78)[0])
    assert route_page.listed({}, sums(), {}, 78, shadow=None) == []


def test_an_entry_of_a_provider_that_is_not_configured_is_marked() -> None:
    value = table(routes={"planning": ["lab/model", "groq"], "own_class": []})
    rows = dict((name, line) for name, line in listed(value) if name)
    assert "lab/model ? → groq" in rows["planning"]
    assert "nothing" in rows["own_class"]
    assert "not configured" in detail(value, "planning")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        value = {
            "routes": {text: [text, "groq"], "planning": text},
            "kinds": {text: [text]},
            "modes": {text: text, "default": text},
            "baseline": {text: [text]},
            "sources": {f"routing.kinds.{text}": text},
            "unsaved": [text, 5],
            "hits": {text: text},
            "kind_hits": {text: 3},
        }
        found = {text: {"status": text, "credential": text}}
        savings = savings_from({"by_route": {text: saved(1, -1.0)}})
        made = [line for _, line in route_page.listed(value, savings, found, width, shadow=True)]
        made += route_page.detail(value, savings, found, text, width, shadow=True)
        for line in [*made, *route_page.top(value, True, width)]:
            assert_safe(plain(line))
            assert width_of(line) <= width
    for odd in (None, 5, [1], "x"):
        value = dict.fromkeys(routing(), odd)
        route_page.listed(value, savings, {}, width, shadow=None)
        route_page.detail(value, savings, {}, "planning", width, shadow=None)
