"""Programs in panes of the real program, in a real terminal; the numbers are those of the rules.

Rules 3, 4 and 10 need the agents themselves and are in ``tests/clients``; what answers, widths and
bounds of a frame are in ``tests/tui/terminal``.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from gateway_process import ROOT, until
from pane_world import BASH, LEAVE, PaneWorld, lives, pane_world, python_script
from rich.cells import cell_len
from tmux_screen import has_tmux, tmux_screen

from tui.terminal.engine import RGB, CellStyle
from tui.terminal.ghostty import GhosttyEngine

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not has_tmux(), reason="there is no tmux"),
]

NOBODY = "http://127.0.0.1:9"
ECHO = python_script(
    "import os, sys, tty\n"
    "tty.setraw(0)\n"
    "os.write(1, b'READY\\r\\n')\n"
    "while (key := os.read(0, 64)) != b'.':\n"
    "    if key == b'K':\n"
    "        os.write(1, b'\\x1b[>7uKITTY\\r\\n')\n"
    "    os.write(1, b'<' + repr(key)[2:-1].encode() + b'>\\r\\n')\n"
)
"""Shows the bytes it gets; ``K`` turns the kitty keyboard on."""


@asynccontextmanager
async def world_with(folder: Path, claude: str = BASH, **more: object) -> AsyncIterator[PaneWorld]:
    async with pane_world(folder, NOBODY, claude=claude, **more) as world:  # type: ignore[arg-type]
        yield world


def looks(captured: str, text: str) -> CellStyle:
    """How ``text`` looks in what a terminal captured."""
    engine = GhosttyEngine(400, 60)
    engine.feed(captured.replace("\n", "\r\n").encode())
    engine.take_dirty()
    for _, runs in engine.rows(range(60)):
        for shown, style in runs:
            if shown.strip() == text:
                engine.close()
                return style
    raise AssertionError(f"{text!r} is not alone on the screen")


def same(colour: int | None, other: int | None) -> bool:
    """Whether two colours are one, the 216 of the cube by number or by value."""

    def value(found: int | None) -> int | None:
        if found is None or found & RGB or not 16 <= found < 232:
            return found
        parts = (found - 16) // 36, (found - 16) // 6 % 6, (found - 16) % 6
        red, green, blue = (0 if part == 0 else 55 + 40 * part for part in parts)
        return RGB | red << 16 | green << 8 | blue

    return value(colour) == value(other)


async def test_01_colours_are_those_of_a_bare_terminal(tmp_path: Path) -> None:
    styles = {"ONE": "1;38;2;255;100;0", "TWO": "38;5;200", "SIX": "4;48;2;1;20;90", "TEN": "3;32"}
    script = "".join(
        f"printf '\\033[{code}m {name} \\033[0m\\n'\n" for name, code in styles.items()
    )
    show = tmp_path / "show"
    show.write_text(f"#!/bin/sh\n{script}cat\n")
    show.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color"}
    async with tmux_screen(tmp_path / "bare", [str(show)], env, tmp_path) as screen:
        await screen.shows(*styles)
        bare = screen.text(with_looks=True)
    async with world_with(tmp_path / "in", show.read_text()) as world:
        await world.open(ready="TEN")
        shown = world.screen.text(with_looks=True)
    for name in styles:
        before, now = looks(bare, name), looks(shown, name)
        for attribute in ("bold", "italic", "underline", "reverse"):
            assert getattr(now, attribute) == getattr(before, attribute), name
        if name != "TEN":  # the sixteen are the theme's
            assert same(now.fg, before.fg) or before.fg is None, name
            assert same(now.bg, before.bg) or before.bg is None, name
    assert looks(shown, "TEN").fg != looks(shown, "ONE").fg


async def test_02_full_screen_programs_give_the_screen_back(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        (world.project / "poem.txt").write_text("roses are red\n" * 200 + "the end\n")
        await world.open()
        await world.run("echo MARK''ER", "MARKER")
        for program, leave in (("vim -u NONE -n poem.txt", ":q!"), ("less poem.txt", "q")):
            if shutil.which(program.split()[0]) is None:
                continue
            await world.run(program, "roses are red")
            world.screen.keys("G")
            await world.screen.shows("the end")
            await world.run(leave, "MARKER")
            await world.screen.until(lambda text: "roses" not in text, "it stays")
        if shutil.which("htop") is not None:
            await world.run("htop", "Load average")
            world.screen.keys("q")
            await world.screen.until(
                lambda text: "MARKER" in text and "Load average" not in text, "it stays"
            )


async def test_06_keys_are_sent_as_the_program_has_asked(tmp_path: Path) -> None:
    async with world_with(tmp_path, ECHO) as world:
        await world.open(ready="READY")
        screen = world.screen
        screen.send(b"\x1b[13;2u")
        await screen.shows("<\\x1b[27;2;13~>")
        screen.send(b"\x1b\r")
        await screen.shows("<\\x1b\\r>")
        screen.keys("C-j", "Up", "S-Up", "C-Left", "F5")
        await screen.shows("\\n", "\\x1b[A", "\\x1b[1;2A", "\\x1b[1;5D", "\\x1b[15~")
        screen.type("K")
        await screen.shows("KITTY")
        screen.send(b"\x1b[13;2u")
        await screen.shows("<\\x1b[13;2u>")
        screen.send(b"\x1b[Z")
        await screen.shows("<\\x1b[9;2u>")
        screen.type("é漢")
        await screen.shows("\\xc3\\xa9", "\\xe6\\xbc\\xa2")


async def test_07_a_great_paste_arrives_byte_for_byte(tmp_path: Path) -> None:
    reader = python_script(
        "import hashlib, os, tty\n"
        "tty.setraw(0)\n"
        "os.write(1, b'\\x1b[?2004hREADY\\r\\n')\n"
        "got = b''\n"
        "while not got.endswith(b'\\x1b[201~'): got += os.read(0, 65536)\n"
        "got = got.partition(b'\\x1b[200~')[2][:-6]\n"
        "os.write(1, f'{len(got)} {hashlib.sha256(got).hexdigest()}'.encode())\n"
        "os.read(0, 1)\n"
    )
    lines = [f"line {number} of a long paste, é 漢 🎉" for number in range(5000)]
    wanted = "\r".join(lines).encode()
    assert len(wanted) > 180_000
    async with world_with(tmp_path, reader) as world:
        await world.open(ready="READY")
        world.screen.paste("\n".join(lines))
        await world.screen.shows(f"{len(wanted)} {hashlib.sha256(wanted).hexdigest()}")


def newest(text: str) -> int:
    """The greatest number of the stream that is on the screen."""
    return max(map(int, re.findall(r"streaming (\d+)\b", text)), default=0)


def goes_on(rows: int, after: int, text: str) -> bool:
    """Whether the screen has its new height, and the stream has gone on since."""
    return len(text.splitlines()) == rows and newest(text) > after


async def test_08_the_program_follows_the_window_while_it_writes(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        await world.open()
        world.screen.type("until [ -e stop ]; do echo streaming $((++i)); sleep 0.01; done")
        world.screen.keys("Enter")
        text = await world.screen.until(lambda text: newest(text) > 20, "no stream")
        for columns, rows in ((100, 30), (81, 25), (200, 50)):
            world.screen.resize(columns, rows)
            seen = partial(goes_on, rows, newest(text) + 10)
            text = await world.screen.until(seen, "it does not go on in its new size")
        (world.project / "stop").touch()
        wanted = "46 140"  # told a moment after the window has it
        waits = f'until [ "$(stty size)" = "{wanted}" ]; do sleep 0.05; done; clear; stty size'
        await world.run(waits, f"\n{wanted}")
        text = await world.screen.until(lambda text: "streaming" not in text, "stale cells")
        assert "Traceback" not in text


async def test_09_what_scrolled_away_can_be_read(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        await world.open()
        await world.run("seq -f 'row %g.' 1 300", "row 300.")
        for _ in range(8):
            world.screen.send(b"\x1b[5;2~")
        await world.screen.shows("row 1.", "lines below")
        world.screen.type("x")
        await world.screen.shows("row 300.", "$ x")


async def test_11_a_flood_ends_and_the_keyboard_comes_back_meanwhile(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        await world.open()
        world.screen.type("while :; do seq 1 200000; done\r")
        world.screen.keys("Enter")
        await world.screen.until(
            lambda text: len(re.findall(r"\b\d{4,6}\b", text)) > 20, "no flood"
        )
        world.screen.keys(LEAVE, "3")
        await world.screen.shows("anthropic", "? help")
        world.screen.keys("5")
        await world.screen.shows("enter types here")
        world.screen.keys("Enter")
        await world.screen.shows("ctrl+] leaves")
        world.screen.keys("C-c")
        await world.run("clear; echo CA''LM", "CALM")
        await world.screen.until(
            lambda text: not re.search(r"(?m)^\d{5,6}\b", text), "the flood is still there"
        )


async def test_12_a_program_that_never_lets_go_is_drawn_all_the_same(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        await world.open()
        await world.run("printf '\\033[?2026hHE''LD'; sleep 1000", "HELD")


async def test_13_ends_are_told_and_leave_nothing(tmp_path: Path) -> None:
    async with world_with(tmp_path) as world:
        await world.open()
        screen = world.screen
        for typed, told in (
            ("exit", "Claude Code ended."),
            ("exit 3", "Claude Code ended with code 3."),
            ("kill -9 $$", "Claude Code was ended by SIGKILL."),
        ):
            await world.run(typed, told, "r restarts")
            screen.keys(LEAVE, "r")
            await screen.shows("ctrl+] leaves")
        await world.run("exec /nowhere/at/all; exit 7", "ended with code")
        screen.keys(LEAVE)
        assert "Z" not in world.children().values()
        (world.project.parent / "bin" / "claude").unlink()
        screen.keys("r")
        await screen.shows("claude was not found on your PATH")


STUBBORN = (
    "#!/bin/sh\ntrap '' HUP TERM\nsleep 1000 & sleep 1000 & echo \"PIDS $$ $!\"\nwait\nwait\n"
)


async def agents_of(world: PaneWorld) -> list[int]:
    """The processes of the agent that says which they are."""
    await world.open(ready="PIDS")
    found = re.search(r"PIDS (\d+) (\d+)", world.screen.text())
    assert found is not None
    return [int(found[1]), int(found[2])]


@pytest.mark.parametrize("way", ["quit", "SIGTERM", "SIGKILL"])
async def test_14_no_agent_outlives_the_program(tmp_path: Path, way: str) -> None:
    # One that is killed cannot end what refuses to hang up; the kernel hangs up for it.
    agent = STUBBORN if way != "SIGKILL" else STUBBORN.replace("trap '' HUP TERM\n", "")
    async with world_with(tmp_path, agent) as world:
        pids = await agents_of(world)
        if way == "quit":
            world.screen.keys(LEAVE, "C-q")
        else:
            os.kill(world.screen.pid, signal.Signals[way])
        await world.screen.ended()
        await until(lambda: not any(map(lives, pids)), f"{pids} live on")


async def test_15_only_one_key_leaves(tmp_path: Path) -> None:
    async with world_with(tmp_path, ECHO) as world:
        await world.open(ready="READY")
        screen = world.screen
        for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 1):
            screen.send(bytes([number]))
            shown = repr(bytes([number]))[2:-1]
            await screen.shows(f"<{shown}>", "ctrl+] leaves")
            assert letter
        for number in range(1, 13):
            screen.keys(f"F{number}")
        await screen.shows("\\x1b[24~", "ctrl+] leaves")
        screen.keys("Escape", "Escape")
        await screen.shows("<\\x1b", "ctrl+] leaves")
        screen.keys(LEAVE)
        await screen.shows("enter types here", "? help")


async def test_16_the_environment_is_the_users_with_this_terminal(tmp_path: Path) -> None:
    env = {"TMUX": "x,1,0", "TERM_PROGRAM": "tmux", "MY_TOKEN": "mine", "ANTHROPIC_API_KEY": "k"}
    async with world_with(tmp_path, env=env) as world:
        await world.open()
        await world.run("env > all; stat -c %a . > mode; umask >> mode; echo DO''NE", "DONE")
        found = dict(
            line.split("=", 1)
            for line in (world.project / "all").read_text().splitlines()
            if "=" in line
        )
    assert found["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert found["TERM"] == "xterm-256color"
    assert found["COLORTERM"] == "truecolor"
    assert found["MY_TOKEN"] == "mine"
    assert found["PWD"] == str(world.project)
    assert not {"TMUX", "TMUX_PANE", "TERM_PROGRAM", "LINES", "COLUMNS"} & set(found)
    assert "x-sbgw-pane: pane-" in (world.project / "all").read_text()
    assert "0077" not in (world.project / "mode").read_text()


async def test_18_without_its_engine_the_program_offers_the_whole_terminal(tmp_path: Path) -> None:
    blocked = (
        "import sys; sys.modules['pyghostty'] = None; "
        f"sys.path.insert(0, {str(ROOT)!r}); from tui.cli import main; sys.exit(main())"
    )
    async with world_with(tmp_path, argv=[sys.executable, "-E", "-P", "-c", blocked]) as world:
        world.screen.keys("5")
        await world.screen.shows("Panes cannot be used: the terminal engine (pyghostty) is not")
        world.screen.keys("c")
        await world.screen.until(lambda text: text.split() == ["$"], "no shell")
        await world.run("echo WHO''LE $TERM", "WHOLE screen-256color")
        await world.run("exit", "5 Agents", "Claude Code ended.")


def test_19_ten_megabytes_of_noise() -> None:
    chance = random.Random(19)
    engine = GhosttyEngine(80, 24)
    for _ in range(160):
        engine.feed(chance.randbytes(65536))
        engine.take_replies()
        engine.take_dirty()
        columns, rows = engine.size
        for _, runs in engine.rows(range(rows)):
            assert sum(cell_len(text) for text, _ in runs) == columns
    engine.close()


def frames() -> bytes:
    """What a full-screen agent writes, in one piece: frames, colours, wide signs, titles, links."""
    parts = [b"\x1b[?1049h\x1b[?2004h\x1b[?1006h\x1b[>7u"]
    for number in range(40):
        words = f"\x1b[38;2;{number};120;9mline {number} \x1b[4:3m漢字 \x1b[0m👩\u200d👩\u200d👧 🇩🇪 e\u0301"
        parts.append(b"\x1b[?2026h\x1b[%d;3H\x1b[2K" % (number % 24 + 1))
        parts.append(words.encode() * (1 + number % 5))
        parts.append(b"\x1b]0;frame %d\x07\x1b]8;;http://x\x1b\\a\x1b]8;;\x1b\\" % number)
        parts.append(b"\x1b[2;20r\x1bM\x1b[3S\x1b[5X\x1b[7b\x1b[r\x1b[?2026l")
    return b"".join(parts)


def test_19_frames_cut_anywhere() -> None:
    data = frames()
    for cut in range(1, len(data), 97):
        engine = GhosttyEngine(80, 24)
        engine.feed(data[:cut])
        engine.feed(b"\x1bc")  # as when the next program begins in the middle of a sequence
        engine.feed(data[cut : cut + 4096])
        engine.take_replies()
        engine.take_dirty()
        for _, runs in engine.rows(range(24)):
            assert sum(cell_len(text) for text, _ in runs) == 80
        engine.close()


async def test_20_what_is_typed_is_in_no_file_of_ours(tmp_path: Path) -> None:
    secret = "sk-ant-typed-by-hand-0123456789"
    async with world_with(tmp_path) as world:
        await world.open()
        await world.run(f"echo {secret} | wc -c", str(len(secret) + 1))
        world.screen.paste(f"echo {secret[::-1]}")
        await world.screen.shows(secret[::-1])
        world.screen.keys("Enter", LEAVE, "6")
        text = await world.screen.shows("6 Log", "FOLLOW")
        assert secret not in text
        world.screen.keys("C-q")
        assert await world.screen.ended() == 0
        files = [path for path in (world.home / "gateway").rglob("*") if path.is_file()]
        assert files
        for file in files:
            data = file.read_bytes()
            assert secret.encode() not in data, file
            assert secret[::-1].encode() not in data, file
