from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

import providers
from providers.pricing import Cost, PriceOverride, Prices, Rate
from providers.types import Usage, UsageSource

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRICES = Prices()


def usd(amount: str) -> Decimal:
    return Decimal(amount)


def anthropic(model: str, usage: Usage, **more: Any) -> Cost:
    return PRICES.cost(provider="anthropic", model=model, usage=usage, at=AT, **more)


def usage(
    fresh: int | None = 0,
    out: int | None = 0,
    read: int | None = 0,
    write_5m: int | None = 0,
    write_1h: int | None = 0,
    raw: dict[str, Any] | None = None,
    **more: Any,
) -> Usage:
    return Usage(fresh, out, read, write_5m, write_1h, raw=raw or {}, **more)


# by hand


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        # 1,000 fresh, 200 out, 50,000 read, 3,000 written for 5 minutes, 2,000 for an hour.
        ("claude-opus-5-5", ["0.004", "0.004", "0.01", "0.015", "0.016"]),
        ("claude-sonnet-5-5", ["0.002", "0.002", "0.005", "0.0075", "0.008"]),
        ("claude-haiku-5-5", ["0.0001", "0.0001", "0.0005", "0.000375", "0.0004"]),
    ],
)
def test_all_five_rates(model: str, parts: list[str]) -> None:
    cost = anthropic(model, usage(1_000, 200, 50_000, 3_000, 2_000))
    names = ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h"]
    assert cost.parts == {name: usd(part) for name, part in zip(names, parts, strict=True)}
    assert cost.usd == sum(map(usd, parts))
    assert (cost.note, cost.is_estimate) == (None, False)
    assert cost.version == PRICES.version
    assert cost.version.startswith("genai-prices 0.")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        # 99,000 read and the rest fresh, 1,000 out, at 0.10 / 0.01 / 0.50 per million.
        (usage(1_000, 1_000, 99_000), "0.00159"),
        # One token more than 100,000: every token at five times the rate.
        (usage(1_001, 1_000, 99_000), "0.0079505"),
        # Cache writes count towards the line like everything else.
        (usage(1, 0, 0, 50_000, 50_000), "0.0812505"),
        (usage(0, 0, 0, 50_000, 50_000), "0.01625"),
    ],
)
def test_above_the_line_the_whole_request_moves_to_the_tier(prompt: Usage, expected: str) -> None:
    assert anthropic("claude-haiku-5-5", prompt).usd == usd(expected)


def test_web_searches_are_priced() -> None:
    cost = anthropic("claude-opus-5-5", usage(web_searches=3))
    assert cost.parts == {"web_search": usd("0.03")}


def test_an_answer_of_zero_tokens_costs_zero() -> None:
    assert anthropic("claude-opus-5-5", usage()) == Cost(usd("0"), {}, PRICES.version)


def test_rates_for_display() -> None:
    rates = PRICES.rates(provider="anthropic", model="claude-haiku-5-5", at=AT)
    assert rates is not None
    assert rates.output == Rate(usd("0.5"), ((100_000, usd("2.5")),))
    assert rates.cache_write_5m == Rate(usd("0.125"), ((100_000, usd("0.625")),))
    assert rates.cache_write_1h == Rate(usd("0.2"), ((100_000, usd("1")),))
    assert (rates.web_search, rates.is_tiered, rates.source) == (usd("10"), True, "genai-prices")
    assert rates.output.at(100_000) == usd("0.5")
    assert rates.output.at(100_001) == usd("2.5")


COUNTS = st.integers(0, 300_000)


