"""Conversations, answers and cuts from a seed: as wild as Hypothesis's, many times as fast.

A failing example is its number again; ``transcripts`` has the same for Hypothesis, which shrinks.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from transcripts import TOOLS, Step, Turn
from vendor_replies import Call, Reply

_ODD = (
    "\x00", "\x1b[2J", "\x7f", "\x85", "\xa0", "\xad", "\u0301", "\u200d", "\u2028", "\u2029",
    "\u202e", "\ufeff", "\ufffd", "\uffff", "\U0001f469\u200d\U0001f4bb", "\U0010ffff", "\n", "\r",
    "\r\n", "\n\n", "\t", "\v", "\f", '"', "\\", "\\u", "\\n", "'", "{", "}", "[", "]", ":", ",",
    "data: ", "event: ", "data: [DONE]\n\n", ": ping\n\n", "id: 1", "<|channel|>", "functions.",
    "```json", "null", "{}", "&amp;", "%00", "..", "ß", "日本語", "한국", "ø",
)  # fmt: skip
"""What has broken a parser somewhere."""
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;!?()-_/"
_NOISE = (b"\n\n", b"data: ", b"data: {}\n\n", b"event: error\ndata: {}\n\n", b"data: [DONE]\n\n")


class Seeded:
    """Draws everything that one example needs; the same seed gives the same."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._chance.randint(low, high)

    def cuts(self, data: bytes) -> list[bytes]:
        """``data`` in pieces."""
        marks = sorted(self.number(0, len(data)) for _ in range(self.number(0, 12)))
        return [data[a:b] for a, b in itertools.pairwise([0, *marks, len(data)]) if a < b]

    def words(self) -> str:
        """1 to about 40 characters that are not all blank."""
        text = ""
        while not text.strip():
            text = self._text(self.number(1, 40))
        return text

    def conversation(self) -> list[Turn]:
        """What went before, without the last question."""
        turns: list[Turn] = []
        numbers = itertools.count(1)
        for _ in range(self.number(0, 3)):
            if self.number(0, 1):
                turns.append(self.words())
                continue
            calls = [self._call(f"call_{next(numbers)}") for _ in range(self.number(1, 3))]
            results = tuple(self.words() for _ in calls)
            turns.append(Step(self._maybe_words(), tuple(calls), results))
        return turns

    def reply(self) -> Reply:
        """Any answer that is one."""
        calls = tuple(self._call(f"call_new_{n}") for n in range(self.number(0, 3)))
        text = self._maybe_words() if calls else self.words()
        stop = "" if calls else self._chance.choice(["", "", "max_tokens", "refusal"])
        return Reply(text, calls, stop)

    def noise(self) -> bytes:
        """What does not belong into a stream."""
        if self.number(0, 1):
            return self._chance.choice(_NOISE)
        return self._chance.randbytes(self.number(0, 20))

    # ------------------------------------------------------------------ inside

    def _maybe_words(self) -> str:
        return self.words() if self.number(0, 1) else ""

    def _text(self, size: int) -> str:
        return "".join(self._piece() for _ in range(size))[:size]

    def _piece(self) -> str:
        kind = self._chance.random()
        if kind < 0.7:
            return self._chance.choice(_PLAIN)
        if kind < 0.9:
            return self._chance.choice(_ODD)
        point = self._chance.randrange(0x110000)
        return "?" if 0xD800 <= point < 0xE000 else chr(point)

    def _call(self, call_id: str) -> Call:
        arguments = {
            self._text(self.number(0, 8)): self._value(3) for _ in range(self.number(0, 3))
        }
        return Call(self._chance.choice(TOOLS), arguments, call_id)

    def _value(self, depth: int) -> Any:
        match self.number(0, 7 if depth else 4):
            case 0:
                return None
            case 1:
                return bool(self.number(0, 1))
            case 2:
                return self.number(-(2**40), 2**40)
            case 3 | 4:
                return self._text(self.number(0, 12))
            case 5:
                return [self._value(depth - 1) for _ in range(self.number(0, 3))]
            case _:
                keys = [self._text(self.number(0, 6)) for _ in range(self.number(0, 3))]
                return {key: self._value(depth - 1) for key in keys}
