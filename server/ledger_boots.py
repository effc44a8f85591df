"""Which process wrote a row, and whether that process is still alive."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of the gateway; the process is named by pid and start, since pids are reused."""

    boot_id: str
    pid: int
    process_start: str
    """Opaque; empty when the system does not tell."""
    started_at: float
    """Wall time, seconds since the epoch."""


def this_boot(boot_id: str, started_at: float) -> Boot:
    """The record of the running process."""
    pid = os.getpid()
    return Boot(boot_id, pid, process_start(pid), started_at)


def process_start(pid: int) -> str:
    """A token that changes when the pid is given to another process; empty when unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        machine = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return _process_start_from_ps(pid)
    # The command name is in parentheses and may hold blanks; field 22 is the start in ticks.
    fields = stat.rpartition(b")")[2].split()
    return f"{machine}:{fields[19].decode('ascii')}"


def is_alive(boot: Boot) -> bool:
    """Whether the process of an earlier boot still runs.

    Where the system does not tell, the process counts as dead: one gateway per home is enforced
    elsewhere, and rows that stay open for ever would be the greater harm. The running process
    itself counts as dead too: a boot of the same process with another id has been replaced.
    """
    if boot.pid == os.getpid() or not boot.process_start:
        return False
    return process_start(boot.pid) == boot.process_start


def _process_start_from_ps(pid: int) -> str:
    if os.name != "posix" or Path("/proc/self/stat").exists():
        return ""
    try:
        answer = subprocess.run(  # noqa: S603 - fixed program, numeric argument
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            env={"LC_ALL": "C"},
            timeout=_PS_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode("ascii", "replace").strip()
