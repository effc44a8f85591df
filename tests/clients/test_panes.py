"""The real Claude Code and Codex in panes; the numbers are those of the rules in ``tests/e2e``."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import real_claude
import real_codex
from gateway_process import until
from pane_world import LEAVE, PaneWorld, lives, pane_world
from rich.cells import cell_len
from scripted_upstream import Request, Script, ScriptedUpstream, respond
from seeded_clients import path_with, seed_claude, seed_codex
from tmux_screen import has_tmux
from vendor_replies import Reply, answering

from providers.types import Protocol

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not has_tmux(), reason="there is no tmux"),
]

ANSWER = (
    "A table:\n\n| name | value |\n|---|---|\n| 漢字 | 1 |\n| party 🎉 | 2 |\n| plain | 3 |\n\n"
    + "\n".join(f"- line {number} of a long answer" for number in range(1, 81))
    + "\n\nTHE END"
)
PROMPT = {"c": "❯", "x": "›"}
KEYS = ["c", "x"]


def vendor(request: Request) -> Script:
    """Both vendors at one address."""
    if request.target.partition(b"?")[0] not in (b"/v1/messages", b"/responses"):
        return respond(404, [], b"{}")
    body = json.loads(request.body)
    is_claude = request.target.startswith(b"/v1/messages")
    protocol = Protocol.MESSAGES if is_claude else Protocol.RESPONSES
    is_turn = not is_claude or bool(body.get("tools"))
    reply = Reply(ANSWER if is_turn else '{"title": "hello"}')
    return answering(protocol, reply, streamed=bool(body.get("stream")))


@asynccontextmanager
async def world(folder: Path, size: tuple[int, int] = (160, 48)) -> AsyncIterator[PaneWorld]:
    claude, codex = real_claude.install(), real_codex.install()
    if claude is None or codex is None:
        pytest.skip("npm is not installed")
    home, project = folder / "home", folder / "project"
    home.mkdir()
    env = {
        **seed_claude(home, project, real_claude.VERSION),
        **seed_codex(home, project),
        "PATH": path_with(claude, codex),
    }
    async with (
        ScriptedUpstream(route=vendor) as upstream,
        pane_world(folder, upstream.base_url, claude="", env=env, size=size) as made,
    ):
        yield made


async def ask(made: PaneWorld) -> None:
    """Type a question, word by word as people do, and wait for the answer's end."""
    made.screen.type("hello there")
    await made.screen.shows("hello there")
    made.screen.keys("Enter")
    await made.screen.shows("THE END")


async def wheel_until(made: PaneWorld, is_so: Callable[[str], bool]) -> None:
    """Turn the wheel upwards until the screen is as wanted; a busy agent takes turns together."""

    def turned(text: str) -> bool:
        if is_so(text):
            return True
        made.screen.send(b"\x1b[<64;20;20M")
        return False

    await made.screen.until(turned, "the wheel did not lead there")


async def test_03_claude_code_starts_answers_and_keeps_its_right_edge(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.open("c", ready=PROMPT["c"])
        assert "Claude Code v" in made.screen.text()
        await ask(made)
        await made.screen.shows("✳", "•● ok")
        text = made.screen.text()
        edges = [cell_len(line[: line.index("│")]) for line in text.splitlines()[2:-1]]
        assert set(edges) == {100}
        assert "Claude Code" in text.splitlines()[2]


async def test_04_codex_starts_at_once_with_its_shading_and_title(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.open("x", ready=PROMPT["x"])
        await made.screen.shows("OpenAI Codex", "Ask Codex", "1 Codex  project  /")
        row = next(
            n for n, line in enumerate(made.screen.text().splitlines()) if "Ask Codex" in line
        )
        prompt = made.screen.text(with_looks=True).splitlines()[row]
        shades = set(re.findall(r"48[;:][25][;:][\d;:]+", prompt))
        assert len(shades) > 1, "the composer has the colour of everything else"
        await ask(made)
        await made.screen.shows("•● ok")


@pytest.mark.parametrize("key", KEYS)
async def test_06_a_new_line_in_the_prompt(tmp_path: Path, key: str) -> None:
    async with world(tmp_path) as made:
        await made.open(key, ready=PROMPT[key])
        screen = made.screen
        screen.type("ready")  # it shows what is typed once it reads its terminal
        await screen.shows("ready")
        for number, chord in enumerate((b"\x1b[13;2u", b"\n", b"\x1b\r")):
            screen.type(f"abc{number}")
            await screen.shows(f"abc{number}")
            screen.send(chord)
            screen.type(f"def{number}")
            text = await screen.shows(f"def{number}")
            assert f"abc{number}def" not in text
            assert "THE END" not in text


async def test_09_the_answer_that_scrolled_away_can_be_read(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.open("c", ready=PROMPT["c"])
        await ask(made)
        # the wheel is Claude Code's where it asked for it, else the pane's
        await wheel_until(made, lambda text: "line 1 of a long answer" in text)


async def test_10_the_wheel_reaches_codex(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.open("x", ready=PROMPT["x"])
        await ask(made)
        await wheel_until(
            made, lambda text: "line 80 of" not in text and "of a long answer" in text
        )


@pytest.mark.parametrize("way", ["quit", "SIGTERM", "SIGKILL"])
async def test_14_neither_outlives_the_program(tmp_path: Path, way: str) -> None:
    async with world(tmp_path) as made:
        for key in KEYS:
            await made.open(key, ready=PROMPT[key])
            made.screen.keys(LEAVE)
            await made.screen.shows("enter types here")
        pids = list(made.children())
        assert len(pids) >= 2
        if way == "quit":
            made.screen.keys("C-q")
        else:
            os.kill(made.screen.pid, signal.Signals[way])
        await made.screen.ended()
        await until(lambda: not any(map(lives, pids)), f"some of {pids} live on")


async def test_16_nothing_of_ours_is_written_into_their_homes(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        config = made.home / ".codex" / "config.toml"
        before = config.read_text()
        for key in KEYS:
            await made.open(key, ready=PROMPT[key])
            await ask(made)
            made.screen.keys(LEAVE)
            await made.screen.shows("enter types here")
        assert config.read_text().startswith(before), "what Codex adds itself comes after"
        assert "sbgw" not in config.read_text()
        files = [p for name in (".claude", ".codex") for p in (made.home / name).rglob("*")]
        files.append(made.home / ".claude.json")
        for path in files:
            if path.is_file():
                data = path.read_bytes()
                assert b"x-sbgw-key" not in data, path
                assert b"local-dev-key" not in data, path
