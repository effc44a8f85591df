from __future__ import annotations

from pathlib import Path

import pytest

from tui.terminal.environment import pane_environment

FOLDER = Path("/somewhere")


def test_it_is_the_users_own_but_for_the_terminal() -> None:
    env = {
        "PATH": "/bin",
        "MY_TOKEN": "t",
        "LANG": "de_DE.UTF-8",
        "TERM": "tmux-256color",
        "TMUX": "x",
        "TMUX_PANE": "%1",
        "TERM_PROGRAM": "ghostty",
        "KITTY_WINDOW_ID": "1",
        "COLUMNS": "80",
        "OLDPWD": "/before",
        "SSH_TTY": "/dev/pts/1",
    }
    assert pane_environment(env, FOLDER) == {
        "PATH": "/bin",
        "MY_TOKEN": "t",
        "LANG": "de_DE.UTF-8",
        "SSH_TTY": "/dev/pts/1",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PWD": "/somewhere",
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"LANG": "C.UTF-8"}),
        ({"LANG": "C"}, {"LANG": "C", "LC_CTYPE": "C.UTF-8"}),
        ({"LC_ALL": "POSIX", "LANG": "x.UTF-8"}, {"LANG": "x.UTF-8", "LC_CTYPE": "C.UTF-8"}),
        ({"LC_CTYPE": "en_US.utf8"}, {"LC_CTYPE": "en_US.utf8"}),
    ],
)
def test_the_pane_reads_utf_8(before: dict[str, str], after: dict[str, str]) -> None:
    made = pane_environment(before, FOLDER)
    assert {n: v for n, v in made.items() if n.startswith(("LC_", "LANG"))} == after
