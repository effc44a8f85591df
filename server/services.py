"""What the parts of the engine share; built once by the gateway, passed in everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from providers.pricing import Prices
from providers.upstream import Upstream
from server.bus import Bus
from server.clock import Clock
from server.config import Settings
from server.credentials import KeyRing
from server.exchange import Exchange
from server.ledger import Ledger
from server.retries import RetryBudget
from server.savings_desk import SavingsDesk
from server.stats import Stats
from server.timers import TimerLimits
from server.windows import Windows


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
    windows: Windows
    prices: Prices
    keys: KeyRing
    digest_key: bytes
    instance: str
    env_file: str
    """Where a user puts provider keys; named in error messages."""
    timer_limits: TimerLimits = field(default_factory=TimerLimits)
    active: dict[str, Exchange] = field(default_factory=dict)
    is_draining: Callable[[], bool] = lambda: False
    is_demo: bool = False
    retries: RetryBudget = field(default_factory=RetryBudget)
