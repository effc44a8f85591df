"""The recorded contract: how it is judged, and that a gateway keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from settings_home import SettingsHome

from providers.types import Headers
from server.doctor.contract import REPLIES, Answer, Fate, Feature, Seen, features, judge
from server.doctor.loopback import ANSWERS
from server.doctor.selftest import try_contract

FEATURE = Feature(
    id="f",
    client="claude",
    title="a feature",
    path="/v1/messages?beta=true",
    body='{"a":1}',
    betas=("one", "two"),
    headers={"x-note": "kept"},
)
HEADERS: Headers = [(b"Anthropic-Beta", b"zero, one,two"), (b"X-Note", b"kept")]
SEEN = Seen("anthropic", "/messages?beta=true", HEADERS, b'{"a":1}')
REPLY = b"data: 1"
ANSWER = Answer(200, REPLY)


def test_what_arrives_unchanged_at_both_ends_passes() -> None:
    assert judge(FEATURE, ANSWER, SEEN, REPLY).fate is Fate.PASSED


@pytest.mark.parametrize(
    ("seen", "answer", "detail"),
    [
        (Seen("a", SEEN.target, HEADERS, b'{"a": 1}'), ANSWER, "the body"),
        (Seen("a", "/messages", HEADERS, SEEN.body), ANSWER, "the query"),
        (Seen("a", SEEN.target, HEADERS[1:], SEEN.body), ANSWER, "the beta one, the beta two"),
        (Seen("a", SEEN.target, HEADERS[:1], SEEN.body), ANSWER, "the header x-note"),
        (SEEN, Answer(200, b"data: 2"), "the answer"),
    ],
)
def test_any_change_is_named(seen: Seen, answer: Answer, detail: str) -> None:
    outcome = judge(FEATURE, answer, seen, REPLY)
    assert outcome.fate is Fate.CHANGED
    assert outcome.detail == f"the gateway changed {detail}"


def test_another_protocol_is_a_translation() -> None:
    elsewhere = Seen("groq", "/chat/completions", [], b"{}")
    outcome = judge(FEATURE, ANSWER, elsewhere, REPLY)
    assert (outcome.fate, outcome.provider) == (Fate.TRANSLATED, "groq")


def test_what_nobody_received_was_refused() -> None:
    body = json.dumps({"error": {"message": "no key"}}).encode()
    outcome = judge(FEATURE, Answer(401, body), None, REPLY)
    assert (outcome.fate, outcome.status, outcome.detail) == (Fate.REFUSED, 401, "no key")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error": 3}', b"\xff"])
def test_a_refusal_in_no_known_form(body: bytes) -> None:
    assert judge(FEATURE, Answer(500, body), None, REPLY).detail == "without a reason"


def test_what_the_gateway_answers_itself_must_not_go_further() -> None:
    own = Feature(id="o", client="codex", title="t", path="/v1/responses", status=426)
    assert judge(own, Answer(426, b""), None, b"").fate is Fate.PASSED
    assert judge(own, Answer(426, b""), SEEN, b"").fate is Fate.LOST
    assert judge(own, Answer(404, b""), None, b"").fate is Fate.LOST


def test_an_answer_that_is_added_to_must_hold_the_original() -> None:
    listed = Feature(id="l", client="claude", title="t", path="/v1/models", answer_holds="m1")
    seen = Seen("anthropic", "/models", [], b"")
    assert judge(listed, Answer(200, b"[m1, more]"), seen, b"[m1]").fate is Fate.PASSED
    assert judge(listed, Answer(200, b"[m2]"), seen, b"[m1]").fate is Fate.CHANGED


@pytest.mark.parametrize("feature", features(), ids=[feature.id for feature in features()])
def test_the_data_make_sense(feature: Feature) -> None:
    assert feature.client in ("claude", "codex")
    if feature.payload:
        assert isinstance(json.loads(feature.payload), dict)
    assert (feature.reply in REPLIES) == (feature.status is None)
    assert set(REPLIES) <= set(ANSWERS)
    assert bool(feature.launcher) == bool(feature.launcher_fix)


@pytest.mark.parametrize(
    ("value", "is_off"), [("false", True), ("0", True), ("true", False), ("", False)]
)
def test_a_switch_with_values(value: str, is_off: bool) -> None:
    search = next(f for f in features() if f.id == "tool-search")
    assert search.switched_off_by("ENABLE_TOOL_SEARCH", value) is is_off
    assert not search.switched_off_by("SOMETHING_ELSE", "1")


@pytest.mark.parametrize(("value", "is_off"), [("1", True), ("yes", True), ("0", False)])
def test_a_switch_that_is_true(value: str, is_off: bool) -> None:
    cache = next(f for f in features() if f.id == "cache-1h")
    assert cache.switched_off_by("DISABLE_PROMPT_CACHING", value) is is_off


async def test_a_gateway_keeps_the_whole_contract(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)
    home.config('[server]\nhost = "0.0.0.0"\nport = 1\n')
    loaded = home.load(
        ANTHROPIC_API_KEY="sk-ant-real",
        OPENAI_API_KEY="sk-real",
        STACKBILT_GATEWAY_KEY="a-key-of-my-own",
    )
    outcomes = await try_contract(loaded, features(), ())
    assert {o.feature.id: (o.fate, o.detail) for o in outcomes} == {
        feature.id: (Fate.PASSED, "") for feature in features()
    }
    assert sorted(path.name for path in home.home.iterdir()) == ["config.toml"]


async def test_without_any_credential_requests_are_refused(tmp_path: Path) -> None:
    loaded = SettingsHome(tmp_path).load()
    relayed = [f for f in features() if f.status is None]
    refused = await try_contract(loaded, relayed, ())
    assert {(o.fate, o.status) for o in refused} == {(Fate.REFUSED, 401)}
    with_login = await try_contract(loaded, relayed, ("claude", "codex"))
    assert {o.fate for o in with_login} == {Fate.PASSED}


async def test_a_live_route_does_not_take_features_away(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)
    home.config("[routing]\nshadow = false\n")
    loaded = home.load(ANTHROPIC_API_KEY="sk-a", OPENAI_API_KEY="sk-o", GROQ_API_KEY="gsk-g")
    outcomes = await try_contract(loaded, features(), ())
    assert [o.feature.id for o in outcomes if o.fate is not Fate.PASSED] == []
