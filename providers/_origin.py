"""Where a request goes: scheme, host and port, parsed once from a base URL."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_UNUSABLE = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Origin:
    """One server to talk to. ``host`` is lower case and has no brackets."""

    scheme: str
    """``http`` or ``https``; that http is for loopback hosts only is the settings' business."""
    host: str
    port: int
    host_header: bytes = field(init=False, compare=False, repr=False, default=b"")
    """Value of the ``Host`` field: IPv6 in brackets, a default port left out."""

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != DEFAULT_PORTS.get(self.scheme):
            host = f"{host}:{self.port}"
        object.__setattr__(self, "host_header", host.encode("ascii"))

    @property
    def label(self) -> str:
        """``host:port`` for messages; never holds a credential."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host can only be this machine."""
        return is_loopback(self.host)

    @classmethod
    def parse(cls, url: str) -> tuple[Origin, bytes]:
        """Split a base URL into its origin and its path without a trailing slash.

        The path is ``b""`` when there is none. Raises ``ValueError`` with a plain sentence for
        anything that is not ``http(s)://host[:port][/path]``; the sentence never repeats a
        user name or password.
        """
        text = url.strip()
        if _UNUSABLE.search(text):
            raise ValueError("The URL holds a space, a control character or a non-ASCII character.")
        parts = split_url(text)
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"The URL must begin with https:// or http://, not {parts.scheme!r}.")
        if "@" in parts.netloc:
            raise ValueError("The URL must not hold a user name or password.")
        if "?" in text or "#" in text:
            raise ValueError("The URL must not hold a query or a fragment.")
        origin = cls(parts.scheme, checked_host(parts), checked_port(parts))
        path = parts.path.rstrip("/")
        if any(segment in (".", "..") for segment in path.split("/")):
            raise ValueError("The path of the URL must not hold '.' or '..'.")
        return origin, path.encode("ascii")


def split_url(text: str) -> SplitResult:
    """``urlsplit`` whose only error is a ``ValueError`` that does not repeat the text."""
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("The host in the URL is not valid.") from None


def checked_host(parts: SplitResult) -> str:
    """The host name or address, lower case; ``ValueError`` when there is none or it is malformed."""
    host = parts.hostname
    if not host:
        raise ValueError("The URL names no host.")
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("The IPv6 address in the URL is not valid.") from None
        if address.scope_id:
            raise ValueError("The IPv6 address in the URL must not hold a zone.")
        return str(address)
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ValueError("The host in the URL is not valid.")
    return host


def checked_port(parts: SplitResult) -> int:
    """The port, or the scheme's default; ``ValueError`` outside 1 to 65535."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        return DEFAULT_PORTS[parts.scheme]
    if not 1 <= port <= 65535:
        raise ValueError("The port in the URL is not a number from 1 to 65535.")
    return port


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine: ``localhost``, ``*.localhost``, 127/8 or ``::1``."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