@given(
    st.sampled_from(
        [
            ("anthropic", "claude-opus-5-5"),
            ("anthropic", "claude-haiku-5-5"),
            ("anthropic", "claude-sonnet-4-5"),
            ("anthropic", "claude-fable-5-2"),
            ("groq", "openai/gpt-oss-120b"),
            ("openai", "gpt-5.5"),
            ("cloudflare", "@cf/zai-org/glm-4.7-flash"),
        ]
    ),
    st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 5)),
    st.booleans(),
)
def test_agrees_with_the_packages_own_sum(
    model: tuple[str, str], counts: tuple[int, int, int, int, int, int], batch: bool
) -> None:
    fresh, out, read, write_5m, write_1h, searches = counts
    ours = Usage(fresh, out, read, write_5m, write_1h, None, searches)
    mine = PRICES.cost(provider=model[0], model=model[1], usage=ours, at=AT, batch=batch)
    rates = PRICES.rates(provider=model[0], model=model[1], at=AT)
    assert rates is not None
    # In the package input_tokens is the whole prompt, cache included.
    theirs: dict[str, int] = {
        "input_tokens": fresh + read + write_5m + write_1h,
        "output_tokens": out,
        "cache_read_tokens": read,
        "cache_write_tokens": write_5m + write_1h,
        "web_searches": searches,
    }
    if rates.cache_write_1h is not None:
        theirs["cache_write_1h_tokens"] = write_1h
    expected = calc_price(
        ListUsage(**theirs),
        model[1],
        provider_id=model[0],
        genai_request_timestamp=AT,
        price_context={"processing": "batch"} if batch else None,
    )
    assert mine.usd == expected.total_price


# names


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-5-5",
        "claude-opus-5-5[1m]",
        "Claude-Opus-5-5",
        " claude-opus-5-5 ",
        "claude-opus-5-5-20260930",
        "claude-opus-5-5-2026-09-30",
        "claude-opus-5-5@20260930",
        "claude-opus-5-5-20260930[1m]",
        "claude-opus-5-5-latest",
        "anthropic/claude-opus-5-5",
        "claude-opus-5.5",
    ],
)
def test_spellings_of_one_model(model: str) -> None:
    cost = anthropic(model, usage(1_000_000))
    assert (cost.usd, cost.note, cost.is_estimate) == (usd("4"), None, False)


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("claude-sonnet-4-20250514", "0.3"),
        ("claude-opus-4-20250514", "1.5"),
        ("claude-3-5-haiku-20241022", "0.08"),
        ("claude-haiku-4-5-20251001", "0.1"),
    ],
)
def test_dated_names_of_older_models_are_exact(model: str, price: str) -> None:
    cost = anthropic(model, usage(100_000))
    assert (cost.usd, cost.is_estimate) == (usd(price), False)


@pytest.mark.parametrize(
    ("provider", "model", "entry"),
    [
        ("openai", "gpt-5-codex", "gpt-5"),
        ("groq", "moonshotai/kimi-k2-instruct-0905", "moonshotai/kimi-k2-instruct"),
        ("anthropic", "claude-sonnet-4-5-turbo", "claude-sonnet-4-5"),
    ],
)
def test_a_name_matched_by_its_prefix_is_an_estimate(provider: str, model: str, entry: str) -> None:
    cost = PRICES.cost(provider=provider, model=model, usage=usage(1_000, 1_000), at=AT)
    assert cost.usd is not None
    assert (cost.note, cost.is_estimate) == (f"priced as {entry}", True)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-9"),
        ("anthropic", "claude-opus-5-5-turbo"),
        ("anthropic", "gpt-5.5"),
        ("anthropic", ""),
        ("anthropic", None),
        ("anthropic", "[1m]"),
        ("anthropic", "[" * 1_000_000 + "]"),
        ("anthropic", "claude-opus-5-5[" + "x" * 300 + "]"),
        ("ollama", "gpt-oss:20b"),
        # A local server must not be priced like the vendor its name mentions.
        ("my-anthropic-proxy", "claude-opus-5-5"),
        ("openai-local", "gpt-5.5"),
        ("", "claude-opus-5-5"),
        # In the list, but without any token price.
        ("cerebras", "qwen-3-coder-480b"),
    ],
)
def test_an_unknown_model_has_no_price(provider: str, model: str | None) -> None:
    cost = PRICES.cost(provider=provider, model=model, usage=usage(1_000, 1_000), at=AT)
    assert (cost.usd, cost.parts, cost.is_estimate) == (None, {}, False)
    assert cost.note is not None
    assert cost.note.startswith("no price for ")
    assert PRICES.rates(provider=provider, model=model, at=AT) is None


