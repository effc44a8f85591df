"""One gateway takes the place of another without closing the port.

The successor is started by somebody else (``restart``, a screen that is left) and listens on a
Unix socket in a private folder. ``successor`` in the state folder names that socket, and SIGUSR1
makes the old gateway look there: signals and files of one user cannot be forged by another, while
the gateway key may be the public default. Over that socket pass the listening socket, the open
lock file and one line of JSON; then::

    old  -> new   hello + two descriptors
    new  -> old   "ready"       it accepts connections, as the old one still does
    old  -> new   "go"          the old one accepts no more: home and lock are the new one's

The old one goes on as before when the new one ends before ``ready``. One that dies before ``go``
leaves everything to the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from server import private_files
from server.private_files import UnsafeFileError

NOTE = "successor"
"""The file in the state folder that names the successor's socket."""

MEET_S = 30.0
"""How long each waits for the other to come, and the old one for ``ready``."""

_MAX_HELLO = 4096
_READY = b"ready"
_GO = b"go"
_NO = b"no"
_UCRED = struct.Struct("3i")


class SuccessionError(Exception):
    """Nothing was handed over; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the old gateway says of itself."""

    host: str
    port: int
    has_lease: bool


@dataclass(slots=True)
class Inheritance:
    """What a successor got; ``claim`` makes it its own."""

    hello: Hello
    sock: socket.socket
    lock_fd: int
    _peer: socket.socket

    def claim(self) -> None:
        """Say that we serve and wait for the old one to step back; ``SuccessionError``.

        Blocks, at most about ``MEET_S`` seconds.
        """
        with self._peer:
            with contextlib.suppress(ConnectionError):
                self._peer.sendall(_READY)
            if self._answer() == _NO:
                raise SuccessionError("the old gateway did not wait any longer")

    def _answer(self) -> bytes:
        """What the old gateway says; nothing when it died."""
        for _ in range(2):
            try:
                return self._peer.recv(16)
            except ConnectionError:
                # Told once, and ahead of what the other end had written before it closed.
                continue
            except OSError as error:
                raise SuccessionError(f"the old gateway does not answer: {error}") from error
        return b""

    def refuse(self) -> None:
        """Give everything back; the old gateway goes on."""
        self._peer.close()
        self.sock.close()
        os.close(self.lock_fd)


def inherit(path: Path) -> Inheritance:
    """Wait at ``path`` for the old gateway and take what it hands over; ``SuccessionError``.

    Blocks, at most about ``MEET_S`` seconds.
    """
    try:
        peer = _awaited(path)
    except OSError as error:
        raise SuccessionError(f"the old gateway did not come: {error}") from error
    fds: list[int] = []
    try:
        data, fds, _, _ = socket.recv_fds(peer, _MAX_HELLO, 2)
        listening, lock_fd = fds
        hello = Hello(**json.loads(data))
        sock = socket.socket(fileno=listening)
    except (OSError, ValueError, TypeError) as error:
        for fd in fds:
            os.close(fd)
        peer.close()
        raise SuccessionError(f"the old gateway handed over nothing usable: {error}") from error
    sock.setblocking(False)
    return Inheritance(hello, sock, lock_fd, peer)


def _awaited(path: Path) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Seen under its name only once it listens: who sees it may come at once.
        coming = path.with_name(f"{path.name}+")
        listener.bind(str(coming))
        try:
            listener.settimeout(MEET_S)
            listener.listen(1)
            coming.rename(path)
            peer, _ = listener.accept()
        finally:
            for name in (coming, path):
                name.unlink(missing_ok=True)
    peer.settimeout(MEET_S)
    if not _is_us(peer):
        peer.close()
        raise PermissionError("another user came")
    return peer


@dataclass(slots=True)
class Successor:
    """The new gateway, as the old one sees it; it serves already."""

    _peer: socket.socket

    def take_over(self) -> None:
        """Tell it that everything is its own now."""
        with self._peer, contextlib.suppress(OSError):
            self._peer.sendall(_GO)


def hand_over(state_dir: Path, hello: Hello, sock: int, lock: int) -> Successor:
    """Give the descriptors to the successor that ``state_dir`` names, and wait until it serves.

    Blocks, at most about twice ``MEET_S`` seconds. After a ``SuccessionError`` nothing changed.
    """
    try:
        path = private_files.read_private(state_dir / NOTE).decode()
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except (OSError, UnsafeFileError, UnicodeDecodeError) as error:
        raise SuccessionError(f"no successor is named: {error}") from error
    try:
        peer.settimeout(MEET_S)
        peer.connect(path)
        if not _is_us(peer):
            raise SuccessionError("the successor belongs to another user")
        socket.send_fds(peer, [json.dumps(asdict(hello)).encode()], [sock, lock])
        if peer.recv(16) != _READY:
            raise SuccessionError("the successor ended before it served")
    except OSError as error:
        with contextlib.suppress(OSError):
            peer.sendall(_NO)
        peer.close()
        raise SuccessionError(f"the successor did not get ready: {error}") from error
    except SuccessionError:
        peer.close()
        raise
    return Successor(peer)


def _is_us(peer: socket.socket) -> bool:
    """Whether the other end is a process of this user; the private folder alone tells elsewhere."""
    if sys.platform != "linux":
        return True
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(data)[1]) == os.geteuid()
