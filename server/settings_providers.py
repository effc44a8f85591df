"""The tables ``[providers.NAME]``: what they may hold, and the rules between their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import InitErrorDetails, PydanticCustomError

from providers.profiles import (
    ACCOUNT_PLACEHOLDER,
    Auth,
    Credentials,
    Profile,
    ProviderSettings,
    default_auth,
    profiles,
)
from providers.types import Protocol
from server.addresses import check_base_url, points_at
from server.settings_types import Count, EnvName, ModelId, ProviderKind, Proxy, Text, rule

_FROM_PROFILE = ("base_url", "api_key_env", "account_id_env", "auth", "model")


class Table(BaseModel):
    """One table of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    free_names: ClassVar[tuple[str, ...]] = ()
    """Names a table takes beside its fields."""


class LimitsTable(Table):
    """What a provider's plan allows; a key that is left out is no limit."""

    max_in_flight: Count | None = None
    """Requests at the same time."""
    requests_per_minute: Count | None = None
    """Requests in any 60 seconds."""
    requests_per_day: Count | None = None
    """Requests in any 24 hours."""
    tokens_per_minute: Count | None = None
    """Tokens in any 60 seconds."""
    tokens_per_day: Count | None = None
    """Tokens in any 24 hours."""


class ProviderTable(Table):
    """One provider; what is left out comes from its profile."""

    kind: ProviderKind | None = None
    """Protocol a server of your own speaks: anthropic-messages, openai-responses, openai-chat."""
    base_url: Text | None = None
    """Address of its API; https, or http on this machine."""
    login_base_url: Text | None = None
    """Where requests paid with a ChatGPT login go; it has an address of its own."""
    allow_http: StrictBool = False
    """Accept an unencrypted base_url on another machine."""
    api_key_env: EnvName | None = None
    """Environment variable that holds the key; without one, none is sent."""
    account_id_env: EnvName | None = None
    """Environment variable that holds the account id for {account_id} in base_url."""
    auth: Auth | None = None
    """Header that carries the key: x-api-key or bearer."""
    credentials: Credentials = "auto"
    """Whose credential is used: auto (the client's own if it sends one), client or key."""
    model: ModelId | None = None
    """Model used where a route names only the provider."""
    limits: LimitsTable = Field(default_factory=LimitsTable)
    """What the plan allows."""
    proxy: Proxy | None = None
    """Proxy for this provider alone; the same values as network.proxy."""


def with_profiles(tables: Any) -> Any:
    """``tables`` as they stand in the settings, with the profiles of the built-in ones below."""
    if not isinstance(tables, Mapping):
        return tables
    merged = {name: tables.get(name, {}) for name in (*profiles(), *tables)}
    for name, profile in profiles().items():
        own = merged[name]
        if isinstance(own, ProviderTable):
            own = own.model_dump(exclude_unset=True)
        if isinstance(own, Mapping):
            merged[name] = _defaults(profile) | dict(own)
    return merged


def _defaults(profile: Profile) -> dict[str, Any]:
    values = ((key, getattr(profile, key)) for key in _FROM_PROFILE)
    return {key: value for key, value in values if value is not None}


def resolve(name: str, table: ProviderTable, proxy: str) -> ProviderSettings:
    """The view the registry builds from; ``table`` has passed ``provider_faults``."""
    profile = profiles().get(name)
    protocols = () if profile is None else profile.protocols
    if table.kind is not None:
        protocols = (Protocol(table.kind),)
    return ProviderSettings(
        name=name,
        title=profile.title if profile is not None else name,
        protocols=protocols,
        base_url=(table.base_url or "").rstrip("/"),
        api_key_env=table.api_key_env,
        auth=table.auth or default_auth(protocols[0]),
        model=table.model,
        credentials=table.credentials,
        proxy=table.proxy or proxy,
        account_id_env=table.account_id_env,
        login_base_url=_login_url(table, profile),
        takes_client_credential=profile is not None and profile.takes_client_credential,
        retired=profile.retired if profile is not None else {},
        translated_model=profile.translated_model if profile is not None else None,
        is_builtin=profile is not None,
    )


def _login_url(table: ProviderTable, profile: Profile | None) -> str | None:
    """The vendor's own, as long as its API is at the vendor's: a moved one takes logins too."""
    if table.login_base_url is not None:
        return table.login_base_url.rstrip("/")
    if profile is None or profile.login_base_url is None:
        return None
    own, moved = (urlsplit(url or "").hostname or "" for url in (profile.base_url, table.base_url))
    is_own = moved == own or moved.endswith(f".{own}")
    return profile.login_base_url if is_own else None


def provider_faults(
    tables: Mapping[str, ProviderTable], host: str, port: int
) -> Iterator[InitErrorDetails]:
    """Everything that is wrong between the keys of each provider; ``host:port`` is our own."""
    for name, table in tables.items():
        profile = profiles().get(name)
        for key, problem in (
            ("kind", _kind_fault(table, profile)),
            ("base_url", _url_fault(table, host, port)),
            ("login_base_url", _login_url_fault(table, profile, host, port)),
            ("credentials", _credentials_fault(table, profile)),
        ):
            if problem is not None:
                value = getattr(table, key)
                yield InitErrorDetails(type=problem, loc=("providers", name, key), input=value)


def _kind_fault(table: ProviderTable, profile: Profile | None) -> PydanticCustomError | None:
    if profile is None:
        if table.kind is None:
            return rule(
                "is required: this is not a built-in provider",
                'for most servers: kind = "openai-chat"; built in are ' + ", ".join(profiles()),
            )
        return None
    if table.kind is not None and table.kind not in profile.protocols:
        return rule(f"{profile.title} speaks {' and '.join(profile.protocols)} only")
    return None


def _url_fault(table: ProviderTable, host: str, port: int) -> PydanticCustomError | None:
    if table.base_url is None:
        return rule("is required: this is not a built-in provider")
    if ACCOUNT_PLACEHOLDER in table.base_url and table.account_id_env is None:
        return rule("holds {account_id}, so account_id_env must name the variable that has it")
    return _address_fault(table.base_url, table, host, port)


def _login_url_fault(
    table: ProviderTable, profile: Profile | None, host: str, port: int
) -> PydanticCustomError | None:
    if table.login_base_url is None:
        return None
    if profile is None or profile.login_base_url is None:
        vendors = [found.name for found in profiles().values() if found.login_base_url]
        return rule(f"is for {' and '.join(vendors)} only, whose logins have their own address")
    return _address_fault(table.login_base_url, table, host, port)


def _address_fault(
    address: str, table: ProviderTable, host: str, port: int
) -> PydanticCustomError | None:
    try:
        url = check_base_url(address, allow_http=table.allow_http)
    except ValueError as error:
        return rule(str(error))
    if port and points_at(url, host, port):
        return rule(
            "points at this gateway itself",
            "it must be the address of the provider, never the one clients use",
        )
    return None


def _credentials_fault(table: ProviderTable, profile: Profile | None) -> PydanticCustomError | None:
    if table.credentials != "client" or (profile is not None and profile.takes_client_credential):
        return None
    vendors = [p.name for p in profiles().values() if p.takes_client_credential]
    return rule(
        'must be "auto" or "key": a client\'s credential goes to its own vendor only',
        "own vendors of clients are " + " and ".join(vendors),
    )
