"""The front door: starts ``tui.cli`` in an interpreter that other projects cannot influence.

Users start the program inside their own projects, whose ``PYTHONPATH`` or working directory may
hold a ``server`` or a ``textual`` of its own. So this module runs itself again under ``python -E
-P`` (which ignores ``PYTHON*`` variables and keeps the working directory off the import path,
but, unlike ``-I``, still finds a user-site install) and then makes sure that ``providers``,
``server`` and ``tui`` are the ones beside it. The process environment itself is left alone: the
agents started from here need it as the user set it.

Works as a console script, as ``python -m sbgw`` and as ``python sbgw.py``, installed or not.
"""

from __future__ import annotations

import gc
import os
import sys

PROGRAM = "sbgw-tui"
PACKAGES = ("providers", "server", "tui")
HERE = os.path.dirname(os.path.realpath(__file__))

_EXIT_USAGE = 2

_OBJECTS_A_SWEEP = 50_000
"""Starting makes many objects that all stay; looking for garbage among them costs a tenth of it."""
_PYTHON_3_11 = 0x030B0000


def main() -> int:
    """Run the program with ``sys.argv``; the exit code, 2 when our packages are shadowed."""
    if sys.hexversion < _PYTHON_3_11:
        return _refuse(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    if sys.executable and not (sys.flags.ignore_environment and sys.flags.safe_path):
        _run_again()
    if HERE not in map(os.path.realpath, sys.path):
        sys.path.insert(0, HERE)
    if (problem := _shadowed()) is not None:
        return _refuse(problem)
    sys.argv[0] = PROGRAM
    gc.set_threshold(_OBJECTS_A_SWEEP)

    from tui.cli import main as command_line

    return command_line()


def _run_again() -> None:
    """Replace this process by the same program in a sheltered interpreter; does not return."""
    kept = ["-B"] if sys.flags.dont_write_bytecode else []
    if sys.flags.utf8_mode:
        kept += ["-X", "utf8"]
    # By file and not by ``-m``: a bare checkout is not on the sheltered import path.
    command = [sys.executable, "-E", "-P", *kept, os.path.join(HERE, "sbgw.py"), *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606


def _shadowed() -> str | None:
    """Which of our packages would be imported from elsewhere, in words; nothing is imported."""
    from importlib.util import find_spec

    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None:
            return f"its package {name!r} is missing from {HERE}; install sbgw-tui again."
        found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
        ours = os.path.join(HERE, name)
        if os.path.realpath(found) not in (ours, os.path.join(ours, "__init__.py")):
            return (
                f"its package {name!r} would be loaded from {found} instead of {ours}.\n"
                f"Remove that one from this Python environment, or install sbgw-tui in its own."
            )
    return None


def _refuse(reason: str) -> int:
    sys.stderr.write(f"{PROGRAM} cannot start: {reason}\n")
    return _EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
