"""Network, keys, models, prices and the clock."""

from __future__ import annotations

from difflib import get_close_matches

from server.doctor.facts import Facts, Network, PriceFacts, Probe, Provider
from server.doctor.finding import Finding, Findings, listed

MAX_SKEW_S = 30.0
MAX_PRICE_DAYS = 90

_PUBLIC_ISSUERS = (
    "amazon",
    "certainly",
    "cloudflare",
    "comodo",
    "digicert",
    "entrust",
    "globalsign",
    "godaddy",
    "google trust services",
    "isrg",
    "let's encrypt",
    "microsoft",
    "sectigo",
    "ssl corporation",
    "starfield",
    "zerossl",
)
"""Public authorities that vendors use; an interceptor's is its own."""


def check(facts: Facts) -> list[Finding]:
    """Findings about everything outside this machine."""
    return [
        *_network(facts),
        *_clock(facts.providers),
        *_providers(facts),
        *(_prices(facts.prices) if facts.prices is not None else []),
    ]


def _network(facts: Facts) -> list[Finding]:
    out = Findings("network")
    network = facts.network
    _proxies(out, network)
    for variable, path in network.bad_certificates:
        out.warn("certificate-unreadable", variable=variable, path=path)
    if network.certificate_problem:
        out.fail("certificates-wrong", detail=network.certificate_problem)
    hosts: dict[str, list[str]] = {}
    for provider in facts.providers:
        issuer = provider.probe.issuer if provider.probe else None
        if issuer and provider.is_public and not _is_public_authority(issuer):
            hosts.setdefault(issuer, []).append(provider.host)
    for issuer, found in hosts.items():
        out.warn("interception", hosts=listed(found), issuer=repr(issuer))
    return out.found


def _proxies(out: Findings, network: Network) -> None:
    if network.proxy_problem:
        out.fail("proxy-unusable", detail=network.proxy_problem)
    if not network.proxies:
        return
    names = listed(network.proxies)
    if network.exempts_gateway:
        out.ok("proxy", names=names)
    else:
        out.warn("proxy-loopback", names=names, host=network.gateway_host)


def _is_public_authority(issuer: str) -> bool:
    return issuer.lower().startswith(_PUBLIC_ISSUERS)


def _clock(providers: tuple[Provider, ...]) -> list[Finding]:
    out = Findings("clock")
    skews = [
        (abs(p.probe.skew_s), p.probe.skew_s, p.name)
        for p in providers
        if p.probe is not None and p.probe.skew_s is not None
    ]
    if not skews:
        return []
    # One provider's clock may be wrong; the smallest difference says most about ours.
    least, skew, name = min(skews)
    if least > MAX_SKEW_S:
        direction = "ahead of" if skew > 0 else "behind"
        out.warn("clock-skew", seconds=round(least), direction=direction, name=name)
    else:
        out.ok("clock", seconds=max(1, round(least)))
    return out.found


def _providers(facts: Facts) -> list[Finding]:
    out = Findings("providers")
    has_login = any(client.has_credential for client in facts.clients)
    has_key = any(p.has_key and p.has_account for p in facts.providers)
    if facts.providers and not has_key and not has_login:
        out.fail("no-credential")
    for provider in facts.providers:
        _provider(out, provider)
        _models(out, provider)
    return out.found


def _provider(out: Findings, provider: Provider) -> None:
    name, key = provider.name, provider.key_name or ""
    about = {"name": name, "key": key, "title": provider.title}
    if not provider.has_key:
        code = "provider-client" if provider.takes_client_credential else "provider-unused"
        out.ok(code, **about)
    elif not provider.has_account:
        out.fail("provider-account", account=provider.account_name or "", **about)
    elif provider.probe is None:
        out.ok("provider-not-asked", **about)
    elif provider.probe.status is None:
        _unanswered(out, provider, provider.probe)
    else:
        _answered(out, provider, provider.probe, provider.probe.status)


def _unanswered(out: Findings, provider: Provider, probe: Probe) -> None:
    about = {"name": provider.name, "detail": probe.text.rstrip(".")}
    if probe.error == "tls":
        out.fail("provider-tls", **about)
    elif probe.error == "offline":
        out.fail("provider-offline", **about)
    else:
        out.fail("provider-unreachable", **about)


def _answered(out: Findings, provider: Provider, probe: Probe, status: int) -> None:
    about = {
        "name": provider.name,
        "key": provider.key_name or "",
        "title": provider.title,
        "status": status,
    }
    if status == 200 and probe.models is not None:
        out.ok("provider-live", count=len(probe.models), **about)
    elif status == 200:
        out.ok("provider-live-unlisted", **about)
    elif status in (401, 403):
        out.fail("key-refused", **about)
    elif status == 429:
        out.warn("provider-limited", **about)
    elif status >= 500:
        out.warn("provider-failing", **about)
    else:
        out.warn("provider-wrong-address", **about)


def _models(out: Findings, provider: Provider) -> None:
    for model in provider.models:
        if (replacement := provider.retired.get(model)) is not None:
            about = {"name": provider.name, "model": model}
            out.fail("model-retired", replacement=replacement, **about)
    served = provider.probe.models if provider.probe is not None else None
    if served is None or not provider.models:
        return
    gone = [m for m in provider.models if m not in served and m not in provider.retired]
    for model in gone:
        near = get_close_matches(model, served, n=3, cutoff=0.3) or sorted(served)
        out.fail("model-gone", name=provider.name, model=model, served=listed(near, 3) or "none")
    if kept := [model for model in provider.models if model in served]:
        out.ok("models-served", name=provider.name, models=listed(kept))


def _prices(prices: PriceFacts) -> list[Finding]:
    out = Findings("prices")
    about = {"version": prices.version, "newest": prices.newest}
    if prices.newest is not None:
        days = (prices.today - prices.newest).days
        if days > MAX_PRICE_DAYS:
            out.warn("prices-old", days=days, **about)
        else:
            out.ok("prices", **about)
    if prices.unpriced:
        out.warn("prices-missing", names=listed(prices.unpriced), first=prices.unpriced[0])
    return out.found
