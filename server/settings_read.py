"""Reading settings files: our own TOML, and the JSON files of the gateway this one follows."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from server import private_files
from server.settings_errors import Origin, Problem, SettingsError, SourceKind
from server.settings_keys import Path, split
from server.settings_layers import Leaf, leaves

SEED_NAMES = ("gateway.config.json", "stackbilt.gateway.json")
"""Looked for in the working directory; the first that exists is the one."""

_KEY = r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'"""
_DOTTED = rf"(?:{_KEY})(?:\s*\.\s*(?:{_KEY}))*"
_LINE = re.compile(
    rf"\s*(?:\[\[?\s*(?P<table>{_DOTTED})\s*\]\]?\s*(?:\#.*)?$|(?P<key>{_DOTTED})\s*=)"
)
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
_TOO_DEEP = "is nested too deeply"


def read_file(path: FilePath) -> private_files.Found:
    """The bytes of a settings file; raises ``SettingsError`` when it cannot be read."""
    try:
        return private_files.read(path)
    except private_files.UnsafeFileError as error:
        raise SettingsError([Problem(str(path), "", str(error), error.hint)]) from error
    except OSError as error:
        raise SettingsError([Problem(str(path), "", str(error.strerror or error))]) from error


def _text(path: FilePath, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(str(path), "", "is not UTF-8", line=line)]) from error


def parse_toml(path: FilePath, content: bytes) -> list[Leaf]:
    """The values of one of our own files; ``SettingsError`` when it is not TOML."""
    text = _text(path, content)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([_toml_problem(path, text, str(error))]) from error
    except RecursionError as error:
        raise SettingsError([Problem(str(path), "", _TOO_DEEP)]) from error
    lines = key_lines(text)

    def origin_of(key: Path) -> Origin:
        places = (lines.get(key[:length]) for length in range(len(key), 0, -1))
        return Origin(SourceKind.FILE, str(path), line=next(filter(None, places), None))

    return list(leaves(data, origin_of))


def _toml_problem(path: FilePath, text: str, message: str) -> Problem:
    place = _TOML_PLACE.search(message)
    last = text.rstrip().count("\n") + 1
    line = int(place[1]) if place is not None and place[1] else last
    reason = _TOML_PLACE.sub("", message)
    return Problem(str(path), "", f"is not TOML: {reason}", line=line)


def key_lines(text: str) -> dict[Path, int]:
    """The line on which each table or key of a TOML text first stands, counted from 1.

    Read by pattern, so a line inside a multi-line text can be taken for a key; that can only
    misplace a line number in a message.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.match(line)
        if match is None:
            continue
        try:
            path = split(match["table"] or match["key"])
        except ValueError:
            continue
        if match["table"]:
            table = path
        else:
            path = table + path
        lines.setdefault(path, number)
    return lines


@dataclass(frozen=True, slots=True)
class Seed:
    """What a seed file asks for, as far as this gateway understands it."""

    routing: tuple[Leaf, ...] = ()
    server: tuple[Leaf, ...] = ()
    """Only honoured when the user named the file."""
    key: str | None = None
    """The gateway key it sets; likewise."""
    turns_shadow_on: bool = False
    unused: tuple[str, ...] = ()
    """Keys that mean nothing here."""
    problems: tuple[Problem, ...] = ()


def parse_seed(path: FilePath, content: bytes) -> Seed:
    """Read ``gateway.config.json``; ``SettingsError`` when it is not a JSON object."""
    text = _text(path, content)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        problem = Problem(str(path), "", f"is not JSON: {error.msg}", line=error.lineno)
        raise SettingsError([problem]) from error
    except (RecursionError, ValueError) as error:
        raise SettingsError([Problem(str(path), "", _TOO_DEEP)]) from error
    if not isinstance(data, dict):
        raise SettingsError([Problem(str(path), "", "is not a JSON object")])
    return _seed(path, data)


def _seed(path: FilePath, data: Mapping[str, Any]) -> Seed:
    routing, auth = data.get("routing", {}), data.get("auth", {})
    problems = [
        Problem(str(path), name, "expected an object")
        for name, value in (("routing", routing), ("auth", auth))
        if not isinstance(value, dict)
    ]
    if problems:
        return Seed(problems=tuple(problems))
    keys = auth.get("keys", [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        problems.append(Problem(str(path), "auth.keys", "expected a list of texts"))
        keys = []
    server = [_seed_leaf(path, ("server", "port"), "port", data["port"])] if "port" in data else []
    return Seed(
        routing=tuple(_seed_routing(path, routing)),
        server=tuple(server),
        key=keys[0] if keys else None,
        turns_shadow_on=routing.get("shadowMode") is True,
        unused=tuple(_seed_unused(data, routing, auth, keys)),
        problems=tuple(problems),
    )


def _seed_routing(path: FilePath, routing: Mapping[str, Any]) -> Iterator[Leaf]:
    if "shadowMode" in routing:
        name = "routing.shadowMode"
        yield _seed_leaf(path, ("routing", "shadow"), name, routing["shadowMode"])
    routes = routing.get("routes", {})
    if not isinstance(routes, dict):
        yield _seed_leaf(path, ("routing", "routes"), "routing.routes", routes)
        return
    for name, entries in routes.items():
        yield _seed_leaf(path, ("routing", "routes", name), "", entries)


def _seed_leaf(file: FilePath, path: Path, key: str, value: Any) -> Leaf:
    return Leaf(path, value, Origin(SourceKind.SEED, str(file), key))


def _seed_unused(
    data: Mapping[str, Any],
    routing: Mapping[str, Any],
    auth: Mapping[str, Any],
    keys: list[str],
) -> Iterator[str]:
    yield from (name for name in data if name not in ("port", "auth", "routing"))
    yield from (f"routing.{name}" for name in routing if name not in ("shadowMode", "routes"))
    yield from (f"auth.{name}" for name in auth if name != "keys")
    if len(keys) > 1:
        yield "auth.keys after the first"
