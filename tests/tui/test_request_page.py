"""A request block by block: what changed, what is folded, and the screen for it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle, text_of

from server.engine import CommandResult
from tui import cache_text, request_page
from tui.app import GatewayApp
from tui.lines import plain, width_of
from tui.screens.request import RequestScreen

KEPT: dict[str, Any] = {
    "previous": "gw_before",
    "previous_at": 1_000.0,
    "kept_blocks": 1,
    "kept_tokens": 300,
    "tokens": 1_000,
    "has_text": True,
    "why": None,
    "change": {"part": "tools", "index": 1, "how": "changed", "lost_tokens": 700},
    "difference": {
        "index": 1, "name": "tool Bash", "offset": 41, "how": "changed",
        "lines": ["@@ -1 +1 @@", '-  "runs"', '+  "runs it"'],
    },
    "blocks": [
        {"part": "tools", "title": "Read", "text": "reads", "chars": 1_200, "is_same": True},
        {"part": "tools", "title": "Bash", "text": "{\n    runs it\n}", "chars": 5, "is_same": False},
        {"part": "system", "title": "system 1", "text": "be good", "chars": 7, "is_same": False},
        {"part": "messages", "title": "user", "text": "fix it", "chars": 6, "is_same": False},
    ],
}  # fmt: skip
DIGESTS: dict[str, Any] = {
    "previous": "gw_before", "has_text": False, "why": "Texts are not kept; capture.enabled.",
    "tokens": 900, "kept_tokens": 0,
    "change": {"part": "tools", "index": 13, "how": "added", "lost_tokens": 12_000,
               "label": "of the MCP server github"},
    "blocks": [{"part": "tools", "label": "Read", "tokens": 300, "is_same": False},
               {"part": "messages", "role": "user", "tokens": 600, "is_same": False}],
}  # fmt: skip


def drawn(story: Any, picked: str | None = None, width: int = 100, *unfolded: str) -> str:
    lines = [
        *request_page.title(story, "gw_1", width),
        *(line for _, line in request_page.picks(story, unfolded, width)),
        *request_page.shown(story, picked, width),
    ]
    return "\n".join(map(plain, lines))


def test_a_kept_request_names_the_block_the_byte_and_the_change() -> None:
    text = drawn(KEPT, "diff")
    assert "tool Bash changed at byte 41; about 700 cached tokens began there" in text
    assert '+  "runs it"' in text
    assert "+ TOOLS  2, about 301 tokens, 1 as before" in text
    assert "system 1" not in text, "parts are folded"


def test_parts_unfold_and_a_text_keeps_its_blanks() -> None:
    keys = [key for key, _ in request_page.picks(KEPT, ("tools",), 100)]
    assert keys == ["diff", "tools", "0", "1", "system", "messages"]
    text = drawn(KEPT, "1", 100, "tools")
    assert "- TOOLS" in text
    assert "as before" in text
    assert "\n     runs it\n" in text
    assert request_page.text_at(KEPT, "1") == "{\n    runs it\n}"
    assert request_page.text_at(KEPT, "diff") == '@@ -1 +1 @@\n-  "runs"\n+  "runs it"'
    assert request_page.text_at(KEPT, "tools") is None


def test_without_a_text_the_digests_name_the_block() -> None:
    text = drawn(DIGESTS, "0", 100, "tools")
    assert "tool 14 (of the MCP server github) was added; about 12.0k cached tokens" in text
    assert "Texts are not kept" in text
    assert "its text is not on record" in text
    assert "Read" in text


def test_a_request_that_only_goes_on_and_one_of_which_nothing_is_known() -> None:
    on = KEPT | {"change": None, "difference": None}
    assert "nothing changed; it only goes on" in drawn(on)
    assert "sent again as it was" in drawn(on, "diff")
    assert "Nothing is on record" in drawn({"blocks": []})
    assert "reading" in drawn(None)
    for how, word in (("removed", "is gone"), ("moved", "was moved"), ("changed", "changed")):
        story = {"change": {"part": "messages", "index": 2, "how": how, "role": "user"}}
        assert cache_text.change_text(story) == f"message 3 (user) {word}"
    assert cache_text.change_text({}) == ""


def test_the_cache_of_a_turn_in_words() -> None:
    detail = {"at": 1_030.0, "cold": {"cause": "tools", "text": "The tools changed.",
                                      "tokens": 12_000, "usd": 0.03}}  # fmt: skip
    text = "\n".join(plain(line) for line in cache_text.cache(detail, KEPT, 100))
    for part in ("The tools changed.", "12.0k tokens, $0.0300 more", "gw_before, 30s earlier",
                 "1 of 4 parts, about 300 of 1000 tokens", "tool Bash changed"):  # fmt: skip
        assert part in text
    assert cache_text.cache({}, None, 100) == []
    assert cache_text.cache({}, {"previous": None}, 100) == []


def test_what_was_left_out_on_the_way() -> None:
    lines = [plain(line) for line in cache_text.notes({"notes": ["dropped: top_k", 3, ""]}, 60)]
    assert lines == ["LEFT OUT OR CHANGED ON THE WAY", "· dropped: top_k"]
    assert cache_text.notes({"notes": "x"}, 60) == []


@pytest.mark.parametrize("width", [58, 78, 118])
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for odd in HOSTILE:
        blocks = [{"part": "tools", "title": odd, "text": odd, "chars": 9}]
        found = {"name": odd, "how": odd, "lines": [odd], "offset": 1}
        story = {"blocks": blocks, "difference": found, "previous": odd, "why": odd}
        lines = [
            *request_page.title(story, odd, width),
            *(line for _, line in request_page.picks(story, ("tools",), width)),
            *request_page.shown(story, "0", width),
            *request_page.shown(story, "diff", width),
            *cache_text.cache({"cold": {"cause": odd, "text": odd}}, story, width),
            *cache_text.notes({"notes": [odd]}, width),
        ]
        for line in lines:
            assert_safe(plain(line))
        for line in request_page.shown(story, "0", width):
            assert width_of(line) <= width


async def test_from_a_turn_to_its_request_and_a_file_only_when_asked_twice(tmp_path: Path) -> None:
    engine = FakeEngine(clock := FakeClock())
    engine.gateway |= {"home": str(tmp_path), "capture": {"enabled": True}}
    engine.answers["request"] = CommandResult(True, "", KEPT)
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(120, 40)):
        engine.finish(turn := engine.open())
        await settle(app)
        assert " CAPTURE " in text_of(app)
        await press(app, "enter")
        await settle(app)
        await settle(app)
        assert "first change tool Bash changed at byte 41" in text_of(app)
        await press(app, "v")
        await settle(app)
        await settle(app)
        assert isinstance(app.screen, RequestScreen)
        assert ("request", {"turn_id": turn.id, "texts": True}) in engine.commands
        await press(app, "j", "enter", "j", "j", "y")
        assert app.clipboard == "{\n    runs it\n}"
        await press(app, "w")
        assert not (tmp_path / "exports").exists()
        await press(app, "w")
        await settle(app)
        path = tmp_path / "exports" / f"{turn.id}-request.json"
        while not path.exists():
            await settle(app)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text())["blocks"][0]["text"] == "reads"
