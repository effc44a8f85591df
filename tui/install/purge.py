"""``purge``: what it takes, and what it cannot reach."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server import capture_files
from server.instance import InstanceError, read
from server.ledger_retention import Choice, copies, count, purge, sessions_like
from server.ledger_schema import LedgerError
from server.paths import Paths
from tui.project import project_name


class PurgeError(Exception):
    """It cannot be done; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted, and what the user should know about the rest."""

    turns: int
    notes: tuple[str, ...]


def choice_of(
    paths: Paths, session: str | None, project: str | None, env: Mapping[str, str], cwd: Path
) -> Choice:
    """What the options mean; a session by its first letters, a project by any folder in it."""
    if session is not None:
        try:
            found = sessions_like(paths.ledger_file, session)
        except (LedgerError, sqlite3.Error) as error:
            raise PurgeError(str(error)) from error
        if session not in found and len(found) != 1:
            what = f"{len(found)} sessions begin" if found else "no session begins"
            raise PurgeError(f"{what} with {session!r}")
        return Choice(session=session if session in found else found[0])
    if project is not None:
        folder = (cwd / Path(project).expanduser()).absolute()
        if not folder.is_dir():
            return Choice(project=project)
        home = Path(env["HOME"]) if env.get("HOME") else None
        return Choice(project=project_name(Path(os.path.normpath(folder)), home))
    return Choice()


def plan(paths: Paths, choice: Choice) -> list[str]:
    """What would go, in words."""
    try:
        turns = count(paths.ledger_file, choice)
    except (LedgerError, sqlite3.Error) as error:
        raise PurgeError(str(error)) from error
    whose = "in the ledger"
    if choice.session is not None:
        whose = f"of session {choice.session}"
    elif choice.project is not None:
        whose = f"of project {choice.project}"
    lines = [f"{turns} turn{'' if turns == 1 else 's'} {whose}"]
    folder = capture_files.folder_of(paths.state_dir)
    kept = capture_files.matching(folder, session=choice.session, project=choice.project)
    if bodies := len(list(kept)):
        lines.append(f"{bodies} kept request bodies in {folder}")
    if choice.is_everything:
        lines += [str(path) for path in (*copies(paths.ledger_file), *_logs(paths))]
    return lines


def forget(paths: Paths, choice: Choice) -> Forgotten:
    """Delete it."""
    try:
        is_running = (info := read(paths)) is not None and info.is_held
        notes: list[str] = []
        if not is_running and choice.is_everything:
            turns = count(paths.ledger_file, choice)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{paths.ledger_file}{suffix}").unlink(missing_ok=True)
        else:
            turns = purge(paths.ledger_file, choice)
        folder = capture_files.folder_of(paths.state_dir)
        capture_files.remove(folder, session=choice.session, project=choice.project)
        if choice.is_everything:
            _remove_beside(paths, is_running=is_running)
        elif left := copies(paths.ledger_file):
            notes.append("older copies may still hold them: " + ", ".join(map(str, left)))
        if is_running:
            notes.append("the running gateway shows them until sbgw-tui restart")
    except (LedgerError, InstanceError, sqlite3.Error) as error:
        raise PurgeError(str(error)) from error
    except OSError as error:
        raise PurgeError(f"cannot remove {error.filename}: {error.strerror}") from error
    return Forgotten(turns, tuple(notes))


def _remove_beside(paths: Paths, *, is_running: bool) -> None:
    for path in copies(paths.ledger_file):
        # Rows that a running gateway could not write yet are still its own.
        if not (is_running and path.suffix == ".jsonl"):
            path.unlink(missing_ok=True)
    for path in _logs(paths):
        if is_running and path == paths.log_file:
            os.truncate(path, 0)
        else:
            path.unlink(missing_ok=True)


def _logs(paths: Paths) -> list[Path]:
    log = paths.log_file
    return [path for path in (log, log.with_name(log.name + ".1")) if path.exists()]
