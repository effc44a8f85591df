"""Rules for hosts and URLs that stand in settings; pure, no name is ever resolved."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_URL_TEXT = re.compile(r"[!-~]+")
_PATH = re.compile(r"(/([A-Za-z0-9._~@:+-]|\{account_id\})+)*/?")
_NO_PROXY_URL = 'must be "env", "none" or a URL like http://host:port'
_DEFAULT_PORTS = {"http": 80, "https": 443}


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an address (brackets allowed, IPv4 inside IPv6 unwrapped), ``None`` for names."""
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine only: 127.0.0.0/8, ::1 or ``localhost``."""
    address = ip_of(host)
    return address.is_loopback if address is not None else host.lower() == "localhost"


def check_host(host: str) -> str:
    """``host`` if it is an address or a host name; ``ValueError`` says in words why not."""
    if ip_of(host) is None and _HOST_NAME.fullmatch(host) is None:
        raise ValueError("this is not a host name or an IP address")
    return host


def check_base_url(url: str, *, allow_http: bool = False) -> str:
    """``url`` without its trailing slash; ``ValueError`` says in words why it is refused."""
    if not url.lower().startswith(("https://", "http://")):
        raise ValueError("must start with https://")
    parts = _split(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if "?" in url or "#" in url:
        raise ValueError("must not hold a query or a fragment")
    if _PATH.fullmatch(parts.path) is None or {".", ".."} & set(parts.path.split("/")):
        raise ValueError("its path must be plain segments, like /v1")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname or "")):
        raise ValueError("plain http is only for this machine; use https, or set allow_http = true")
    return url.rstrip("/")


def check_proxy_url(url: str) -> str:
    """``url`` if it names an HTTP proxy; ``ValueError`` says in words why not."""
    if url.lower().startswith("socks"):
        raise ValueError("SOCKS proxies are not supported; use an http:// or https:// proxy")
    if not url.lower().startswith(("https://", "http://")):
        raise ValueError(_NO_PROXY_URL)
    parts = _split(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(_NO_PROXY_URL)
    return url


def _split(url: str) -> SplitResult:
    if _URL_TEXT.fullmatch(url) is None or "\\" in url:
        raise ValueError("this is not a URL (spaces, controls and non-ASCII must be encoded)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("this is not a URL (its host or port is wrong)") from error
    if not parts.hostname or port == 0:
        raise ValueError("this is not a URL (it names no host)")
    check_host(parts.hostname)
    return parts


def points_at(url: str, host: str, port: int) -> bool:
    """Whether ``url`` leads back to a server that listens on ``host`` and ``port``."""
    parts = urlsplit(url)
    theirs = parts.hostname or ""
    if (parts.port or _DEFAULT_PORTS.get(parts.scheme)) != port:
        return False
    listens_locally = is_loopback(host) or _is_any(host)
    return theirs.lower() == host.lower() or (
        listens_locally and (is_loopback(theirs) or _is_any(theirs))
    )


def _is_any(host: str) -> bool:
    address = ip_of(host)
    return address is not None and address.is_unspecified


def password_in(url: str) -> str | None:
    """The password in ``url``, decoded; ``None`` when there is none or it is no URL."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None


def without_userinfo(url: str) -> str:
    """``url`` with a mask in place of its user name and password."""
    return re.sub(r"(?<=://)[^/]*@", "***@", url)
