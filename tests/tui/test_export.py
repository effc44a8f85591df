"""A turn as a curl command and as a file."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe
from screen_text import press, settle

from tui import export
from tui.app import GatewayApp

DETAIL: dict[str, Any] = {
    "id": "gw_1", "path": "/v1/messages", "protocol": "anthropic-messages", "stream": True,
    "model_asked": "claude-opus-5-5", "cost_usd": 0.5,
}  # fmt: skip


def test_the_command_is_one_that_a_shell_understands() -> None:
    words = shlex.split(export.curl(DETAIL, "http://127.0.0.1:9/"), comments=True)
    assert words[:3] == ["curl", "--no-buffer", "http://127.0.0.1:9/v1/messages"]
    assert "x-api-key: $STACKBILT_GATEWAY_KEY" in words
    assert "anthropic-version: 2023-06-01" in words
    assert words[-2:] == ["--data-binary", "@body.json"]
    chat = shlex.split(export.curl({"path": "/v1/chat/completions"}, None), comments=True)
    assert chat[1] == "http://127.0.0.1:8787/v1/chat/completions"
    assert not any("anthropic" in word for word in chat)


def test_a_key_in_the_path_is_left_out() -> None:
    made = export.curl(DETAIL | {"path": "/k/my-secret/v1/messages"}, "http://h")
    assert "my-secret" not in made
    assert "http://h/v1/messages " in made


def test_nothing_from_outside_reaches_the_shell() -> None:
    evil = [*HOSTILE, "/v1/x; rm -rf ~", "/$(id)", "/`id`", "/'x'\nid"]
    for text in evil:
        made = export.curl(DETAIL | {"path": text, "model_asked": text}, "http://h")
        assert_safe(made)
        words = shlex.split(made.partition("  # ")[0])
        assert words[2].startswith("http://h/")
        assert words[-1] == "@body.json"
        assert len(words) == 11


def test_the_file_is_private_and_whole(tmp_path: Path) -> None:
    path = export.write(DETAIL, str(tmp_path))
    assert json.loads(path.read_text("utf-8")) == DETAIL
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    for name in ("../../etc/x", ".hidden", "/abs", ""):
        written = export.write(DETAIL | {"id": name}, str(tmp_path))
        assert written.parent == tmp_path / export.FOLDER
    with pytest.raises(OSError, match="No such file"):
        export.write(DETAIL, str(tmp_path / "none" / "there"))


async def test_both_keys_of_the_detail(tmp_path: Path) -> None:
    engine = FakeEngine(clock := FakeClock())
    engine.gateway["home"] = str(tmp_path)
    async with (app := GatewayApp(engine, clock=clock, paint_s=None)).run_test(size=(80, 24)):
        turn = engine.open()
        engine.finish(turn)
        await settle(app)
        await press(app, "enter", "u")
        assert app.clipboard.startswith("curl ")
        await press(app, "w")
        wanted = tmp_path / export.FOLDER / f"{turn.id}.json"
        while not any(wanted.name in note.message for note in app._notifications):
            await asyncio.sleep(0.005)
        assert json.loads(wanted.read_text("utf-8"))["id"] == turn.id
