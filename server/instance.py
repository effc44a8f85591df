"""One gateway per home: the lock that says so, and the secret that proves it.

``gateway.lock`` holds one line of JSON about its owner, but the truth is the ``flock`` on it:
the kernel drops that when the owner dies, however it dies. The file itself stays, because
removing a lock file lets two processes hold "the" lock on two different inodes.

The *proof* lets a launcher tell its own gateway from any other program on the port. It is an
HMAC under a secret only this user can read, over the caller's nonce and the port the gateway
really listens on: a listener on another port that passes the nonce on gets a proof for the
wrong port.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from server.addresses import ip_of
from server.clock import Clock
from server.processes import is_alive, start_ticks

SECRET_BYTES = 32
_PROOF_CONTEXT = b"sbgw health proof v1"
_PERMIT_CONTEXT = b"sbgw replay permit v1"
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_MAX_FILE = 16 * 1024
_LOCK_TRIES = 20
_LOCK_PAUSE_S = 0.01


class InstancePaths(Protocol):
    """The files this module needs, all below the state folder."""

    @property
    def lock_file(self) -> Path: ...
    @property
    def instance_secret_file(self) -> Path: ...
    def make_state_dir(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """What the lock file says of the gateway, and whether that gateway still lives."""

    pid: int | None
    """``None`` while the owner has not written its line yet."""
    process_started: int | None
    """Clock ticks since boot (server.processes.start_ticks)."""
    instance: str
    """Opaque id, fresh at every start."""
    started_at: float
    """Seconds since the epoch."""
    url: str | None
    """Where to connect; ``None`` until the gateway listens."""
    is_held: bool
    """Whether a live process holds the lock right now."""
    arguments: tuple[str, ...] = ()
    """The options it was started with, for one that takes its place."""
    host: str | None = None
    """The address it was told to listen on."""
    has_screen: bool = False
    """Whether it serves inside a terminal interface."""
    is_service: bool = False
    """Whether a service manager started it and looks after it."""

    @property
    def port(self) -> int | None:
        """The port in ``url``."""
        return urlsplit(self.url).port if self.url else None


class InstanceError(Exception):
    """The lock or the secret cannot be used; ``str()`` says why and what to do."""


class AlreadyRunning(Exception):
    """Another gateway holds this home; ``info`` is what its lock file says."""

    def __init__(self, info: InstanceInfo) -> None:
        self.info = info
        where = f" at {info.url}" if info.url else ""
        who = f" (pid {info.pid})" if info.pid else ""
        super().__init__(f"a gateway is already running{where}{who}")


def connect_url(host: str, port: int) -> str:
    """The URL by which a program on this machine reaches a gateway bound to ``host``."""
    address = ip_of(host)
    if address is not None and address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    host = host.strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class InstanceLock:
    """Held by the gateway from before it binds until it has ended.

    ``acquire`` then ``publish`` once the port is known, ``release`` at the end; a context
    manager does the first and the last.
    """

    def __init__(
        self, paths: InstancePaths, clock: Clock, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._paths = paths
        self._path = paths.lock_file
        self._clock = clock
        self._pause = pause
        self._fd: int | None = None
        self.instance = secrets.token_hex(8)
        self._started_at = clock.time()
        self._about: dict[str, Any] = {}

    @classmethod
    def adopt(cls, paths: InstancePaths, clock: Clock, fd: int) -> InstanceLock:
        """The lock that another process of this home passed on as an open descriptor.

        The kernel's lock belongs to the open file and not to a process, so it is never free in
        between. The file says who holds it from ``publish`` on.
        """
        lock = cls(paths, clock)
        os.set_inheritable(fd, False)
        lock._fd = fd
        return lock

    def fileno(self) -> int:
        """The descriptor to pass on; ``RuntimeError`` when the lock is not held."""
        if self._fd is None:
            raise RuntimeError("the instance lock is not held")
        return self._fd

    def leave_to_successor(self) -> None:
        """Let go of our part of a lock that another process has adopted."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def acquire(self) -> None:
        """Take the lock or raise ``AlreadyRunning``; ``InstanceError`` when it cannot be used.

        May wait up to 0.2 s: whoever reads the file holds a shared lock for an instant.
        """
        if self._fd is not None:
            return
        self._paths.make_state_dir()
        for _ in range(_LOCK_TRIES):
            fd = _open(self._path, os.O_RDWR | os.O_CREAT)
            is_free = _try_lock(fd, fcntl.LOCK_EX, self._path)
            if is_free and _is_same_file(fd, self._path):
                self._fd = fd
                self._write(None)
                return
            info = _parse(fd, is_held=not is_free)
            os.close(fd)
            if info.is_held and info.pid and is_alive(info.pid, info.process_started):
                raise AlreadyRunning(info)
            self._pause(_LOCK_PAUSE_S)
        raise AlreadyRunning(info)

    def publish(
        self,
        host: str,
        port: int,
        *,
        arguments: Sequence[str] = (),
        has_screen: bool = False,
        is_service: bool = False,
    ) -> str:
        """Write where and how the gateway serves; returns the URL that others will read."""
        url = connect_url(host, port)
        self._about = {
            "host": host,
            "arguments": list(arguments),
            "screen": has_screen,
            "service": is_service,
        }
        self._write(url)
        return url

    def release(self) -> None:
        """Let go; safe to call twice."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        # Emptied first, so that nobody reads the line of a gateway that ended in order.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        os.close(fd)

    def _write(self, url: str | None) -> None:
        if self._fd is None:
            raise RuntimeError("the instance lock is not held")
        pid = os.getpid()
        line = {
            "v": 1,
            "pid": pid,
            "process_started": start_ticks(pid),
            "instance": self.instance,
            "started_at": self._started_at,
            "url": url,
            **self._about,
        }
        data = json.dumps(line).encode() + b"\n"
        # One write, then the cut: a reader in between still finds a whole first line.
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def __enter__(self) -> InstanceLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def read(paths: InstancePaths) -> InstanceInfo | None:
    """What is known of this home's gateway; ``None`` when none runs and none died here.

    ``is_held`` is the truth; the rest is what the owner wrote. A line without a holder belongs
    to a gateway that was killed.
    """
    try:
        fd = _open(paths.lock_file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        is_held = not _try_lock(fd, fcntl.LOCK_SH, paths.lock_file)
        info = _parse(fd, is_held=is_held)
    finally:
        os.close(fd)
    return info if is_held or info.pid is not None else None


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InstanceError(f"cannot open {path}: {error.strerror}") from error


def _try_lock(fd: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(fd)
        raise InstanceError(
            f"cannot lock {path}: {error.strerror}; set SBGW_HOME to a folder on a local disk"
        ) from error
    return True


def _is_same_file(fd: int, path: Path) -> bool:
    """Whether ``path`` still names the file that was opened: it may have been removed since."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _parse(fd: int, *, is_held: bool) -> InstanceInfo:
    unknown = InstanceInfo(None, None, "", 0.0, None, is_held)
    try:
        line: Any = json.loads(os.pread(fd, _MAX_FILE, 0).partition(b"\n")[0])
        url = line["url"]
        started = line["process_started"]
        return InstanceInfo(
            pid=int(line["pid"]),
            process_started=None if started is None else int(started),
            instance=str(line["instance"]),
            started_at=float(line["started_at"]),
            url=None if url is None else str(url),
            is_held=is_held,
            arguments=tuple(map(str, line.get("arguments", ()))),
            host=line.get("host"),
            has_screen=bool(line.get("screen", False)),
            is_service=bool(line.get("service", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return unknown


# ---------------------------------------------------------------------- secret and proof


def load_secret(paths: InstancePaths) -> bytes:
    """This home's 32-byte instance secret, made at the first call.

    Of two processes that make it at once, both get the same one. Raises ``InstanceError`` when
    the file is not private to this user or is damaged.
    """
    path = paths.instance_secret_file
    if (secret := read_secret(paths)) is not None:
        return secret
    paths.make_state_dir()
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = _open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(fd, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(fd)
        # A link, unlike a rename, never replaces the secret that another process put there.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if (secret := read_secret(paths)) is None:
        raise InstanceError(f"{path} was removed while it was being made")
    return secret


def read_secret(paths: InstancePaths) -> bytes | None:
    """The instance secret, ``None`` when there is none yet; ``InstanceError`` as above."""
    path = paths.instance_secret_file
    try:
        fd = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise InstanceError(f"{path} is not a file of this user; remove it")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise InstanceError(f"{path} can be read by others; remove it and start again")
        secret = file.read(SECRET_BYTES + 1)
    if len(secret) != SECRET_BYTES:
        raise InstanceError(f"{path} is damaged; remove it and start again")
    return secret


def new_nonce() -> str:
    """A fresh nonce for ``GET /health?nonce=``."""
    return secrets.token_urlsafe(24)


def is_nonce(text: str) -> bool:
    """Whether ``text`` may be proved: 16 to 128 characters of ``A-Z a-z 0-9 _ -``."""
    return _NONCE.fullmatch(text) is not None


def proof(secret: bytes, nonce: str, port: int) -> str:
    """Hex HMAC-SHA256 over ``nonce`` and the port this gateway listens on.

    ``ValueError`` for a nonce that ``is_nonce`` refuses, so that the secret signs nothing else.
    """
    return _signed(secret, nonce, _PROOF_CONTEXT, b"%d" % port)


def _signed(secret: bytes, nonce: str, *about: bytes) -> str:
    if not is_nonce(nonce):
        raise ValueError("a nonce is 16 to 128 characters of A-Z a-z 0-9 _ -")
    message = b"\0".join((*about, nonce.encode()))
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def verify(secret: bytes, nonce: str, port: int, presented: str) -> bool:
    """Whether ``presented`` is the proof that the gateway on ``port`` gives for ``nonce``."""
    return hmac.compare_digest(proof(secret, nonce, port).encode(), presented.encode())


def permit(secret: bytes, nonce: str, port: int, instance: str) -> str:
    """Hex HMAC-SHA256 with which a program of this home asks a gateway to try itself.

    Nobody who can only ask for a health proof gets it: the gateway signs this for no one.
    ``ValueError`` as in ``proof``.
    """
    return _signed(secret, nonce, _PERMIT_CONTEXT, b"%d" % port, instance.encode())


def is_permitted(secret: bytes, nonce: str, port: int, instance: str, presented: str) -> bool:
    """Whether ``presented`` is the ``permit`` for ``nonce``; ``False`` for what is no nonce."""
    if not is_nonce(nonce):
        return False
    wanted = permit(secret, nonce, port, instance)
    return hmac.compare_digest(wanted.encode(), presented.encode())
