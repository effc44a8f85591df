"""A preference list while it is edited. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Draft:
    """Entries, best first, and the chosen one."""

    entries: tuple[str, ...]
    at: int = 0

    @property
    def chosen(self) -> str | None:
        """The chosen entry, ``None`` when there is none."""
        return self.entries[self.at] if self.entries else None

    def choose(self, delta: int) -> Draft:
        """The entry ``delta`` places further down, held to the list."""
        return replace(self, at=max(0, min(len(self.entries) - 1, self.at + delta)))

    def shift(self, delta: int) -> Draft:
        """The chosen entry one place (or more) down, negative: up; it stays chosen."""
        to = max(0, min(len(self.entries) - 1, self.at + delta))
        if not self.entries or to == self.at:
            return self
        left = list(self.entries)
        left.insert(to, left.pop(self.at))
        return Draft(tuple(left), to)

    def add(self, entry: str) -> Draft:
        """With ``entry`` below the chosen one, and chosen; one that is there is only chosen."""
        if entry in self.entries:
            return replace(self, at=self.entries.index(entry))
        at = self.at + 1 if self.entries else 0
        return Draft((*self.entries[:at], entry, *self.entries[at:]), at)

    def remove(self) -> Draft:
        """Without the chosen entry."""
        left = (*self.entries[: self.at], *self.entries[self.at + 1 :])
        return Draft(left, max(0, min(self.at, len(left) - 1)))

    def toggle_baseline(self) -> Draft:
        """With the baseline at the end, or without it."""
        if BASELINE not in self.entries:
            entries = (*self.entries, BASELINE)
            return Draft(entries, len(entries) - 1)
        return Draft(self.entries, self.entries.index(BASELINE)).remove()


def offers(typed: str, draft: Draft, providers: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """What may be added: names that hold what was typed, those that can be used first."""
    names = sorted(providers, key=lambda name: not is_usable(providers[name]))
    wanted = typed.strip().lower()
    listed = [name for name in (*names, BASELINE) if name not in draft.entries]
    return [name for name in listed if wanted in name.lower()]


def is_usable(provider: Mapping[str, Any]) -> bool:
    """Whether a provider has a credential."""
    return bool(provider.get("configured")) and provider.get("status") != "needs_key"
