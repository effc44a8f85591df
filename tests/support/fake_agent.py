"""A stand-in for a full-screen agent: it takes the terminal's keys, one letter is one deed.

``install`` writes it under a name. It shows ``READY`` when it reads keys, ``SIZE C R`` at ``s`` and
whenever the window changes, ``INTERRUPTED`` for ctrl+c, ``BACK`` after having been stopped (``z``);
``x`` exits with 0, ``3`` with 3, ``k`` kills itself, ``d`` dies and leaves the terminal in a mess,
``i`` ignores being told to go. What it was started with goes to ``NAME.json`` beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_SCRIPT = """#!{python} -IS
import fcntl, json, os, signal, struct, sys, termios, tty

def show(text):
    os.write(1, (text + "\\r\\n").encode())

def size(*_):
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    show(f"SIZE {columns} {rows}")

names = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGTTOU", "SIGTTIN", "SIGPIPE")
started = dict(
    argv=sys.argv, env=dict(os.environ), cwd=os.getcwd(), pid=os.getpid(),
    handlers=dict(
        (name, getattr(signal.getsignal(getattr(signal, name)), "name", "other")) for name in names
    ),
    descriptors=sorted(int(name) for name in os.listdir("/dev/fd")),
    is_foreground=os.tcgetpgrp(0) == os.getpgrp() == os.getpid(),
    is_echoing=bool(termios.tcgetattr(0)[3] & termios.ECHO),
)
with open(sys.argv[0] + ".part", "w") as file:
    json.dump(started, file)
os.rename(sys.argv[0] + ".part", sys.argv[0] + ".json")
signal.signal(signal.SIGWINCH, size)
signal.signal(signal.SIGINT, lambda *_: show("INTERRUPTED"))
tty.setcbreak(0)
show("READY")
while True:
    key = os.read(0, 1)
    if key == b"s":
        size()
    elif key == b"x":
        sys.exit(0)
    elif key == b"3":
        sys.exit(3)
    elif key == b"k":
        os.kill(os.getpid(), signal.SIGKILL)
    elif key == b"z":
        os.kill(os.getpid(), signal.SIGTSTP)
        show("BACK")
    elif key == b"i":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        show("STUBBORN")
    elif key == b"d":
        tty.setraw(0)
        os.write(1, b"\\x1b[?1002h\\x1b[?2026h\\x1b[?1h\\x1b[31m")
        os._exit(9)
"""


def install(folder: Path, name: str) -> Path:
    """Write the command ``name`` into ``folder``; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(_SCRIPT.replace("{python}", sys.executable))
    path.chmod(0o755)
    return path


def started(path: Path) -> dict[str, Any]:
    """What the agent at ``path`` was started with."""
    found: dict[str, Any] = json.loads(path.with_name(f"{path.name}.json").read_text())
    return found
