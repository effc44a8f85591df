"""What is known about each provider, as data; and the resolved view the registry builds from.

``base_url`` follows each vendor's own convention: Anthropic's is the vendor root (a path prefix is
kept, ``/v1/messages`` is appended), an OpenAI-compatible one ends where ``/chat/completions`` and
``/responses`` begin, usually in ``/v1``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from providers.types import Protocol

Auth = Literal["x-api-key", "bearer"]
"""The header field that carries the key: ``x-api-key: KEY`` or ``Authorization: Bearer KEY``."""

Credentials = Literal["auto", "client", "key"]
"""Whose credential goes upstream: the client's own if it sent one, only that, or only our key."""

ACCOUNT_PLACEHOLDER = "{account_id}"

_DATA = Path(__file__).with_name("data") / "profiles.toml"
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ANTHROPIC_VERSION = MappingProxyType({"anthropic-version": "2023-06-01"})
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Profile:
    """One row of ``data/profiles.toml``."""

    name: str
    title: str
    """The company's name, for people."""
    protocols: tuple[Protocol, ...]
    """Wire protocols it speaks, its own first."""
    base_url: str
    """May hold ``{account_id}`` where ``account_id_env`` is set."""
    api_key_env: str
    auth: Auth
    model: str | None = None
    """Model used where a route names none; ``None`` leaves the client's."""
    login_base_url: str | None = None
    """Where requests made with a subscription login go instead of ``base_url``."""
    account_id_env: str | None = None
    takes_client_credential: bool = False
    """Whether clients of this vendor's protocol hold credentials that are meant for it."""
    retired: Mapping[str, str] = field(default_factory=dict)
    """Model that no longer exists -> its replacement."""
    translated_model: str | None = None
    """Serves clients of another protocol where no model is named."""

    @property
    def protocol(self) -> Protocol:
        """The provider's own protocol."""
        return self.protocols[0]


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider as configured: its profile, and the user's settings over it."""

    name: str
    title: str
    protocols: tuple[Protocol, ...]
    base_url: str
    """No trailing slash; may hold ``{account_id}``, see ``url``."""
    api_key_env: str | None
    """``None``: the server wants no key."""
    auth: Auth
    model: str | None
    credentials: Credentials
    proxy: str
    """``env``, ``none`` or the proxy's URL."""
    account_id_env: str | None = None
    login_base_url: str | None = None
    takes_client_credential: bool = False
    retired: Mapping[str, str] = field(default_factory=dict)
    translated_model: str | None = None
    """Serves clients of another protocol where no model is named."""
    is_builtin: bool = True

    @property
    def protocol(self) -> Protocol:
        """The provider's own protocol."""
        return self.protocols[0]

    @property
    def headers_if_missing(self) -> Mapping[str, str]:
        """Fields the protocol demands and the client may have left out."""
        return _ANTHROPIC_VERSION if self.protocol is Protocol.MESSAGES else _NO_HEADERS

    def url(self, account_id: str | None = None) -> str:
        """``base_url`` with the account id in its place.

        Raises ``ValueError`` when an id is needed and missing, or when it could change more than
        its own path segment.
        """
        if ACCOUNT_PLACEHOLDER not in self.base_url:
            return self.base_url
        if not is_account_id(account_id or ""):
            raise ValueError(f"{self.account_id_env} holds no account id (letters, digits, - _)")
        return self.base_url.replace(ACCOUNT_PLACEHOLDER, account_id or "")


def is_account_id(text: str) -> bool:
    """Whether ``text`` can stand for ``{account_id}`` without touching the rest of the URL."""
    return _ACCOUNT_ID.fullmatch(text) is not None


@cache
def profiles() -> Mapping[str, Profile]:
    """The built-in providers by name, in the order of the data file."""
    rows = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    return MappingProxyType({name: _profile(name, row) for name, row in rows.items()})


def _profile(name: str, row: dict[str, Any]) -> Profile:
    protocols = tuple(Protocol(value) for value in row.pop("protocols"))
    retired = MappingProxyType(row.pop("retired", {}))
    return Profile(name=name, protocols=protocols, retired=retired, **row)


def default_auth(protocol: Protocol) -> Auth:
    """How servers of ``protocol`` usually take their key."""
    return "x-api-key" if protocol is Protocol.MESSAGES else "bearer"
