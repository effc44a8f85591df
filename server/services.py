"""What the parts of the engine share; built once by the gateway, passed in everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from providers.pricing import Prices
from providers.upstream import Upstream
from server.bulkhead import Bulkhead
from server.bus import Bus
from server.capture import Capture
from server.clock import Clock
from server.cold_desk import ColdDesk
from server.config import Settings
from server.credentials import KeyRing
from server.exchange import Exchange
from server.learned import Learned
from server.ledger import Ledger
from server.policy import Plan
from server.retries import RetryBudget
from server.savings_assumptions import Assumptions
from server.savings_desk import SavingsDesk
from server.stats import Stats
from server.timers import TimerLimits
from server.windows import Windows


class Learner(Protocol):
    """Who learns from turns; see ``server.verification.verifier``."""

    def planned(self, exchange: Exchange, readable: bytes, plan: Plan) -> None:
        """A request is about to be tried."""

    def finished(self, exchange: Exchange) -> None:
        """Its answer is out and recorded."""


class NoLearner:
    """Learns nothing."""

    def planned(self, exchange: Exchange, readable: bytes, plan: Plan) -> None:
        """Nothing."""

    def finished(self, exchange: Exchange) -> None:
        """Nothing."""


@dataclass(slots=True)
class Services:
    """The engine's parts; immutable ones are replaced as a whole on a reload."""

    clock: Clock
    settings: Settings
    upstreams: Mapping[str, Upstream]
    ledger: Ledger
    bus: Bus
    stats: Stats
    savings: SavingsDesk
    colds: ColdDesk
    capture: Capture
    windows: Windows
    prices: Prices
    keys: KeyRing
    digest_key: bytes
    instance: str
    env_file: str
    """Where a user puts provider keys; named in error messages."""
    timer_limits: TimerLimits = field(default_factory=TimerLimits)
    assumptions: Assumptions = field(default_factory=Assumptions)
    """Of every projection, with what comparisons have shown so far."""
    active: dict[str, Exchange] = field(default_factory=dict)
    is_draining: Callable[[], bool] = lambda: False
    is_demo: bool = False
    retries: RetryBudget = field(default_factory=RetryBudget)
    learner: Learner = field(default_factory=NoLearner)
    bulkhead: Bulkhead = field(init=False)
    learned: Learned = field(init=False)

    def __post_init__(self) -> None:
        self.bulkhead = Bulkhead(
            lambda: self.settings.server, self.clock, on_shed=lambda sort: self.stats.shed(sort)
        )
        self.learned = Learned(self.clock)
