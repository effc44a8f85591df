"""Which versions of the two clients were tried with this program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Tried:
    """A client as people know it, and the versions that were tried."""

    title: str
    package: str
    """On npm."""
    provider: str
    """The provider it is made for."""
    oldest: tuple[int, ...]
    newest: tuple[int, ...]


TRIED: Mapping[str, Tried] = MappingProxyType(
    {
        "claude": Tried(
            "Claude Code", "@anthropic-ai/claude-code", "anthropic", (2, 1, 197), (2, 1, 330)
        ),
        "codex": Tried("Codex", "@openai/codex", "openai", (0, 169, 0), (0, 169, 0)),
    }
)


def dotted(version: tuple[int, ...]) -> str:
    """``(2, 1, 330)`` as ``2.1.330``."""
    return ".".join(map(str, version))
