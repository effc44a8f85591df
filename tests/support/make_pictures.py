"""Renders the README's pictures from the real program on the demo's traffic: ``make pictures``.

The real gateway plays the demo's first minutes on a quicker clock, the real screens watch it, and
each picture is what a terminal of that size would show. Written as SVG without web fonts. The one
with an agent has the real Claude Code in a home made for it, which npm fetches the first time; it
asks the demo's vendor. Without npm that picture stays as it is.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import real_claude
from screen_text import text_of
from seeded_clients import path_with, seed_claude
from textual.pilot import Pilot

from server.clock import SystemClock
from server.demo.run import demo_home, traffic
from server.gateway import Gateway
from server.listen import BindError, bind
from server.settings_file import Flags
from tui.app import GatewayApp, QuitReason
from tui.front import preparer
from tui.screens.start_agent import StartAgent
from tui.terminal.engine import VTEngine
from tui.theme import DARK, LIGHT

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / ".github" / "pictures"

SPEED = 5
AFTERNOON = 1_800_020_220.0
"""13:37 UTC: far from midnight in every time zone, so that all of it is today's."""

_FONT_FACE = re.compile(r"@font-face\s*\{.*?\}\s*", re.S)
_TEXT = re.compile(
    r'<text class="(?P<style>[^"]*)" x="(?P<x>[^"]*)" y="(?P<y>[^"]*)"'
    r' textLength="(?P<width>[^"]*)"[^>]*>(?P<inner>[^<]*)</text>'
)
_LINE_CLIP = re.compile(r'<clipPath id="[^"]*-line-\d+">.*?</clipPath>', re.S)
_PHRASE = re.compile(r"[^\xa0]+(?:\xa0[^\xa0]+)*")
_BLANK = "\N{NO-BREAK SPACE}"
_THROW_AWAY = re.compile(re.escape(tempfile.gettempdir()) + r"/sbgw-demo-[^\s\xa0]*")
_FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class QuickClock(SystemClock):
    """Runs several times as fast as the time of day, beginning on one afternoon."""

    def __init__(self) -> None:
        self._start = super().monotonic()

    def monotonic(self) -> float:
        return self._start + (super().monotonic() - self._start) * SPEED

    def time(self) -> float:
        return AFTERNOON + self.monotonic() - self._start

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


@dataclass(frozen=True, slots=True)
class Picture:
    """One file: when it is taken, in seconds of the demo, how large, and which keys lead there."""

    name: str
    at: float
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = (120, 40)
    theme: str = DARK.name


ALBUM = (
    Picture("live-80x24", 19, size=(80, 24)),
    Picture("live", 23),
    Picture("detail", 70, keys=("/", *"saved<-0.005 cache>40000", "enter", "enter")),
    Picture("savings", 80, keys=("2",)),
    Picture("providers", 84, keys=("3",)),
    Picture("routes", 88, keys=("4", "j", "j")),
    Picture("sessions", 96, keys=("w",)),
    Picture("live-light", 110, theme=LIGHT.name),
    Picture("routes-edit", 116, keys=("4", *"jj", "e")),
    Picture("going-live", 120, keys=("s",)),
)
AGENT = Picture("agents", 30, size=(120, 40))
QUESTION = "Where are the columns of the report set?"
PATIENCE_S = 60.0


@asynccontextmanager
async def demo(*, is_demo: bool = True) -> AsyncIterator[Gateway]:
    """A gateway at work on the demo's traffic; one that calls itself a demo starts no agent."""
    clock = QuickClock()
    async with demo_home(Flags(), clock) as loaded:
        gateway = Gateway(
            loaded, env={}, secret=b"p" * 32, instance="pictures", clock=clock, is_demo=is_demo
        )
        await gateway.start(_usual_address())
        try:
            async with traffic(gateway):
                yield gateway
        finally:
            await gateway.stop()


def _usual_address() -> socket.socket:
    try:
        return bind("127.0.0.1", 8787)
    except BindError:
        return bind("127.0.0.1", 0)


async def take(gateway: Gateway, picture: Picture) -> str:
    """One picture as SVG, taken at its moment."""
    app = GatewayApp(gateway, clock=gateway.clock, theme=picture.theme)
    async with app.run_test(size=picture.size) as pilot:
        began = gateway.clock.time() - AFTERNOON
        await gateway.clock.sleep(max(0.0, picture.at - began))
        await _press(pilot, picture.keys)
        await _until(lambda: "Trying it on" not in text_of(app), "the effect is not known")
        return plain(app.export_screenshot(title="sbgw-tui --demo"))


