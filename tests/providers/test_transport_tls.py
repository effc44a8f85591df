"""TLS contexts: what is trusted, and what is said when it cannot be."""

from __future__ import annotations

import logging
import ssl
import sys
from pathlib import Path

import pytest
from scripted_upstream import Authority, ScriptedUpstream

from providers.errors import TlsFailed
from providers.tls import CA_VARIABLES, make_context
from providers.transport import Origin, Transport


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def bundle(authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "ca" / "root.pem"
    path.parent.mkdir()
    path.write_bytes(authority.pem)
    return path


async def is_trusted(context: ssl.SSLContext, authority: Authority) -> bool:
    transport = Transport(ssl_context=context)
    try:
        async with ScriptedUpstream(tls=authority.server()) as upstream:
            origin, _ = Origin.parse(upstream.base_url)
            async with await transport.request(origin, b"GET", b"/", []):
                return True
    except TlsFailed:
        return False
    finally:
        await transport.aclose()


def test_verification_is_on_and_old_versions_are_off() -> None:
    context = make_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_http_1_1_is_negotiated(authority: Authority, bundle: Path) -> None:
    server = authority.server()
    server.set_alpn_protocols(["h2", "http/1.1"])
    transport = Transport(ssl_context=make_context(str(bundle)))
    async with ScriptedUpstream(tls=server) as upstream:
        origin, _ = Origin.parse(upstream.base_url)
        async with await transport.request(origin, b"GET", b"/", []):
            tls = upstream.peers[0].transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
        await transport.aclose()


async def test_unknown_authority_is_not_trusted(authority: Authority) -> None:
    assert not await is_trusted(make_context("system", {}), authority)


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_path_is_trusted(authority: Authority, bundle: Path, kind: str) -> None:
    path = bundle if kind == "file" else bundle.parent
    assert await is_trusted(make_context(str(path)), authority)


@pytest.mark.parametrize("variable", CA_VARIABLES)
async def test_environment_is_trusted_as_well(
    authority: Authority, bundle: Path, variable: str
) -> None:
    path = bundle.parent if variable == "SSL_CERT_DIR" else bundle
    assert await is_trusted(make_context("system", {variable: str(path)}), authority)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the system's store is opaque")
def test_environment_adds_to_the_system_store(bundle: Path) -> None:
    alone = make_context("system", {}).cert_store_stats()["x509_ca"]
    more = make_context("system", {"REQUESTS_CA_BUNDLE": str(bundle)}).cert_store_stats()["x509_ca"]
    assert more == alone + 1
    assert make_context(str(bundle)).cert_store_stats()["x509_ca"] == 1


async def test_path_ignores_the_environment(
    authority: Authority, bundle: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority().pem)
    context = make_context(str(other), {"SSL_CERT_FILE": str(bundle)})
    assert not await is_trusted(context, authority)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_unusable_path_is_refused_in_words(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"The CA bundle .*ca\.pem cannot be used: .*\."):
        make_context(str(path))


def test_folder_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(ValueError, match="holds no certificate"):
        make_context(str(tmp_path))


def test_unreadable_variable_is_reported_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = str(tmp_path / "gone.pem")
    with caplog.at_level(logging.WARNING, logger="sbgw.tls"):
        make_context("system", {"SSL_CERT_FILE": missing})
    assert "SSL_CERT_FILE" in caplog.text
    assert "gone.pem" in caplog.text
