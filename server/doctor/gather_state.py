"""Facts about files, the ledger, the port, proxies and certificates; nothing is changed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sqlite3
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from providers.proxy import NoProxy, ProxyMap
from providers.tls import CA_VARIABLES, make_context
from providers.transport import Origin
from server.doctor.facts import File, LedgerFacts, Network, SettingsFacts
from server.ledger_schema import (
    LedgerTooNewError,
    NotALedgerError,
    check_identity,
    check_pages,
    connect_read_only,
    is_corruption,
)
from server.ledger_state import cause_of
from server.paths import Paths
from server.private_files import is_us
from server.settings_file import Loaded
from server.settings_show import describe

PROXY_VARIABLES = (
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
    *("ALL_PROXY", "all_proxy"),
)


def settings_facts(loaded: Loaded) -> SettingsFacts:
    """What is in force, where it comes from, and what the settings have to say about it."""
    return SettingsFacts(
        warnings=loaded.warnings,
        files=tuple(map(str, loaded.files)),
        changed=tuple(
            row for row in describe(loaded) if row[2] not in ("", "default") and row[1] != "default"
        ),
        has_default_key=loaded.has_default_key,
        key_source=loaded.key.source,
    )


# --------------------------------------------------------------------------------- files


def private_files(paths: Paths, config_file: Path | None = None) -> tuple[File, ...]:
    """Who may read what should be private."""
    return (
        _file("keys", paths.env_file),
        _file("settings", config_file or paths.config_file, holds_secret=False),
        _file("the instance secret", paths.instance_secret_file),
        _file("the ledger", paths.ledger_file),
        _file("the list of trusted files", paths.trust_file),
    )


def _file(what: str, path: Path, *, holds_secret: bool = True) -> File:
    text = str(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return File(what, text, "absent", holds_secret=holds_secret)
    except OSError as error:
        return File(what, text, "unusable", (error.strerror or "fails").lower(), holds_secret)
    if not stat.S_ISREG(found.st_mode):
        return File(what, text, "unusable", "is not a regular file", holds_secret)
    if not is_us(found.st_uid):
        return File(what, text, "foreign", holds_secret=holds_secret)
    mode = stat.S_IMODE(found.st_mode)
    is_open = os.name == "posix" and bool(mode & (0o077 if holds_secret else 0o022))
    return File(what, text, "open" if is_open else "private", f"{mode:03o}", holds_secret)


# -------------------------------------------------------------------------------- ledger


def ledger_facts(path: Path) -> LedgerFacts:
    """Whether the ledger can be read and written; the file is not touched."""
    if (problem := _cannot_write(path)) is not None:
        return LedgerFacts(str(path), "unwritable", problem)
    if not path.exists():
        return LedgerFacts(str(path), "absent")
    spilled = len(list(path.parent.glob(f"{path.name}.spill-*.jsonl")))
    try:
        with contextlib.closing(connect_read_only(path)) as conn:
            version = check_identity(conn, path)
            check_pages(conn, path)
            turns = conn.execute("SELECT count(*) FROM turns").fetchone()[0] if version else 0
    except LedgerTooNewError as error:
        return LedgerFacts(str(path), "newer", str(error))
    except NotALedgerError as error:
        return LedgerFacts(str(path), "foreign", str(error))
    except (sqlite3.Error, OSError) as error:
        state: Literal["damaged", "unreadable"] = (
            "damaged" if is_corruption(error) else "unreadable"
        )
        return LedgerFacts(str(path), state, cause_of(error), spilled_files=spilled)
    size = path.stat().st_size
    return LedgerFacts(str(path), "ok", "", size, int(turns), spilled)


def _cannot_write(path: Path) -> str | None:
    """Why a ledger at ``path`` could not be written, ``None`` when it could."""
    folder = next(place for place in path.parents if place.exists())
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if path.exists() and not path.is_file():
        return "it is not a regular file"
    for place in (folder, path):
        if place.exists() and not os.access(place, os.W_OK):
            return f"{place} is not writable for you"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "the disk is mounted read-only"
    return None


# ------------------------------------------------------------------------------- network


def port_state(host: str, port: int) -> tuple[Literal["free", "taken", "unusable"], str]:
    """Whether one could listen there, and if not, why."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(*info[:3]) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(info[4])
            # Linux tells of another listener only here when both allow the address's reuse.
            sock.listen(1)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        return "taken" if is_taken else "unusable", error.strerror or str(error)
    return "free", ""


def network_facts(env: Mapping[str, str], gateway_url: str, loaded: Loaded | None) -> Network:
    """Proxies and certificates as this environment and these settings have them."""
    origin, _ = Origin.parse(gateway_url)
    words = ",".join(env.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    exceptions = [NoProxy.parse(word) for word in words.replace(",", " ").split()]
    return Network(
        proxies=tuple(name for name in PROXY_VARIABLES if env.get(name, "").strip()),
        exempts_gateway=any(exception.covers(origin) for exception in exceptions),
        gateway_host=origin.host,
        proxy_problem=_proxy_problem(env, loaded),
        bad_certificates=tuple(_bad_certificates(env)),
        certificate_problem=_certificate_problem(env, loaded),
    )


def _proxy_problem(env: Mapping[str, str], loaded: Loaded | None) -> str:
    setting = loaded.settings.network.proxy if loaded is not None else "env"
    try:
        if setting == "env":
            ProxyMap.from_environment(env)
        elif setting != "none":
            ProxyMap.fixed(setting)
    except ValueError as error:
        return str(error).rstrip(".")
    return ""


def _certificate_problem(env: Mapping[str, str], loaded: Loaded | None) -> str:
    if loaded is None or loaded.settings.network.ca_bundle == "system":
        return ""
    try:
        make_context(loaded.settings.network.ca_bundle, env)
    except ValueError as error:
        return str(error).rstrip(".")
    return ""


def _bad_certificates(env: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for variable in CA_VARIABLES:
        value = env.get(variable, "")
        for path in value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]:
            if path and not _is_certificates(path):
                found.append((variable, path))
    return found


def _is_certificates(path: str) -> bool:
    if os.path.isdir(path):
        return True
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError):
        return False
    return True