def test_a_retired_model_still_has_a_price() -> None:
    """A price does not mean that the provider still serves the model."""
    rates = PRICES.rates(provider="groq", model="llama-3.3-70b-versatile", at=AT)
    assert rates is not None
    assert (rates.input, rates.output) == (Rate(usd("0.59")), Rate(usd("0.79")))


# time


def test_prices_are_those_of_the_day() -> None:
    def above_200k(at: datetime) -> Decimal | None:
        cost = PRICES.cost(
            provider="anthropic", model="claude-opus-4-6", usage=usage(300_000), at=at
        )
        return cost.usd

    assert above_200k(datetime(2026, 3, 1, tzinfo=UTC)) == 3
    assert above_200k(AT) == usd("1.5")


# usage that does not tell everything


def test_no_usage_has_no_price() -> None:
    cost = anthropic("claude-opus-5-5", Usage())
    assert (cost.usd, cost.note) == (None, "the provider reported no usage")
    cost = anthropic("claude-opus-5-5", usage(1), source=UsageSource.NONE)
    assert cost.usd is None


def test_output_alone_has_no_price() -> None:
    cost = anthropic("claude-opus-5-5", usage(None, 500))
    assert (cost.usd, cost.parts) == (None, {})
    assert cost.note == "the provider did not report the input tokens"


def test_input_alone_is_an_estimate() -> None:
    cost = anthropic("claude-opus-5-5", usage(1_000_000, None))
    assert (cost.usd, cost.is_estimate) == (usd("4"), True)
    assert cost.note is not None
    assert "output tokens are not known" in cost.note


@pytest.mark.parametrize("source", [UsageSource.PARTIAL, UsageSource.ESTIMATED])
def test_usage_that_is_not_final_is_an_estimate(source: UsageSource) -> None:
    cost = anthropic("claude-opus-5-5", usage(1_000_000), source=source)
    assert (cost.usd, cost.is_estimate) == (usd("4"), True)
    assert cost.note


def test_counts_the_provider_did_not_send_cost_nothing() -> None:
    assert anthropic("claude-opus-5-5", usage(1_000_000, 0, None, None, None)).usd == 4


def test_cache_writes_of_unknown_lifetime_are_an_estimate() -> None:
    cost = anthropic("claude-opus-5-5", usage(0, 0, 0, 1_000_000, None))
    assert (cost.usd, cost.is_estimate) == (usd("5"), True)
    assert cost.note is not None
    assert "5-minute" in cost.note
    assert not anthropic("claude-opus-5-5", usage(0, 0, 0, 1_000_000, 0)).is_estimate


def test_cached_tokens_without_a_price_cost_like_input_and_say_so() -> None:
    prompt = usage(0, 0, 1_000_000)
    cost = PRICES.cost(provider="cerebras", model="gpt-oss-120b", usage=prompt, at=AT)
    assert (cost.usd, cost.is_estimate) == (usd("0.35"), True)
    assert cost.note is not None
    assert "cache_read" in cost.note


def test_output_without_a_price_makes_the_whole_unknown() -> None:
    cost = PRICES.cost(
        provider="cloudflare", model="@cf/baai/bge-m3", usage=usage(1_000, 10), at=AT
    )
    assert cost.usd is None
    fine = PRICES.cost(
        provider="cloudflare", model="@cf/baai/bge-m3", usage=usage(1_000_000, None), at=AT
    )
    assert (fine.usd, fine.note) == (usd("0.012"), None)


def test_charges_of_other_kinds_make_an_estimate() -> None:
    cost = PRICES.cost(provider="perplexity", model="sonar", usage=usage(1_000_000), at=AT)
    assert (cost.usd, cost.is_estimate) == (usd("1"), True)
    assert cost.note == "a charge per request is not included"


def test_searches_without_a_price_are_an_estimate() -> None:
    cost = PRICES.cost(
        provider="groq", model="openai/gpt-oss-120b", usage=usage(web_searches=2), at=AT
    )
    assert (cost.usd, cost.is_estimate) == (usd("0"), True)


