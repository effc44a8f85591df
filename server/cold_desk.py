"""Cold caches as they happen: every ended call is judged right after its blocks were digested.

A front end learns of one by the event ``cold.found`` and by ``"cold"`` in the turn's summary from
then on (``Cold.as_json``; the key is missing where a turn was not cold). ``Gateway.turn`` has it
for every recorded turn, ``None`` for one that was not cold; sums by cause are in a report
(``server.cold.summary``).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from providers.pricing import Prices
from server.backtest_prices import PriceBook
from server.cold import Cold, ColdFinder, cold_of
from server.ledger_history import Past, Seen, history
from server.ledger_read import LedgerReader
from server.ledger_schema import LedgerError
from server.record import Turn
from server.savings_assumptions import Assumptions

_log = logging.getLogger("sbgw.cold")

LOOK_BACK_S: Final = 2 * 3600.0
"""How far sessions that began before this process are followed back: twice the longest life."""

Found = Callable[[str, Cold], None]
"""Told the turn's id and why it was cold; on the thread that calls ``ended``."""


class ColdDesk:
    """Judges the calls of a running gateway; belongs to the ledger's thread."""

    def __init__(
        self, path: Path, prices: Prices, found: Found, *, started_at: float, demo: bool = False
    ) -> None:
        """``started_at`` is when this process began, in seconds since the epoch."""
        self._path = path
        self._book = PriceBook(prices, Assumptions())
        self._finder = ColdFinder(self._book.rates_here)
        self._found = found
        self._started_at = started_at
        self._demo = demo
        self._is_seeded = False

    def ended(self, turn: Turn) -> None:
        """Judge a turn in its terminal, priced state, with its ``blocks``; reads the disk once."""
        if not self._is_seeded:
            self._is_seeded = True
            self._seed()
        cold = self._finder.add(past_of(turn))
        if cold is not None:
            self._found(turn.id, cold)

    def _seed(self) -> None:
        since = self._started_at - LOOK_BACK_S
        try:
            for turn in history(self._path, since, with_blocks=True, demo=self._demo):
                if turn.at >= self._started_at:
                    return
                self._finder.add(turn)
        except (LedgerError, sqlite3.Error) as error:
            _log.warning("the sessions before the start are not followed on: %s", error)


def recorded(
    path: Path, reader: LedgerReader, prices: Prices, turn_id: str
) -> dict[str, Any] | None:
    """``Turn.detail`` of a recorded turn, and ``cold``: ``Cold.as_json`` or ``None``.

    Blocks on the disk; a session's digests are read of two of its calls at most. Raises what
    ``LedgerReader`` does.
    """
    found = reader.turn(turn_id)
    if found is None:
        return None
    cold = None
    if found["session"] and found["status"] != "open":
        rates = PriceBook(prices, Assumptions()).rates_here
        cold = cold_of(path, turn_id, rates, demo=found["demo"])
    return found | {"cold": cold.as_json() if cold else None}


def past_of(turn: Turn) -> Past:
    """An ended turn as ``server.ledger_history`` would read it."""
    usage, proposal, saving = turn.usage, turn.proposal, turn.saving
    own = {name: getattr(turn, name) for name in _PLAIN}
    seen = {name: turn.features[name] for name in Seen.__struct_fields__ if name in turn.features}
    return Past(
        **own,
        status=turn.status.value,
        protocol=turn.protocol.value,
        offload=int(turn.offload),
        payer=turn.payer.value if turn.payer else None,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        unpriced=int(turn.cost_usd is None and turn.may_have_cost()),
        features=Seen(**seen),
        proposal_provider=proposal.provider if proposal else None,
        proposal_model=proposal.model if proposal else None,
        proposal_state=proposal.state if proposal else None,
        saving_state=saving.state if saving else None,
        naive_usd=saving.naive_usd if saving else None,
        saved_usd=saving.usd if saving else None,
        saved_low_usd=saving.low_usd if saving else None,
        saved_high_usd=saving.high_usd if saving else None,
        saved_quota_usd=saving.quota_usd if saving else None,
        baseline_usd=saving.baseline_usd if saving else None,
    )


_PLAIN: Final = (
    "id",
    "at",
    "http_status",
    "kind",
    "route",
    "pinned_by",
    "session",
    "agent",
    "project",
    "provider",
    "model_asked",
    "model_served",
    "max_tokens",
    "cache_ttl",
    "cost_usd",
    "duration_s",
    "blocks",
)
