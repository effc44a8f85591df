"""Builds one ``Upstream`` for each configured provider."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from providers.profiles import ProviderSettings
from providers.proxy import ProxyMap
from providers.transport import Origin, Transport
from providers.types import Headers
from providers.upstream import Upstream, auth_headers


def build_upstreams(
    providers: Iterable[ProviderSettings],
    *,
    secret: Callable[[str], str | None],
    env: Mapping[str, str],
    ssl_context: ssl.SSLContext,
) -> dict[str, Upstream]:
    """One upstream for each of ``providers``; those that share a proxy share connections.

    ``secret`` looks a name up among the configured secrets. A provider whose account id is
    missing is left out, because its address is not known.
    """
    transports: dict[str, Transport] = {}
    upstreams: dict[str, Upstream] = {}
    for provider in providers:
        account = secret(provider.account_id_env) if provider.account_id_env else None
        if provider.account_id_env and account is None:
            continue
        base_url = provider.url(account)
        origin, base_path = Origin.parse(base_url)
        if provider.proxy not in transports:
            proxies = _proxies(provider.proxy, env)
            transports[provider.proxy] = Transport(ssl_context=ssl_context, proxies=proxies)
        key = secret(provider.api_key_env) if provider.api_key_env else None
        found = Upstream(
            name=provider.name,
            protocol=provider.protocols[0],
            base_url=base_url,
            origin=origin,
            base_path=base_path,
            transport=transports[provider.proxy],
            # A client's own credential is meant for its vendor, and for nobody who speaks like it.
            credentials=provider.credentials if provider.takes_client_credential else "key",
            api_key_env=provider.api_key_env,
            own_credential=_own_credential(provider, key),
        )
        if provider.login_base_url is not None:
            found = replace(found, at_login=_at(found, provider.login_base_url))
        upstreams[provider.name] = found
    return upstreams


def _at(upstream: Upstream, base_url: str) -> Upstream:
    """The same provider at another address."""
    origin, base_path = Origin.parse(base_url)
    return replace(upstream, base_url=base_url, origin=origin, base_path=base_path)


def _own_credential(provider: ProviderSettings, key: str | None) -> Headers | None:
    """Our key as header fields: none for a server that wants none, ``None`` when it is missing."""
    if key:
        return auth_headers(provider.auth, key)
    wants_none = provider.api_key_env is None and not provider.takes_client_credential
    return [] if wants_none else None


def _proxies(setting: str, env: Mapping[str, str]) -> ProxyMap:
    if setting == "env":
        return ProxyMap.from_environment(env)
    return ProxyMap.none() if setting == "none" else ProxyMap.fixed(setting)
