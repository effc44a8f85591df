from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE, assert_safe

from server.breaker import State
from tui import format as fmt
from tui import provider_health as health
from tui import provider_page
from tui.lines import plain, width_of

OPEN = {"breaker": "open", "failures": 5, "retry_in_s": 42.0, "breaker_error": "connection refused"}


def test_every_state_of_a_breaker_has_a_look_of_its_own() -> None:
    assert set(health.BREAKERS) == {state.value for state in State}
    looks = [look for look, _ in health.SIGNS]
    looks += list(provider_page.LOOKS.values())
    assert len({look.glyph for look in looks}) == len(looks)
    assert all(fmt.to_ascii(f"{look.glyph} {look.word}").isascii() for look in looks)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"breaker": "closed", "paused": False, "cooldown": None}, None),
        ({}, None),
        (OPEN, "■ open 42s"),
        ({"breaker": "half-open", "retry_in_s": 0.0}, "◑ half-open"),
        ({**OPEN, "paused": True}, "‖ paused"),
        ({"breaker": "closed", "cooldown": {"cause": "rate limit", "left_s": 90.0}}, "◔ cooling 1m"),
        ({"cooldown": {"cause": "rate limit", "left_s": 0.0}}, None),
        ({"cooldown": 5, "breaker": 7, "paused": "yes"}, None),
    ],
)  # fmt: skip
def test_what_keeps_it_from_being_tried(fields: dict[str, Any], shown: str | None) -> None:
    look = health.held_look(fields)
    assert shown == (None if look is None else f"{look.glyph} {look.word}")
    if shown is not None:
        assert shown in plain(provider_page.row("groq", {"status": "failing", **fields}, 78))


def test_the_breaker_in_words() -> None:
    models = [f"m{number}" for number in range(6)]
    said = health.breaker_text({**OPEN, "open_models": models})
    assert said == ("■ open, 5 failures in a row, tried again in 42s, for m0, m1, m2, m3 and 2 more", "bad")  # fmt: skip
    assert health.breaker_text({}) is None
    assert health.breaker_error({**OPEN, "last_error": "connection refused"}) is None
    assert health.breaker_error(OPEN) == "connection refused"


def test_a_cooldown_in_words() -> None:
    assert health.cooldown_text({"cooldown": {"cause": "quota used up", "left_s": 600}}) == (
        "◔ quota used up, for 10m more"
    )


def test_what_a_probe_found() -> None:
    probe = {"ok": True, "message": "it answers", "latency_s": 0.12, "at": None}
    assert health.probe_text({"probe": probe}) == ("● it answers in 0.12s", "good")
    refused = health.probe_text({"probe": {"ok": False, "message": "it refused our key"}})
    assert refused == ("▲ it refused our key", "warn")
    assert health.probe_text({"probe": None}) is None


def test_all_of_it_stands_in_the_detail() -> None:
    found = {**OPEN, "paused": True, "cooldown": {"cause": "rate limit", "left_s": 9.0}}
    text = "\n".join(plain(x) for x in provider_page.detail("groq", found, 78))
    for part in ("you paused it", "■ open, 5 failures", "connection refused", "rate limit, for 9s"):
        assert part in text, part


@pytest.mark.parametrize("width", [58, 78, 158])
def test_nothing_from_outside_breaks_it(width: int) -> None:
    for text in HOSTILE:
        names = ("breaker", "breaker_error", "paused", "failures", "retry_in_s")
        found: dict[str, Any] = {name: text for name in names}
        found |= {"open_models": [text, 5], "cooldown": {"cause": text, "left_s": 3}}
        found |= {"probe": {"message": text, "latency_s": text, "at": text}}
        for line in provider_page.detail("x", found, width):
            assert_safe(plain(line))
            assert width_of(line) <= width
