"""What left this machine, by company and kind, as lines; from ``sent`` (``server.views``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from providers.profiles import profiles
from tui import format as fmt
from tui.lines import EMPTY, Line, clip, join, line
from tui.rows import count_of, mapping_of, mappings_in, text_of

DAYS = 30
_DAY_S = 86_400.0
MOST_KINDS = 12

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HERE = "a server on this machine"


@dataclass(slots=True)
class Sent:
    """What one provider was sent, and gave back; bytes of bodies."""

    turns: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    kinds: dict[str, Sent] = field(default_factory=dict)
    """By kind, the most bytes first."""


def since(now: float) -> float:
    """When the time that is looked at begins."""
    return now - DAYS * _DAY_S


def read(data: Mapping[str, Any] | None) -> dict[str, Sent]:
    """By provider, the most bytes first."""
    found: defaultdict[str, Sent] = defaultdict(Sent)
    for row in mappings_in((data or {}).get("sent")):
        sums = found[text_of(row.get("provider")) or fmt.UNKNOWN]
        kind = sums.kinds.setdefault(text_of(row.get("kind")) or fmt.UNKNOWN, Sent())
        for part in (sums, kind):
            part.turns += count_of(row.get("turns")) or 0
            part.bytes_up += count_of(row.get("bytes_up")) or 0
            part.bytes_down += count_of(row.get("bytes_down")) or 0
    for sums in found.values():
        sums.kinds = dict(sorted(sums.kinds.items(), key=lambda item: -item[1].bytes_up))
    return dict(sorted(found.items(), key=lambda item: -item[1].bytes_up))


def company(name: str, provider: Mapping[str, Any]) -> str:
    """Who runs a provider: a company, a host, or this machine."""
    host = _host(text_of(provider.get("base_url")) or "")
    if host in _LOOPBACK:
        return HERE
    profile = profiles().get(name)
    own = _host(profile.base_url or "") if profile is not None else ""
    if profile is not None and (not own or own == host or not host):
        return profile.title
    return host or name


def _host(url: str) -> str:
    """The host of an address; empty where there is none, or it is no address at all."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def summary(
    found: Mapping[str, Sent], providers: Mapping[str, Mapping[str, Any]], width: int
) -> Line:
    """Who was sent how much, in one line."""
    if not found:
        return EMPTY
    parts = [line((f" sent in {DAYS} days:", "muted"))]
    for name, sums in found.items():
        who = company(name, mapping_of(providers.get(name)))
        turns = fmt.plural(sums.turns, "turn")
        text = f"{who} {fmt.size(sums.bytes_up)}"
        parts.append(line((fmt.neutralise(text, 60), "text"), (f" in {turns}", "muted")))
    return clip(join(parts), width)


def section(name: str, provider: Mapping[str, Any], sums: Sent | None, width: int) -> list[Line]:
    """What one provider got, by kind of request."""
    who = company(name, provider)
    title = line(
        (f" LEFT THIS MACHINE FOR {fmt.neutralise(who, 40).upper()}, {DAYS} DAYS", "title")
    )
    if who == HERE:
        title = line((f" SENT TO {HERE.upper()}, {DAYS} DAYS", "title"))
    if sums is None or not sums.bytes_up:
        return [EMPTY, clip(title, width), line((" nothing", "muted"))]
    rows: Sequence[tuple[str, Sent]] = [*list(sums.kinds.items())[:MOST_KINDS], ("together", sums)]
    lines = [EMPTY, clip(title, width)]
    for kind, part in rows:
        role = "strong" if part is sums else "text"
        lines.append(
            clip(
                line(
                    (f" {fmt.fit(kind, 18)}", role),
                    (f"{fmt.fit(fmt.plural(part.turns, 'turn'), 12, 'right')}", "text"),
                    (f"{fmt.fit(fmt.size(part.bytes_up), 10, 'right')} out", role),
                    (f"{fmt.fit(fmt.size(part.bytes_down), 10, 'right')} back", "muted"),
                ),
                width,
            )
        )
    if (more := len(sums.kinds) - MOST_KINDS) > 0:
        lines.insert(-1, line((f" and {more} more kinds", "muted")))
    return lines
