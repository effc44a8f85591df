"""What left this machine: sums by provider and kind, and their lines."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle, text_of

from server.engine import CommandResult
from tui import sent_page
from tui.app import GatewayApp
from tui.lines import plain, width_of


def row(provider: str, kind: str, turns: int, up: int, down: int = 10) -> dict[str, Any]:
    return {
        "provider": provider, "kind": kind, "turns": turns, "bytes_up": up, "bytes_down": down,
    }  # fmt: skip


ROWS = [
    row("groq", "title", 4, 9_000),
    row("anthropic", "tool_step", 40, 9_000_000, 80_000),
    row("anthropic", "title", 2, 4_000),
]


def test_the_most_bytes_come_first_and_kinds_add_up() -> None:
    found = sent_page.read({"sent": ROWS})
    assert list(found) == ["anthropic", "groq"]
    sums = found["anthropic"]
    assert (sums.turns, sums.bytes_up, sums.bytes_down) == (42, 9_004_000, 80_010)
    assert list(sums.kinds) == ["tool_step", "title"]
    assert sent_page.read(None) == sent_page.read({"sent": 3}) == {}


@pytest.mark.parametrize(
    ("name", "url", "who"),
    [
        ("anthropic", "https://api.anthropic.com", "Anthropic"),
        ("anthropic", "https://proxy.example/v1", "proxy.example"),
        ("mine", "https://llm.example.org/v1", "llm.example.org"),
        ("ollama", "http://127.0.0.1:11434/v1", sent_page.HERE),
        ("mine", None, "mine"),
    ],
)
def test_who_it_was_sent_to(name: str, url: str | None, who: str) -> None:
    assert sent_page.company(name, {"base_url": url}) == who


@pytest.mark.parametrize("width", [58, 78, 118])
def test_the_lines(width: int) -> None:
    provider = {"base_url": "https://api.anthropic.com"}
    found = sent_page.read({"sent": ROWS + [row("anthropic", f"k{n}", 1, 10) for n in range(20)]})
    lines = sent_page.section("anthropic", provider, found["anthropic"], width)
    text = "\n".join(map(plain, lines))
    for part in (
        "FOR ANTHROPIC, 30 DAYS",
        "tool_step",
        "40 turns",
        "and 10 more kinds",
        "together",
    ):
        assert part in text
    assert "nothing" in plain(sent_page.section("groq", {}, None, width)[-1])
    summed = plain(sent_page.summary(found, {"anthropic": provider}, width))
    assert summed.startswith(" sent in 30 days:  Anthropic 9")
    for odd in HOSTILE:
        hostile = sent_page.read({"sent": [row(odd, odd, 1, 5)]})
        drawn = sent_page.section(odd, {"base_url": odd}, hostile.get(odd), width)
        for line in [*drawn, sent_page.summary(hostile, {}, width)]:
            assert_safe(plain(line))
            assert width_of(line) <= width


async def test_the_providers_screen_tells_of_it() -> None:
    engine = FakeEngine(clock := FakeClock())
    engine.provider("anthropic", "ok", base_url="https://api.anthropic.com")
    engine.answers["sent"] = CommandResult(True, "", {"sent": ROWS})
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 40)):
        await settle(app)
        await press(app, "3")
        await settle(app)
        await settle(app)
        assert "sent in 30 days:  Anthropic 9" in text_of(app)
        assert "LEFT THIS MACHINE FOR ANTHROPIC" in text_of(app)


@pytest.mark.parametrize("address", ["http://[red", "[", "http://[::1", "://", ""])
def test_an_address_that_is_none_names_nobody(address: str) -> None:
    assert sent_page.company("mine", {"base_url": address}) == "mine"
