"""Answers that the user asked for again: the one sign of a poor answer that needs no comparison.

Within a minute of a moved answer the same words again, an interruption, or a bare "no" count
against its candidate. Words are kept as digests with a key of this run, and no longer than that.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from server.verification.ladder import Key

WINDOW_S: Final = 60.0
MOST_SESSIONS: Final = 256

HUMAN: Final = frozenset({"user_turn", "continuation", "resume", "structured", "review"})
"""Kinds whose last text a person wrote."""

_NO: Final = re.compile(
    r"(?:no+|nope|wrong|not (?:that|right|correct)|that(?:'|\u2019)?s (?:wrong|not right)"
    r"|(?:try|do it|do that) again|again|redo|retry|undo( that)?"
    r"|nein|falsch|nochmal|non|faux|incorrecto|mal|otra vez|n\u00e3o|errado|sbagliato|\u043d\u0435\u0442|\u043d\u0435\u0432\u0435\u0440\u043d\u043e"
    r"|\u4e0d\u5bf9|\u9519\u4e86|\u91cd\u65b0\u6765|\u9055\u3046|\u3044\u3044\u3048|\uc544\ub2c8\uc57c|\ud2c0\ub838\uc5b4)[\s.!\u3002\uff01]*",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Answered:
    """A moved answer that somebody may not be content with."""

    key: Key
    route: str
    digest: bytes
    until: float
    """Monotonic seconds."""


class Redos:
    """The latest moved answer of each session, for a minute."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        self._latest: OrderedDict[str, Answered] = OrderedDict()

    def answered(self, session: str, text: str, key: Key, route: str, now: float) -> None:
        """A question was answered by the candidate of ``key`` just now."""
        self._latest.pop(session, None)
        self._latest[session] = Answered(key, route, self._digest(text), now + WINDOW_S)
        if len(self._latest) > MOST_SESSIONS:
            self._latest.popitem(last=False)

    def waits_for(self, session: str | None, now: float) -> bool:
        """Whether the session's next words would tell anything."""
        found = self._latest.get(session or "")
        return found is not None and now < found.until

    def asked(self, session: str, text: str, *, interrupted: bool, now: float) -> Answered | None:
        """The session's next words; the answer they are about, if they show that it was poor."""
        found = self._latest.pop(session, None)
        if found is None or now >= found.until:
            return None
        is_again = self._digest(text) == found.digest
        is_poor = is_again or interrupted or _NO.fullmatch(text.strip()) is not None
        return found if is_poor else None

    def _digest(self, text: str) -> bytes:
        data = " ".join(text.split()).encode("utf-8", "replace")
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()
