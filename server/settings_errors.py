"""What is wrong with the settings, in words for the person who wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic_core import ErrorDetails

from server.settings_keys import Path, find, join, suggest


class SourceKind(StrEnum):
    """Where a value can come from, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    SEED = "seed file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value comes from."""

    kind: SourceKind
    name: str = ""
    """Path of the file, or name of the flag."""
    key: str = ""
    """The key as it is spelled there, when that is not its dotted path."""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind is SourceKind.DEFAULT:
            return "default"
        place = f"{self.name}:{self.line}" if self.line else self.name
        return f"{place} {self.key}" if self.kind is SourceKind.ENVIRONMENT else place


DEFAULT_ORIGIN = Origin(SourceKind.DEFAULT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    file: str
    """Path of the file, ``environment``, or the name of a flag."""
    key: str
    """Dotted key or variable; empty when the file as a whole is meant."""
    reason: str
    hint: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key and self.key != self.file else ""
        hint = f" ({self.hint})" if self.hint else ""
        return plain(f"{place}:{key} {self.reason}{hint}")


class SettingsError(Exception):
    """The settings cannot be used; holds everything that is wrong, ``str()`` says all of it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        if len(lines) > 1:
            lines = [f"{len(lines)} problems in the settings:", *(f"  {line}" for line in lines)]
        super().__init__("\n".join(lines))

    @property
    def file(self) -> str:
        """Where the first problem is."""
        return self.problems[0].file

    @property
    def key(self) -> str:
        """The key of the first problem."""
        return self.problems[0].key

    @property
    def reason(self) -> str:
        """What is wrong there."""
        return self.problems[0].reason

    @property
    def hint(self) -> str:
        """What to do about it, may be empty."""
        return self.problems[0].hint


@dataclass(frozen=True, slots=True)
class Warning_:  # noqa: N801 - ``Warning`` is a builtin
    """Something the user should know that does not stop the start."""

    level: Literal["info", "warning", "error"]
    code: str
    """Stable name, for tests and front ends: ``seed-untrusted``, ``env-file-open`` ..."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return plain(f"{self.message} ({self.hint})" if self.hint else self.message)


def plain(text: str) -> str:
    """``text`` on one line, everything that is not printable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


RULE = "rule"
OWN_TYPES = frozenset({"setting", RULE})
"""Types of the errors that our own validators raise: their text is shown as it is."""

_REASONS: Mapping[str, str] = {
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "string_type": "expected text in quotes",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "dict_type": "expected a table",
    "mapping_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "tuple_type": 'expected a list, like ["baseline"]',
    "greater_than_equal": "must be {ge:g} or more",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be {le:g} or less",
    "less_than": "must be less than {lt:g}",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
_DATE = "expected a date like 2026-01-31"
_WITHOUT_VALUE = frozenset({"missing", "too_short", "string_too_short"})
_LOOKS_SECRET = re.compile(
    r"[A-Za-z0-9_+/=-]{24,}|^(sk|gsk|csk|pk|ghp|xox[a-z]|AKIA)[-_]?\w|://.*@"
)
_NEVER_SHOWN = frozenset({"api_key_env", "key_env", "account_id_env", "base_url", "proxy"})
_KEY_NAMES = frozenset({"api_key", "apikey", "key", "token", "secret", "password"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One pydantic error in plain words."""

    path: Path
    """The key, without the positions in lists."""
    key: str
    """The key with the positions, for people."""
    reason: str
    hint: str


def fault_of(error: ErrorDetails) -> Fault:
    """Put one line of a pydantic ``ValidationError`` into words; secrets are never repeated."""
    loc = error["loc"]
    if error["type"] == "extra_forbidden" or (loc and loc[-1] == "[key]"):
        return _name_fault(error)
    path = tuple(str(part) for part in loc if isinstance(part, str))
    reason, hint = _reason(error, path)
    return Fault(path, _key(loc), reason, hint)


def without_echoes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """``errors`` without "must not be empty" for a list whose entries are all wrong already."""
    inner = {error["loc"][:-1] for error in errors} | {error["loc"][:-2] for error in errors}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in inner]


def _name_fault(error: ErrorDetails) -> Fault:
    loc = error["loc"][:-1] if error["loc"][-1] == "[key]" else error["loc"]
    path = tuple(str(part) for part in loc if isinstance(part, str))
    if error["type"] in OWN_TYPES:
        return Fault(path, _key(loc), error["ctx"]["reason"], error["ctx"]["hint"])
    if find(path) is not None:
        return Fault(path, _key(loc), "this name is not allowed here", "")
    hint = suggest(path)
    if path[0] == "providers" and path[-1].lower() in _KEY_NAMES:
        hint = "put the key into the environment or into .env, and its name into api_key_env"
    return Fault(path, _key(loc), "unknown key", hint)


def _reason(error: ErrorDetails, path: Path) -> tuple[str, str]:
    kind, ctx = error["type"], error.get("ctx", {})
    if kind in OWN_TYPES:
        return str(ctx["reason"]), str(ctx["hint"])
    template = _DATE if kind.startswith("date") else _REASONS.get(kind, error["msg"])
    reason = template.format(**ctx) if kind in _REASONS else template
    if kind not in _WITHOUT_VALUE and (shown := shown_value(path, error["input"])):
        reason += f", not {shown}"
    is_split = path[:1] == ("keys",) and isinstance(error["input"], Mapping)
    return reason, 'an id with a dot needs quotes: "live.open" = "o"' if is_split else ""


def shown_value(path: Path, value: Any) -> str:
    """``value`` as it may stand in a message, empty when it may not."""
    if path and path[-1] in _NEVER_SHOWN:
        return ""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, str):
        is_safe = len(value) <= 60 and _LOOKS_SECRET.search(value) is None
        return json.dumps(value) if is_safe else ""
    return _KIND_NAMES.get(type(value), "")


_KIND_NAMES: Mapping[type, str] = {dict: "a table", list: "a list", type(None): "nothing"}


def _key(loc: Iterable[str | int]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{join((part,))}"
    return text


def located(fault: Fault, origin_of: Callable[[Path], Origin]) -> Problem:
    """``fault`` with the place that holds the value."""
    origin = origin_of(fault.path)
    key = origin.key if origin.key and fault.reason != _REASONS["missing"] else fault.key
    return Problem(origin.name or "settings", key, fault.reason, fault.hint, origin.line)
