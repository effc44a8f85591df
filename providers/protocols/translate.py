"""The shape of a translator, for every protocol; each folder has one file a direction.

| file | function |
|---|---|
| ``request_in.py`` | ``read_request(body: Any) -> Request | CannotCarry`` |
| ``request_out.py`` | ``write_request(request, model, traits, *, input_tokens=None) -> Outgoing | CannotCarry`` |
| ``response_in.py`` | ``read_answer(body: Any, book, ids) -> Answer | Fault`` |
| ``response_out.py`` | ``write_answer(answer, *, answer_id, model) -> dict`` |
| ``stream_in.py`` | ``Decoder(book, ids)``, a ``providers.events.StreamDecoder`` |
| ``stream_out.py`` | ``Encoder(...)``, a ``providers.events.StreamEncoder`` |
| ``faults.py`` | ``read_fault(status, headers, body, now) -> Fault``; ``write_fault(fault, request_id) -> (status, headers, body)`` |

``book`` is ``Outgoing.book``; ``ids`` is ``CallIds(request.call_ids, factory)``, new for each
attempt. ``model`` of a writer of requests is the provider's, that of a writer of answers is the
one the client shall see.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from providers.neutral import CannotCarry, Pin


class Stop(Exception):
    """Ends a reader from deep inside; never leaves a translator."""

    def __init__(self, pin: Pin, detail: str) -> None:
        super().__init__(detail)
        self.reason = CannotCarry(pin, detail[:100])


def text(value: Any) -> str | None:
    """``value`` if it is a string."""
    return value if isinstance(value, str) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """``value`` if it is a number; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def whole(value: Any) -> int | None:
    """``value`` if it is a whole number; booleans are not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def loads(data: bytes | str) -> Any:
    """Parse JSON; ``None`` when it is none, or too deep.

    The standard library is the second try because it accepts half surrogate pairs, which some
    servers send where a token ends inside a character.
    """
    for read in (msgspec.json.decode, json.loads):
        try:
            return read(data)
        except (ValueError, RecursionError):
            continue
    return None
