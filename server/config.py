"""The settings as typed, frozen values; finding and merging them is ``server.settings_file``.

The text under each field is its documentation: ``server.settings_keys`` reads it for the JSON
Schema. A field is named as its key in ``config.toml``, or carries that key as its alias. Every
rule between keys is checked here too, so that a ``Settings`` that exists is one to run with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from providers.profiles import ProviderSettings
from providers.types import Protocol
from server.addresses import check_host
from server.settings_providers import (
    ProviderTable,
    Table,
    provider_faults,
    resolve,
    with_profiles,
)
from server.settings_types import (
    KINDS,
    ROUTE_CLASSES,
    CaBundle,
    Entries,
    EnvName,
    Frozen,
    Kind,
    LogLevel,
    Mode,
    ModelId,
    ProviderName,
    Proxy,
    RouteEntry,
    Seconds,
    Text,
    Usd,
    fault,
    nearest,
    parse_entry,
    rule,
)

if TYPE_CHECKING:
    from providers.pricing import PriceOverride

DEFAULT_KEY_ENV = "STACKBILT_GATEWAY_KEY"
DEFAULT_KEY = "local-dev-key"
DEFAULT_PORT = 8787


def _raise_all(faults: Iterable[InitErrorDetails]) -> None:
    if line_errors := list(faults):
        raise ValidationError.from_exception_data("settings", line_errors)


def _entries(*texts: str) -> tuple[RouteEntry, ...]:
    return tuple(parse_entry(text) for text in texts)


class ServerSettings(Table):
    """Where the gateway listens and how it serves."""

    host: Text = "127.0.0.1"
    """Address to listen on; beyond this machine only with a gateway key of your own."""
    port: Annotated[int, Strict(), Field(ge=0, le=65_535)] = DEFAULT_PORT
    """Port to listen on; 0 takes a free one."""
    key_env: EnvName = DEFAULT_KEY_ENV
    """Environment variable that holds the gateway key clients must send."""
    log_level: LogLevel = "info"
    """Least severity that is logged: debug, info, warning or error."""
    drain_s: Seconds = 60.0
    """Seconds that running answers may still take once the gateway is told to stop."""
    keepalive_s: Annotated[Seconds, Field(gt=0, le=240)] = 15.0
    """Seconds of quiet in an answer after which the client gets a sign of life."""
    max_body_mb: Annotated[int, Strict(), Field(ge=1, le=256)] = 33
    """Largest request body taken, in MiB."""
    max_in_flight: Annotated[int, Strict(), Field(ge=1, le=100_000)] = 1_000
    """Requests served at the same time; more wait, and what cannot wait is told to come again."""
    max_waiting: Annotated[int, Strict(), Field(ge=0, le=10_000)] = 64
    """Requests that may wait for a place."""
    max_wait_s: Annotated[Seconds, Field(le=60)] = 2.0
    """Seconds a request may wait for a place."""
    max_buffered_mb: Annotated[int, Strict(), Field(ge=1, le=65_536)] = 256
    """Most MiB of request bodies held in memory at the same time."""

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        try:
            return check_host(value)
        except ValueError as error:
            raise fault(str(error)) from None


class RoutesSettings(Table):
    """Where each class of request may go, best first."""

    tool_loop: Entries = _entries("baseline")
    """Steps of a running tool loop."""
    long_context: Entries = _entries("baseline")
    """Requests with more than 12,000 tokens of messages."""
    planning: Entries = _entries("groq", "cerebras")
    """Questions about how to do something."""
    code_draft: Entries = _entries("groq", "cerebras")
    """Self-contained requests to write code."""
    summary: Entries = _entries("cerebras", "groq")
    """Summaries, explanations, titles."""
    fallback_safe: Entries = _entries("baseline")
    """Everything that fits no other class."""


class ModesSettings(Table):
    """How far each class or kind may go; read once routing.shadow is false."""

    model_config = ConfigDict(extra="allow")
    free_names: ClassVar[tuple[str, ...]] = (*ROUTE_CLASSES, *(k for k in KINDS if k != "app"))
    __pydantic_extra__: dict[str, Mode] = Field(init=False)

    default: Mode = "live"
    """What a class or kind does that is not named here; live moves only background calls."""
    app: Mode = "observe"
    """What requests of programs do that are not a known agent."""
    canary_percent: Annotated[int, Strict(), Field(ge=0, le=100)] = 10
    """Share of the requests that a class or kind in mode canary really sends elsewhere."""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        extra = self.__pydantic_extra__ or {}
        _raise_all(
            InitErrorDetails(type="extra_forbidden", loc=(name,), input=mode)
            for name, mode in extra.items()
            if name not in self.free_names
        )
        return self

    def names(self, route: str, kind: str) -> bool:
        """Whether the user set a mode for this kind or class by name."""
        extra = self.__pydantic_extra__ or {}
        return kind in extra or route in extra

    def mode_of(self, route: str, kind: str) -> Mode:
        """The mode of a request: its kind's own, else its class's, else the default."""
        if kind == "app":
            return self.app
        extra = self.__pydantic_extra__ or {}
        return extra.get(kind) or extra.get(route) or self.default


class BaselineSettings(Table):
    """Where a request goes when nothing is offloaded: the first entry that has a credential."""

    messages: Entries = _entries("anthropic")
    """Clients that speak Anthropic Messages, such as Claude Code."""
    responses: Entries = _entries("openai", "anthropic")
    """Clients that speak OpenAI Responses, such as Codex."""
    chat: Entries = _entries("openai", "anthropic")
    """Clients that speak OpenAI Chat Completions."""


class RoutingSettings(Table):
    """What goes where."""

    shadow: StrictBool = True
    """Only observe: every request goes to its baseline, whatever the modes say."""
    cross_vendor_failover: StrictBool = False
    """Let a failing baseline fall over to the next vendor, which then sees the prompts."""
    patience_s: Annotated[Seconds, Field(le=595)] = 0.0
    """Seconds an overloaded vendor is tried again before its error is passed on; 0 is never."""
    routes: RoutesSettings = Field(default_factory=RoutesSettings)
    """Entries by class: "baseline", "provider" or "provider/model"."""
    kinds: Frozen[Kind, Entries] = Field(default_factory=dict, validate_default=True)
    """Entries by kind of request; they win over the class."""
    modes: ModesSettings = Field(default_factory=ModesSettings)
    """How far each class or kind may go."""
    baseline: BaselineSettings = Field(default_factory=BaselineSettings)
    """Where a request goes when nothing is offloaded, by client protocol."""

    def mode_of(self, route: str, kind: str) -> Mode:
        """The mode in force for a request: ``observe`` as long as shadow is on."""
        return "observe" if self.shadow else self.modes.mode_of(route, kind)

    def entries_of(self, route: str, kind: str) -> tuple[RouteEntry, ...]:
        """The entries for a request: its kind's own, else its class's."""
        own = cast("Mapping[str, tuple[RouteEntry, ...]]", self.kinds).get(kind)
        return own or getattr(self.routes, route)

    def baseline_of(self, protocol: Protocol) -> tuple[RouteEntry, ...]:
        """The baseline of clients that speak ``protocol``."""
        return {
            Protocol.MESSAGES: self.baseline.messages,
            Protocol.RESPONSES: self.baseline.responses,
            Protocol.CHAT: self.baseline.chat,
        }[protocol]


class VerificationSettings(Table):
    """A sample of answers made a second time by the candidate, to know whether it would have done.

    Background work only: it never delays or changes an answer, runs no tool and keeps no text.
    """

    consent: StrictBool = False
    """Let the text of sampled requests go to the candidate of their route, also in shadow mode."""
    sample_percent: Annotated[int, Strict(), Field(ge=0, le=100)] = 10
    """Share of the requests that could move which is compared, once the first 20 of a kind are."""
    live_percent: Annotated[int, Strict(), Field(ge=0, le=100)] = 5
    """Share of the requests that did move which is compared with an answer of their own vendor."""
    daily_budget_usd: Usd = Decimal("0.25")
    """Most that comparisons may cost between two midnights, in USD."""
    quota_share: Annotated[int, Strict(), Field(ge=0, le=100)] = 20
    """Share of a provider's limits, in percent, that comparisons may use."""


