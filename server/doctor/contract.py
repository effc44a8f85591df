"""The features of the two clients as requests, and what became of each in the gateway; pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from providers.types import Headers
from server.headers import first, values

ClientName = Literal["claude", "codex"]

CONTRACT_FILE = Path(__file__).with_name("contract.toml")
REPLIES = ("messages", "message", "count", "models", "responses", "compaction")
"""Answers that the simulated vendor can give."""

_MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of ``contract.toml``."""

    id: str
    client: ClientName
    title: str
    path: str
    """With the query."""
    method: str = "POST"
    body: str = ""
    betas: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    reply: str = ""
    answer_holds: str = ""
    """What the answer must hold where the gateway adds to it."""
    status: int | None = None
    """What the gateway answers by itself; ``None``: the request is relayed."""
    with_key: bool = True
    off: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    launcher: str = ""
    launcher_fix: str = ""

    @property
    def payload(self) -> bytes:
        """The body as it is sent."""
        return self.body.strip().encode()

    def switched_off_by(self, name: str, value: str) -> bool:
        """Whether the client's variable ``name`` with this value turns the feature off."""
        text = value.strip().lower()
        wanted = self.off.get(name, ())
        return text in wanted or ("*" in wanted and text not in ("", "0", "false", "no", "off"))


class Fate(StrEnum):
    """What became of a feature's request."""

    PASSED = "passed"
    CHANGED = "changed"
    TRANSLATED = "translated"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one feature fared."""

    feature: Feature
    fate: Fate
    detail: str = ""
    status: int = 0
    provider: str = ""
    """The provider that was asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the simulated vendor received."""

    provider: str
    target: str
    """Below the provider's base URL, without ``/v1`` of an OpenAI-compatible one."""
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client received."""

    status: int
    body: bytes


@cache
def features() -> tuple[Feature, ...]:
    """All features, in the order of the data."""
    rows = tomllib.loads(CONTRACT_FILE.read_text("utf-8"))["feature"]
    return tuple(_feature(row) for row in rows)


def _feature(row: dict[str, Any]) -> Feature:
    off = {name: tuple(found) for name, found in row.pop("off", {}).items()}
    method = row.pop("method", "POST" if "body" in row else "GET")
    betas = tuple(row.pop("betas", ()))
    return Feature(method=method, betas=betas, off=MappingProxyType(off), **row)


def judge(feature: Feature, answer: Answer, seen: Seen | None, reply: bytes) -> Outcome:
    """Compare what went in with what came out at either end."""
    provider = seen.provider if seen else ""
    if feature.status is not None:
        is_right = answer.status == feature.status and seen is None
        fate = Fate.PASSED if is_right else Fate.LOST
        detail = "" if is_right else f"it is answered with HTTP {answer.status}"
    elif seen is None:
        fate, detail = Fate.REFUSED, _words(answer.body)
    elif not feature.path.startswith("/v1" + seen.target.partition("?")[0]):
        fate, detail = Fate.TRANSLATED, f"it is translated for {provider}"
    elif changed := _changes(feature, answer, seen, reply):
        fate, detail = Fate.CHANGED, f"the gateway changed {', '.join(changed)}"
    else:
        fate, detail = Fate.PASSED, ""
    return Outcome(feature, fate, detail, answer.status, provider)


def _changes(feature: Feature, answer: Answer, seen: Seen, reply: bytes) -> list[str]:
    found = []
    if seen.body != feature.payload:
        found.append("the body")
    if "/v1" + seen.target != feature.path:
        found.append("the query")
    betas = {beta.strip() for beta in _betas(seen.headers)}
    found += [f"the beta {beta}" for beta in feature.betas if beta not in betas]
    for name, value in feature.headers.items():
        if first(seen.headers, name.encode()) != value:
            found.append(f"the header {name}")
    if feature.answer_holds:
        is_whole = feature.answer_holds.encode() in answer.body
    else:
        is_whole = answer.body == reply
    return found if is_whole else [*found, "the answer"]


def _betas(headers: Headers) -> Iterable[str]:
    for value in values(headers, b"anthropic-beta"):
        yield from value.decode("latin-1").split(",")


def _words(body: bytes) -> str:
    """The message in an error body."""
    import msgspec

    try:
        return str(msgspec.json.decode(body)["error"]["message"])[:_MAX_DETAIL]
    except (msgspec.DecodeError, LookupError, TypeError):
        return "without a reason"
