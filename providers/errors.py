"""What can go wrong with an upstream.

UpstreamError
  ConnectFailed            nothing was sent
    Offline                local DNS failure or no route: not the provider's fault
    ConnectTimeout
    TlsFailed              certificate or handshake; never retried elsewhere with the same key
    ProxyFailed            the HTTP proxy refused or broke the tunnel
  WriteFailed              the request could not be written in full
  ResponseFailed           something arrived wrong, or nothing did
    ConnectionDropped      closed or reset before the response was complete
    FramingError           bytes that are not HTTP/1.1, or a body over the limit
  Expired                  one of our own timers ended the attempt
    DeadlineExpired        all attempts of the request together took too long
    NoAnswer               no first byte in time, and somebody else could still answer
    Stalled                no upstream byte, or nothing but pings, for too long
"""

from __future__ import annotations


class UpstreamError(Exception):
    """Base of all failures of one upstream attempt; ``str()`` is safe to show to a user."""

    code = "upstream_error"


class ConnectFailed(UpstreamError):
    """No connection could be made; the request was not sent."""

    code = "connect"


class Offline(ConnectFailed):
    """This machine has no route or no name resolution; says nothing about the provider."""

    code = "offline"


class ConnectTimeout(ConnectFailed):
    """The connection was not established within the connect timeout."""

    code = "connect_timeout"


class TlsFailed(ConnectFailed):
    """The TLS handshake or the certificate check failed."""

    code = "tls"


class ProxyFailed(ConnectFailed):
    """The configured HTTP proxy refused the request or the tunnel."""

    code = "proxy"


class WriteFailed(UpstreamError):
    """The connection broke, or stayed blocked, while the request was written."""

    code = "write"


class ResponseFailed(UpstreamError):
    """The response is missing or not usable."""

    code = "response"


class ConnectionDropped(ResponseFailed):
    """The upstream closed or reset the connection before the response was complete."""

    code = "dropped"


class FramingError(ResponseFailed):
    """The upstream sent something that is not valid HTTP/1.1, or more than we accept."""

    code = "framing"


class Expired(UpstreamError):
    """A timer of the gateway ended the attempt."""

    code = "expired"


class DeadlineExpired(Expired):
    """The deadline over all attempts of the request passed before the answer began."""

    code = "deadline"


class NoAnswer(Expired):
    """The answer did not begin in time for another candidate to take over."""

    code = "no_answer"


class Stalled(Expired):
    """The upstream went silent in mid-answer."""

    code = "stalled"
