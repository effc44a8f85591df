"""Changing the private ``.env``: the rest of the file stays as it is, byte for byte."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from server import private_files
from server.private_files import UnsafeFileError

MAX_VALUE = 8 * 1024


def assignment(name: str, value: str) -> str:
    """One line that reads back as exactly ``value``; ``ValueError`` for what no line can hold."""
    if not value.isprintable() or len(value) > MAX_VALUE:
        raise ValueError("a value must be one line of printable characters")
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"


def edited(text: str, changes: Mapping[str, str | None]) -> str:
    """``text`` with every name of ``changes`` set to its value, or taken out for ``None``.

    A name keeps its place; of several assignments of it the last one stays. New ones come last.
    """
    bindings = list(parse_stream(io.StringIO(text)))
    last = {b.key: index for index, b in enumerate(bindings) if b.key in changes}
    out: list[str] = []
    for index, binding in enumerate(bindings):
        original = binding.original.string
        if binding.key is None or binding.key not in changes:
            out.append(original)
            continue
        value = changes[binding.key]
        # Blank lines before an assignment belong to it in the parser's eyes, not in the user's.
        out.append(original[: len(original) - len(original.lstrip("\n"))])
        if value is not None and index == last[binding.key]:
            out.append(assignment(binding.key, value))
    fresh = [(n, v) for n, v in changes.items() if v is not None and n not in last]
    if fresh and "".join(out) and not "".join(out).endswith("\n"):
        out.append("\n")
    return "".join(out) + "".join(assignment(name, value) for name, value in fresh)


def change(path: Path, changes: Mapping[str, str | None]) -> None:
    """Write ``changes`` to the file, which is then mode 0600; all of them or none.

    A file that others could read is taken over and made private. Raises ``OSError``, ``ValueError``
    for a value that cannot be written or a file that is no text, and ``UnsafeFileError`` for a file
    of somebody else.
    """
    # A link to where the user keeps such files stays a link.
    real = Path(os.path.realpath(path))
    try:
        found = private_files.read(real)
    except FileNotFoundError:
        text = ""
    else:
        if not found.is_ours:
            raise UnsafeFileError("belongs to another user")
        text = found.content.decode("utf-8-sig")
    private_files.replace(real, edited(text, changes).encode())
