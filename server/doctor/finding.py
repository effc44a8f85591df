"""One result of the doctor, and how it is worded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from server.doctor.words import WORDS

MAX_TEXT = 600


class State(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the doctor looked at."""

    theme: str
    """What it is about: ``machine``, ``settings``, ``secrets`` ..."""
    code: str
    """Stable name, a key of ``words.WORDS``."""
    state: State
    text: str
    """One sentence, one line, nothing unprintable."""
    fix: str = ""
    """What to do about it; never empty for ``warn`` and ``fail``."""

    def as_json(self) -> dict[str, str]:
        """All fields, under their own names."""
        return {
            "theme": self.theme,
            "check": self.code,
            "state": self.state.value,
            "text": self.text,
            "fix": self.fix,
        }


class Findings:
    """Collects the findings of one theme."""

    def __init__(self, theme: str) -> None:
        self._theme = theme
        self.found: list[Finding] = []

    def ok(self, code: str, **values: object) -> None:
        """Something is as it should be."""
        self._add(State.OK, code, values)

    def warn(self, code: str, **values: object) -> None:
        """Something works, but not as it could."""
        self._add(State.WARN, code, values)

    def fail(self, code: str, **values: object) -> None:
        """Something does not work."""
        self._add(State.FAIL, code, values)

    def _add(self, state: State, code: str, values: dict[str, object]) -> None:
        text, fix = (_filled(template, values) for template in WORDS[code])
        self.found.append(Finding(self._theme, code, state, text, fix))


def _filled(template: str, values: dict[str, object]) -> str:
    shown = {name: plain(str(value)) for name, value in values.items()}
    return template.format_map(shown)[:MAX_TEXT].strip()


def plain(text: str) -> str:
    """``text`` on one line, everything that is not printable escaped.

    The judging half of the doctor uses the standard library alone, because it must still be able
    to say which packages are missing.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def worst(findings: Iterable[Finding]) -> State:
    """The most serious state among ``findings``; ``ok`` when there are none."""
    order = list(State)
    return max((finding.state for finding in findings), key=order.index, default=State.OK)


def listed(names: Iterable[object], most: int = 6) -> str:
    """``a, b and 3 more``."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
