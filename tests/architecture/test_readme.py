"""What the documents name exists, and what they show is what the program does."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hand_session import SESSION, TOTAL
from make_pictures import AGENT, ALBUM, plain, shows_failure
from readme_parts import key_table, keys_in

from server.http import routes
from server.http.errors import HttpError
from server.settings_file import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PICTURES = sorted((ROOT / ".github" / "pictures").glob("*.svg"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]

_COMMAND = re.compile(r"`sbgw-tui ([a-z]+|--[a-z-]+)")
_ENDPOINT = re.compile(r"(?m)^\| `(GET|POST|PUT) (/\S*)` \|")
_PROBES = {"/", "/api/hello"}


def test_the_key_table_is_the_programs() -> None:
    assert keys_in(README) == key_table(), "run: make docs"


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:24])
    assert re.search(r"(?m)^git clone \S.* && cd sbgw-tui$\nmake demo$", first_screen)


def test_the_commands_exist() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "sbgw.py"), "--help"],
        env={"PATH": os.defpath, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    known = set(re.findall(r"(?<![\w-])(--[a-z-]+|[a-z]+)", done.stdout))
    named = {name for text in (README, CONTRIBUTING) for name in _COMMAND.findall(text)}
    options = {"--port", "--host", "--config", "--log-level"}
    assert "claude" in named
    assert (named | options) - known == set()


def test_the_endpoints_are_served() -> None:
    named = _ENDPOINT.findall(README)
    for method, path in named:
        example = path.replace("{id}", "gw_" + 24 * "0")
        routes.check(method, re.sub(r"\{\w+\}", "some-name", example).encode())
    served = {path.decode() for path in routes._TABLE} - _PROBES
    assert served - {path for _, path in named} == set()


def test_an_endpoint_that_is_not_served_would_be_noticed() -> None:
    with pytest.raises(HttpError):
        routes.check("GET", b"/nothing")


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    named = {
        name
        for text in (README, CONTRIBUTING)
        for name in re.findall(r"`?make ([a-z-]+)[`\n ]", text)
    }
    named -= {"sure", "what"}
    assert {"demo", "run", "test", "check", "bench", "lock"} <= named
    assert named - targets == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_files_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text("utf-8")):
        if "://" in target:
            continue
        path, _, title = target.partition("#")
        assert (ROOT / (path or name)).exists(), target
        if title:
            text = (ROOT / (path or name)).read_text("utf-8")
            titles = re.findall(r"(?m)^#+ (.+)$", text)
            assert title in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_the_settings_shown_are_accepted(tmp_path: Path) -> None:
    blocks = re.findall(r"(?sm)^```toml\n(.*?)^```$", README)
    assert blocks
    for block in blocks:
        (tmp_path / "config.toml").write_text(block)
        load(env={"SBGW_HOME": str(tmp_path)}, cwd=tmp_path)


def test_the_sums_of_the_session_by_hand_are_the_calculated_ones() -> None:
    promised = re.search(r"promises \$([\d.]+) for it", README)
    shown = re.search(r"a loss of \$([\d.]+), made by one turn out of nine", README)
    assert promised is not None
    assert shown is not None
    assert float(promised[1]) == round(float(TOTAL["naive_usd"]), 3)
    assert -float(shown[1]) == round(float(TOTAL["usd"]), 3)
    assert (TOTAL["losses"], len(SESSION)) == (1, 9)


def test_the_worst_turn_loses_what_the_text_says() -> None:
    worst = min((t.expected for t in SESSION if t.expected), key=lambda expected: expected.usd)
    assert "one of them loses six times its own price" in README
    assert round(-worst.usd / worst.baseline) == 6


def test_every_picture_is_shown_and_every_shown_one_is_there() -> None:
    shown = re.findall(r"!\[([^\]]+)\]\(\.github/pictures/([\w-]+\.svg)\)", README)
    made = {f"{picture.name}.svg" for picture in (*ALBUM, AGENT)}
    assert {name for _, name in shown} == {path.name for path in PICTURES} == made
    assert all(len(words.split()) > 5 for words, _ in shown), "each needs words for who cannot see"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: str(path.name))
def test_pictures_are_small_and_load_nothing(picture: Path) -> None:
    text = picture.read_text("utf-8")
    ElementTree.fromstring(text)
    assert len(text.encode()) < 150_000
    assert "@font-face" not in text
    assert not re.search(r"<(?:image|script|foreignObject)|(?:href|src)=|url\((?!#)", text)


def test_a_picture_is_made_plain() -> None:
    folder = f"{tempfile.gettempdir()}/sbgw-demo-x1y2"
    line = f"&#160;a&amp;b&#160;c&#160;&#160;{folder}/config.toml&#160;&#160;d"
    width = 10 * len(html.unescape(line))
    made = plain(
        "@font-face { src: url(https://example.org/f.woff) }\n"
        '<clipPath id="terminal-7-line-0"><rect/></clipPath>\n'
        f'<text class="terminal-7-r1" x="100" y="5" textLength="{width}"'
        f' clip-path="url(#terminal-7-line-0)">{line}</text>'
    )
    last = 100 + width - 10
    assert made.strip() == (
        '<text class="r1" x="110" y="5" textLength="50">a&amp;b&#160;c</text>'
        '<text class="r1" x="180" y="5" textLength="110">config.toml</text>'
        f'<text class="r1" x="{last}" y="5" textLength="10">d</text>'
    )


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: str(path.name))
def test_pictures_show_a_program_that_works(picture: Path) -> None:
    assert not shows_failure(picture.read_text("utf-8"))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: str(path.name))
def test_pictures_show_nobody(picture: Path) -> None:
    words = html.unescape(picture.read_text("utf-8")).replace("\N{NO-BREAK SPACE}", " ")
    assert "demo" in words.lower()
    assert not re.search(r"/(?:home|root|tmp|Users|var|work)/", words)
    assert not re.search(r"sk-|gsk_|Bearer ", words)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_folders_and_files_in_documents_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for path in re.findall(r"`((?:providers|server|tui|tests)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
