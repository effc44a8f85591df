"""Which features of the clients this set-up turns off, and what turns them on again."""

from __future__ import annotations

from server.doctor.clients import TRIED
from server.doctor.contract import Fate, Feature, Outcome
from server.doctor.facts import Client, Facts, Provider
from server.doctor.finding import Finding, Findings, counted

_BASELINES = {"claude": "messages", "codex": "responses"}


def check(facts: Facts) -> list[Finding]:
    """Findings about the features of the clients that are installed."""
    out = Findings("features")
    if facts.outcomes is None:
        if facts.outcome_problem:
            fix = "mend the findings above, then run the doctor again"
            out.warn("features-untried", detail=facts.outcome_problem, fix=fix)
        return out.found
    if facts.replay_problem:
        out.warn("features-trial", detail=facts.replay_problem)
    clients = {client.name: client for client in facts.clients}
    gateway = (
        f"the gateway at {facts.tried_at}" if facts.tried_at else "a gateway with these settings"
    )
    for name, tried in TRIED.items():
        outcomes = [o for o in facts.outcomes if o.feature.client == name]
        client = clients.get(outcomes[0].feature.client) if outcomes else None
        is_here = client is not None and client.path is not None
        refused = [o for o in outcomes if o.fate is Fate.REFUSED and o.status == 401]
        vendor = next((p for p in facts.providers if p.name == tried.provider), None)
        if refused and is_here:
            about = {"title": tried.title, "fix": _credential(facts, name, vendor)}
            out.warn("features-refused", status=401, cause=refused[0].detail, **about)
        passed = sum(_feature(out, o, client if is_here else None) for o in outcomes)
        if passed and (is_here or not refused):
            count = counted(passed, "feature")
            out.ok("features", title=tried.title, count=count, gateway=gateway)
        if is_here and vendor is not None and not vendor.is_public:
            about = {"provider": vendor.name, "vendor": vendor.title, "host": vendor.host}
            out.ok("features-elsewhere", **about)
    return out.found


def _credential(facts: Facts, name: str, vendor: Provider | None) -> str:
    if facts.tried_at and vendor is not None and vendor.has_key:
        return "the key was set after the gateway had started: `sbgw-tui restart`"
    return f"run `sbgw-tui init` to enter a key, or log in with `{name}`"


def _feature(out: Findings, outcome: Outcome, client: Client | None) -> bool:
    """Whether the feature works; losses of a client that is not installed are not told."""
    feature = outcome.feature
    about = {"title": TRIED[feature.client].title, "feature": feature.title}
    if outcome.fate in (Fate.CHANGED, Fate.LOST):
        out.fail("feature-broken", cause=outcome.detail, **about)
        return False
    if client is None:
        return outcome.fate is Fate.PASSED
    if outcome.fate is not Fate.PASSED:
        if outcome.status != 401:
            out.warn("feature-off", cause=outcome.detail, fix=_native(outcome), **about)
        return False
    switched = _switched_off(feature, client)
    if switched is not None:
        cause, fix = switched
        out.warn("feature-off", cause=cause, fix=fix, **about)
    elif feature.launcher and not client.is_here:
        out.warn("feature-off", cause=feature.launcher, fix=feature.launcher_fix, **about)
        return False
    return switched is None


def _switched_off(feature: Feature, client: Client) -> tuple[str, str] | None:
    for name, value in client.values.items():
        if feature.switched_off_by(name, value.text):
            cause = f"{name} = {value.text} in {value.source} turns it off"
            return cause, f"take {name} out of {value.source}"
    return None


def _native(outcome: Outcome) -> str:
    tried = TRIED[outcome.feature.client]
    baseline = f"routing.baseline.{_BASELINES[outcome.feature.client]}"
    return (
        f'put "{tried.provider}" first in {baseline}, and give it a key (`sbgw-tui init`) or '
        f"log in with `{outcome.feature.client}`"
    )
