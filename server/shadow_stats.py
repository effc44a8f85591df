"""``GET /shadow/stats``: the seed's fields, and what its figures leave out beside them.

Every ``*SavingsUsd`` is the cache-aware net and may be negative; the seed's own projection is
``naiveUsd``. ``realisedUsd`` is the part of ``cacheAwareUsd`` that comes from the
``realisedTurns`` that live mode did move. Turns whose provider has no key are counted, and are in no sum but ``needsKeyUsd``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.savings_book import SavingsBook, Tally
from server.stats_export import iso_utc


def shadow_stats(book: SavingsBook, *, is_shadow: bool) -> dict[str, Any]:
    """The JSON object; sums are over everything on record.

    ``totalRequests``: turns that ended and were not rejected. ``shadowedRequests``, ``count`` and
    ``confidence``: those that ran in shadow mode and would have moved, keys missing or not.
    """
    everything = book.all
    return {
        "shadowMode": is_shadow,
        "totalRequests": everything.observed,
        "shadowedRequests": everything.shadowed,
        "totalProjectedSavingsUsd": everything.usd / 1e9,
        "byRoute": {
            route: _route(book, route, tally)
            for route, tally in book.by_route.items()
            if tally.turns or tally.needs_key or tally.shadowed
        },
        "recentShadow": [_recent(summary) for summary in book.recent()],
        **_figures(everything),
        "actualCostUsd": everything.cost / 1e9,
    }


def _route(book: SavingsBook, route: str, tally: Tally) -> dict[str, Any]:
    levels: Mapping[str, int] = book.levels.get(route, {})
    return {
        "count": tally.shadowed,
        "projectedSavingsUsd": tally.usd / 1e9,
        "confidence": {level: number for level, number in levels.items() if number},
        **_figures(tally),
    }


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "naiveUsd": tally.naive / 1e9,
        "cacheAwareUsd": tally.usd / 1e9,
        "quotaLimitedUsd": tally.quota / 1e9,
        "realisedUsd": tally.moved_usd / 1e9,
        "realisedTurns": tally.moved,
        "lowUsd": tally.low / 1e9,
        "highUsd": tally.high / 1e9,
        "losses": tally.losses,
        "lossesUsd": tally.losses_usd / 1e9,
        "open": tally.open,
        "unpriced": tally.unpriced,
        "needsKey": tally.needs_key,
        "needsKeyUsd": tally.needs_key_usd / 1e9,
    }


def _recent(summary: dict[str, Any]) -> dict[str, Any]:
    proposal, saving = summary["proposal"], summary["saving"] or {}
    return {
        "id": summary["id"],
        "timestamp": iso_utc(summary["at"]),
        "actualRoute": summary["route"],
        "shadowRoute": summary["route"],
        "shadowProvider": proposal["provider"],
        "confidence": summary["confidence_level"],
        "projectedSavingsUsd": saving.get("usd"),
        "kind": summary["kind"],
        "actualProvider": summary["provider"],
        "actualModel": summary["model_served"] or summary["model_asked"],
        "shadowModel": proposal["model"],
        "proposal": proposal["state"],
        "reason": proposal["reason"],
        "state": saving.get("state"),
        "naiveUsd": saving.get("naive_usd"),
        "quotaLimitedUsd": saving.get("quota_usd"),
        "lowUsd": saving.get("low_usd"),
        "highUsd": saving.get("high_usd"),
        "note": saving.get("note"),
    }
