"""Every command, settings block and shell line of every document is one that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from server.settings_file import load
from tui.cli import cli
from tui.lifecycle.aliases import ALIASES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"(?sm)^```(\w+)\n(.*?)^```$")
PLACEHOLDERS = {
    "FILE": str(ROOT / "README.md"),
    "routes.toml": str(ROOT / "config.example.toml"),
    "KIND": "title",
    "URL": "http://127.0.0.1:8787",
    "ARGS": "-p",
    "args": "-p",
}
RUN_BY_OTHER_TESTS = (
    "git clone ",
    "make ",
    "curl ",
    "export ANTHROPIC_",
    "export OPENAI_",
    "#",
    " ",
)
"""How else a line of a shell block may begin: the walk, the curl lines, variables set by hand."""


def shown(text: str) -> Iterator[str]:
    """Every command line of ours: in the text, in shell blocks and after a ``$``."""
    for found in re.findall(r"`(sbgw-tui\b[^`]*)`", text):
        yield found.replace("\\|", "|")
    for line in text.splitlines():
        match = re.match(r"(?: *\$ |\.venv/bin/)(sbgw-tui\b.*)", line)
        if match:
            yield match[1]


def meant(line: str) -> Iterator[list[str]]:
    """The command lines that one line with ``[optional]`` and ``one|other`` stands for."""
    for text in {re.sub(r"\[[^\]]*\]", "", line), re.sub(r"[\[\]]", "", line)}:
        words = shlex.split(text, comments=True)[1:]
        most = max((word.count("|") for word in words), default=0) + 1
        for number in range(most):
            chosen = [word.split("|")[min(number, word.count("|"))] for word in words]
            yield [PLACEHOLDERS.get(word, word) for word in chosen]


def parse(words: list[str]) -> None:
    """Take the words apart as the program does, without running it; ``click.UsageError``."""
    top = click.Context(cli, info_name="sbgw-tui")
    if not words or words[0].startswith("-"):
        cli.make_context("sbgw-tui", words).close()
        return
    name, command, rest = cli.resolve_command(top, [ALIASES.get(words[0], words[0]), *words[1:]])
    assert command is not None
    if not rest:
        return
    try:
        command.make_context(name, list(rest), parent=top).close()
    except click.BadOptionUsage:
        # Shown without its value, as in a list of the ways there are.
        command.make_context(name, [*rest, "x"], parent=top).close()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_is_one_the_program_takes(path: Path) -> None:
    for line in shown(path.read_text("utf-8")):
        for words in meant(line):
            try:
                parse(words)
            except click.UsageError as error:
                pytest.fail(f"{line}: {words}: {error.message}")


def test_a_wrong_command_line_would_be_noticed() -> None:
    assert len(list(shown((ROOT / "README.md").read_text("utf-8")))) > 25
    for wrong in ("reprot", "report --sinc 7d", "connect cursor", "--nou", "shadow maybe"):
        with pytest.raises(click.UsageError):
            parse(wrong.split())


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"`(?:sbgw-tui )?([a-z-]+)", text))
    assert {name for name, c in cli.commands.items() if not c.hidden} - named == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_of_a_kind_that_is_tried(path: Path, tmp_path: Path) -> None:
    for kind, block in BLOCK.findall(path.read_text("utf-8")):
        if kind == "toml":
            (tmp_path / "config.toml").write_text(block)
            load(env={"SBGW_HOME": str(tmp_path)}, cwd=tmp_path)
            continue
        assert kind == "sh", f"{path.name}: nothing tries a block of {kind}"
        for line in filter(None, block.splitlines()):
            is_ours = any(True for _ in shown(line))
            assert is_ours or line.startswith(RUN_BY_OTHER_TESTS), line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        assert "://" in target or (path.parent / target).exists(), target