class NetworkSettings(Table):
    """How upstreams are reached."""

    proxy: Proxy = "env"
    """HTTP proxy: env (HTTPS_PROXY, NO_PROXY), none, or a URL."""
    ca_bundle: CaBundle = "system"
    """Trusted certificates: system, or the absolute path of a PEM file or folder."""


class PriceTable(Table):
    """What one model costs, in USD for a million tokens; a cache part left out costs as input."""

    since: Annotated[date | None, Field(alias="from")] = None
    """First day these prices hold; without it they always did."""
    input: Annotated[Usd, Field(alias="in")]
    """Fresh input."""
    output: Annotated[Usd, Field(alias="out")]
    """Output, reasoning included."""
    cache_read: Usd | None = None
    """Input read from the cache."""
    cache_write_5m: Usd | None = None
    """Input written to the cache for five minutes."""
    cache_write_1h: Usd | None = None
    """Input written to the cache for an hour."""


def _price_list(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


def _distinct_dates(value: tuple[PriceTable, ...]) -> tuple[PriceTable, ...]:
    if len({price.since for price in value}) < len(value):
        raise fault("two price tables of this model start on the same day")
    return tuple(sorted(value, key=lambda price: price.since or date.min))


Prices = Annotated[
    tuple[PriceTable, ...],
    Field(min_length=1),
    AfterValidator(_distinct_dates),
    BeforeValidator(_price_list),
]


class LedgerSettings(Table):
    """The record of every request."""

    durability: Literal["normal", "full"] = "normal"
    """normal survives a crash of the program; full also a power cut, at a price in speed."""
    required: StrictBool = False
    """Refuse requests while the record cannot be written, in place of serving unrecorded."""
    keep_days: Annotated[int, Strict(), Field(ge=0)] = 0
    """Days after which a turn is removed from the record; sums stay. 0 keeps all."""
    max_mb: Annotated[int, Strict(), Field(ge=0)] = 0
    """Most MiB of turns that are kept, the oldest are removed first; 0 is no limit."""


class CaptureSettings(Table):
    """Request bodies, kept for the inspector; they are prompts, so nothing is kept unless asked."""

    enabled: StrictBool = False
    """Keep the bodies of requests in the state folder, with credentials masked."""
    keep_hours: Annotated[int, Strict(), Field(ge=1, le=720)] = 24
    """Hours after which a kept body is deleted."""
    max_mb: Annotated[int, Strict(), Field(ge=1, le=10_240)] = 256
    """Most MiB of kept bodies; the oldest are deleted first."""


class UiSettings(Table):
    """The terminal interface."""

    ascii: StrictBool = False
    """Draw with ASCII characters only."""
    theme: Literal["auto", "dark", "light", "contrast", "ansi"] = "auto"
    """Colours: ansi is the terminal's own, contrast is strong; auto is dark, none with NO_COLOR."""


class Settings(Table):
    """All settings in force."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    verification: VerificationSettings = Field(default_factory=VerificationSettings)
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    providers: Annotated[Frozen[ProviderName, ProviderTable], BeforeValidator(with_profiles)] = (
        Field(default_factory=dict, validate_default=True)
    )
    """The built-in providers, and any server of your own under a name you choose."""
    prices: Frozen[ModelId, Prices] = Field(default_factory=dict, validate_default=True)
    """Your own prices by model or "provider/model"; they win over the built-in ones."""
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    capture: CaptureSettings = Field(default_factory=CaptureSettings)
    keys: Frozen[Text, Text] = Field(default_factory=dict, validate_default=True)
    """Keys of the terminal interface: the id of an action, and the key that runs it."""
    ui: UiSettings = Field(default_factory=UiSettings)

    def provider(self, name: str) -> ProviderSettings:
        """One provider, ready for use; ``KeyError`` when there is none of that name."""
        return resolve(name, self.providers[name], self.network.proxy)

    def price_overrides(self) -> list[PriceOverride]:
        """``prices`` as the price list takes them, older dates first.

        ``openai/gpt-oss-120b`` may be a provider with its model or one model's whole id, so a key
        whose first part is a provider stands for both.
        """
        # Prices are looked at by few commands; the others must not pay for loading them.
        from providers.pricing import PriceOverride

        return [
            PriceOverride(
                provider=provider,
                model=model,
                from_date=price.since,
                input=price.input,
                output=price.output,
                cache_read=price.cache_read,
                cache_write_5m=price.cache_write_5m,
                cache_write_1h=price.cache_write_1h,
            )
            for key, prices in self.prices.items()
            for provider, model in self._readings(key)
            for price in prices
        ]

    def _readings(self, key: str) -> Iterator[tuple[str | None, str]]:
        provider, slash, model = key.partition("/")
        if slash and provider in self.providers:
            yield provider, model
        yield None, key

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _raise_all([*self._provider_faults(), *self._entry_faults()])
        return self

    def _provider_faults(self) -> Iterator[InitErrorDetails]:
        return provider_faults(self.providers, self.server.host, self.server.port)

    def _entry_faults(self) -> Iterator[InitErrorDetails]:
        for loc, entries in self._entry_lists():
            for index, entry in enumerate(entries):
                problem = self._entry_fault(loc, entry)
                if problem is not None:
                    at = ("routing", *loc, index)
                    yield InitErrorDetails(type=problem, loc=at, input=str(entry))

    def _entry_lists(self) -> Iterator[tuple[tuple[str, str], tuple[RouteEntry, ...]]]:
        for name, entries in self.routing.routes:
            yield ("routes", name), entries
        for kind, entries in self.routing.kinds.items():
            yield ("kinds", kind), entries
        for name, entries in self.routing.baseline:
            yield ("baseline", name), entries

    def _entry_fault(self, loc: tuple[str, str], entry: RouteEntry) -> PydanticCustomError | None:
        if entry.is_baseline:
            return rule('"baseline" cannot stand for itself') if loc[0] == "baseline" else None
        if entry.provider in self.providers:
            return None
        return rule(
            f'there is no provider "{entry.provider}"',
            nearest(entry.provider, self.providers) or f"known are {', '.join(self.providers)}",
        )
