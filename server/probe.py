"""A cheap live check of one provider: does it answer, does it take our key, has it our models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from providers.coding import BadCoding, decode_body
from providers.errors import Offline, UpstreamError
from providers.profiles import ProviderSettings
from providers.types import Headers, Protocol
from providers.upstream import Upstream
from server.clock import Clock
from server.config import Settings
from server.headers import first
from server.tasks import spawn

TIMEOUT_S = 5.0
AT_ONCE = 4
"""Providers probed at the same time."""
MAX_BYTES = 8 * 1024 * 1024

_NO_LIST = frozenset({400, 404, 405, 501})
"""How servers answer that speak the protocol but keep no list of models."""
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})")
"""What vendors add to the name of a model for one of its versions."""


class Outcome(StrEnum):
    """How a probe ended."""

    OK = "ok"
    NO_LIST = "no_list"
    """It answers, but keeps no list of models, so key and models stay unchecked."""
    NO_KEY = "no_key"
    REFUSED = "refused"
    """It does not take our key."""
    FAILING = "failing"
    UNREACHABLE = "unreachable"
    OFFLINE = "offline"
    """This machine is; nothing is known about the provider."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model that the settings name."""

    model: str
    served: bool
    replacement: str | None = None
    """What stands in for a model that was taken down, where the profile knows it."""

    def as_json(self) -> dict[str, Any]:
        """All fields, under their own names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe found."""

    outcome: Outcome
    message: str
    """One sentence for the user."""
    at: float
    """Wall time, seconds since the epoch."""
    latency_s: float | None = None
    """Until the whole list had arrived; ``None`` when there was no answer."""
    models: tuple[ModelCheck, ...] = ()
    """Empty where the list is not known."""

    @property
    def ok(self) -> bool:
        """Whether requests can be sent there, as far as a probe can tell."""
        is_answering = self.outcome in (Outcome.OK, Outcome.NO_LIST)
        return is_answering and all(check.served for check in self.models)

    def as_json(self) -> dict[str, Any]:
        """``ok outcome message at latency_s models[{model served replacement}]``."""
        return {
            "ok": self.ok,
            "outcome": self.outcome.value,
            "message": self.message,
            "at": self.at,
            "latency_s": self.latency_s,
            "models": [check.as_json() for check in self.models],
        }


class Prober:
    """Probes providers; whoever asks while a probe of the same one runs gets its result."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], clock: Clock, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[Probe]] = {}
        self.last: dict[str, Probe] = {}
        """The latest result of each provider that was probed in this run."""

    async def probe(self, name: str, settings: Settings) -> Probe:
        """Probe one provider; ``KeyError`` when there is no upstream of that name."""
        upstream = self._upstreams[name]
        task = self._running.get(name)
        if task is None:
            task = spawn(f"probe {name}", self._probe(upstream, settings))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def all(self, settings: Settings) -> dict[str, Probe]:
        """Probe every provider."""
        names = list(self._upstreams)
        found = await asyncio.gather(*(self.probe(name, settings) for name in names))
        return dict(zip(names, found, strict=True))

    async def aclose(self) -> None:
        """End what runs."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _probe(self, upstream: Upstream, settings: Settings) -> Probe:
        provider = settings.provider(upstream.name)
        wanted = models_of(upstream.name, provider, settings)
        async with self._slots:
            found = await probe(upstream, provider, wanted, self._clock, self._timeout_s)
        self.last[upstream.name] = found
        return found


