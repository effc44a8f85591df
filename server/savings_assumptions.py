"""What projections take for granted, as data and in words.

No answer of the cheaper model exists in shadow mode, so its length, its tokenizer and how often it
would have to be thrown away are assumptions: each has a middle for the figure and two ends for
the range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from server.savings import SAME, Factors, Span, span
from server.savings_learned import LEAST_PAIRS, RedoRate, RedoRates, none_known

_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_NEW_TOKENIZER: Final = (4, 7)
"""From this version on Claude counts about a quarter more tokens for the same text."""

_LENGTH: Final = span("1", "0.5", "2")
_INCREMENT: Final = span("1", "0.8", "1.4")
_FAILURES: Final = span("0.10", "0.02", "0.30")
_UNKNOWN_TOKENIZER: Final = span("1", "0.85", "1.15")

_NEW_CLAUDE: Final = "claude from 4.7"
_OLD_CLAUDE: Final = "claude before 4.7"
_OTHER: Final = "other"


def tokenizer_of(model: str | None) -> str:
    """The family whose tokenizer a model uses."""
    found = _CLAUDE.search((model or "").lower())
    if found is None:
        return _OTHER
    version = int(found[1]), int(found[2] or 0)
    return _NEW_CLAUDE if version >= _NEW_TOKENIZER else _OLD_CLAUDE


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The spans used before anything was measured; a measured one replaces its field."""

    k_out: Span = _LENGTH
    """Length of the cheaper model's answer, per token of the real one."""
    ratio: Span = _LENGTH
    """The inverse, for turns that were moved."""
    increment: Span = _INCREMENT
    """True tokens of what a turn added, per token estimated from its characters."""
    fail: Span = _FAILURES
    """Share of its answers that would have to be made again."""
    k_in: dict[tuple[str, str], Span] = field(
        default_factory=lambda: {
            (_NEW_CLAUDE, _OTHER): span("0.80", "0.75", "0.85"),
            (_NEW_CLAUDE, _OLD_CLAUDE): span("0.80", "0.75", "0.85"),
            (_OLD_CLAUDE, _OTHER): span("1", "0.9", "1.1"),
            (_OLD_CLAUDE, _NEW_CLAUDE): span("1.25", "1", "1.35"),
            (_OTHER, _NEW_CLAUDE): span("1.25", "1", "1.35"),
            (_OTHER, _OLD_CLAUDE): span("1", "0.9", "1.1"),
        }
    )
    """Prompt tokens of one tokenizer family per token of another."""

    redone: RedoRates = none_known
    """What comparisons say of ``fail``, by kind, provider and model."""

    def factors(
        self,
        model: str | None,
        target: str | None,
        *,
        kind: str | None = None,
        provider: str | None = None,
    ) -> Factors:
        """The factors between the model that answered and one that might have.

        With the ``kind`` of the request and the other model's ``provider`` the share of failures
        is the measured one where enough answers were compared.
        """
        here, there = tokenizer_of(model), tokenizer_of(target)
        is_same_claude = here == there != _OTHER
        known = self.k_in.get((here, there), _UNKNOWN_TOKENIZER)
        k_in = SAME if is_same_claude else known
        learned = self.learned(kind or "", provider or "", target)
        fail = (learned and learned.span) or self.fail
        return Factors(k_in=k_in, k_out=self.k_out, fail=fail)

    def learned(self, kind: str, provider: str, model: str | None) -> RedoRate | None:
        """The measured failures that replace the assumption; ``None`` where it stays."""
        rate = self.redone(kind, provider, model)
        return rate if rate is not None and rate.span is not None else None

    def sentences(self) -> list[str]:
        """The same in words, for the screen."""
        new = self.k_in[_NEW_CLAUDE, _OTHER]
        old = self.k_in[_OLD_CLAUDE, _OTHER]
        return [
            f"A cheaper model's answer is taken to be {self.k_out.mid} times as long as the real "
            f"one, in the range {self.k_out.lo} to {self.k_out.hi} times.",
            f"{_percent(self.fail.mid)} of its answers are taken to fail and to be made again, in "
            f"the range {_percent(self.fail.lo)} to {_percent(self.fail.hi)}; both calls are then "
            f"paid. From {LEAST_PAIRS} compared answers of a kind and model on, what was measured "
            "is taken instead.",
            "Claude 4.7 and later count more tokens than others for the same text: other models "
            f"are taken to count {new.mid} times as many ({new.lo} to {new.hi}), and for earlier "
            f"Claude models {old.mid} times ({old.lo} to {old.hi}).",
            "Another vendor starts with a cold cache and gets the whole prompt.",
            "What a moved turn would have written to the cache, the next call has to write.",
            "A prefix that only the moved turn kept alive has to be written again.",
            "A cheaper model of the same vendor keeps the cache: the same tokens are read and "
            "written there, at its prices.",
            "What a moved turn would have cost at home is estimated: its prefix from the session's "
            "last call there, what it added from its characters (in the range "
            f"{self.increment.lo} to {self.increment.hi} times), an answer as long as the other "
            f"one ({self.ratio.lo} to {self.ratio.hi} times); what was paid is not.",
            "Until the session's next call, a turn that wrote to the cache is taken to be followed "
            "by one in time; the range covers both.",
            "Sums add up the low ends and the high ends, because such errors are common to all "
            "turns.",
            "Dollars of a subscription login are a list-price equivalent; nothing is billed per "
            "token.",
        ]


def assumptions() -> list[str]:
    """What every projection takes for granted before anything was measured."""
    return Assumptions().sentences()


def _percent(share: Decimal) -> str:
    return f"{float(share) * 100:g} %"