# what changes the price


def test_batch_is_half_price() -> None:
    cost = anthropic("claude-haiku-5-5", usage(50_000, 1_000, 51_000), batch=True)
    # Above the line: 0.25 / 1.25 / 0.025 per million.
    assert (cost.usd, cost.note) == (usd("0.015025"), None)
    tier = anthropic("claude-haiku-5-5", usage(50_000, 1_000, 51_000, service_tier="batch"))
    assert tier == cost


def test_batch_before_the_list_knows_it_is_an_estimate_at_the_standard_price() -> None:
    cost = PRICES.cost(
        provider="anthropic",
        model="claude-opus-5-5",
        usage=usage(1_000_000),
        at=datetime(2026, 10, 13, tzinfo=UTC),
        batch=True,
    )
    assert (cost.usd, cost.is_estimate) == (usd("4"), True)
    assert cost.note == "no price for processing batch: the standard price is used"


def test_fast_mode_has_its_own_price_or_says_that_it_has_none() -> None:
    fast = {"speed": "fast"}
    assert anthropic("claude-opus-5-5", usage(1_000_000, raw=fast)) == Cost(
        usd("8"), {"input": usd("8")}, PRICES.version
    )
    cost = anthropic("claude-sonnet-5-5", usage(1_000_000, raw=fast))
    assert (cost.usd, cost.is_estimate) == (usd("2"), True)
    standard = anthropic("claude-opus-5-5", usage(1_000_000, raw={"speed": "standard"}))
    assert (standard.usd, standard.note) == (usd("4"), None)


def test_service_tiers() -> None:
    def of(tier: str, provider: str = "openai", model: str = "gpt-5.5") -> Cost:
        asked = usage(1_000, service_tier=tier)
        return PRICES.cost(provider=provider, model=model, usage=asked, at=AT)

    assert not of("default").is_estimate
    flex, default = of("flex"), of("default")
    assert flex.usd is not None
    assert default.usd is not None
    assert (flex.usd < default.usd, flex.note) == (True, None)
    assert not of("standard", "anthropic", "claude-opus-5-5").is_estimate
    priority = of("priority", "anthropic", "claude-opus-5-5")
    assert (priority.usd, priority.is_estimate) == (usd("0.004"), True)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"inference_geo": "us"}, "inference in us"),
        ({"inference_geo": "global"}, None),
        ({"inference_geo": "not_available"}, None),
        ({"inference_geo": None}, None),
        ({"server_tool_use": {"code_execution_requests": 1}}, "code execution"),
        ({"server_tool_use": {"code_execution_requests": 0}}, None),
        ({"fallback_credit": {"status": {"type": "redeemed"}}}, "credit"),
        ({"iterations": [{"type": "fallback_message"}]}, "fallback model"),
        ({"iterations": [{"type": "message"}, {"type": "message"}]}, None),
        ({"iterations": "junk"}, None),
    ],
)
def test_what_cannot_be_known_is_noted(raw: dict[str, Any], word: str | None) -> None:
    cost = anthropic("claude-opus-5-5", usage(1_000_000, raw=raw))
    assert (cost.usd, cost.is_estimate) == (usd("4"), word is not None)
    assert word is None or word in (cost.note or "")


def test_several_runs_in_one_answer_make_the_tier_uncertain() -> None:
    runs = {"iterations": [{"type": "message"}, {"type": "message"}]}
    assert anthropic("claude-haiku-5-5", usage(1_000, raw=runs)).is_estimate


def step(kind: str, fresh: int, out: int, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "input_tokens": fresh,
        "output_tokens": out,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        **more,
    }


def test_a_compaction_is_billed_beside_the_answer_and_at_its_own_tier() -> None:
    raw = {"iterations": [step("compaction", 180_000, 1_000), step("message", 1_000, 100)]}
    cost = anthropic("claude-haiku-5-5", usage(1_000, 100, raw=raw))
    assert cost.parts == {
        "input": usd("0.0001"),
        "output": usd("0.00005"),
        "compaction": usd("0.0925"),
    }
    assert cost.usd == usd("0.09265")


