"""Who may use the gateway, and whose credential goes to the upstream; pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec

from providers.types import Headers, Payer
from server.headers import to_upstream, values
from server.redact import Redactor

_CREDENTIAL_FIELDS = frozenset({b"x-api-key", b"authorization"})
_BEARER = b"bearer "
_LOGIN_TOKEN = b"sk-ant-oat"
_LOGIN_BETA = b"oauth-"
_LOGIN_ACCOUNT = frozenset({b"chatgpt-account-id", b"x-openai-fedramp"})
"""Fields of a ChatGPT login that say whose it is."""
_API_KEY = b"sk-"
_SIGNED_TOKEN = b"eyJ"
"""How a JSON Web Token opens: somebody has signed in."""
_BY_SHAPE = Redactor()


class AuthFailed(Exception):
    """The gateway key is missing or wrong; ``reason`` is counted, the text is for the user."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Access:
    """An authenticated request: what remains of its headers as the client's own credential."""

    client_credential: Headers = field(default_factory=list)
    redact: Redactor = _BY_SHAPE
    """Masks credentials in words of an upstream that are to be kept or shown."""

    @property
    def client_secrets(self) -> list[str]:
        """The client's own credentials, bare."""
        return [token_of(*pair).decode("latin-1") for pair in self.client_credential]


class Credential(msgspec.Struct, frozen=True):
    """What goes to the upstream, and who pays for it."""

    payer: Payer
    headers: Headers

    def dress(self, headers: Headers) -> Headers:
        """A client's fields as its own vendor gets them, with this credential in them.

        The account of a login stays with the login: beside a key it would be refused, and it is
        nobody else's business.
        """
        without = frozenset() if self.payer is Payer.LOGIN else _LOGIN_ACCOUNT
        return to_upstream(headers, self.headers, without)


class KeyRing:
    """Compares presented keys with the gateway's in constant time, whatever their length."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()
        self._size = len(key.encode())
        self._key = key

    def reveal(self) -> str:
        """The key itself, to be found and masked where it must not be."""
        return self._key

    def matches(self, presented: bytes) -> bool:
        """Whether ``presented`` is the gateway key."""
        return hmac.compare_digest(hashlib.sha256(presented).digest(), self._digest)

    def without_key(self, headers: Headers) -> Headers:
        """``headers`` without fields that hold the gateway key, bare or after ``Bearer``.

        The two credential fields stay: they are replaced where they stand.
        """
        size = self._size
        return [pair for pair in headers if len(pair[1]) < size or not self._holds_key(*pair)]

    def _holds_key(self, name: bytes, value: bytes) -> bool:
        if name.lower() in _CREDENTIAL_FIELDS:
            return False
        token = token_of(b"authorization", value)
        return len(token) == self._size and self.matches(token)


def authenticate(headers: Headers, path_token: bytes | None, ring: KeyRing) -> Access:
    """Find the gateway key: ``x-sbgw-key`` and the path token, else the client's own fields.

    Where the key is given twice, both must be right. In the first case the other credential
    fields are the client's own; any of them that equals the gateway key is not a credential and
    is dropped. Raises ``AuthFailed``.
    """
    dedicated = values(headers, b"x-sbgw-key")
    if path_token is not None:
        dedicated.append(path_token)
    if dedicated:
        if not all([ring.matches(value) for value in dedicated]):
            raise AuthFailed("wrong_key", "the gateway key is wrong")
        return Access([pair for pair in _credentials(headers) if not _is_key(pair, ring)])
    own = _credentials(headers)
    if not own:
        raise AuthFailed("missing_key", MISSING_KEY)
    if not all([_is_key(pair, ring) for pair in own]):
        raise AuthFailed("wrong_key", WRONG_KEY)
    return Access()


MISSING_KEY = (
    "no gateway key: send it as x-api-key or Authorization: Bearer (the default is local-dev-key), "
    "or start the client with: sbgw-tui claude"
)
WRONG_KEY = (
    "this is not the gateway key: send the gateway key as x-api-key or Authorization: Bearer; "
    "to use your own login or key through the gateway, start the client with: sbgw-tui claude"
)
NO_CREDENTIAL = (
    "the gateway has no credential for {provider}: put {env}=... into {env_file} or export it "
    "before starting the gateway, or start the client with its own login through: sbgw-tui claude"
)


def _credentials(headers: Headers) -> Headers:
    return [
        (name, value)
        for name, value in headers
        if name.lower() in _CREDENTIAL_FIELDS and token_of(name, value)
    ]


def token_of(name: bytes, value: bytes) -> bytes:
    """The secret in a credential field: the key, or what follows ``Bearer``."""
    value = value.strip()
    if name.lower() == b"authorization" and (value + b" ")[:7].lower() == _BEARER:
        return value[7:].strip()
    return value


def _is_key(pair: tuple[bytes, bytes], ring: KeyRing) -> bool:
    return ring.matches(token_of(*pair))


def client_payer(credential: Headers, headers: Headers) -> Payer:
    """Whether the client's own credential is a subscription login or an API key.

    Where both fields are sent, ``x-api-key`` is the one the vendor bills.
    """
    if any(name.lower() == b"x-api-key" for name, _ in credential):
        return Payer.CLIENT_KEY
    tokens = [token_of(*pair) for pair in credential]
    if any(token.startswith(_LOGIN_TOKEN) for token in tokens) or _is_chatgpt(tokens, headers):
        return Payer.LOGIN
    betas = b",".join(values(headers, b"anthropic-beta"))
    return Payer.LOGIN if _LOGIN_BETA in betas else Payer.CLIENT_KEY


def _is_chatgpt(tokens: list[bytes], headers: Headers) -> bool:
    """Whether these are the tokens of a ChatGPT login; an OpenAI API key says that it is one."""
    if not tokens or any(token.startswith(_API_KEY) for token in tokens):
        return False
    if values(headers, b"anthropic-version"):
        return False
    has_account = any(name.lower() in _LOGIN_ACCOUNT for name, _ in headers)
    return has_account or any(token.startswith(_SIGNED_TOKEN) for token in tokens)


def choose(
    access: Access, headers: Headers, *, mode: str, own: Headers | None
) -> Credential | None:
    """The credential for a provider of the client's own vendor; ``None`` when there is none.

    ``mode`` is the provider's ``credentials`` setting: ``auto`` prefers the client's own,
    ``client`` and ``key`` use nothing but the named one. ``own`` is our configured key as
    header fields.
    """
    if not may_pay(access, mode=mode, own=own):
        return None
    if mode != "key" and access.client_credential:
        payer = client_payer(access.client_credential, headers)
        return Credential(payer, access.client_credential)
    return Credential(Payer.GATEWAY_KEY, own or [])


def may_pay(access: Access, *, mode: str, own: Headers | None) -> bool:
    """Whether ``choose`` finds a credential."""
    if mode != "key" and access.client_credential:
        return True
    return mode != "client" and own is not None
