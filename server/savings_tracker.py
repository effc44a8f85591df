"""Follows sessions from call to call, because a move is judged by what the next call has to pay.

A *cache line* is what shares a prompt cache: one vendor, session, agent and model. Only calls that
read or wrote the cache are on it; a title or a page digest beside them is not, and is settled at
once. A proposal on a line stays ``open`` until the line's next call, or until the cache it wrote
would have expired. Memory is bounded: the lines used least recently are given up.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from providers.pricing import Prices
from server.accounting import FREE_KINDS
from server.clock import Clock
from server.limits import Admission, PlanLimits
from server.record import Candidate, Proposal, Saving, Status, Turn
from server.savings import Gaps, Tokens, ceil
from server.savings_assumptions import Assumptions
from server.savings_quote import (
    CROWDED_OUT,
    NO_SESSION,
    Quote,
    Quoter,
    Unpriced,
    given_up,
    unpriced,
)
from server.savings_realised import (
    Anchor,
    RealisedQuote,
    Realiser,
    asks_cache,
    base_of,
    home_model,
)

MOST_LINES: Final = 2048
"""Cache lines followed at a time."""

MOST_CALLS: Final = 64
"""Call times kept per line; more only matter while that many run at once."""

PROJECTED: Final = frozenset({"would_move", "needs_key", "observed"})
"""The states of a proposal that get a projection."""

Settled = list[tuple[str, Saving]]
"""Turn ids and their final savings."""


class _Line(NamedTuple):
    provider: str
    session: str
    agent: str
    model: str


@dataclass(frozen=True, slots=True)
class _Open:
    """A proposal that waits for its line's next call."""

    turn_id: str
    at: float
    prev_s: float | None
    quote: Quote | RealisedQuote
    is_admitted: bool

    @property
    def expires(self) -> float:
        return self.at + self.quote.tokens.lifetime_s

    def settled(self, next_at: float | None, *, is_last: bool = True) -> Saving:
        """``is_last``: none that waits for the same call came later.

        Of several turns that did move, only the last could have kept the prefix alive.
        """
        next_s = None if next_at is None else next_at - self.at
        is_charged = is_last or isinstance(self.quote, Quote)
        gaps = Gaps(self.prev_s if is_charged else None, next_s)
        return self.quote.settled(gaps, is_admitted=self.is_admitted)

    def abandoned(self) -> Saving:
        saving = self.quote.open(self.prev_s, is_admitted=self.is_admitted)
        return given_up(saving, CROWDED_OUT)


@dataclass(slots=True)
class _Calls:
    """What is remembered of one line."""

    times: list[float] = field(default_factory=list)
    """When its latest calls were accepted, oldest first."""
    waiting: list[_Open] = field(default_factory=list)
    anchor: Anchor | None = None
    """What its cache would hold if every call had been made there."""

    def around(self, at: float) -> tuple[float | None, float | None]:
        """Times of the calls before and after ``at``."""
        place = bisect.bisect_left(self.times, at)
        before = self.times[place - 1] if place else None
        place = bisect.bisect_right(self.times, at)
        return before, self.times[place] if place < len(self.times) else None

    def add(self, at: float) -> None:
        bisect.insort(self.times, at)
        del self.times[:-MOST_CALLS]

    def called(self, at: float, tokens: Tokens) -> None:
        """Note what a call at home left in the cache."""
        if self.anchor is None or at >= self.anchor.last_at:
            held = tokens.prompt + tokens.output
            self.anchor = Anchor(held, at, at, tokens.lifetime_s)

    def moved(self, at: float, quote: RealisedQuote) -> None:
        """Note what a call that was made elsewhere would have left there."""
        held = quote.whole + ceil(quote.moved.output * quote.ratio.mid)
        home_at = self.anchor.home_at if self.anchor and quote.moved.is_warm else None
        self.anchor = Anchor(held, at, home_at, quote.tokens.lifetime_s)

    def take_before(self, at: float) -> list[_Open]:
        """Those waiting for a call that came at ``at``."""
        due = [held for held in self.waiting if held.at < at]
        self.waiting = [held for held in self.waiting if held.at >= at]
        return due


