"""The TLS settings for upstreams: TLS 1.2 or newer, HTTP/1.1, verification always on.

``ca_bundle = "system"`` trusts what the system trusts. On macOS and Windows the system itself
verifies, through ``truststore``; elsewhere the system's store is a bundle that OpenSSL reads, and
it is read once here, because ``truststore`` would read it again for every single connection.
The files and folders named by ``SSL_CERT_FILE``, ``SSL_CERT_DIR``, ``REQUESTS_CA_BUNDLE`` and
``NODE_EXTRA_CA_CERTS`` are trusted as well; one that cannot be read is reported in the log and
left out, as the agents do it. (Where OpenSSL reads the system store it follows its own rule for
the first two, which is to read them instead of the system's default file or folder.)
A PATH as ``ca_bundle`` is trusted alone: neither the system nor the environment counts.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
from collections.abc import Mapping

_log = logging.getLogger("sbgw.tls")

CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

_BUNDLES = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""Where systems keep their bundle, for a Python whose OpenSSL was built for another system."""


def make_context(ca_bundle: str = "system", env: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """A client context. ``ValueError`` with a plain sentence when ``ca_bundle`` is unusable."""
    if ca_bundle == "system":
        context = _system_context()
        for variable in CA_VARIABLES:
            value = (env or {}).get(variable, "")
            for path in value.split(os.pathsep) if variable == "SSL_CERT_DIR" else (value,):
                _add_from_environment(context, variable, path)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            _trust(context, os.path.expanduser(ca_bundle))
        except OSError as error:
            raise ValueError(f"The CA bundle {ca_bundle} cannot be used: {_why(error)}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _system_context() -> ssl.SSLContext:
    if sys.platform in ("darwin", "win32"):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    folder = ssl.get_default_verify_paths().capath
    if not context.cert_store_stats()["x509_ca"] and not _has_certificates(folder):
        bundle = next((path for path in _BUNDLES if os.path.isfile(path)), None)
        if bundle is not None:
            context.load_verify_locations(cafile=bundle)
    return context


def _has_certificates(folder: str | None) -> bool:
    """Whether OpenSSL would find hashed certificates in ``folder`` when it needs one."""
    try:
        return folder is not None and any(name.endswith(".0") for name in os.listdir(folder))
    except OSError:
        return False


def _add_from_environment(context: ssl.SSLContext, variable: str, path: str) -> None:
    if not path:
        return
    try:
        _trust(context, path)
    except OSError as error:
        _log.warning("%s names %r, which is left out: %s", variable, path, _why(error))


def _trust(context: ssl.SSLContext, path: str) -> None:
    """Add a PEM file, or a folder of PEM files, hashed names or not."""
    if not os.path.isdir(path):
        context.load_verify_locations(cafile=path)
        return
    context.load_verify_locations(capath=path)
    usable = _has_certificates(path)
    for name in sorted(os.listdir(path)):
        if name.endswith((".pem", ".crt", ".cer")):
            try:
                context.load_verify_locations(cafile=os.path.join(path, name))
                usable = True
            except ssl.SSLError:
                _log.warning("%r holds no certificate and is left out", os.path.join(path, name))
    if not usable:
        raise ssl.SSLError("no certificate in this folder")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate in PEM form"
    return (error.strerror or "it cannot be read").lower()
