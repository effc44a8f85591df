"""Python, packages, disk and terminal."""

from __future__ import annotations

from server.doctor.clients import dotted
from server.doctor.facts import Facts, Machine, Terminal
from server.doctor.finding import Finding, Findings, listed

OLDEST_PYTHON = (3, 11)
LOW_BYTES = 200 * 1024 * 1024
FULL_BYTES = 50 * 1024 * 1024
LEAST_COLUMNS = 60
LEAST_LINES = 16


def check(facts: Facts) -> list[Finding]:
    """Findings about the machine."""
    out = Findings("machine")
    machine = facts.machine
    _python(out, machine)
    _installation(out, machine)
    _disk(out, machine)
    _terminal(out, machine.terminal)
    return out.found


def _python(out: Findings, machine: Machine) -> None:
    about = {"version": dotted(machine.python), "executable": machine.executable}
    if machine.python[:2] < OLDEST_PYTHON:
        out.fail("python-old", **about)
    else:
        out.ok("python", **about)
    if not machine.is_sheltered:
        out.warn("not-sheltered")
    for path, package in machine.hostile_paths:
        hides = "this program may load it instead of its own"
        effect = "this run is sheltered from it" if machine.is_sheltered else hides
        out.warn("pythonpath-hostile", path=path, package=package, effect=effect)


def _installation(out: Findings, machine: Machine) -> None:
    if machine.missing_packages:
        out.fail("package-missing", names=listed(machine.missing_packages))
    if machine.wrong_versions:
        out.warn("package-version", names=listed(machine.wrong_versions))
    if machine.missing_files:
        out.fail("file-missing", names=listed(machine.missing_files))
    if not (machine.missing_packages or machine.wrong_versions or machine.missing_files):
        out.ok("packages")


def _disk(out: Findings, machine: Machine) -> None:
    free = machine.free_bytes
    if free is None:
        return
    about = {"free": size(free), "folder": machine.state_dir}
    if free < FULL_BYTES:
        out.fail("disk-full", **about)
    elif free < LOW_BYTES:
        out.warn("disk-low", **about)
    else:
        out.ok("disk", **about)


def _terminal(out: Findings, terminal: Terminal) -> None:
    if not terminal.is_tty:
        # A doctor that is piped into a file is the usual reason, so it is no warning.
        out.ok("terminal-none")
        return
    if terminal.term in ("", "dumb", "unknown"):
        out.warn("terminal-dumb", term=repr(terminal.term))
        return
    if terminal.columns < LEAST_COLUMNS or terminal.lines < LEAST_LINES:
        out.warn("terminal-small", columns=terminal.columns, lines=terminal.lines)
    if terminal.encoding.replace("-", "") not in ("utf8", "utf16", "utf32"):
        out.warn("terminal-encoding", encoding=terminal.encoding or "unknown")
    else:
        colours = "24-bit colour" if terminal.colours in ("truecolor", "24bit") else "256 colours"
        if "256" not in terminal.term and not terminal.colours:
            colours = "few colours"
        out.ok(
            "terminal",
            term=terminal.term,
            columns=terminal.columns,
            lines=terminal.lines,
            colours=colours,
            encoding=terminal.encoding,
        )


def size(count: int) -> str:
    """``count`` bytes in words."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
