"""Words that stand in for what Chat Completions has no field for."""

from __future__ import annotations

ERROR_MARK = "[tool error] "
"""Opens the text of a result whose tool failed."""


def document(name: str | None, text: str) -> str:
    """A plain text document, as text."""
    return f"[Document: {name}]\n{text}" if name else f"[Document]\n{text}"


def attachment(call_id: str) -> str:
    """Announces a picture or file that a tool gave."""
    return f"[Attached by tool call {call_id}:]"
