"""The shared savings vectors, where they are at hand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from providers.pricing import Rate, Rates
from server.limits import PlanLimits
from server.savings import (
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

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "savings" / "vectors.json"
TOLERANCE = Decimal("1e-9")

Json = dict[str, Any]


def load() -> Json:
    if not VECTORS.is_file():
        return {"vectors": [], "prices": {}}
    found: Json = json.loads(VECTORS.read_text(), parse_float=Decimal)
    return found


DATA = load()


def rates(name: str) -> Rates:
    row = DATA["prices"][name]
    above = row.get("above", {})

    def rate(key: str) -> Rate | None:
        if key not in row:
            return None
        tiers = ((above["tokens"], Decimal(above[key])),) if key in above else ()
        return Rate(Decimal(row[key]), tiers)

    return Rates(
        model=name,
        source="vectors",
        input=rate("in"),
        output=rate("out"),
        cache_read=rate("read"),
        cache_write_5m=rate("w5m"),
        cache_write_1h=rate("w1h"),
    )


def spanned(bounds: Json, name: str, mid: Decimal) -> Span:
    return Span(mid, Decimal(bounds.get(f"{name}_lo", mid)), Decimal(bounds.get(f"{name}_hi", mid)))


def run_naive(given: Json) -> Json:
    chars, most = given["chars"], given.get("max_tokens")
    tokens_in, tokens_out = naive_tokens(chars, most)
    usd = naive(given["route"], chars, most)
    return {"est_input": tokens_in, "est_output": tokens_out, "naive_usd": usd}


def run_turn(given: Json) -> Json:
    usage, cheap, bounds = given["usage"], given["cheap"], given.get("bounds", {})
    later = given["next"]
    tokens = Tokens(
        usage.get("input", 0),
        usage.get("w5m", 0),
        usage.get("w1h", 0),
        usage.get("read", 0),
        usage.get("output", 0),
    )
    factors = Factors(
        k_in=exactly(cheap["k_in"]),
        k_out=spanned(bounds, "k_out", Decimal(cheap["k_out"])),
        fail=spanned(bounds, "fail", Decimal(given.get("fail_rate", 0))),
        eps=spanned(bounds, "eps", Decimal(1)),
    )
    there = Elsewhere(rates(cheap["model"]), cheap.get("stripped", 0), cheap.get("free", False))
    gaps = Gaps()
    if later["anthropic"]:
        gaps = Gaps(float(later["gap_prev_s"]), float(later["gap_next_s"]))
    made = project(tokens, rates(given["model"]), there, factors, gaps)
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


def run_live(given: Json) -> Json:
    bounds = given.get("bounds", {})
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
        rates(given["model"]),
        spanned(bounds, "eps", Decimal(1)),
        spanned(bounds, "out_ratio", Decimal(given["out_ratio"])),
    )
    return {
        "est_anthropic": made.baseline,
        "extra_write": made.extra_write,
        "realised": made.usd,
        "low": made.low,
        "high": made.high,
    }


def run_session(given: Json) -> Json:
    cheap = given["cheap"]
    quota = cheap.get("quota")
    names = {
        "rpm": "requests_per_minute",
        "rpd": "requests_per_day",
        "tpm": "tokens_per_minute",
        "tpd": "tokens_per_day",
    }
    limits = None
    if quota is not None:
        numbers = {names[key]: value for key, value in quota.items() if key in names}
        limits = PlanLimits(**numbers, reserves_answer=quota.get("reserve", False))
    away = Away(
        Elsewhere(rates(cheap["model"]), cheap.get("stripped", 0), cheap.get("free", False)),
        Decimal(cheap["k_in"]),
        Decimal(cheap["k_out"]),
        limits,
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
        rates(given["model"]),
        away,
        base=given["base_tokens"],
        ttl_s=float(given.get("ttl_s", 300)),
    )
    return {
        "all_anthropic": worlds.stayed,
        "routed": worlds.routed,
        "saving": worlds.saving,
        "admitted": list(worlds.admitted),
    }


RUN = {"naive": run_naive, "turn": run_turn, "live": run_live, "session": run_session}


@pytest.mark.skipif(not DATA["vectors"], reason="the shared vectors are not here")
def test_all_shared_vectors_hold() -> None:
    assert len(DATA["vectors"]) >= 15
    for vector in DATA["vectors"]:
        made = RUN[vector["kind"]](vector["in"])
        for name, expected in vector["expect"].items():
            if isinstance(expected, list):
                assert made[name] == expected, (vector["id"], name)
            else:
                assert abs(made[name] - Decimal(expected)) <= TOLERANCE, (vector["id"], name)
