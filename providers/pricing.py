"""What an answer costs, from its usage: list prices of ``genai-prices`` plus the user's own.

The list is bundled with the package and never fetched. Unknown is ``None`` with a note, never 0.
Everything that may have changed the bill and is not in the figure makes it an estimate, with a
note that says why. A price says nothing about whether a model is still served.

All rates are USD per million tokens, web searches USD per thousand. Long-prompt tiers move the
whole request, output included, once the prompt (fresh, cached and written) is above the line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from providers.protocols.anthropic.response import as_count, as_text, usage_of
from providers.types import Usage, UsageSource

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_NAME_LIMIT = 256
"""Longer model names have no price; nothing here is meant to run over a hostile megabyte."""
_MINUTE_ENTRIES = 512
_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1_000)
_STANDARD_TIERS = frozenset({"standard", "default", "auto", "on_demand"})
_KNOWN_GEOS = frozenset({"global", "not_available"})
_NOT_INCLUDED = {
    "requests_kcount": "a charge per request",
    "output_reasoning_mtok": "the separate price of reasoning tokens",
    "output_citation_mtok": "the separate price of citation tokens",
}

_DATE = re.compile(r"[-@](20\d{6}|20\d{2}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True)
class Rate:
    """USD per million tokens, with the higher rates of long prompts."""

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()
    """``(prompt tokens, rate)``, ascending: above that many, this rate."""

    def at(self, prompt_tokens: int) -> Decimal:
        """The rate for a request whose whole prompt has ``prompt_tokens``."""
        rate = self.base
        for start, higher in self.tiers:
            if prompt_tokens > start:
                rate = higher
        return rate


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one model at one time; ``None`` where there is no such rate."""

    model: str
    """The entry of the price list, or of the settings."""
    source: str
    """``genai-prices`` or ``settings``."""
    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    web_search: Decimal | None = None
    """USD per thousand searches."""
    notes: tuple[str, ...] = ()
    """Why these rates may not be the billed ones."""

    @property
    def is_tiered(self) -> bool:
        """Whether any rate depends on the length of the prompt."""
        return any(rate.tiers for rate in (self.input, self.output, self.cache_read) if rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """Rates that the user set, USD per million tokens.

    A cache rate left out counts as the next dearer one, which makes the cost an estimate.
    """

    model: str
    provider: str | None = None
    """``None``: any provider."""
    from_date: date | None = None
    """First day (UTC) it holds; the latest one that holds wins."""
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None


class Cost(msgspec.Struct, frozen=True):
    """The price of one answer."""

    usd: Decimal | None
    """``None``: unknown."""
    parts: dict[str, Decimal]
    """USD by ``input output cache_read cache_write_5m cache_write_1h web_search`` and, where the
    vendor ran more than the answer itself, ``compaction`` and ``advisor``; zeros left out."""
    version: str
    note: str | None = None
    """Why the price is unknown or uncertain."""
    is_estimate: bool = False


@dataclass(slots=True)
class _Bill:
    """A price in the making."""

    parts: dict[str, Decimal] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Each one makes the total an estimate."""
    unknown: str | None = None
    """Why there can be no total."""

    def add(self, part: str, usd: Decimal) -> None:
        if usd:
            self.parts[part] = self.parts.get(part, Decimal(0)) + usd


class Prices:
    """Prices by provider, model and time; safe to use from any thread."""

    def __init__(self, overrides: Sequence[PriceOverride] = ()) -> None:
        self._overrides = tuple(overrides)
        self._entry = lru_cache(maxsize=512)(_find_entry)
        self._minute: dict[tuple[object, ...], Rates | None] = {}
        """Rates found lately; no price begins or ends within a minute."""
        self._version: str | None = None

    def warm(self) -> None:
        """Load the price list now (some 0.4 s); without this the first price pays for it."""
        self._entry("anthropic", "claude-opus-5-5")

    @property
    def version(self) -> str:
        """The price list and its version, and a digest of the user's own prices if any."""
        if self._version is None:
            # A third of this module's import time, and rarely needed.
            from importlib.metadata import version as package_version

            found = f"genai-prices {package_version('genai-prices')}"
            if self._overrides:
                digest = hashlib.sha256(repr(self._overrides).encode()).hexdigest()
                found += f" + settings {digest[:8]}"
            self._version = found
        return self._version

    def rates(
        self,
        *,
        provider: str,
        model: str | None,
        at: datetime,
        context: Mapping[str, str] | None = None,
    ) -> Rates | None:
        """The rates of ``model`` at ``at`` (naive means UTC); ``None`` when there are none.

        ``context`` selects variants, as ``{"processing": "batch"}`` or ``{"speed": "fast"}``.
        """
        if not model or len(model) > _NAME_LIMIT:
            return None
        moment = _utc(at)
        key = (provider, model, moment.replace(second=0, microsecond=0), *(context or {}).items())
        try:
            return self._minute[key]
        except KeyError:
            rates = self._find_rates(provider, model, moment, context or {})
        if len(self._minute) >= _MINUTE_ENTRIES:
            self._minute.clear()
        self._minute[key] = rates
        return rates

    def rates_of(
        self, *, provider: str, model: str | None, usage: Usage, at: datetime
    ) -> Rates | None:
        """The rates of one answer: those of the variant its usage names (batch, speed, tier)."""
        context = _context_of(usage, batch=False)
        return self.rates(provider=provider, model=model, at=at, context=context)

    def _find_rates(
        self, provider: str, model: str, at: datetime, context: Mapping[str, str]
    ) -> Rates | None:
        names = list(_spellings(provider, model))
        override = self._override(provider, names, at)
        if override is not None:
            return _override_rates(override, context)
        for name in names:
            entry = self._entry(provider, name)
            if entry is not None:
                rates = _entry_rates(entry, name, at, context)
                return rates if rates.input is not None else None
        return None

    def cost(
        self,
        *,
        provider: str,
        model: str | None,
        usage: Usage,
        at: datetime,
        batch: bool = False,
        source: UsageSource = UsageSource.FINAL,
    ) -> Cost:
        """The price of one answer with this usage; a source that is not FINAL is an estimate."""
        bill = _Bill()
        if source is UsageSource.PARTIAL:
            bill.notes.append("the answer broke off before its final usage")
        elif source is UsageSource.ESTIMATED:
            bill.notes.append("the usage is an estimate")
        if source is UsageSource.NONE or not usage.is_known:
            bill.unknown = "the provider reported no usage"
        else:
            context = _context_of(usage, batch)
            rates = self.rates(provider=provider, model=model, at=at, context=context)
            if rates is None:
                bill.unknown = f"no price for {model or 'an unnamed model'} at {provider}"
            else:
                bill.notes.extend(rates.notes)
                _add_tokens(bill, rates, usage)
                _add_searches(bill, rates, usage)
                _note_surcharges(bill, rates, usage)
                self._add_iterations(bill, provider, model, usage, at, context)
        return self._close(bill)

    def _close(self, bill: _Bill) -> Cost:
        if bill.unknown is not None:
            return Cost(None, {}, self.version, bill.unknown)
        return Cost(
            sum(bill.parts.values(), Decimal(0)),
            bill.parts,
            self.version,
            "; ".join(dict.fromkeys(bill.notes)) or None,
            bool(bill.notes),
        )

    def _override(self, provider: str, names: list[str], at: datetime) -> PriceOverride | None:
        day = _utc(at).date()
        fitting = [
            override
            for override in self._overrides
            if override.model.lower() in names
            and override.provider in (None, provider)
            and (override.from_date or date.min) <= day
        ]
        # max() keeps the first of equals, so the list is turned round: later entries win.
        return max(
            reversed(fitting),
            key=lambda o: (o.provider is not None, o.from_date or date.min),
            default=None,
        )

    def _add_iterations(
        self,
        bill: _Bill,
        provider: str,
        model: str | None,
        usage: Usage,
        at: datetime,
        context: Mapping[str, str],
    ) -> None:
        """Price what ``usage.iterations`` lists beside the top-level counts.

        Anthropic Messages: ``compaction`` and ``advisor_message`` entries are billed but are not
        in the top-level counts; an advisor has a model of its own.
        """
        for entry in _iterations(usage):
            kind = entry.get("type")
            if kind not in ("compaction", "advisor_message"):
                continue
            ran = as_text(entry.get("model")) or model
            rates = self.rates(provider=provider, model=ran, at=at, context=context)
            if rates is None:
                bill.unknown = f"no price for {ran} at {provider}, which ran a {kind} step"
                return
            step = _Bill()
            _add_tokens(step, rates, usage_of(entry))
            bill.unknown = bill.unknown or step.unknown
            bill.notes.extend(step.notes)
            total = sum(step.parts.values(), Decimal(0))
            bill.add("compaction" if kind == "compaction" else "advisor", total)


def _add_tokens(bill: _Bill, rates: Rates, usage: Usage) -> None:
    prompt = usage.prompt_tokens
    if prompt is None:
        bill.unknown = "the provider did not report the input tokens"
        return
    if usage.output_tokens is None and rates.output is not None:
        bill.notes.append("the output tokens are not known, so this is the input alone")
    writes = rates.cache_write_5m or rates.input
    counts: tuple[tuple[str, int | None, Rate | None, Rate | None], ...] = (
        ("input", usage.input_tokens, rates.input, None),
        ("output", usage.output_tokens, rates.output, None),
        ("cache_read", usage.cache_read_tokens, rates.cache_read, rates.input),
        ("cache_write_5m", usage.cache_write_5m_tokens, rates.cache_write_5m, rates.input),
        ("cache_write_1h", usage.cache_write_1h_tokens, rates.cache_write_1h, writes),
    )
    for part, tokens, rate, substitute in counts:
        if not tokens:
            continue
        used = rate or substitute
        if used is None:
            bill.unknown = f"{rates.model} has no price for {part} tokens"
            return
        if rate is None:
            bill.notes.append(f"{rates.model} has no {part} price: the next dearer one is used")
        bill.add(part, used.at(prompt) * tokens / _MILLION)
    split_matters = rates.cache_write_1h not in (None, rates.cache_write_5m)
    if split_matters and usage.cache_write_5m_tokens and usage.cache_write_1h_tokens is None:
        bill.notes.append("cache writes are taken as 5-minute ones; their lifetime is not known")


def _add_searches(bill: _Bill, rates: Rates, usage: Usage) -> None:
    if not usage.web_searches:
        return
    if rates.web_search is None:
        bill.notes.append(f"{usage.web_searches} web searches are not included: no price")
        return
    bill.add("web_search", rates.web_search * usage.web_searches / _THOUSAND)


def _note_surcharges(bill: _Bill, rates: Rates, usage: Usage) -> None:
    """Say what may have changed the bill and cannot be known from the usage."""
    raw = usage.raw
    geo = as_text(raw.get("inference_geo"))
    if geo is not None and geo not in _KNOWN_GEOS:
        bill.notes.append(f"inference in {geo} may be billed above the list price")
    if raw.get("fallback_credit") is not None:
        bill.notes.append("a fallback credit may have changed the price")
    tools = raw.get("server_tool_use")
    if isinstance(tools, dict) and as_count(tools.get("code_execution_requests")):
        bill.notes.append("code execution time is not included")
    kinds = [entry.get("type") for entry in _iterations(usage)]
    if "fallback_message" in kinds:
        bill.notes.append("the vendor's fallback model served part of the answer")
    if kinds.count("message") > 1 and rates.is_tiered:
        bill.notes.append("several model runs in one answer: the price tier is uncertain")


def _iterations(usage: Usage) -> list[dict[str, Any]]:
    found = usage.raw.get("iterations")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _context_of(usage: Usage, batch: bool) -> dict[str, str]:
    """What selects a price variant, from what the response says about itself."""
    context: dict[str, str] = {}
    tier = usage.service_tier
    if batch or tier == "batch":
        context["processing"] = "batch"
    elif tier is not None and tier not in _STANDARD_TIERS:
        context["service_tier"] = tier
    speed = as_text(usage.raw.get("speed"))
    if speed is not None and speed not in _STANDARD_TIERS:
        context["speed"] = speed
    return context


def _spellings(provider: str, model: str) -> Iterator[str]:
    """Names to try, the most exact first: without ``[1m]``, vendor prefix, date, ``-latest``."""
    name = model.strip().lower()
    if name.endswith("]"):
        name = name.rpartition("[")[0]
    plain = name.removeprefix(f"{provider.lower()}/")
    undated = _DATE.sub("", plain)
    yield from dict.fromkeys((name, plain, undated, undated.removesuffix("-latest")))


def _canonical(name: str) -> list[str]:
    """The words of a model name, so that spellings of one model compare equal."""
    words = _DATE.sub("", name.lower()).removesuffix("-latest").removesuffix("-0")
    return sorted(re.split(r"[-.@]", words))


def _override_rates(override: PriceOverride, context: Mapping[str, str]) -> Rates:
    def rate(value: Decimal | None) -> Rate | None:
        return None if value is None else Rate(value)

    return Rates(
        model=override.model,
        source="settings",
        input=Rate(override.input),
        output=Rate(override.output),
        cache_read=rate(override.cache_read),
        cache_write_5m=rate(override.cache_write_5m),
        cache_write_1h=rate(override.cache_write_1h),
        notes=tuple(_no_variant(key, value) for key, value in context.items()),
    )


def _no_variant(key: str, value: str) -> str:
    return f"no price for {key} {value}: the standard price is used"


def _entry_rates(entry: ModelInfo, name: str, at: datetime, context: Mapping[str, str]) -> Rates:
    moment = _utc(at)
    price = entry.get_prices(moment, context or None)
    notes = [
        _no_variant(key, value)
        for key, value in context.items()
        if not _has_variant(entry, key, value, moment)
    ]
    if _canonical(entry.id) != _canonical(name):
        notes.append(f"priced as {entry.id}")
    notes.extend(
        f"{charge} is not included"
        for key, charge in _NOT_INCLUDED.items()
        if getattr(price, key) is not None
    )
    searches = _rate_of(price, "web_searches_kcount")
    return Rates(
        model=entry.id,
        source="genai-prices",
        input=_rate_of(price, "input_mtok"),
        output=_rate_of(price, "output_mtok"),
        cache_read=_rate_of(price, "cache_read_mtok"),
        cache_write_5m=_rate_of(price, "cache_write_5m_mtok", "cache_write_mtok"),
        cache_write_1h=_rate_of(price, "cache_write_1h_mtok"),
        web_search=searches.base if searches else None,
        notes=tuple(notes),
    )


def _has_variant(entry: ModelInfo, key: str, value: str, at: datetime) -> bool:
    return any(
        variant.when.get(key) == value
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in entry.price_variants or ()
    )


def _rate_of(price: ModelPrice, *keys: str) -> Rate | None:
    for key in keys:
        value = getattr(price, key)
        if isinstance(value, Decimal):
            return Rate(value)
        if value is not None:
            return Rate(value.base, tuple((tier.start, tier.price) for tier in value.tiers))
    return None


def _find_entry(provider: str, name: str) -> ModelInfo | None:
    """The list's entry for a name; only a provider of exactly this id is looked at.

    The package's own lookup matches parts of provider names, which would price a local server
    called ``my-openai`` like the vendor.
    """
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers
    for found in providers:
        if found.id == provider.lower():
            return found.find_model(name, all_providers=providers)
    return None


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
