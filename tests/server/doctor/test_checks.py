"""The judging half of the doctor, on facts that are written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from server.doctor.contract import Fate, Outcome, features
from server.doctor.examine import examine
from server.doctor.facts import (
    Client,
    Facts,
    File,
    LedgerFacts,
    Machine,
    Network,
    Port,
    PriceFacts,
    Probe,
    Provider,
    SettingsFacts,
    Terminal,
    Value,
)
from server.doctor.finding import Finding, State, counted, listed, worst
from server.doctor.words import WORDS
from server.settings_errors import Warning_

TODAY = date(2026, 6, 1)
CLAUDE = Client("claude", "/bin/claude", (2, 1, 330), has_credential=True)
CODEX = Client("codex", "/bin/codex", (0, 169, 0))
GROQ = Provider("groq", "Groq", "GROQ_API_KEY", has_key=True, host="api.groq.example")
PORT = Port("127.0.0.1", 8787, "ours", own_version="2", version="2", status="up")
OF = {feature.id: feature for feature in features()}


def _asked(**about: object) -> tuple[Provider, ...]:
    return (replace(GROQ, probe=Probe(**about)),)  # type: ignore[arg-type]


def _terminal(**about: object) -> Facts:
    return Facts(machine=Machine(terminal=Terminal(**about)))  # type: ignore[arg-type]


def _fate(fate: Fate, status: int = 200, client: Client = CLAUDE) -> Facts:
    feature = OF["web-search"] if client.name == "claude" else OF["remote-compaction"]
    return Facts(clients=(client,), outcomes=(Outcome(feature, fate, "because", status),))


CASES: list[tuple[str, State, Facts]] = [
    ("python", State.OK, Facts()),
    ("python-old", State.FAIL, Facts(machine=Machine(python=(3, 10, 9)))),
    ("packages", State.OK, Facts()),
    ("package-missing", State.FAIL, Facts(machine=Machine(missing_packages=("quart",)))),
    ("package-version", State.WARN, Facts(machine=Machine(wrong_versions=("a 1, wanted 2",)))),
    ("file-missing", State.FAIL, Facts(machine=Machine(missing_files=("a.toml",)))),
    ("pythonpath-hostile", State.WARN, Facts(machine=Machine(hostile_paths=(("/a", "tui"),)))),
    ("not-sheltered", State.WARN, Facts(machine=Machine(is_sheltered=False))),
    ("disk", State.OK, Facts(machine=Machine(free_bytes=1 << 40))),
    ("disk-low", State.WARN, Facts(machine=Machine(free_bytes=100 << 20))),
    ("disk-full", State.FAIL, Facts(machine=Machine(free_bytes=1 << 20))),
    ("terminal", State.OK, _terminal()),
    ("terminal-none", State.OK, _terminal(is_tty=False)),
    ("terminal-dumb", State.WARN, _terminal(term="dumb")),
    ("terminal-small", State.WARN, _terminal(columns=40)),
    ("terminal-encoding", State.WARN, _terminal(encoding="ascii")),
    ("settings", State.OK, Facts()),
    ("setting", State.OK, Facts(settings=SettingsFacts(changed=(("a.b", "1", "a file"),)))),
    ("settings-wrong", State.FAIL, Facts(settings=SettingsFacts(problems=("x: unknown",)))),
    (
        "settings-note",
        State.WARN,
        Facts(settings=SettingsFacts(warnings=(Warning_("info", "any", "note"),))),
    ),
    ("key-default", State.OK, Facts()),
    ("key-own", State.OK, Facts(settings=SettingsFacts(has_default_key=False))),
    ("file-private", State.OK, Facts(files=(File("keys", "/.env", "private"),))),
    (
        "file-owned",
        State.OK,
        Facts(files=(File("settings", "/c", "private", holds_secret=False),)),
    ),
    ("file-absent", State.OK, Facts(files=(File("keys", "/.env", "absent"),))),
    ("file-open", State.FAIL, Facts(files=(File("keys", "/.env", "open", "644"),))),
    ("file-foreign", State.FAIL, Facts(files=(File("keys", "/.env", "foreign"),))),
    ("file-unusable", State.FAIL, Facts(files=(File("keys", "/.env", "unusable", "is odd"),))),
    ("port-free", State.OK, Facts(port=replace(PORT, state="free"))),
    ("port-ours", State.OK, Facts(port=PORT)),
    ("port-other-version", State.WARN, Facts(port=replace(PORT, version="1"))),
    ("gateway-degraded", State.WARN, Facts(port=replace(PORT, status="degraded"))),
    ("port-taken", State.FAIL, Facts(port=replace(PORT, state="taken"))),
    ("port-unusable", State.FAIL, Facts(port=replace(PORT, state="unusable", detail="no"))),
    ("gateway-silent", State.FAIL, Facts(port=replace(PORT, state="unanswered", detail="no"))),
    ("ledger", State.OK, Facts(ledger=LedgerFacts("/l", "ok", turns=3))),
    ("ledger-absent", State.OK, Facts(ledger=LedgerFacts("/l", "absent"))),
    ("ledger-unwritable", State.FAIL, Facts(ledger=LedgerFacts("/l", "unwritable", "full"))),
    ("ledger-damaged", State.FAIL, Facts(ledger=LedgerFacts("/l", "damaged", "torn"))),
    ("ledger-foreign", State.FAIL, Facts(ledger=LedgerFacts("/l", "foreign", "theirs"))),
    ("ledger-newer", State.FAIL, Facts(ledger=LedgerFacts("/l", "newer", "schema 99"))),
    ("ledger-unreadable", State.FAIL, Facts(ledger=LedgerFacts("/l", "unreadable", "no"))),
    ("ledger-spill", State.WARN, Facts(ledger=LedgerFacts("/l", "ok", spilled_files=2))),
    ("proxy", State.OK, Facts(network=Network(proxies=("HTTPS_PROXY",)))),
    (
        "proxy-loopback",
        State.WARN,
        Facts(network=Network(proxies=("HTTPS_PROXY",), exempts_gateway=False)),
    ),
    ("proxy-unusable", State.FAIL, Facts(network=Network(proxy_problem="SOCKS"))),
    (
        "certificate-unreadable",
        State.WARN,
        Facts(network=Network(bad_certificates=(("SSL_CERT_FILE", "/x"),))),
    ),
    ("certificates-wrong", State.FAIL, Facts(network=Network(certificate_problem="no PEM"))),
    ("interception", State.WARN, Facts(providers=_asked(status=200, issuer="Corp Proxy CA"))),
    ("clock", State.OK, Facts(providers=_asked(status=200, skew_s=2.0))),
    ("clock-skew", State.WARN, Facts(providers=_asked(status=200, skew_s=-31.0))),
    ("no-credential", State.FAIL, Facts(providers=(replace(GROQ, has_key=False),))),
    ("provider-unused", State.OK, Facts(providers=(replace(GROQ, has_key=False),))),
    (
        "provider-client",
        State.OK,
        Facts(providers=(replace(GROQ, has_key=False, takes_client_credential=True),)),
    ),
    (
        "provider-account",
        State.FAIL,
        Facts(providers=(replace(GROQ, has_account=False, account_name="ACCOUNT"),)),
    ),
    ("provider-not-asked", State.OK, Facts(providers=(GROQ,))),
    ("provider-live", State.OK, Facts(providers=_asked(status=200, models=frozenset("ab")))),
    ("provider-live-unlisted", State.OK, Facts(providers=_asked(status=200))),
    ("key-refused", State.FAIL, Facts(providers=_asked(status=403))),
    ("provider-limited", State.WARN, Facts(providers=_asked(status=429))),
    ("provider-failing", State.WARN, Facts(providers=_asked(status=500))),
    ("provider-wrong-address", State.WARN, Facts(providers=_asked(status=301))),
    ("provider-unreachable", State.FAIL, Facts(providers=_asked(error="timeout", text="late."))),
    ("provider-offline", State.FAIL, Facts(providers=_asked(error="offline", text="no route"))),
    ("provider-tls", State.FAIL, Facts(providers=_asked(error="tls", text="untrusted"))),
    (
        "model-retired",
        State.FAIL,
        Facts(providers=(replace(GROQ, models=("old",), retired={"old": "new"}),)),
    ),
    (
        "model-gone",
        State.FAIL,
        Facts(
            providers=(
                replace(GROQ, models=("m",), probe=Probe(status=200, models=frozenset("n"))),
            )
        ),
    ),
    (
        "models-served",
        State.OK,
        Facts(
            providers=(
                replace(GROQ, models=("m",), probe=Probe(status=200, models=frozenset("m"))),
            )
        ),
    ),
    ("prices", State.OK, Facts(prices=PriceFacts("p 1", TODAY - timedelta(days=90), TODAY))),
    ("prices-old", State.WARN, Facts(prices=PriceFacts("p 1", TODAY - timedelta(days=91), TODAY))),
    ("prices-missing", State.WARN, Facts(prices=PriceFacts("p 1", unpriced=("groq/x",)))),
    ("client", State.OK, Facts(clients=(CLAUDE,))),
    ("client-missing", State.WARN, Facts(clients=(replace(CLAUDE, path=None),))),
    ("client-old", State.WARN, Facts(clients=(replace(CLAUDE, version=(2, 1, 196)),))),
    ("client-unknown", State.WARN, Facts(clients=(replace(CLAUDE, version=None),))),
    ("client-newer", State.OK, Facts(clients=(replace(CODEX, version=(1, 0)),))),
    ("client-file-broken", State.WARN, Facts(clients=(replace(CLAUDE, broken_files=("/s",)),))),
    (
        "client-vendor",
        State.FAIL,
        Facts(clients=(replace(CLAUDE, other_vendors=(("V", "Bedrock", "a file"),)),)),
    ),
    (
        "client-refused",
        State.FAIL,
        Facts(clients=(replace(CODEX, refusal="it goes elsewhere", remedy="do not"),)),
    ),
    (
        "client-elsewhere",
        State.FAIL,
        Facts(
            clients=(
                replace(
                    CLAUDE,
                    is_elsewhere=True,
                    values={"ANTHROPIC_BASE_URL": Value("https://x", "a file")},
                ),
            )
        ),
    ),
    ("client-helper", State.WARN, Facts(clients=(replace(CLAUDE, key_helpers=("/s",)),))),
    ("client-direct", State.OK, Facts(clients=(CLAUDE,))),
    (
        "client-pointed",
        State.OK,
        Facts(
            clients=(
                replace(
                    CODEX, is_here=True, values={"openai_base_url": Value("http://x", "a file")}
                ),
            )
        ),
    ),
    (
        "codex-variable",
        State.WARN,
        Facts(clients=(replace(CODEX, values={"OPENAI_BASE_URL": Value("x", "y")}),)),
    ),
    ("features", State.OK, _fate(Fate.PASSED)),
    ("feature-off", State.WARN, _fate(Fate.TRANSLATED)),
    ("feature-off", State.WARN, _fate(Fate.REFUSED, 400)),
    ("feature-off", State.WARN, _fate(Fate.PASSED, 200, CODEX)),
    ("feature-broken", State.FAIL, _fate(Fate.CHANGED)),
    ("feature-broken", State.FAIL, _fate(Fate.LOST)),
    (
        "features-elsewhere",
        State.OK,
        replace(_fate(Fate.PASSED), providers=(replace(GROQ, name="anthropic", is_public=False),)),
    ),
    ("features-refused", State.WARN, _fate(Fate.REFUSED, 401)),
    ("features-untried", State.WARN, Facts(outcome_problem="no socket")),
    (
        "features-trial",
        State.WARN,
        replace(_fate(Fate.PASSED), replay_problem="it is of a version that cannot"),
    ),
]


def _found(facts: Facts, code: str) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.code == code]


@pytest.mark.parametrize(("code", "state", "facts"), CASES, ids=[case[0] for case in CASES])
def test_facts_lead_to_their_finding(code: str, state: State, facts: Facts) -> None:
    found = _found(facts, code)
    assert [finding.state for finding in found] == [state]
    assert found[0].text
    assert "{" not in found[0].text + found[0].fix
    assert state is State.OK or found[0].fix


def test_every_sentence_can_be_reached() -> None:
    assert {code for code, _, _ in CASES} == set(WORDS)


def test_nothing_known_is_nothing_wrong() -> None:
    assert worst(examine(Facts())) is State.OK


@pytest.mark.parametrize("code", ["interception", "clock-skew", "model-gone"])
def test_what_was_not_seen_is_not_judged(code: str) -> None:
    assert _found(Facts(providers=_asked(error="offline", text="x")), code) == []


@pytest.mark.parametrize("issuer", ["Let's Encrypt", "Google Trust Services LLC", "DigiCert Inc"])
def test_public_authorities_intercept_nothing(issuer: str) -> None:
    assert _found(Facts(providers=_asked(status=200, issuer=issuer)), "interception") == []


def test_a_server_of_ones_own_may_have_any_certificate() -> None:
    own = replace(GROQ, is_public=False, probe=Probe(status=200, issuer="home lab"))
    assert _found(Facts(providers=(own,)), "interception") == []


def test_one_wrong_clock_among_providers_is_not_ours() -> None:
    right = Provider("b", "B", "B_KEY", has_key=True, probe=Probe(status=200, skew_s=1.0))
    wrong = replace(right, name="a", probe=Probe(status=200, skew_s=900.0))
    assert _found(Facts(providers=(wrong, right)), "clock-skew") == []


def test_a_login_of_a_client_is_a_credential() -> None:
    facts = Facts(providers=(replace(GROQ, has_key=False),), clients=(CLAUDE,))
    assert _found(facts, "no-credential") == []


def test_remote_compaction_is_kept_where_codex_itself_points_here() -> None:
    here = replace(CODEX, is_here=True)
    assert _found(_fate(Fate.PASSED, 200, here), "feature-off") == []


def test_losses_of_a_client_that_is_not_installed_are_not_told() -> None:
    gone = replace(CLAUDE, path=None)
    assert _found(_fate(Fate.TRANSLATED, 200, gone), "feature-off") == []
    assert _found(_fate(Fate.CHANGED, 200, gone), "feature-broken")


def test_text_from_outside_is_made_harmless() -> None:
    facts = Facts(providers=_asked(error="tls", text="\x1b]0;owned\x07 {name} \u202e"))
    text = _found(facts, "provider-tls")[0].text
    assert text.isprintable()
    assert "{name}" in text


def test_lists_are_cut() -> None:
    assert listed("abcdefgh", 3) == "a, b, c and 5 more"
    assert listed("ab") == "a, b"
    assert (counted(1, "file"), counted(2, "file")) == ("1 file", "2 files")


def test_the_worst_state_counts() -> None:
    states = [State.WARN, State.FAIL, State.OK]
    assert worst(Finding("t", "c", state, "") for state in states) is State.FAIL
    assert worst([]) is State.OK


def test_a_gateway_that_was_started_before_the_key_was_set_is_to_start_anew() -> None:
    anthropic = replace(GROQ, name="anthropic")
    refused = replace(_fate(Fate.REFUSED, 401), providers=(anthropic,))
    assert "sbgw-tui init" in _found(refused, "features-refused")[0].fix
    running = replace(refused, tried_at="http://127.0.0.1:8787")
    assert "sbgw-tui restart" in _found(running, "features-refused")[0].fix


def test_who_tried_the_features_is_said() -> None:
    tried = replace(_fate(Fate.PASSED), tried_at="http://127.0.0.1:8787")
    assert "the gateway at http://127.0.0.1:8787 passes " in _found(tried, "features")[0].text
    own = _found(_fate(Fate.PASSED), "features")[0]
    assert "a gateway with these settings passes " in own.text
