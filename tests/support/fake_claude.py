"""A stand-in for the ``claude`` command: one word says how it behaves.

``install`` writes it as an executable. It prints JSON lines: the first describes the process.
"""

from __future__ import annotations

import sys
from pathlib import Path

_SCRIPT = """#!{python} -IS
import json, os, signal, sys

def show(**fields):
    print(json.dumps(fields), flush=True)

arguments = sys.argv[1:]
word = arguments[0] if arguments else ""
names = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGPIPE")
handlers = dict((name, str(signal.getsignal(getattr(signal, name)))) for name in names)
if word == "trap":
    trapped = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    signal.pthread_sigmask(signal.SIG_BLOCK, trapped)
elif word == "die":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
show(
    argv=arguments, env=dict(os.environ), cwd=os.getcwd(), pid=os.getpid(), ppid=os.getppid(),
    group=os.getpgrp(), session=os.getsid(0), handlers=handlers,
    descriptors=sorted(int(name) for name in os.listdir("/dev/fd")),
)
if word == "trap":
    show(got=signal.Signals(signal.sigwait(trapped)).name)
    sys.exit(7)
if word == "die":
    signal.pause()
if word == "stop":
    os.kill(os.getpid(), signal.SIGSTOP)
    show(back=True)
if word == "stop-all":
    os.killpg(os.getpgrp(), signal.SIGSTOP)
    show(back=True)
if word == "echo":
    show(read=sys.stdin.read())
if word == "kill":
    os.kill(os.getpid(), getattr(signal, arguments[1]))
if word == "exit":
    sys.exit(int(arguments[1]))
"""


def install(folder: Path) -> Path:
    """Write the command ``claude`` into ``folder``; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "claude"
    path.write_text(_SCRIPT.replace("{python}", sys.executable))
    path.chmod(0o755)
    return path
