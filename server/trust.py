"""Which project files the user has trusted, by path and digest of their content.

A cloned repository can carry a settings file; until the user has looked at it and trusted this very
content, it must not move a single prompt.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from server import private_files

_VERSION = 1


class TrustStore:
    """The file ``{"version": 1, "files": {path: sha256}}``; paths are real paths."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def trust(self, file: Path) -> str:
        """Record the content ``file`` has now; gives its SHA-256 in hex.

        Raises ``OSError`` or ``private_files.UnsafeFileError`` when it cannot be read or recorded.
        """
        digest = _digest(private_files.read(file).content)
        self._write(self._read() | {_name(file): digest})
        return digest

    def untrust(self, file: Path) -> bool:
        """Forget ``file``; whether it was known."""
        known = self._read()
        was_known = known.pop(_name(file), None) is not None
        if was_known:
            self._write(known)
        return was_known

    def is_trusted(self, file: Path, content: bytes | None = None) -> bool:
        """Whether ``content``, or else what ``file`` holds now, is what the user trusted.

        Pass the bytes that are used, so that nothing can change between the check and the use.
        """
        if content is None:
            try:
                content = private_files.read(file).content
            except (OSError, private_files.UnsafeFileError):
                return False
        return self._read().get(_name(file)) == _digest(content)

    def is_known(self, file: Path) -> bool:
        """Whether ``file`` was trusted once, whatever it holds now."""
        return _name(file) in self._read()

    def _read(self) -> dict[str, str]:
        # A store that others may write, or that is damaged, vouches for nothing.
        try:
            data = json.loads(private_files.read_private(self.file))
            if data["version"] != _VERSION:
                return {}
            return {str(path): str(digest) for path, digest in data["files"].items()}
        except (
            OSError,
            private_files.UnsafeFileError,
            ValueError,
            RecursionError,
            LookupError,
            TypeError,
            AttributeError,
        ):
            return {}

    def _write(self, files: dict[str, str]) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"version": _VERSION, "files": files}, indent=1, sort_keys=True)
        private_files.replace(self.file, text.encode() + b"\n")


def _name(file: Path) -> str:
    return os.path.realpath(file)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
