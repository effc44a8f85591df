"""What the documents name exists, and what they show is what the program does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme_parts import key_table, keys_in

from server.http import routes
from server.http.errors import HttpError

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]

_COMMAND = re.compile(r"`sbgw-tui ([a-z]+|--[a-z-]+)")
_ENDPOINT = re.compile(r"(?m)^\| `(GET|POST) (/\S*)` \|")
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
        routes.check(method, path.replace("{id}", "gw_" + 24 * "0").encode())
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
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            titles = re.findall(r"(?m)^#+ (.+)$", text)
            assert target[1:] in {title.lower().replace(" ", "-") for title in titles}
        elif "://" not in target:
            assert (ROOT / target).exists()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_folders_and_files_in_documents_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for path in re.findall(r"`((?:providers|server|tui|tests)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
