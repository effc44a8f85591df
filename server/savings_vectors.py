"""Savings vectors: cases with their expected figures, run against the formulas.

A file is a JSON object with ``prices`` (USD per million tokens by model: ``in out w5m w1h read``,
and ``above``: the same from more than ``tokens`` prompt tokens on) and ``vectors``, each with
``id``, ``kind`` (``naive turn live session``), ``in`` and ``expect``. Figures are USD and hold
within ``TOLERANCE``; token counts and lists hold exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

from providers.pricing import Rate, Rates
from server.limits import PlanLimits
from server.savings import (
    LIFETIME_5M_S,
    Elsewhere,
    Factors,
    Gaps,
    Moved,
    Span,
    Tokens,
    exactly,
    naive,
    naive_tokens,
    project,
    realised,
)
from server.savings_worlds import Away, Step, play

TOLERANCE: Final = Decimal("1e-9")

Json = Mapping[str, Any]
PriceTable = Mapping[str, Rates]

_LIMITS: Final = {
    "rpm": "requests_per_minute",
    "rpd": "requests_per_day",
    "tpm": "tokens_per_minute",
    "tpd": "tokens_per_day",
}


class NotVectors(ValueError):
    """The file is no list of vectors; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one vector."""

    name: str
    misses: tuple[str, ...]
    """One sentence per figure that is not as expected; none when it passed."""


def run_file(path: Path) -> list[Outcome]:
    """Run every vector of a file; raises ``NotVectors``, or ``OSError`` when it cannot be read."""
    try:
        data = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except ValueError as error:
        raise NotVectors(f"not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("vectors"), list):
        raise NotVectors("an object with a list of vectors is expected")
    prices = data.get("prices") or {}
    if not isinstance(prices, dict):
        raise NotVectors("prices must be an object")
    return list(run(data["vectors"], {name: rates_of(name, row) for name, row in prices.items()}))


def run(vectors: Iterable[Any], prices: PriceTable) -> Iterable[Outcome]:
    """Each vector in turn; one that cannot be run is a miss, not an exception."""
    for position, vector in enumerate(vectors, 1):
        is_object = isinstance(vector, dict)
        name = str(vector.get("id", position)) if is_object else str(position)
        try:
            made = _RUN[vector["kind"]](vector["in"], prices)
            misses = tuple(_misses(made, vector["expect"]))
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            misses = (f"cannot be run: {type(error).__name__}: {error}",)
        yield Outcome(name, misses)


def report(outcomes: Iterable[Outcome], out: TextIO) -> bool:
    """Write the misses and the sum; whether all passed."""
    passed = failed = 0
    for outcome in outcomes:
        passed += not outcome.misses
        failed += bool(outcome.misses)
        for miss in outcome.misses:
            out.write(f"{outcome.name}: {miss}\n")
    out.write(f"{passed} passed, {failed} failed\n")
    return failed == 0


def main(arguments: list[str], out: TextIO, err: TextIO) -> int:
    """``python -m server.savings FILE``; 0 all passed, 1 some failed, 2 no such vectors."""
    if len(arguments) != 1:
        err.write("usage: python -m server.savings FILE\n")
        return 2
    try:
        outcomes = run_file(Path(arguments[0]))
    except (OSError, NotVectors) as error:
        err.write(f"{arguments[0]}: {error}\n")
        return 2
    return 0 if report(outcomes, out) else 1


def rates_of(name: str, row: Json) -> Rates:
    """One row of the price table; raises ``NotVectors``."""
    try:
        above = row.get("above") or {}
        return Rates(
            model=name,
            source="vectors",
            input=_rate(row, above, "in"),
            output=_rate(row, above, "out"),
            cache_read=_rate(row, above, "read"),
            cache_write_5m=_rate(row, above, "w5m"),
            cache_write_1h=_rate(row, above, "w1h"),
        )
    except (AttributeError, KeyError, TypeError, ArithmeticError) as error:
        raise NotVectors(f"the prices of {name} cannot be read: {error!r}") from error


def _rate(row: Json, above: Json, key: str) -> Rate | None:
    if key not in row:
        return None
    tiers = ((int(above["tokens"]), Decimal(above[key])),) if key in above else ()
    return Rate(Decimal(row[key]), tiers)


def _misses(made: Json, expected: Json) -> Iterable[str]:
    if not expected:
        yield "nothing is expected of it"
    for name, value in expected.items():
        if name not in made:
            yield f"{name}: expected {value}, there is no such figure"
        elif not _agrees(made[name], value):
            yield f"{name}: expected {value}, got {made[name]}"


def _agrees(made: Any, expected: Any) -> bool:
    if isinstance(made, Decimal):
        return abs(made - Decimal(expected)) <= TOLERANCE
    return bool(made == expected)


def _span(bounds: Json, name: str, mid: Decimal) -> Span:
    return Span(mid, Decimal(bounds.get(f"{name}_lo", mid)), Decimal(bounds.get(f"{name}_hi", mid)))


def _there(cheap: Json, prices: PriceTable) -> Elsewhere:
    return Elsewhere(prices[cheap["model"]], cheap.get("stripped", 0), cheap.get("free", False))


def _naive(given: Json, prices: PriceTable) -> Json:
    chars, most = given["chars"], given.get("max_tokens")
    tokens_in, tokens_out = naive_tokens(chars, most)
    usd = naive(given["route"], chars, most)
    return {"est_input": tokens_in, "est_output": tokens_out, "naive_usd": usd}


def _gaps(following: Json) -> Gaps:
    if not following.get("anthropic"):
        return Gaps()
    before, after = following.get("gap_prev_s"), following.get("gap_next_s")
    return Gaps(None if before is None else float(before), None if after is None else float(after))


def _turn(given: Json, prices: PriceTable) -> Json:
    usage, cheap, bounds = given["usage"], given["cheap"], given.get("bounds") or {}
    tokens = Tokens(
        usage.get("input", 0),
        usage.get("w5m", 0),
        usage.get("w1h", 0),
        usage.get("read", 0),
        usage.get("output", 0),
    )
    factors = Factors(
        k_in=exactly(cheap["k_in"]),
        k_out=_span(bounds, "k_out", Decimal(cheap["k_out"])),
        fail=_span(bounds, "fail", Decimal(given.get("fail_rate", 0))),
        eps=_span(bounds, "eps", Decimal(1)),
    )
    gaps = _gaps(given.get("next") or {})
    made = project(tokens, prices[given["model"]], _there(cheap, prices), factors, gaps)
    return {
        "cost_anthropic": made.baseline,
        "cheap_input": made.target_input,
        "cheap_output": made.target_output,
        "cost_cheap": made.target,
        "direct": made.direct,
        "penalty_write": made.penalty_write,
        "penalty_ttl": made.penalty_ttl,
        "net": made.net,
        "expected": made.expected,
        "low": made.low,
        "high": made.high,
    }


def _live(given: Json, prices: PriceTable) -> Json:
    bounds = given.get("bounds") or {}
    moved = Moved(
        prefix=given["prefix_tokens"],
        increment=given["increment_est"],
        is_warm=given["cache_warm"],
        output=given["cheap_output"],
        paid=Decimal(given["cheap_cost"]),
        extra_write=given.get("extra_write_tokens", 0),
        is_redone=given.get("redone", False),
        redo=Decimal(given.get("redo_cost", 0)),
    )
    made = realised(
        moved,
        prices[given["model"]],
        _span(bounds, "eps", Decimal(1)),
        _span(bounds, "out_ratio", Decimal(given["out_ratio"])),
    )
    return {
        "est_anthropic": made.baseline,
        "extra_write": made.extra_write,
        "realised": made.usd,
        "low": made.low,
        "high": made.high,
    }


def _plan_limits(quota: Json | None) -> PlanLimits | None:
    if quota is None:
        return None
    numbers = {_LIMITS[key]: value for key, value in quota.items() if key in _LIMITS}
    return PlanLimits(**numbers, reserves_answer=quota.get("reserve", False))


def _session(given: Json, prices: PriceTable) -> Json:
    cheap = given["cheap"]
    away = Away(
        _there(cheap, prices),
        Decimal(cheap["k_in"]),
        Decimal(cheap["k_out"]),
        _plan_limits(cheap.get("quota")),
        cheap.get("over_quota", "stay"),
    )
    steps = [
        Step(
            float(turn["t"]),
            turn["new"],
            turn["out"],
            turn.get("offload", False),
            turn.get("redo", False),
            turn.get("max_tokens"),
        )
        for turn in given["turns"]
    ]
    worlds = play(
        steps,
        prices[given["model"]],
        away,
        base=given["base_tokens"],
        ttl_s=float(given.get("ttl_s", LIFETIME_5M_S)),
    )
    return {
        "all_anthropic": worlds.stayed,
        "routed": worlds.routed,
        "saving": worlds.saving,
        "admitted": list(worlds.admitted),
    }


_RUN: Final[Mapping[str, Callable[[Json, PriceTable], Json]]] = {
    "naive": _naive,
    "turn": _turn,
    "live": _live,
    "session": _session,
}
