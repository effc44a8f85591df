"""The parts of the README that are made from code, and those that are run against it.

Run as a program, it writes the made ones anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"

ADDRESS = "http://127.0.0.1:8787"
"""Where the README has the gateway listen."""
TURN_ID = re.compile(r"gw_[0-9a-f]{24}")
"""A turn's id; the README's is an example, which stands for any."""

_KEYS = re.compile(r"(?s)(?<=<!-- keys:begin -->\n).*?(?=<!-- keys:end -->)")
_SHELL = re.compile(r"(?sm)^```sh\n(.*?)^```$")
_RESULT = re.compile(r"#> (\d{3})(?: (\S+/\S+))?(?: \{(.*)\})?")


@dataclass(frozen=True, slots=True)
class Curl:
    """One curl line of the README, and the answer that it documents."""

    command: str
    status: int
    media_type: str | None
    """``None``: nothing is said of the body, or there is none."""
    fields: tuple[str, ...]
    """Top-level names of a JSON object: all of them, or some and ``...``."""


@dataclass(frozen=True, slots=True)
class Call:
    """The request that a curl line makes."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        """The path below the address, without key and query."""
        path = self.url.removeprefix(ADDRESS).partition("?")[0] or "/"
        return re.sub(r"^/k/[^/]+", "", path) or "/"


def key_table() -> str:
    """The table of keys as the program has it."""
    from tui.keys import as_markdown

    return as_markdown()


def keys_in(text: str) -> str:
    """The table of keys as ``text`` has it; ``ValueError`` without the two markers."""
    found = _KEYS.search(text)
    if found is None:
        raise ValueError("the README has no place for the keys")
    return found.group()


def with_keys(text: str) -> str:
    """``text`` with the present table of keys."""
    return _KEYS.sub(lambda _: key_table(), text, count=1)


def curls_in(text: str) -> list[Curl]:
    """The curl lines of all shell blocks; ``ValueError`` for one whose answer is not told.

    The answer is on the next line: ``#> 200 {ok, status}``, ``#> 200 text/plain`` or ``#> 200``.
    """
    return [curl for block in _SHELL.findall(text) for curl in _curls(block)]


def _curls(block: str) -> Iterator[Curl]:
    lines = block.replace("\\\n", " ").splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("curl "):
            continue
        told = _RESULT.fullmatch(after)
        if told is None:
            raise ValueError(f"no answer is told for: {line}")
        status, media_type, names = told.groups()
        fields = tuple(name.strip() for name in names.split(",")) if names else ()
        yield Curl(line, int(status), "application/json" if fields else media_type, fields)


def call_of(command: str) -> Call:
    """What a curl line sends; ``ValueError`` for an option that it should not need."""
    words = iter(shlex.split(command)[1:])
    method, url, headers, body = "GET", "", [], b""
    for word in words:
        match word:
            case "-s" | "-sN":
                pass
            case "-sI":
                method = "HEAD"
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(":")
                headers.append((name, value.strip()))
            case "-d":
                method, body = "POST" if method == "GET" else method, next(words).encode()
            case _ if word.startswith(ADDRESS) and not url:
                url = word
            case _:
                raise ValueError(f"{word!r} is not expected in: {command}")
    return Call(method, url, tuple(headers), body)


if __name__ == "__main__":
    README.write_text(with_keys(README.read_text("utf-8")), "utf-8")
