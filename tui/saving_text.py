"""Savings in words: signs, ranges and states, the same on every screen.

A figure of shadow mode is something that *would* have been; only a turn that was moved has saved.
"""

from __future__ import annotations

from collections.abc import Mapping

from tui import format as fmt
from tui.rows import Chill, Projected, TurnRow
from tui.sums import Saved

GAIN_WIDTH = 9
"""The greatest width of ``gain`` and of a row's cell."""

LOUD_USD = 0.001
"""From this loss on a turn that only would have moved stands out."""

NEEDS_KEY = "key"

STATE_WORDS: Mapping[str, str] = {
    "would_move": "would go there in live mode",
    "moved": "went there",
    "needs_key": "would go there, but its key is missing",
    "observed": "its mode only observes, so it stays in live mode too",
    "unsupported": "this gateway cannot carry it there",
}
"""The states of ``server.record.Proposal``."""

CANDIDATE_WORDS: Mapping[str, str] = {
    "chosen": "taken",
    "spare": "next in line",
    "baseline": "where it goes unmoved",
    "needs_key": "no key",
    "observed": "only observed",
    "unsupported": "not possible from here",
    "gated": "the turn may not leave",
}
"""The states of ``server.record.Candidate``."""


def gain(usd: float | None) -> str:
    """Dollars with their sign in at most nine cells; unknown is ``?``."""
    if usd is None:
        return fmt.UNKNOWN
    amount = fmt.money(usd)
    return f"+{amount}" if usd > 0 else amount


def gain_total(usd: float) -> str:
    """A sum with its sign; cents from a dollar on."""
    return f"+{fmt.total(usd)}" if usd > 0 else fmt.total(usd)


def gain_role(usd: float | None, *, is_real: bool) -> str:
    """A loss stands out; a gain does only when it is real."""
    if usd is None:
        return "warn"
    if usd < 0:
        return "bad"
    return "good" if is_real and usd > 0 else "text"


def cell(row: TurnRow) -> tuple[str, str]:
    """The ``saved`` cell of a row: text and role. What only would have been is drawn quietly."""
    found = row.projected
    if found is None:
        return fmt.NOTHING, "muted"
    if not found.is_counted:
        return NEEDS_KEY, "muted"
    if found.saving is None:
        # a turn that broke off is never projected; one in flight is not known yet
        return (fmt.PENDING if row.is_open else fmt.NOTHING), "muted"
    if found.usd is None:
        return fmt.UNKNOWN, "warn"
    text = gain(found.usd)
    if found.saving == "open":
        text = "~" + text.replace("<$0.", "<$.")
    is_real = found.state == "moved"
    is_quiet = not is_real and found.usd > -LOUD_USD
    return text, "muted" if is_quiet else gain_role(found.usd, is_real=True)


def between(low: float | None, high: float | None) -> str:
    """A range in words: ``a loss of $0.10 to a gain of $0.90``; empty when it is unknown."""
    if low is None or high is None:
        return ""
    low, high = min(low, high), max(low, high)
    if low < 0 < high:
        return f"a loss of {fmt.total(-low)} to a gain of {fmt.total(high)}"
    if high <= 0:
        return f"a loss of {fmt.total(-high)} to {fmt.total(-low)}" if low < 0 else fmt.total(0)
    return f"{fmt.total(low)} to {fmt.total(high)}"


def verb(*, shadow: bool | None, usd: float) -> str:
    """What a sum did: ``would save``, ``would lose``, and without shadow ``saved``, ``lost``."""
    if shadow is False:
        return "saved" if usd >= 0 else "lost"
    return "would save" if usd >= 0 else "would lose"


def headline(saved: Saved, shadow: bool | None) -> str:
    """The title of a sum: ``would have saved``, and only in live mode ``saved``."""
    if shadow is False:
        return "saved" if saved.usd >= 0 else "lost"
    return "would have saved" if saved.usd >= 0 else "would have lost"


def cold_note(cold: Chill) -> str:
    """Why a cache was cold, and what that cost, in one line."""
    cost = f", {fmt.money(cold.usd)} more" if cold.usd is not None else ""
    return f"cold cache: {cold.text or cold.cause} {fmt.tokens(cold.tokens)} tokens again{cost}"


def note(found: Projected) -> str:
    """The proposal of a turn in one line, for the foot of the list."""
    reach = f" ({between(found.low_usd, found.high_usd)})" if found.low_usd is not None else ""
    match found.state:
        case "moved":
            start = f"went to {found.target}"
        case "needs_key":
            return f"would go to {found.target} once its key is set"
        case "observed" | "unsupported":
            return f"stays; {found.target}: {STATE_WORDS[found.state]}"
        case _:
            start = f"would go to {found.target}"
    if found.saving is None:
        return start
    if found.usd is None:
        return f"{start}, price unknown"
    settled = "" if found.saving == "settled" else ", not settled yet"
    return f"{start}: {gain(found.usd)}{reach}{settled}"
