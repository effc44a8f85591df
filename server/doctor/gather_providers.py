"""Asks every provider with a key for its models: does the key work, what is served, what time is it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from providers.errors import UpstreamError
from providers.profiles import ProviderSettings, profiles
from providers.registry import build_upstreams
from providers.tls import make_context
from providers.types import Protocol
from providers.upstream import Upstream
from server.clock import Clock
from server.config import Settings
from server.doctor.facts import PriceFacts, Probe, Provider
from server.headers import first
from server.settings_file import Loaded

LIMIT_S = 5.0

_MAX_BODY = 16 * 1024 * 1024
_MODELS_PATH = {Protocol.MESSAGES: (b"/v1/models", b"limit=1000")}
_USUAL_PATH = (b"/models", b"")
_OTHER_LISTS = {"cloudflare": (b"/ai/v1", b"/ai/models/search", b"per_page=1000")}
"""Vendors whose list stands beside their API: end of the base path, and what it becomes."""


def provider_facts(loaded: Loaded, probes: Mapping[str, Probe]) -> tuple[Provider, ...]:
    """Every provider as configured, with what it answered."""
    return tuple(
        _provider(loaded, loaded.settings.provider(name), probes.get(name))
        for name in loaded.settings.providers
    )


def _provider(loaded: Loaded, provider: ProviderSettings, probe: Probe | None) -> Provider:
    settings, secrets = loaded.settings, loaded.secrets
    name, account = provider.name, provider.account_id_env
    return Provider(
        name=name,
        title=provider.title,
        key_name=provider.api_key_env,
        has_key=provider.api_key_env is None or secrets.get(provider.api_key_env) is not None,
        host=provider.base_url.split("/")[2],
        takes_client_credential=provider.takes_client_credential,
        account_name=account,
        has_account=account is None or secrets.get(account) is not None,
        models=tuple(models_of(settings, name)),
        retired=provider.retired,
        is_used=any(entry.provider == name for entry in _entries(settings)),
        is_public=_is_vendors_own(provider),
        probe=probe,
    )


def _is_vendors_own(provider: ProviderSettings) -> bool:
    """Whether it is at the address its vendor gave it."""
    profile = profiles().get(provider.name)
    return profile is not None and provider.base_url == profile.base_url


def models_of(settings: Settings, name: str) -> list[str]:
    """The models that the settings name for a provider."""
    own = settings.provider(name).model
    routed = [entry.model for entry in _entries(settings) if entry.provider == name]
    return [model for model in dict.fromkeys([own, *routed]) if model]


def _entries(settings: Settings) -> Iterator[Any]:
    routing = settings.routing
    for _, entries in (*routing.routes, *routing.baseline):
        yield from (entry for entry in entries if not entry.is_baseline)
    for entries in routing.kinds.values():
        yield from (entry for entry in entries if not entry.is_baseline)


# -------------------------------------------------------------------------------- probes


async def ask_providers(
    loaded: Loaded, env: Mapping[str, str], clock: Clock, only: Iterable[str] | None = None
) -> dict[str, Probe]:
    """Ask those that have a key, all at once; takes at most ``LIMIT_S`` and never raises."""
    settings = loaded.settings
    wanted = set(settings.providers if only is None else only)
    if not wanted:
        return {}
    issuers: dict[str, str] = {}
    try:
        upstreams = build_upstreams(
            [settings.provider(name) for name in settings.providers if name in wanted],
            secret=loaded.secrets.reveal,
            env=env,
            ssl_context=recording(make_context(settings.network.ca_bundle, env), issuers),
        )
    except ValueError as error:
        # Its own finding names the setting; here it only explains why nobody was asked.
        return {name: Probe(error="settings", text=str(error)) for name in wanted}
    asked = [found for found in upstreams.values() if found.own_credential is not None]
    try:
        probes = await asyncio.gather(*(_ask(upstream, clock, issuers) for upstream in asked))
    finally:
        for transport in {id(u.transport): u.transport for u in upstreams.values()}.values():
            await transport.aclose()
    return {upstream.name: probe for upstream, probe in zip(asked, probes, strict=True)}


async def _ask(upstream: Upstream, clock: Clock, issuers: Mapping[str, str]) -> Probe:
    path, query = _MODELS_PATH.get(upstream.protocol, _USUAL_PATH)
    target = upstream.base_path + path
    if (other := _OTHER_LISTS.get(upstream.name)) is not None:
        end, instead, query = other
        if upstream.base_path.endswith(end):
            target = upstream.base_path.removesuffix(end) + instead
    headers = [*(upstream.own_credential or []), (b"accept-encoding", b"identity")]
    if upstream.protocol is Protocol.MESSAGES:
        headers.append((b"anthropic-version", b"2023-06-01"))
    target += b"?" + query if query else b""
    try:
        async with asyncio.timeout(LIMIT_S):
            response = await upstream.transport.request(upstream.origin, b"GET", target, headers)
            async with response:
                body = await response.read_all(_MAX_BODY)
    except UpstreamError as error:
        return Probe(error=error.code, text=str(error))
    except TimeoutError:
        return Probe(error="timeout", text=f"no answer within {LIMIT_S:g} s")
    except ValueError as error:
        return Probe(error="settings", text=str(error))
    return Probe(
        status=response.status,
        models=listed_models(body) if response.status == 200 else None,
        skew_s=skew(first(response.headers, b"date"), clock.time()),
        issuer=issuers.get(upstream.origin.host),
    )


def listed_models(body: bytes) -> frozenset[str] | None:
    """The ids in a list of models; ``None`` when it is not whole or not a list.

    Anthropic and OpenAI list ``data[].id``, Cloudflare ``result[].name``.
    """
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("has_more"):
        return None
    for key, name in (("data", "id"), ("result", "name")):
        rows = answer.get(key)
        if isinstance(rows, list):
            return frozenset(
                str(row[name]) for row in rows if isinstance(row, dict) and name in row
            )
    return None


def skew(stated: str | None, now: float) -> float | None:
    """Seconds by which ``now`` is ahead of an HTTP date."""
    if stated is None:
        return None
    try:
        moment = parsedate_to_datetime(stated)
    except ValueError:
        return None
    return now - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def recording(context: ssl.SSLContext, issuers: dict[str, str]) -> ssl.SSLContext:
    """``context``, which from now on notes by host who issued the certificates it meets.

    Where the system itself verifies, the certificate's issuer is not seen and nothing is noted.
    """

    class Recorder(ssl.SSLObject):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake()
            issuer = issuer_of(self.getpeercert() or {})
            if issuer and self.server_hostname:
                issuers[self.server_hostname] = issuer

    if type(context) is ssl.SSLContext:
        context.sslobject_class = Recorder
    return context


def issuer_of(certificate: Mapping[str, Any]) -> str | None:
    """The organisation, else the common name, that issued a certificate."""
    names = {key: value for group in certificate.get("issuer", ()) for key, value in group}
    return names.get("organizationName") or names.get("commonName")


# -------------------------------------------------------------------------------- prices


def price_facts(
    settings: Settings,
    models: Iterable[tuple[str, str]],
    now: float,
    newest: Callable[[date], date | None] | None = None,
) -> PriceFacts:
    """How old the price list is, and which of ``models`` (provider, model) it does not know."""
    from providers.pricing import Prices

    at = datetime.fromtimestamp(now, UTC)
    prices = Prices(settings.price_overrides())
    return PriceFacts(
        version=prices.version,
        newest=(newest or _newest_price)(at.date()),
        today=at.date(),
        unpriced=tuple(
            f"{p}/{m}" for p, m in models if prices.rates(provider=p, model=m, at=at) is None
        ),
    )


def _newest_price(today: date) -> date | None:
    """The day of the youngest price in the list that holds already."""
    from genai_prices.data_snapshot import get_snapshot

    days = (
        getattr(price.constraint, "start_date", None)
        for provider in get_snapshot().providers
        for model in provider.models
        for price in (model.prices if isinstance(model.prices, Sequence) else ())
    )
    return max((day for day in days if day is not None and day <= today), default=None)
