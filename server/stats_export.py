"""The figures in other people's shapes: the seed's event fields, and Prometheus text."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from server.record import Status

_TOKEN_PARTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


def seed_event(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A turn (``Turn.summary``) under the seed's field names, with ours beside them.

    ``status`` knows three values only: ``success``, ``fallback_success`` (an earlier provider had
    failed) and ``error``; ``state`` is ours. ``inputTokens`` excludes the cache, as everywhere
    here. ``shadow*`` say where the turn might have gone, ``projectedSavingsUsd`` what that would have
    saved with the prompt cache reckoned in; a loss is negative. ``null`` means unknown, never nothing.
    """
    chain = list(summary.get("fallback_chain") or [])
    proposal, saving = summary.get("proposal") or {}, summary.get("saving") or {}
    is_shadowed = bool(proposal)
    return {
        "id": summary["id"],
        "timestamp": iso_utc(summary["at"]),
        "client": summary["client"],
        "protocol": summary["protocol"],
        "sessionId": summary["session"],
        "repoPath": summary["project"],
        "routeClass": summary["route"],
        "requestedModel": summary["model_asked"],
        "selectedProvider": summary["provider"],
        "selectedModel": summary["model_served"],
        "fallbackChain": chain,
        "inputTokens": summary["input_tokens"],
        "outputTokens": summary["output_tokens"],
        "cachedInputTokens": summary["cache_read_tokens"],
        "costEstimateUsd": summary["cost_usd"],
        "latencyMs": _milliseconds(summary["duration_s"]),
        "cacheHit": bool(summary["cache_read_tokens"]),
        "shadowRoute": summary["route"] if is_shadowed else None,
        "shadowProvider": proposal.get("provider"),
        "shadowConfidence": summary["confidence_level"] if is_shadowed else None,
        "projectedSavingsUsd": saving.get("usd"),
        "status": _seed_status(summary["status"], chain),
        "errorClass": _error_class(summary),
        "state": summary["status"],
        "kind": summary["kind"],
        "payer": summary["payer"],
        "ttftMs": _milliseconds(summary["ttft_s"]),
        "cacheWriteTokens": _cache_writes(summary),
        "usageSource": summary["usage_source"],
        "costIsEstimate": summary["cost_is_estimate"],
        "listPriceEquivalent": summary["list_price_equivalent"],
    }


class Histogram:
    """Counts of observations up to each bound, in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """``(upper bound, values up to it)``, ending with ``+Inf``."""
        total = 0.0
        rows = []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows


class SumsLike(Protocol):
    """The fields of ``server.stats.Sums`` that are exported."""

    turns: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cost_nusd: int
    estimated_nusd: int
    unpriced: int


def exposition(
    *,
    lifetime: Mapping[tuple[str, str, str, str], SumsLike],
    rejected: Mapping[str, int],
    attempts: Mapping[tuple[str, str], int],
    ttft: Mapping[str, Histogram],
    duration: Mapping[str, Histogram],
    shed: Mapping[str, int],
    in_flight: int,
    tasks: int,
    uptime_s: float,
) -> bytes:
    """Prometheus text, format 0.0.4; ``lifetime`` is keyed provider, route, payer, status."""
    metrics = [
        *_turn_counters(lifetime),
        _counter(
            "sbgw_rejected",
            "Requests refused without becoming turns.",
            ("reason",),
            (((reason,), count) for reason, count in rejected.items()),
        ),
        _counter(
            "sbgw_attempts",
            "Requests to upstreams in this run, by how they ended.",
            ("provider", "outcome"),
            attempts.items(),
        ),
        _counter(
            "sbgw_shed",
            "Requests refused in this run because there was too much to do, by what they were.",
            ("sort",),
            (((sort,), count) for sort, count in shed.items()),
        ),
        _histogram("sbgw_ttft_seconds", "Time to the first semantic byte, this run.", ttft),
        _histogram("sbgw_duration_seconds", "Whole duration of a turn, this run.", duration),
        GaugeMetricFamily("sbgw_in_flight", "Turns that run now.", value=in_flight),
        GaugeMetricFamily("sbgw_tasks", "Tasks of the event loop; steady at rest.", value=tasks),
        GaugeMetricFamily("sbgw_uptime_seconds", "Seconds since the start.", value=uptime_s),
    ]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(metrics))
    return generate_latest(registry)


class _Ready(Collector):
    """Hands the registry what was computed already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _turn_counters(lifetime: Mapping[tuple[str, str, str, str], SumsLike]) -> list[Metric]:
    turns: dict[tuple[str, ...], float] = {}
    tokens: dict[tuple[str, ...], float] = {}
    cost: dict[tuple[str, ...], float] = {}
    unpriced: dict[tuple[str, ...], float] = {}
    for (provider, route, payer, status), sums in lifetime.items():
        _add(turns, (provider, route, status), sums.turns)
        for part in _TOKEN_PARTS:
            _add(tokens, (provider, part.removesuffix("_tokens")), getattr(sums, part))
        reported = sums.cost_nusd - sums.estimated_nusd
        _add(cost, (provider, payer, "reported"), reported / 1e9)
        _add(cost, (provider, payer, "estimated"), sums.estimated_nusd / 1e9)
        _add(unpriced, (provider,), sums.unpriced)
    return [
        _counter("sbgw_turns", "Turns that ended.", ("provider", "route", "status"), turns.items()),
        _counter("sbgw_tokens", "Tokens as reported.", ("provider", "part"), tokens.items()),
        _counter(
            "sbgw_cost_usd",
            "Dollars; payer 'login' is a list-price equivalent, not a bill.",
            ("provider", "payer", "basis"),
            cost.items(),
        ),
        _counter(
            "sbgw_unpriced_turns",
            "Turns that cost an unknown amount.",
            ("provider",),
            unpriced.items(),
        ),
    ]


def _add(sums: dict[tuple[str, ...], float], key: tuple[str, ...], value: float) -> None:
    sums[key] = sums.get(key, 0.0) + value


def _counter(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, values: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("provider",))
    for provider, histogram in values.items():
        family.add_metric((provider,), histogram.cumulative(), histogram.sum)
    return family


def _seed_status(status: str, chain: Sequence[str]) -> str:
    if status != Status.COMPLETED:
        return "pending" if status == Status.OPEN else "error"
    return "fallback_success" if len(set(chain)) > 1 else "success"


def _error_class(summary: Mapping[str, Any]) -> str | None:
    if summary["status"] in (Status.COMPLETED, Status.OPEN):
        return None
    return summary["error_type"] or str(summary["status"])


def _cache_writes(summary: Mapping[str, Any]) -> int | None:
    parts = [summary["cache_write_5m_tokens"], summary["cache_write_1h_tokens"]]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def iso_utc(at: float) -> str:
    """UTC with milliseconds, as the seed writes it."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
