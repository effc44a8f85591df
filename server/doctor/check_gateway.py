"""The port, the gateway that may run, and its ledger."""

from __future__ import annotations

from server.doctor.check_machine import size
from server.doctor.facts import Facts, LedgerFacts, Port
from server.doctor.finding import Finding, Findings, counted


def check(facts: Facts) -> list[Finding]:
    """Findings about the gateway."""
    out = Findings("gateway")
    if facts.port is not None:
        _port(out, facts.port)
    if facts.ledger is not None:
        _ledger(out, facts.ledger)
    return out.found


def _port(out: Findings, port: Port) -> None:
    at = {"host": port.host, "port": port.port}
    if port.state == "free":
        out.ok("port-free", **at)
    elif port.state == "taken":
        out.fail("port-taken", owner=port.owner or "another program", **at)
    elif port.state == "unusable":
        out.fail("port-unusable", detail=port.detail, **at)
    elif port.state == "unanswered":
        out.fail("gateway-silent", detail=port.detail, **at)
    else:
        if port.version != port.own_version:
            out.warn("port-other-version", version=port.version, own=port.own_version, **at)
        if port.status not in ("up", ""):
            out.warn("gateway-degraded", status=port.status, **at)
        out.ok("port-ours", version=port.version, status=port.status, **at)


def _ledger(out: Findings, ledger: LedgerFacts) -> None:
    about = {"path": ledger.path, "detail": ledger.detail}
    if ledger.state == "ok":
        out.ok("ledger", turns=counted(ledger.turns, "turn"), size=size(ledger.size_bytes), **about)
    elif ledger.state == "absent":
        out.ok("ledger-absent", **about)
    else:
        out.fail(f"ledger-{ledger.state}", **about)
    if ledger.spilled_files:
        out.warn("ledger-spill", count=counted(ledger.spilled_files, "file"))
