"""Where savings meet the rest of the engine: judged, recorded, summed up and announced, in order.

``ended`` comes before a turn's terminal row is queued, ``announced`` when its answer is out, just
before ``turn.finished`` is published. Another call may settle a turn between the two; its figures
are then in that event already.
"""

from __future__ import annotations

from collections.abc import Iterable

from server.bus import Bus
from server.clock import Clock
from server.events import SAVING_SETTLED
from server.ledger import Ledger
from server.record import Saving, Turn
from server.savings_book import SavingsBook
from server.savings_tracker import SavingsTracker
from server.stats import Stats


class SavingsDesk:
    """One for an engine; belongs to the loop's thread."""

    def __init__(
        self,
        tracker: SavingsTracker,
        book: SavingsBook,
        clock: Clock,
        *,
        ledger: Ledger,
        stats: Stats,
        bus: Bus,
    ) -> None:
        self.tracker = tracker
        self.book = book
        self._clock = clock
        self._ledger = ledger
        self._stats = stats
        self._bus = bus
        self._unannounced: dict[str, Turn] = {}

    def ended(self, turn: Turn) -> None:
        """Fill ``saving`` and candidate costs of a turn in its terminal, priced state."""
        self._unannounced[turn.id] = turn
        self._settle(self.tracker.finished(turn))

    def announced(self, turn: Turn) -> None:
        """Count a turn; after ``ended``, once."""
        self._unannounced.pop(turn.id, None)
        self.book.finished(turn)

    def tick(self, running: Iterable[Turn]) -> None:
        """Settle what no call followed in time; every second or so, with the open turns."""
        self._settle(self.tracker.tick(self._clock.time(), running))

    def _settle(self, found: Iterable[tuple[str, Saving]]) -> None:
        for turn_id, saving in found:
            self._ledger.settle_saving(turn_id, saving)
            if (turn := self._unannounced.get(turn_id)) is not None:
                turn.saving = saving
                continue
            self.book.settled(turn_id, saving)
            self._stats.saving_settled(turn_id, saving)
            self._bus.publish(SAVING_SETTLED, turn_id=turn_id, saving=saving.as_json())