async def take_agent(gateway: Gateway, picture: Picture, claude: Path) -> str:
    """The picture with Claude Code in a pane, after one question and its answer."""
    with tempfile.TemporaryDirectory(prefix="sbgw-demo-") as folder:
        home = Path(folder)
        project = home / "lighthouse"
        project.mkdir()
        env = seed_claude(home, project, real_claude.VERSION) | {
            "HOME": str(home), "PATH": path_with(claude), "LANG": "C.UTF-8",
        }  # fmt: skip
        before = os.environ["HOME"]
        os.environ["HOME"] = str(home)
        try:
            app = GatewayApp(gateway, clock=gateway.clock, theme=picture.theme)
            app.prepare, app.folder = preparer(gateway.loaded, env), project
            async with app.run_test(size=picture.size) as pilot:
                await _ask_agent(app, pilot)
                return plain(app.export_screenshot(title="sbgw-tui"))
        finally:
            os.environ["HOME"] = before


async def _ask_agent(app: GatewayApp, pilot: Pilot[QuitReason]) -> None:
    await _until(lambda: app.state.gateway.url is not None, "the gateway does not answer")
    await pilot.press("c")
    await _until(lambda: isinstance(app.screen, StartAgent), "no question for the folder")
    await pilot.press("enter")

    def engine() -> VTEngine | None:
        chosen = app._shared.panes.chosen
        return chosen.session.engine if chosen is not None else None

    def shows(text: str) -> bool:
        found = engine()
        if found is None:
            return False
        rows = found.rows(range(found.size[1]))
        return any(text in "".join(part for part, _ in runs) for _, runs in rows)

    await _until(lambda: shows("❯"), "Claude Code has no prompt")
    for letter in QUESTION:
        await pilot.press(
            "space" if letter == " " else letter if letter != "?" else "question_mark"
        )
    await _until(lambda: shows(QUESTION), "the question was not typed")
    await pilot.press("enter")
    await _until(lambda: shows("no model to ask"), "there was no answer")
    await asyncio.sleep(0.6)
    await pilot.pause()


async def _until(is_so: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise SystemExit(what) from None


async def _press(pilot: Pilot[QuitReason], keys: tuple[str, ...]) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await asyncio.sleep(0.6)
    await pilot.pause()


def plain(svg: str) -> str:
    """The picture without fonts from elsewhere, and without what viewers treat differently."""
    svg = _FONT_FACE.sub("", svg).replace("Fira Code, monospace", _FONT)
    svg = re.sub(r"terminal-\d+-", "", _LINE_CLIP.sub("", svg))
    return re.sub(r"(?m)^\s+\n", "", _TEXT.sub(_words, svg))


def shows_failure(svg: str) -> bool:
    """Whether the screen had lost its gateway, or had not met it yet."""
    words = svg.replace("&#160;", " ")
    return "does not answer" in words or "Waiting for the gateway" in words


def _file_only(path: re.Match[str]) -> str:
    """The demo's home has a new random name each time, which belongs in no picture."""
    return "config.toml".ljust(len(path.group()), _BLANK)


def _words(text: re.Match[str]) -> str:
    """Each word or phrase at its own place: not every viewer stretches a line to its length."""
    shown = _THROW_AWAY.sub(_file_only, html.unescape(text["inner"])).replace(" ", _BLANK)
    cell = float(text["width"]) / len(shown)
    made = []
    for phrase in _PHRASE.finditer(shown):
        x, width = float(text["x"]) + cell * phrase.start(), cell * len(phrase.group())
        inner = html.escape(phrase.group(), quote=False).replace(_BLANK, "&#160;")
        made.append(
            f'<text class="{text["style"]}" x="{x:g}" y="{text["y"]}" textLength="{width:g}">'
            f"{inner}</text>"
        )
    return "".join(made)


async def main() -> None:
    """Write all pictures, or none."""
    async with demo() as gateway:
        album = {picture.name: await take(gateway, picture) for picture in ALBUM}
    if (claude := real_claude.install()) is not None:
        async with demo(is_demo=False) as gateway:
            await gateway.clock.sleep(AGENT.at)
            album[AGENT.name] = await take_agent(gateway, AGENT, claude)
    if broken := [name for name, svg in album.items() if shows_failure(svg)]:
        raise SystemExit(f"the program does not work, see {', '.join(broken)}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, svg in album.items():
        (PICTURES / f"{name}.svg").write_text(svg, "utf-8")
        print(f"{name}.svg: {len(svg) / 1000:.0f} kB")


if __name__ == "__main__":
    asyncio.run(main())
