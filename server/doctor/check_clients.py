"""Claude Code and Codex: found, which version, and what would take them past the gateway."""

from __future__ import annotations

from server.doctor.clients import TRIED, Tried, dotted
from server.doctor.facts import Client, Facts
from server.doctor.finding import Finding, Findings

_BASE_URLS = {"claude": "ANTHROPIC_BASE_URL", "codex": "openai_base_url"}


def check(facts: Facts) -> list[Finding]:
    """Findings about the clients."""
    out = Findings("clients")
    for client in facts.clients:
        tried = TRIED[client.name]
        _version(out, client, tried)
        _bypasses(out, client, tried)
    return out.found


def _version(out: Findings, client: Client, tried: Tried) -> None:
    about = {
        "title": tried.title,
        "name": client.name,
        "path": client.path,
        "package": tried.package,
        "tried": dotted(tried.newest),
    }
    if client.path is None:
        out.warn("client-missing", **about)
    elif client.version is None:
        out.warn("client-unknown", detail=client.detail or "it says none", **about)
    elif client.version < tried.oldest:
        out.warn("client-old", version=dotted(client.version), oldest=dotted(tried.oldest), **about)
    elif client.version > tried.newest:
        out.ok("client-newer", version=dotted(client.version), **about)
    else:
        out.ok("client", version=dotted(client.version), **about)


def _bypasses(out: Findings, client: Client, tried: Tried) -> None:
    title = {"title": tried.title, "name": client.name}
    for path in client.broken_files:
        out.warn("client-file-broken", path=path, **title)
    for source in client.key_helpers:
        out.warn("client-helper", source=source, **title)
    for variable, vendor, source in client.other_vendors:
        out.fail("client-vendor", variable=variable, vendor=vendor, source=source, **title)
    variable = _BASE_URLS[client.name]
    value = client.values.get(variable)
    if client.is_elsewhere and value is not None:
        about = {"variable": variable, "url": value.text, "source": value.source}
        out.fail("client-elsewhere", provider=tried.provider, **about, **title)
    elif client.refusal and not client.other_vendors:
        out.fail("client-refused", reason=client.refusal, remedy=client.remedy, **title)
    elif client.is_here and value is not None:
        out.ok("client-pointed", source=value.source, **title)
    elif client.path is not None and not client.other_vendors:
        out.ok("client-direct", **title)
    if client.name == "codex" and "OPENAI_BASE_URL" in client.values:
        out.warn("codex-variable")
