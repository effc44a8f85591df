"""Ids of tool calls: what a client's vendor accepts, what the provider gave, and back.

The mapping is computed, not remembered: a restart of the gateway between two turns changes
nothing, because the provider's id can be read from the id that the client sends back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from providers.neutral import IdFactory

MESSAGES_PLAIN = "toolu_gw0"
"""Opens an id given to a Messages client; the provider's own id follows as it is."""
MESSAGES_CODED = "toolu_gw1"
"""The same, followed by the provider's id as unpadded base64url."""

OPENAI_LIMIT = 64
"""Longest call id that OpenAI's protocols take."""

_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_GENUINE = re.compile(r"(?:toolu|srvtoolu)_(?!gw[01])[A-Za-z0-9_-]+")


def to_messages(call_id: str) -> str:
    """The id for a Messages client or upstream: ``toolu_`` and letters, digits, ``_``, ``-``.

    Anthropic's own ids stay as they are. ``from_messages`` is the exact inverse.
    """
    if _GENUINE.fullmatch(call_id):
        return call_id
    if _SAFE.fullmatch(call_id):
        return MESSAGES_PLAIN + call_id
    coded = base64.urlsafe_b64encode(call_id.encode("utf-8", "surrogatepass"))
    return MESSAGES_CODED + coded.rstrip(b"=").decode("ascii")


def from_messages(call_id: str) -> str:
    """The provider's id inside an id of ``to_messages``; any other id as it is."""
    if call_id.startswith(MESSAGES_PLAIN) and len(call_id) > len(MESSAGES_PLAIN):
        return call_id[len(MESSAGES_PLAIN) :]
    if call_id.startswith(MESSAGES_CODED):
        coded = call_id[len(MESSAGES_CODED) :]
        try:
            found = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            return found.decode("utf-8", "surrogatepass") or call_id
        except (binascii.Error, ValueError):
            return call_id
    return call_id


def to_openai(call_id: str) -> str:
    """The id for a Chat or Responses peer: as it is, or a digest where it is too long or empty.

    A digest cannot be read back and need not be: calls and results get the same one.
    """
    if 0 < len(call_id) <= OPENAI_LIMIT and call_id.isprintable():
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"call_{digest[:32]}"


class CallIds:
    """Gives every call of one answer an id of its own, also against the whole history.

    Some providers count ``call_0``, ``call_1`` ... anew in each answer; a client that sees the
    same id again takes the old call's result for the new one's.
    """

    __slots__ = ("_factory", "_used")

    def __init__(self, used: frozenset[str], factory: IdFactory) -> None:
        """``used``: ``Request.call_ids``; ``factory`` makes ids where the provider gives none."""
        self._used = set(used)
        self._factory = factory

    def take(self, given: str | None) -> str:
        """``given`` if it is new, the same with a number if not, a made one if there is none."""
        found = base = given or f"call_{self._factory()}"
        number = 2
        while found in self._used:
            found = f"{base}_{number}"
            number += 1
        self._used.add(found)
        return found
