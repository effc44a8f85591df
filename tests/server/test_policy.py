"""The plan in shadow: the first baseline entry of the client's protocol that has a credential."""

from __future__ import annotations

import pytest

from providers.types import Protocol
from server.policy import NoCandidate, Plan, Target, plan_baseline
from server.settings_types import parse_entry

SPOKEN = {
    "anthropic": Protocol.MESSAGES,
    "mirror": Protocol.MESSAGES,
    "groq": Protocol.CHAT,
}


def plan(*entries: str, keys: tuple[str, ...] = ("anthropic", "mirror", "groq")) -> Plan:
    return plan_baseline(
        [parse_entry(entry) for entry in entries],
        Protocol.MESSAGES,
        speaks=SPOKEN.get,
        has_credential=lambda name: name in keys,
    )


def test_the_first_usable_entry_serves_and_the_rest_is_told() -> None:
    made = plan("groq", "anthropic", "mirror/claude-x")
    assert made.targets == (Target("anthropic"),)
    assert [(c.provider, c.state) for c in made.candidates] == [
        ("groq", "unsupported"),
        ("anthropic", "baseline"),
        ("mirror", "spare"),
    ]
    assert made.mode == "shadow"


def test_an_entry_without_a_credential_is_skipped_and_told() -> None:
    made = plan("anthropic", "mirror/claude-x", keys=("mirror",))
    assert made.targets == (Target("mirror", "claude-x"),)
    assert [c.state for c in made.candidates] == ["needs_key", "baseline"]


@pytest.mark.parametrize(
    ("entries", "keys", "words"),
    [
        (("anthropic",), (), "anthropic"),
        (("groq",), ("groq",), "none of which speaks anthropic-messages"),
        (("nobody",), (), "nobody"),
    ],
)
def test_no_candidate_says_what_is_missing(
    entries: tuple[str, ...], keys: tuple[str, ...], words: str
) -> None:
    with pytest.raises(NoCandidate, match=words):
        plan(*entries, keys=keys)
