"""Where a request goes: the plan. Pure; health, credentials and settings are passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from providers.types import Protocol
from server.record import Candidate
from server.settings_types import RouteEntry


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of a route or baseline list, resolved: a provider and, when named, a model."""

    provider: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be tried in order, and everything that was considered."""

    targets: tuple[Target, ...]
    candidates: tuple[Candidate, ...]
    mode: str


class NoCandidate(Exception):
    """Nothing can serve the request; ``str()`` says what is missing."""


def plan_baseline(
    baseline: Sequence[RouteEntry],
    protocol: Protocol,
    *,
    speaks: Callable[[str], Protocol | None],
    has_credential: Callable[[str], bool],
) -> Plan:
    """The plan that leaves a request where its client meant it to go.

    ``baseline`` is the settings' list for the client's protocol. The first entry of the same
    protocol that has a credential serves; ``speaks`` gives a provider's protocol. Raises
    ``NoCandidate`` when there is none.
    """
    considered: list[Candidate] = []
    chosen: Target | None = None
    for entry in baseline:
        target = Target(entry.provider, entry.model)
        spoken = speaks(target.provider)
        if spoken is not protocol:
            why = "not configured" if spoken is None else f"speaks {spoken}, not {protocol}"
            considered.append(Candidate(target.provider, target.model, "unsupported", why))
        elif chosen is not None:
            considered.append(Candidate(target.provider, target.model, "spare"))
        elif not has_credential(target.provider):
            considered.append(Candidate(target.provider, target.model, "needs_key"))
        else:
            chosen = target
            considered.append(Candidate(target.provider, target.model, "baseline"))
    if chosen is None:
        keyless = [c.provider for c in considered if c.state == "needs_key"]
        if keyless:
            raise NoCandidate(keyless[0])
        names = ", ".join(map(str, baseline)) or "nothing"
        raise NoCandidate(f"routing.baseline names {names}, none of which speaks {protocol}")
    return Plan((chosen,), tuple(considered), "shadow")
