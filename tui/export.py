"""A turn to take along: as a curl command without secrets, and as a JSON file of its own.

Prompts are not recorded, so the command reads its body from a file that the user provides.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.private_files import replace
from tui import format as fmt
from tui.rows import mappings_in, text_of

BODY_FILE = "body.json"
FOLDER = "exports"

_OTHER = re.compile(r"[^A-Za-z0-9_.-]")
_TOKEN = re.compile(r"^/k/[^/]*")
"""The gateway key, where a client has it in the path."""
_PATH = re.compile(r"/[A-Za-z0-9_./-]*")


def curl(detail: Mapping[str, Any], url: str | None) -> str:
    """A command that sends a request like this one through the gateway, in one line.

    The key is named, never shown; what came from outside is quoted for a shell.
    """
    path = text_of(detail.get("path")) or "/v1/messages"
    path = _TOKEN.sub("", path)
    path = path if _PATH.fullmatch(path) else "/v1/messages"
    parts = ["curl"]
    if detail.get("stream") is True:
        parts.append("--no-buffer")
    parts.append(shlex.quote((url or "http://127.0.0.1:8787").rstrip("/") + path))
    parts += ["-H", "'content-type: application/json'"]
    parts += ["-H", '"x-api-key: $STACKBILT_GATEWAY_KEY"']
    if detail.get("protocol") == "anthropic-messages":
        parts += ["-H", "'anthropic-version: 2023-06-01'"]
    parts += ["--data-binary", f"@{BODY_FILE}"]
    model = fmt.neutralise(detail.get("model_asked"), 100)
    note = f"  # {BODY_FILE}: your request" + (f" for {model}" if model else "")
    return " ".join(parts) + note


def as_json(detail: Mapping[str, Any]) -> bytes:
    """All that is recorded of a turn, indented: figures and names, no text of a prompt."""
    return (json.dumps(dict(detail), indent=2, ensure_ascii=True, default=str) + "\n").encode()


def write_request(turn_id: str, story: Mapping[str, Any], home: str) -> Path:
    """Write a kept request with its texts, masked as it was kept; see ``write``."""
    blocks = [
        {n: b.get(n) for n in ("part", "title", "text")} for b in mappings_in(story.get("blocks"))
    ]
    return write({"id": f"{turn_id}-request", "blocks": blocks}, home)


def write(detail: Mapping[str, Any], home: str) -> Path:
    """Write a turn into the gateway's own folder, for its owner alone; where it is.

    Raises ``OSError``.
    """
    folder = Path(home) / FOLDER
    folder.mkdir(mode=0o700, parents=False, exist_ok=True)
    name = _OTHER.sub("_", str(detail.get("id") or "turn"))[:80].lstrip(".") or "turn"
    path = folder / f"{name}.json"
    replace(path, as_json(detail))
    return path
