"""A small HTTP client for commands that talk to a running gateway.

Blocking and standard-library only, so that a command starts fast. It never uses a proxy, and
the gateway key is only ever sent to a ``Health``: a gateway that has proved to be ours.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from server.instance import InstanceInfo, InstancePaths, new_nonce, read, read_secret, verify

_MAX_HEALTH = 256 * 1024
_MAX_BODY = 64 * 1024 * 1024
_PROOF = re.compile(r"[0-9a-f]{64}")
_DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Health:
    """A gateway of this home that answered ``GET /health`` with the right proof."""

    url: str
    status: str
    """``up``, ``degraded`` ..."""
    state: str
    """``serving`` or ``draining``."""
    version: str
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_serving(self) -> bool:
        """Whether it takes new requests."""
        return self.state != _DRAINING


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Something listens at ``url`` but is not this home's gateway."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nothing answers at ``url`` (empty while the gateway has not said where it listens)."""

    url: str
    reason: str


Answer = Health | NotOurs | Unreachable


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer of the gateway."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The decoded body; ``ValueError`` when it is not JSON."""
        return json.loads(self.body)


class GatewayUnreachableError(Exception):
    """A proven gateway stopped answering; ``str()`` is one line for the user."""


def health(url: str, *, secret: bytes, nonce: str | None = None, timeout_s: float = 2.0) -> Answer:
    """Ask ``url`` for its health and for the proof that it holds ``secret``.

    ``timeout_s`` bounds each wait on the socket.
    """
    port = urlsplit(url).port
    if port is None:
        return Unreachable(url, "the address names no port")
    nonce = nonce or new_nonce()
    try:
        reply = _exchange(url, "GET", f"/health?nonce={nonce}", {}, None, timeout_s, _MAX_HEALTH)
    except OSError as error:
        return Unreachable(url, _in_words(error))
    except http.client.HTTPException:
        return NotOurs(url, "it does not speak HTTP")
    try:
        body = reply.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(presented := body.get("proof"), str):
        return NotOurs(url, "it gives no proof of being this gateway")
    if _PROOF.fullmatch(presented) is None or not verify(secret, nonce, port, presented):
        return NotOurs(url, "its proof is wrong: it belongs to another home or another program")
    status, state, version = (str(body.get(name, "")) for name in ("status", "state", "version"))
    return Health(url, status, state, version, body)


def find(paths: InstancePaths, *, timeout_s: float = 2.0) -> Answer | None:
    """This home's gateway as it is now; ``None`` when no process holds the lock.

    ``server.instance.InstanceError`` when the lock file or the secret cannot be used.
    """
    info = read(paths)
    if info is None or not info.is_held:
        return None
    return ask(info, paths, timeout_s=timeout_s)


def ask(info: InstanceInfo, paths: InstancePaths, *, timeout_s: float = 2.0) -> Answer:
    """``health`` of the gateway that ``info`` speaks of."""
    secret = read_secret(paths)
    if info.url is None or secret is None:
        return Unreachable(info.url or "", "it is still starting")
    return health(info.url, secret=secret, timeout_s=timeout_s)


def call(
    gateway: Health,
    method: str,
    path: str,
    *,
    key: str,
    payload: object = None,
    timeout_s: float = 10.0,
) -> Reply:
    """Send one request with the gateway key; any HTTP status is a reply.

    ``payload`` is sent as JSON unless it is ``None``. Raises ``GatewayUnreachableError``.
    """
    headers = {"x-sbgw-key": key, "accept": "application/json"}
    body = None
    if payload is not None:
        headers["content-type"] = "application/json"
        body = json.dumps(payload).encode()
    try:
        return _exchange(gateway.url, method, path, headers, body, timeout_s, _MAX_BODY)
    except OSError as error:
        reason = _in_words(error)
    except http.client.HTTPException:
        reason = "its answer is not HTTP or was cut off"
    raise GatewayUnreachableError(f"the gateway at {gateway.url} does not answer: {reason}")


def _exchange(
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout_s: float,
    limit: int,
) -> Reply:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    with closing(connection):
        connection.request(method, path, body=body, headers={**headers, "connection": "close"})
        response = connection.getresponse()
        with response:
            data = response.read(limit + 1)
            if len(data) > limit:
                raise http.client.HTTPException("the answer is too long")
            # A bounded read takes an early end of the connection for the end of the body.
            if response.length:
                raise http.client.IncompleteRead(data, response.length)
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, data)


def _in_words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return error.strerror or str(error) or type(error).__name__