def test_an_advisor_is_billed_at_the_price_of_its_model() -> None:
    advice = step("advisor_message", 1_000, 100, model="claude-opus-5-5")
    cost = anthropic("claude-haiku-5-5", usage(1_000, raw={"iterations": [advice, advice]}))
    assert cost.parts == {"input": usd("0.0001"), "advisor": usd("0.012")}
    unknown = step("advisor_message", 1_000, 100, model="claude-secret-1")
    cost = anthropic("claude-haiku-5-5", usage(1_000, raw={"iterations": [unknown]}))
    assert (cost.usd, cost.parts) == (None, {})
    assert cost.note is not None
    assert "claude-secret-1" in cost.note


def test_the_steps_are_as_certain_as_their_own_usage() -> None:
    write = step("compaction", 0, 0, cache_creation_input_tokens=1_000_000)
    cost = anthropic("claude-opus-5-5", usage(1, raw={"iterations": [write, write]}))
    assert (cost.parts["compaction"], cost.is_estimate) == (usd("10"), True)
    assert (cost.note or "").count("5-minute") == 1
    empty = {"type": "compaction"}
    cost = anthropic("claude-opus-5-5", usage(1, raw={"iterations": [empty]}))
    assert (cost.usd, cost.parts) == (None, {})


# the user's own prices


def override(model: str = "local-model", **more: Any) -> PriceOverride:
    rates = {"input": usd("1"), "output": usd("2")}
    return PriceOverride(model=model, **(rates | more))


def test_own_prices_win_and_change_the_version() -> None:
    own = override("claude-opus-5-5", cache_read=usd("0.1"), cache_write_1h=usd("3"))
    prices = Prices([own])
    million = usage(1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000)
    cost = prices.cost(
        provider="anthropic", model="claude-opus-5-5-20260930[1m]", usage=million, at=AT
    )
    assert list(cost.parts.values()) == [1, 2, usd("0.1"), 1, 3]
    assert cost.is_estimate
    assert cost.version != PRICES.version
    assert Prices([override()]).version != cost.version
    assert prices.rates(provider="anthropic", model="claude-haiku-5-5", at=AT) is not None


def test_own_prices_make_a_local_model_known_even_at_zero() -> None:
    free = Prices([override(input=usd("0"), output=usd("0"))])
    cost = free.cost(provider="ollama", model="Local-Model", usage=usage(5, 5), at=AT)
    assert (cost.usd, cost.note) == (usd("0"), None)


def test_which_own_price_holds() -> None:
    prices = Prices(
        [
            override(input=usd("1")),
            override(input=usd("2"), from_date=date(2026, 11, 1)),
            override(input=usd("3"), from_date=date(2026, 12, 1)),
            override(input=usd("4"), provider="groq"),
            override(input=usd("5"), provider="groq"),
        ]
    )

    def price(provider: str, at: datetime) -> Decimal | None:
        cost = prices.cost(
            provider=provider, model="local-model", usage=usage(1_000_000, None), at=at
        )
        return cost.usd

    assert price("ollama", datetime(2026, 10, 31, tzinfo=UTC)) == 1
    assert price("ollama", AT) == 2
    assert price("ollama", datetime(2026, 12, 1)) == 3  # noqa: DTZ001
    east = timezone(timedelta(hours=9))
    assert price("ollama", datetime(2026, 12, 1, 8, tzinfo=east)) == 2
    assert price("groq", AT) == 5


def test_own_prices_know_no_variants() -> None:
    cost = Prices([override()]).cost(
        provider="x", model="local-model", usage=usage(1_000_000), at=AT, batch=True
    )
    assert (cost.usd, cost.is_estimate) == (usd("1"), True)


# cost of having it


def test_importing_this_module_does_not_load_the_price_list() -> None:
    code = "import sys, providers.pricing as p; p.Prices(); print('genai_prices' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(providers.__file__).parents[1],
    )
    assert run.stdout == "False\n"