class SavingsTracker:
    """Fills ``Turn.saving`` and ``Candidate.cost_usd`` at a turn's end; belongs to one thread.

    ``limits`` are the plans' limits by provider (``server.limits.plans``), ``default_models`` the
    models of providers that a route entry names alone.
    """

    def __init__(
        self,
        prices: Prices,
        assumptions: Assumptions,
        clock: Clock,
        *,
        limits: Mapping[str, PlanLimits] | None = None,
        default_models: Mapping[str, str | None] | None = None,
    ) -> None:
        self._clock = clock
        self._quoter = Quoter(prices, assumptions, default_models or {})
        self._realiser = Realiser(prices, assumptions, self._quoter)
        self._gates = {name: Admission(limit) for name, limit in (limits or {}).items()}
        self._lines: OrderedDict[_Line, _Calls] = OrderedDict()
        self._waiting: set[_Line] = set()

    def configure(
        self, limits: Mapping[str, PlanLimits], default_models: Mapping[str, str | None]
    ) -> None:
        """Take changed settings; a plan whose limits stay keeps what it has let through."""
        self._quoter.default_models = default_models
        self._gates = {
            name: gate
            if (gate := self._gates.get(name)) is not None and gate.limits == limit
            else Admission(limit)
            for name, limit in limits.items()
        }

    @property
    def waiting(self) -> int:
        """Proposals that are still open."""
        return sum(len(self._lines[line].waiting) for line in self._waiting)

    def finished(self, turn: Turn) -> Settled:
        """Judge a turn in its terminal, priced state, before it is recorded.

        Returns the earlier turns whose saving this call settles.
        """
        if turn.status is Status.REJECTED:
            return []
        now = self._clock.time()
        turn.candidates = [self._priced(turn, item, now) for item in turn.candidates]
        tokens = self._quoter.tokens(turn)
        line = _line_of(turn) if tokens is not None and tokens.uses_cache else None
        settled = [] if line is None else self._next_call(line, turn.at)
        if turn.proposal is not None and turn.may_have_cost():
            if turn.proposal.state in PROJECTED:
                turn.saving = self._saving(turn, turn.proposal, tokens, line, now)
            elif turn.proposal.state == "moved":
                turn.saving = self._realised(turn, now)
        if line is not None and tokens is not None:
            calls = self._calls(line)
            calls.add(turn.at)
            calls.called(turn.at, tokens)
        return settled + self._forget_oldest()

    def tick(self, now: float, running: Iterable[Turn] = ()) -> Settled:
        """Settle what waited longer than its cache lived.

        ``now`` is wall time. ``running`` are the open turns: one of the same line that was
        accepted in time will be the next call, however long its answer takes.
        """
        if not self._waiting:
            return []
        begun = list(_begun(running))
        settled: Settled = []
        for line in list(self._waiting):
            calls = self._lines[line]
            kept = []
            for held in calls.waiting:
                if now <= held.expires or _has_successor(held, line, begun):
                    kept.append(held)
                else:
                    settled.append((held.turn_id, held.settled(None)))
            calls.waiting = kept
            self._note(line, calls)
        return settled

    # ------------------------------------------------------------------ lines

    def _next_call(self, line: _Line, at: float) -> Settled:
        calls = self._calls(line)
        due = calls.take_before(at)
        self._note(line, calls)
        last = max((held.at for held in due), default=at)
        return [(held.turn_id, held.settled(at, is_last=held.at == last)) for held in due]

    def _calls(self, line: _Line) -> _Calls:
        calls = self._lines.get(line)
        if calls is None:
            calls = self._lines[line] = _Calls()
        else:
            self._lines.move_to_end(line)
        return calls

    def _note(self, line: _Line, calls: _Calls) -> None:
        if calls.waiting:
            self._waiting.add(line)
        else:
            self._waiting.discard(line)

    def _forget_oldest(self) -> Settled:
        abandoned: Settled = []
        while len(self._lines) > MOST_LINES:
            line, calls = self._lines.popitem(last=False)
            self._waiting.discard(line)
            abandoned += [(held.turn_id, held.abandoned()) for held in calls.waiting]
        return abandoned

    # ------------------------------------------------------------------ figures

    def _saving(
        self,
        turn: Turn,
        proposal: Proposal,
        tokens: Tokens | None,
        line: _Line | None,
        now: float,
    ) -> Saving:
        before, after = (None, None) if line is None else self._calls(line).around(turn.at)
        try:
            quote = self._quoter.quote(turn, proposal, now, is_first=before is None)
        except (Unpriced, ValueError) as error:
            return unpriced(turn, str(error))
        is_admitted = self._admit(turn, proposal, quote)
        prev_s = None if before is None else turn.at - before
        if not quote.needs_future:
            return quote.settled(Gaps(), is_admitted=is_admitted)
        if line is None:
            return given_up(quote.open(None, is_admitted=is_admitted), NO_SESSION)
        held = _Open(turn.id, turn.at, prev_s, quote, is_admitted)
        if after is not None:
            return held.settled(after)
        calls = self._calls(line)
        calls.waiting.append(held)
        self._note(line, calls)
        return quote.open(prev_s, is_admitted=is_admitted)

    def _realised(self, turn: Turn, now: float) -> Saving:
        """What a turn saved that did move, or was meant to."""
        try:
            here = self._realiser.settled_here(turn, now)
            if here is not None:
                return here
            line = _home_line(turn)
            calls = None if line is None else self._calls(line)
            quote = self._realiser.quote(turn, calls.anchor if calls else None, now)
        except (Unpriced, ValueError) as error:
            return unpriced(turn, str(error))
        if line is None or calls is None:
            return quote.settled(Gaps())
        home_at = calls.anchor.home_at if calls.anchor else None
        held = _Open(turn.id, turn.at, None if home_at is None else turn.at - home_at, quote, True)
        _, after = calls.around(turn.at)
        if after is not None:
            return held.settled(after)
        calls.moved(turn.at, quote)
        calls.waiting.append(held)
        self._note(line, calls)
        return quote.open(held.prev_s)

    def _admit(self, turn: Turn, proposal: Proposal, quote: Quote) -> bool:
        """Whether the other provider's plan would have let the turn through at its time."""
        gate = self._gates.get(proposal.provider)
        if gate is None:
            return True
        there = quote.project(Gaps())
        return gate.admit(
            turn.at,
            tokens_in=there.target_input,
            tokens_out=there.target_output,
            max_tokens=turn.max_tokens,
            until=turn.at + (turn.duration_s or 0.0),
        )

    def _priced(self, turn: Turn, candidate: Candidate, now: float) -> Candidate:
        served = (None, turn.model_served, _asked_model(turn))
        if candidate.provider == turn.provider and candidate.model in served:
            usd = turn.cost_usd
        elif turn.kind in FREE_KINDS:
            usd = None
        else:
            usd = self._quoter.target_usd(turn, candidate.provider, candidate.model, now)
        return Candidate(
            candidate.provider, candidate.model, candidate.state, candidate.reason, usd
        )


def _asked_model(turn: Turn) -> str | None:
    """The model the vendor was asked for, which names its cache before and after the answer."""
    return (turn.attempts[-1].model if turn.attempts else None) or turn.model_asked


def _line_of(turn: Turn) -> _Line | None:
    if turn.session is None:
        return None
    model = _asked_model(turn) or turn.model_served or ""
    return _Line(turn.provider or "", turn.session, turn.agent or "", model)


def _home_line(turn: Turn) -> _Line | None:
    """The line a moved turn would have been on; ``None`` where it would not have been cached."""
    if turn.session is None or not asks_cache(turn):
        return None
    base = base_of(turn)
    return _Line(base.provider, turn.session, turn.agent or "", home_model(turn, base) or "")


def _begun(running: Iterable[Turn]) -> Iterator[tuple[_Line, float]]:
    for turn in running:
        if (line := _line_of(turn)) is not None:
            yield line, turn.at


def _has_successor(held: _Open, line: _Line, begun: list[tuple[_Line, float]]) -> bool:
    return any(other == line and held.at < at <= held.expires for other, at in begun)
