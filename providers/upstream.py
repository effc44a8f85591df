"""One configured upstream: where it is, how it is authenticated, how it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field

from providers.transport import Origin, Transport, UpstreamResponse
from providers.types import Headers, Payer, Protocol


def auth_headers(style: str, key: str) -> Headers:
    """``key`` as header fields; ``style`` is ``x-api-key`` or ``bearer``."""
    if style == "x-api-key":
        return [(b"x-api-key", key.encode())]
    return [(b"authorization", b"Bearer " + key.encode())]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider as the engine talks to it."""

    name: str
    protocol: Protocol
    base_url: str
    origin: Origin
    base_path: bytes
    transport: Transport
    credentials: str
    """``auto``, ``client`` or ``key``."""
    api_key_env: str | None
    own_credential: Headers | None
    """Our configured key as header fields."""
    at_login: Upstream | None = field(default=None, repr=False)
    """The vendor's other address, which alone takes its subscription logins."""

    @property
    def takes_clients(self) -> bool:
        """Whether a client's own credential is passed on to it."""
        return self.protocol is Protocol.MESSAGES and self.credentials != "key"

    @property
    def is_configured(self) -> bool:
        """Whether anything can be sent there: with a key of ours, or the client's own."""
        return self.own_credential is not None or self.takes_clients

    def paid_by(self, payer: Payer) -> Upstream:
        """Where requests go that ``payer`` is billed for."""
        return self.at_login if payer is Payer.LOGIN and self.at_login is not None else self

    async def send(
        self, method: bytes, path: bytes, query: bytes, headers: Headers, body: bytes
    ) -> UpstreamResponse:
        """Send one request; ``path`` is below the base URL, ``query`` without ``?``.

        Raises ``providers.errors.UpstreamError``.
        """
        target = self.base_path + path
        if query:
            target += b"?" + query
        return await self.transport.request(self.origin, method, target, headers, body)
