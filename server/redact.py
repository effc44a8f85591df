"""Takes credentials out of text that is logged, stored or shown.

Known ones are found by value, in every form they are likely to be written in; unknown ones by the
shapes that vendors give their keys. The mask is a fixed word and shows nothing of what it hides.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

MASK = "***"

_T = TypeVar("_T")

MIN_SECRET = 8
"""Shorter secrets are not looked for: they would turn up in ordinary words."""

_SHAPES = re.compile(
    r"""
    (?<![A-Za-z0-9]) (?:
        (?:sk|rk|pk|sess|csk|gsk|xai|hf|nvapi|r8|pplx|ghp|gho|ghs|glpat|npm|AIza|ya29|xox[abprs])
            [-_.] [A-Za-z0-9_*.=+/-]{8,}                  # vendors' prefixes
      | github_pat_[A-Za-z0-9_]{16,}
      | AIza[A-Za-z0-9_-]{16,}
      | A[KS]IA[A-Z0-9]{12,}                              # AWS
      | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?   # JWT
    )
  | (?P<scheme> (?<![A-Za-z]) (?:bearer|basic) [ ]{1,4} ) [A-Za-z0-9_.~+/*=:-]{8,}
  | (?P<field> (?:x-api-key|x-sbgw-key|api[_-]?key|authorization|access[_-]?token) ["']? [ ]*[:=][ ]* ["']? )
        (?!(?:bearer|basic)\b) [^\s"'&,;}]{6,}
  | (?P<user> ://) [^/\s:@]{0,200} : [^/\s@]{1,200} (?=@)
    """,
    re.X | re.I,
)


_SIGNS = (
    *("sk-", "sk_", "rk-", "rk_", "pk-", "pk_", "sess-", "xai-", "hf_", "nvapi", "r8_", "pplx"),
    *("ghp_", "gho_", "ghs_", "github_pat", "glpat", "npm_", "aiza", "ya29", "xox", "akia"),
    *("asia", "eyj", "bearer", "basic", "key", "authorization", "access", "://"),
)
"""Nothing that ``_SHAPES`` matches is without one of these, and to look for them is quicker."""


class Redactor:
    """``redactor(text)`` is ``text`` without the ``secrets`` and without what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = _forms_of(secrets)
        self._more: tuple[str, ...] = ()

    def also(self, secrets: Sequence[str]) -> Redactor:
        """The same with further secrets, whose forms are made only when they are needed."""
        if not secrets:
            return self
        wider = Redactor()
        wider._known = self._known
        wider._more = (*self._more, *secrets)
        return wider

    def __call__(self, text: str) -> str:
        if len(text) < MIN_SECRET:
            return text
        for form in (*self._known, *_forms_of(self._more)):
            text = text.replace(form, MASK)
        return _SHAPES.sub(_masked, text) if _has_sign(text) else text

    def values(self, found: _T) -> _T:
        """``found``, JSON-able, with every text in it redacted; ``found`` itself if none needs it.

        For short technical words of every answer: it acts on known secrets only.
        """
        texts = cast(str, found) if type(found) is str else "\n".join(_texts(found))
        if not self.knows(texts):
            return found
        return cast(_T, self._redacted(found))

    def knows(self, text: str) -> bool:
        """Whether a known secret is in ``text``; quicker than ``values`` for much at once."""
        if len(text) < MIN_SECRET:
            return False
        # A loop: most of what is looked at are a few short words of every answer.
        for form in self._known:
            if form in text:
                return True
        return bool(self._more) and any([form in text for form in self._more])

    def _redacted(self, found: Any) -> Any:
        if isinstance(found, str):
            return self(found)
        if isinstance(found, Mapping):
            return {self(str(key)): self._redacted(value) for key, value in found.items()}
        if isinstance(found, (list, tuple)):
            return [self._redacted(item) for item in found]
        return found


def _has_sign(text: str) -> bool:
    lower = text.lower()
    return any(sign in lower for sign in _SIGNS)


def _texts(found: object) -> list[str]:
    """Every text in ``found``, keys too."""
    items = [found]
    for item in items:
        if isinstance(item, (str, int, float)) or item is None:
            continue
        if isinstance(item, (list, tuple)):
            items.extend(item)
        elif isinstance(item, (dict, Mapping)):
            items.extend(item)
            items.extend(item.values())
    return [item for item in items if isinstance(item, str)]


def _masked(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["field"] or match["user"] or ""
    return kept + MASK


def _forms_of(secrets: Iterable[str]) -> tuple[str, ...]:
    """All forms of all secrets, the longest first, so that none is cut into by another."""
    found = {form for secret in secrets for form in forms(secret)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def forms(secret: str) -> Iterator[str]:
    """The ways ``secret`` may be written in a text; none of a secret that is too short."""
    if len(secret) < MIN_SECRET:
        return
    yield secret
    yield quote(secret, safe="", errors="surrogateescape")
    yield quote_plus(secret, errors="surrogateescape")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    data = secret.encode("utf-8", "surrogateescape")
    yield data.hex()
    for before in range(3):
        yield from _base64_forms(data, before)


def _base64_forms(data: bytes, before: int) -> Iterator[str]:
    """``data`` in base64 after ``before`` other bytes (``user:``), without the shared characters."""
    coded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
    start = (0, 2, 3)[before]
    end = len(coded) - (1 if (before + len(data)) % 3 else 0)
    if end - start >= MIN_SECRET:
        yield coded[start:end]
        yield coded[start:end].translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")