async def probe(
    upstream: Upstream,
    provider: ProviderSettings,
    wanted: Sequence[str],
    clock: Clock,
    timeout_s: float = TIMEOUT_S,
) -> Probe:
    """Ask a provider for its models with our own key; never raises for what it does."""
    at, title = clock.time(), provider.title
    if upstream.own_credential is None:
        return Probe(Outcome.NO_KEY, _keyless(upstream, provider), at)
    started = clock.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await fetch_models(upstream, provider, upstream.own_credential)
    except Offline as error:
        return Probe(Outcome.OFFLINE, f"this machine is offline: {error}", at)
    except TimeoutError:
        said = f"{title} did not answer within {timeout_s:g} s"
        return Probe(Outcome.UNREACHABLE, said, at)
    except UpstreamError as error:
        return Probe(Outcome.UNREACHABLE, f"{title} cannot be reached: {error}", at)
    latency_s = clock.monotonic() - started
    outcome, message = _judged(status, title)
    ids = listed_ids(body) if outcome is Outcome.OK else None
    if outcome is Outcome.OK and ids is None:
        outcome, message = Outcome.FAILING, f"{title} answered with something that is no list"
    checks = tuple(_check(model, ids, provider.retired) for model in wanted) if ids else ()
    gone = [check for check in checks if not check.served]
    if gone:
        message = "; ".join(_missing(check, title) for check in gone)
    return Probe(outcome, message, at, latency_s, checks)


async def fetch_models(
    upstream: Upstream, provider: ProviderSettings, credential: Headers, one: bytes = b""
) -> tuple[int, bytes]:
    """``GET models`` with header fields of our own: the status and the decoded body.

    ``one`` is ``/`` and the id of a single model, as it stands in a path.
    Raises ``UpstreamError``; a redirect is an answer like any other and is not followed.
    """
    is_anthropic = provider.protocol is Protocol.MESSAGES
    headers: Headers = [
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"sbgw-tui"),
        *((n.encode(), v.encode()) for n, v in provider.headers_if_missing.items()),
        *credential,
    ]
    path = (b"/v1/models" if is_anthropic else b"/models") + one
    query = b"limit=1000" if is_anthropic and not one else b""
    response = await upstream.send(b"GET", path, query, headers, b"")
    try:
        body = await response.read_all(MAX_BYTES)
    finally:
        await response.aclose()
    try:
        coding = first(response.headers, b"content-encoding")
        return response.status, decode_body(body, coding, MAX_BYTES)
    except BadCoding:
        return response.status, b""


def listed_ids(body: bytes) -> frozenset[str] | None:
    """The model ids in a list of either vendor's shape, ``None`` when it is none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    rows = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        return None
    ids = (row.get("id") for row in rows if isinstance(row, dict))
    return frozenset(model for model in ids if isinstance(model, str))


def models_of(name: str, provider: ProviderSettings, settings: Settings) -> list[str]:
    """The models of a provider that the settings may send requests to, each once."""
    named = [provider.model, provider.translated_model]
    named += [entry.model for entry in _entries(settings) if entry.provider == name]
    return list(dict.fromkeys(model for model in named if model))


def _entries(settings: Settings) -> Iterable[Any]:
    routing = settings.routing
    for _, entries in (*routing.routes, *routing.kinds.items(), *routing.baseline):
        yield from entries


def _keyless(upstream: Upstream, provider: ProviderSettings) -> str:
    said = f"{upstream.api_key_env or 'its key'} is not set"
    if provider.takes_client_credential and upstream.credentials != "key":
        said += "; clients bring their own credential, which is not used for a probe"
    return said


def _judged(status: int, title: str) -> tuple[Outcome, str]:
    if status == 200:
        return Outcome.OK, f"{title} answers and takes our key"
    if status in (401, 403):
        return Outcome.REFUSED, f"{title} refuses our key ({status})"
    if status in _NO_LIST:
        said = f"{title} answers, but has no list of models ({status}): its key is not checked"
        return Outcome.NO_LIST, said
    if status == 429:
        return Outcome.FAILING, f"{title} is limiting our requests (429)"
    return Outcome.FAILING, f"{title} answers with an error ({status})"


def _check(model: str, ids: frozenset[str], retired: Mapping[str, str]) -> ModelCheck:
    if model in ids or any(_is_version(model, known) for known in ids):
        return ModelCheck(model, served=True)
    return ModelCheck(model, served=False, replacement=retired.get(model))


def _is_version(model: str, known: str) -> bool:
    return known.startswith(model) and _DATED.fullmatch(known, len(model)) is not None


def _missing(check: ModelCheck, title: str) -> str:
    said = f"{title} no longer serves {check.model}"
    return f"{said}: use {check.replacement}" if check.replacement else said
