from __future__ import annotations

from typing import Any

import pytest
from fake_clock import FakeClock
from fake_engine import FakeEngine
from hostile_text import HOSTILE, assert_safe

from tui import format as fmt
from tui import provider_page
from tui.lines import plain, width_of

WIDTHS = (58, 78, 118, 158)
TOKENS = {
    "anthropic-ratelimit-tokens": {
        "limit": "400000",
        "remaining": "312000",
        "reset": "2027-01-15T08:01:00Z",
    }
}


def provider(name: str = "groq", status: str = "ok", **fields: Any) -> dict[str, Any]:
    engine = FakeEngine(FakeClock())
    engine.provider(name, status, **fields)
    return engine.providers[name]


def detail(name: str, found: dict[str, Any], width: int = 78) -> str:
    return "\n".join(plain(line) for line in provider_page.detail(name, found, width))


def test_states_differ_without_colour() -> None:
    words = [
        f"{provider_page.look_of(provider(status=status)).glyph}"
        for status in (*provider_page.LOOKS, "odd")
    ]
    assert len(set(words)) == len(words)
    assert set(provider_page.STATE_HELP) == set(provider_page.LOOKS)
    for look in provider_page.LOOKS.values():
        assert fmt.to_ascii(f"{look.glyph} {look.word}").isascii()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"credential": "our key"}, "set"),
        ({"credential": "the client's"}, "client's"),
        ({"credential": "none", "configured": False}, "missing"),
        ({"credential": "none"}, "none"),
    ],
)
def test_whose_key_it_is(fields: dict[str, Any], word: str) -> None:
    found = provider(**fields)
    assert provider_page.key_state(found)[0] == word
    assert f" {word} " in plain(provider_page.row("groq", found, 78))


def test_a_missing_key_is_named() -> None:
    missing: dict[str, Any] = {"configured": False, "credential": "none"}
    assert "CEREBRAS_API_KEY is not set" in detail("cerebras", provider("cerebras", **missing))
    own = provider("lab", key_env="LAB_KEY", **missing)
    assert "LAB_KEY is not set" in detail("lab", own)
    assert "its key is not set" in detail("lab", provider("lab", **missing))


def test_what_a_reader_looks_for() -> None:
    found = provider(
        "anthropic",
        "failing",
        error="HTTP 529 overloaded",
        requests=200,
        errors=3,
        ttft_p50_s=0.82,
        ttft_p95_s=3.4,
        rate_limits=TOKENS,
    )
    text = detail("anthropic", found)
    for part in (
        "anthropic  Anthropic  ✕ failing since ",
        "https://api.anthropic.example",
        "anthropic-messages",
        "200, 3 errors (1.5%)",
        "half within 0.82s, 95 % within 3.40s",
        "HTTP 529 overloaded",
        "RATE LIMITS",
        "312,000 of 400,000 left, resets ",
    ):
        assert part in text, part
    row = plain(provider_page.row("anthropic", found, 118))
    for part in ("✕ failing", "anthropic", " 200 ", " 3 ", "0.82s", "3.40s", "78%", "HTTP 529"):
        assert part in row, part


def test_the_tightest_window_is_in_the_table() -> None:
    limits = {**TOKENS, "anthropic-ratelimit-unified-5h": {"utilization": "0.91", "reset": "1e9"}}
    assert " 9%" in plain(provider_page.row("a", provider(rate_limits=limits), 118))


@pytest.mark.parametrize(
    ("fields", "left", "said"),
    [
        ({"limit": "10", "remaining": "4"}, 0.4, "4 of 10 left"),
        ({"limit": "10", "remaining": "40"}, 1.0, "40 of 10 left"),
        ({"limit": "0", "remaining": "0"}, None, "limit 0, remaining 0"),
        ({"utilization": "1.3"}, 0.0, "0% left"),
        ({"status": "allowed", "reset": "7.66"}, None, "status allowed, resets in 7.66s"),
        ({"limit": "many", "reset": "soon"}, None, "limit many, resets soon"),
        ({"limit": "inf", "remaining": "nan"}, None, "limit inf, remaining nan"),
        ({}, None, "reported without figures"),
    ],
)
def test_windows_of_every_shape(fields: dict[str, Any], left: float | None, said: str) -> None:
    (window,) = provider_page.windows(provider(rate_limits={"x-ratelimit-tokens": fields}))
    assert (window.name, window.left, window.text) == ("tokens", left, said)


@pytest.mark.parametrize(
    ("left", "full", "role"), [(0.0, 0, "bad"), (0.001, 1, "warn"), (0.5, 5, "accent"), (1.0, 10, "accent")]
)  # fmt: skip
def test_a_gauge_is_empty_only_when_nothing_is_left(left: float, full: int, role: str) -> None:
    drawn = provider_page.gauge(left, 10)
    assert plain(drawn) == "█" * full + "░" * (10 - full)
    assert drawn[0][1] == role


@pytest.mark.parametrize("width", WIDTHS)
def test_titles_and_rows_have_one_width(width: int) -> None:
    titles = provider_page.titles(width)
    assert width_of(titles) <= width
    for name, found in (("groq", provider()), ("x" * 90, provider(rate_limits=TOKENS))):
        assert width_of(provider_page.row(name, found, width)) + 1 == width_of(titles)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        found = {
            **{name: text for name in provider()},
            "rate_limits": {text: {"limit": text, "reset": text, text: text}, "x": text},
            "key_env": text,
        }
        for line in [
            *provider_page.detail(text, found, width),
            provider_page.row(text, found, width),
        ]:
            assert_safe(plain(line).replace("\n", ""))
            assert width_of(line) <= width
    oddities: list[Any] = [None, 5, [1], {"limit": {}}]
    for odd in oddities:
        found = {name: odd for name in provider()} | {"rate_limits": {"x": odd}}
        provider_page.detail("x", found, width)
        provider_page.row("x", found, width)


def test_what_is_under_way_and_what_was_learned() -> None:
    learned = {"gpt-oss-120b": ["no seed", "at most 8192 tokens of output"], "odd": "x", "none": []}
    text = detail("groq", provider(in_flight=3, waiting=1, learned=learned))
    assert "under way    3, 1 waiting for a place" in text
    assert "learned      gpt-oss-120b takes no seed, at most 8192 tokens of output" in text
    assert "odd takes" not in text
    assert "none takes" not in text
    quiet = detail("groq", provider())
    assert "under way" not in quiet
    assert "learned" not in quiet


def test_learned_words_are_safe() -> None:
    for hostile in HOSTILE:
        for line in provider_page.detail("groq", provider(learned={hostile: [hostile]}), 78):
            assert_safe(plain(line))
