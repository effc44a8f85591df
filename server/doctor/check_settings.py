"""Settings and where they come from, and who can read the secrets."""

from __future__ import annotations

import shlex

from server.doctor.facts import Facts, File
from server.doctor.finding import Finding, Findings, listed

_HINTS = {
    "retired-model": "",
    "client-url": "unset it where the gateway is started; it does no harm",
    "never-moved": "take the line out of config.toml",
    "bad-key": "run `sbgw-tui init` and enter it again",
    "env-file-unreadable": "make it a text file of your own, mode 600",
    "env-file-line": "correct the line, or run `sbgw-tui init`",
}
"""What to do about a note of the settings that says nothing about that itself."""

_CORRECT = "correct it; `sbgw-tui config --schema` lists every key"
_EXPOSED = (
    "`sbgw-tui init --random-key` makes a key; or take the host out to serve this machine alone"
)

_TOLD_ELSEWHERE = frozenset({"retired-model", "env-file-unsafe"})


def check(facts: Facts) -> list[Finding]:
    """Findings about settings and files."""
    out = Findings("settings")
    settings = facts.settings
    for problem in settings.problems:
        is_exposed = "the gateway key is the default" in problem
        out.fail("settings-wrong", problem=problem, fix=_EXPOSED if is_exposed else _CORRECT)
    if not settings.problems:
        out.ok("settings", files=listed(settings.files) or "no file")
        for key, value, source in settings.changed:
            out.ok("setting", key=key, value=value, source=source)
        if settings.has_default_key:
            out.ok("key-default")
        else:
            out.ok("key-own", source=settings.key_source)
    for warning in settings.warnings:
        if warning.code in _TOLD_ELSEWHERE:
            continue
        hint = warning.hint or _HINTS.get(warning.code) or "see `sbgw-tui config`"
        say = {"error": out.fail, "warning": out.warn, "info": out.warn}[warning.level]
        say("settings-note", message=warning.message, hint=hint)
    return [*out.found, *_files(facts.files)]


def _files(files: tuple[File, ...]) -> list[Finding]:
    out = Findings("secrets")
    for file in files:
        about = {"what": file.what, "path": file.path, "detail": file.detail}
        if file.state == "private":
            out.ok("file-private" if file.holds_secret else "file-owned", **about)
        elif file.state == "absent":
            out.ok("file-absent", **about)
        elif file.state == "open":
            say = out.fail if file.holds_secret else out.warn
            say("file-open", command=f"chmod 600 {shlex.quote(file.path)}", **about)
        else:
            out.fail(f"file-{file.state}", **about)
    return out.found
