"""Every screen down to a single cell: nothing breaks, and what is most important is said."""

from __future__ import annotations

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from furnished import furnish
from screen_text import lines_of, press, resize, settle, strips_of, text_of

from tui import small
from tui.app import GatewayApp
from tui.lines import line, plain
from tui.screens.live import LiveScreen

WAYS = {
    "live": [], "savings": ["2"], "providers": ["3"], "routes": ["4", "j", "j"], "agents": ["5"],
    "log": ["6"], "sessions": ["w"], "detail": ["enter"], "request": ["enter", "v"],
    "help": ["question_mark"], "quitting": ["q"], "going-live": ["s"],
    "editing": ["4", "j", "j", "e"], "pausing": ["3", "p"], "palette": ["ctrl+p"],
    "filter": ["slash"],
}  # fmt: skip
FIRST = {
    "live": "SHADOW 2 in flight",
    "savings": "+$0.1831 would be s",
    "providers": "✕ 1 failing groq",
    "routes": "nothing moves",
    "agents": "no agent in a pane",
    "log": "✕ error a turn was",
    "sessions": "$0.0754 $0.9050/h",
    "detail": "◌ waiting",
    "request": "◌ waiting",
    "help": "esc back",
    "quitting": "Quit n Stay",
    "going-live": "Go live? n Stay in shadow y Live until quit",
    "editing": "Where planning may … esc Discard enter Save",
    "pausing": "Pause anthropic n Leave it y Pause",
}
"""How three lines of twenty columns begin."""
TINY = [(100, 14), (50, 20), (40, 8), (30, 5), (20, 3), (10, 1), (1, 1)]
QUICK = {"live", "providers", "going-live"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.faults]) for n in WAYS],
)
async def test_a_screen_shrinks_to_what_matters_most_and_comes_back(name: str) -> None:
    clock = FakeClock()
    engine = FakeEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=(80, 24)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, *WAYS[name])
        await settle(app)
        before = text_of(app)
        for size in TINY:
            await resize(app, size)
            widths = {sum(segment.cell_length for segment in strip) for strip in strips_of(app)}
            assert widths == {size[0]}
            lines = [text.rstrip() for text in lines_of(app)]
            assert lines[0], f"{size}: the first line says nothing"
            if size == (20, 3) and name in FIRST:
                assert " ".join(" ".join(lines).split()).startswith(FIRST[name])
        await resize(app, (80, 24))
        if name not in ("palette", "filter", "editing"):  # these come back scrolled, or looking
            for _ in range(10):  # what lies behind a question is drawn when that has been
                if text_of(app) == before:
                    break
                await settle(app)
            assert text_of(app) == before
        assert app.is_running


async def test_an_answer_can_be_given_in_a_single_line() -> None:
    clock = FakeClock()
    engine = FakeEngine(clock)
    app = GatewayApp(engine, clock=clock, paint_s=None)
    async with app.run_test(size=(30, 3)):
        await furnish(engine, clock)
        await settle(app)
        await press(app, "s")
        await settle(app)
        assert "n Stay in shadow" in text_of(app)
        await press(app, "n")
        assert isinstance(app.screen, LiveScreen)
        assert not [sent for sent in engine.commands if sent[0] == "set_shadow"]


def test_parts_flow_into_the_lines_there_are() -> None:
    parts = [line(word) for word in ("one", "two", "three", "four")]
    shown = [[plain(text) for text in small.flow(parts, 9, height)] for height in (1, 2, 3, 4)]
    assert shown == [
        ["one  two…"],
        ["one  two", "three  f…"],
        ["one  two", "three", "four"],
        ["one  two", "three", "four"],
    ]
    assert small.flow([], 10, 3) == []
