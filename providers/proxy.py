"""Which HTTP proxy an origin is reached through: from the environment, fixed, or none.

The rules are the ones curl and the vendors' SDKs share: ``HTTPS_PROXY`` for https origins,
``HTTP_PROXY`` for http origins, ``ALL_PROXY`` for what has none of its own, ``NO_PROXY`` for
exceptions; the lower-case spelling wins. Loopback hosts are never proxied. Only ``http://``
proxies are supported: SOCKS needs another protocol, and TLS to the proxy would need TLS within
TLS, which asyncio before Python 3.12 does not survive when a certificate is refused.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from providers._origin import Origin, checked_host, checked_port, split_url

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """One HTTP proxy; ``repr`` and ``label`` never show its credentials."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    """Value of ``Proxy-Authorization``, from the user name and password in the URL."""

    @property
    def label(self) -> str:
        """``host:port`` for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read ``[http://][user:password@]host[:port]``; ``ValueError`` with a plain sentence."""
        text = url.strip()
        if "://" not in text:
            text = "http://" + text
        parts = split_url(text)
        if parts.scheme.startswith("socks"):
            raise ValueError("SOCKS proxies are not supported. Use an http:// proxy.")
        if parts.scheme != "http":
            raise ValueError(
                f"Proxies of the kind {parts.scheme}:// are not supported, use http://."
            )
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("A proxy URL must not hold a path, a query or a fragment.")
        user, at, _ = parts.netloc.rpartition("@")
        secret = None
        if at:
            name, _, password = user.partition(":")
            pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
            secret = b"Basic " + base64.b64encode(pair)
        return cls(checked_host(parts), checked_port(parts), secret)

    def connect_head(self, target: str) -> bytes:
        """The CONNECT request for ``target`` (``host:port``)."""
        lines = [f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode("ascii")]
        if self.authorization is not None:
            lines.append(b"Proxy-Authorization: " + self.authorization + b"\r\n")
        return b"".join([*lines, b"\r\n"])


@dataclass(frozen=True, slots=True)
class ProxyMap:
    """Chooses the proxy of an origin; immutable. The default is no proxy at all."""

    for_https: Proxy | None = None
    for_http: Proxy | None = None
    exceptions: tuple[NoProxy, ...] = ()

    @classmethod
    def none(cls) -> ProxyMap:
        """Connect directly, whatever the environment says."""
        return cls()

    @classmethod
    def fixed(cls, url: str) -> ProxyMap:
        """One proxy for every host that is not loopback; ``ValueError`` when unusable."""
        proxy = Proxy.parse(url)
        return cls(proxy, proxy)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> ProxyMap:
        """Read the proxy variables of ``env``; ``ValueError`` names the variable at fault."""
        exceptions = _lookup(env, "no_proxy")[1]
        words = exceptions.replace(",", " ").split()
        return cls(
            _from_variable(env, "https_proxy"),
            _from_variable(env, "http_proxy"),
            tuple(NoProxy.parse(word) for word in words),
        )

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy to reach ``origin`` through, ``None`` for a direct connection."""
        proxy = self.for_https if origin.scheme == "https" else self.for_http
        if proxy is None or origin.is_loopback:
            return None
        if any(exception.covers(origin) for exception in self.exceptions):
            return None
        return proxy


@dataclass(frozen=True, slots=True)
class NoProxy:
    """One entry of ``NO_PROXY``: ``*``, a domain and all below it, an address, a CIDR range."""

    suffix: str = ""
    network: _Network | None = None
    port: int | None = None

    @classmethod
    def parse(cls, word: str) -> NoProxy:
        """Read one word; anything that is not an address or a range is taken as a domain."""
        if word == "*":
            return cls("*")
        network = _network(word)
        if network is not None:
            return cls(network=network)
        host, colon, digits = word.rpartition(":")
        port = int(digits) if colon and digits.isascii() and digits.isdigit() else None
        if port is None:
            host = word
        network = _network(host)
        if network is not None:
            return cls(network=network, port=port)
        return cls(host.lower().removeprefix("*").strip("."), port=port)

    def covers(self, origin: Origin) -> bool:
        """Whether ``origin`` is to be reached without a proxy."""
        if self.port is not None and self.port != origin.port:
            return False
        if self.suffix == "*":
            return True
        if self.network is not None:
            try:
                return ipaddress.ip_address(origin.host) in self.network
            except ValueError:
                return False
        host = origin.host.rstrip(".")
        return bool(self.suffix) and (host == self.suffix or host.endswith("." + self.suffix))


def _network(word: str) -> _Network | None:
    try:
        return ipaddress.ip_network(word.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None


def _lookup(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """Variable and value, the lower-case spelling first; an empty lower-case one switches off."""
    for spelling in (name, name.upper()):
        if spelling in env:
            return spelling, env[spelling].strip()
    return name, ""


def _from_variable(env: Mapping[str, str], name: str) -> Proxy | None:
    variable, value = _lookup(env, name)
    if not value and variable not in env:
        variable, value = _lookup(env, "all_proxy")
    if not value:
        return None
    try:
        return Proxy.parse(value)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
