"""Facts about processes on this machine: alive or not, and who listens on a port.

Linux answers from ``/proc``; elsewhere start times and port owners are unknown (``None``), and
callers fall back to what ``kill(pid, 0)`` tells.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"
_STATE_FIELD = 0
_START_FIELD = 19
"""Index of ``starttime`` (field 22 of proc(5) ``stat``) among the fields after the name."""


@dataclass(frozen=True, slots=True)
class PortOwner:
    """The process that listens on a port."""

    pid: int
    command: str
    """Its short name, as the kernel keeps it; not neutralised for a terminal."""


def start_ticks(pid: int, *, proc: Path = _PROC) -> int | None:
    """When ``pid`` started, in clock ticks since boot; ``None`` when it cannot be told.

    Together with the pid it names one process: a reused pid has another start.
    """
    fields = _stat(pid, proc)
    return int(fields[_START_FIELD]) if len(fields) > _START_FIELD else None


def is_alive(pid: int, started: int | None, *, proc: Path = _PROC) -> bool:
    """Whether process ``pid`` that started at ``started`` still runs; a zombie does not.

    With ``started`` ``None`` any process of that number counts.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    fields = _stat(pid, proc)
    if len(fields) <= _START_FIELD:
        return True
    if fields[_STATE_FIELD] in ("Z", "X"):
        return False
    return started is None or int(fields[_START_FIELD]) == started


def _stat(pid: int, proc: Path) -> list[str]:
    try:
        text = (proc / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return []
    # The name stands in parentheses and may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()


def owner_of_port(port: int, *, proc: Path = _PROC) -> PortOwner | None:
    """The process that listens on TCP ``port``; ``None`` when it cannot be seen from here."""
    inodes = _listening_inodes(port, proc)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in _numbered(proc):
        if _holds(folder / "fd", wanted):
            return PortOwner(int(folder.name), _command(folder))
    return None


def port_taken(port: int, owner: PortOwner | None) -> str:
    """One line that says who has the port and what to do about it."""
    if owner is None:
        return f"port {port} is in use by another program: choose another with --port"
    name = "".join(char if char.isprintable() else "?" for char in owner.command)
    return (
        f"port {port} is in use by pid {owner.pid} ({name}): stop it or choose another with --port"
    )


def _listening_inodes(port: int, proc: Path) -> set[str]:
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                local_port = int(fields[1].rpartition(":")[2], 16)
                if local_port == port:
                    found.add(fields[9])
    return found


def _numbered(proc: Path) -> list[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _holds(folder: Path, wanted: set[str]) -> bool:
    """Whether a descriptor in ``folder`` is one of ``wanted``; other users' are not readable."""
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.readlink(folder / descriptor) in wanted:
                return True
        except OSError:
            continue
    return False


def _command(folder: Path) -> str:
    try:
        return (folder / "comm").read_text("utf-8", "replace").strip() or "unknown"
    except OSError:
        return "unknown"
