"""What every test gets: a scrubbed environment, a home of its own, and no way out of the machine."""

from __future__ import annotations

import _socket
import ipaddress
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PREFIXES = (
    "ANTHROPIC_",
    "CEREBRAS_",
    "CLAUDE",
    "CLOUDFLARE_",
    "CODEX_",
    "GROQ_",
    "OPENAI_",
    "SBGW_",
    "STACKBILT_",
    "TEXTUAL",
)
_SUFFIXES = ("_API_KEY", "_BASE_URL", "_PROXY")
_NAMES = {
    "CURL_CA_BUNDLE",
    "FORCE_COLOR",
    "NO_COLOR",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
}


class OutsideWorldError(RuntimeError):
    """A test tried to reach something that is not this machine."""


_attempts: list[str] = []
_numbers = itertools.count()


def pytest_configure() -> None:
    """Scrub once, before any module of the project reads the environment."""
    for name in list(os.environ):
        upper = name.upper()
        if upper in _NAMES or upper.startswith(_PREFIXES) or upper.endswith(_SUFFIXES):
            del os.environ[name]
    _close_the_network()


@pytest.fixture(autouse=True)
def sbgw_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings and state folder of this test; does not exist until the program makes it."""
    home = tmp_path_factory.getbasetemp() / f"home-{next(_numbers)}"
    monkeypatch.setenv("SBGW_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def attempts_to_leave() -> Iterator[list[str]]:
    """Hosts outside this machine that were asked for: fails the test even if that was caught."""
    _attempts.clear()
    yield _attempts
    assert not _attempts, f"tried to reach {', '.join(_attempts)}"


def _close_the_network() -> None:
    """Refuse every connection and look-up of this process that would leave the loopback."""
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded_connect(self: _socket.socket, address: Any) -> None:
        _check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: _socket.socket, address: Any) -> int:
        _check(self, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name and name != "localhost" and not _is_address(name):
            _refuse(name)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = guarded_getaddrinfo


def _check(sock: _socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host = str(address[0])
        if host != "localhost" and not (_is_address(host) and _is_loopback(host)):
            _refuse(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refuse(host: str) -> None:
    _attempts.append(host)
    raise OutsideWorldError(f"a test tried to reach {host}")
