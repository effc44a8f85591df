"""Base URLs become origins, or are refused in words."""

from __future__ import annotations

import pytest

from providers.transport import Origin


@pytest.mark.parametrize(
    ("url", "origin", "path", "host_header"),
    [
        ("https://api.example.com", ("https", "api.example.com", 443), b"", b"api.example.com"),
        ("https://API.Example.com/", ("https", "api.example.com", 443), b"", b"api.example.com"),
        ("https://a.b:8443/v1/", ("https", "a.b", 8443), b"/v1", b"a.b:8443"),
        ("https://a.b:443/x//", ("https", "a.b", 443), b"/x", b"a.b"),
        ("http://127.0.0.1:80", ("http", "127.0.0.1", 80), b"", b"127.0.0.1"),
        ("http://a.b:443", ("http", "a.b", 443), b"", b"a.b:443"),
        ("http://[::1]:9/p/q", ("http", "::1", 9), b"/p/q", b"[::1]:9"),
        ("http://[0:0::1]", ("http", "::1", 80), b"", b"[::1]"),
        ("  https://a.b/%7Ex  ", ("https", "a.b", 443), b"/%7Ex", b"a.b"),
    ],
)
def test_parse(url: str, origin: tuple[str, str, int], path: bytes, host_header: bytes) -> None:
    parsed, base_path = Origin.parse(url)
    assert (parsed.scheme, parsed.host, parsed.port) == origin
    assert base_path == path
    assert parsed.host_header == host_header
    assert parsed == Origin(*origin)
    assert hash(parsed) == hash(Origin(*origin))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://a.b",
        "https://",
        "https:///path",
        "https://user@a.b",
        "https://user:hunter2@a.b",
        "https://:hunter2@a.b",
        "https://@a.b",
        "https://a.b/?q=hunter2",
        "https://a.b?",
        "https://a.b/#f",
        "https://a.b#",
        "https://a.b:0",
        "https://a.b:65536",
        "https://a.b:hunter2",
        "https://a b",
        "https://a.b/x y",
        "https://a.b/\r\nX: 1",
        "https://a.b\\@evil",
        "https://a..b",
        "https://-a.b",
        "https://a_b!",
        "https://a%2eb",
        "https://b\u00fccher.example",
        "https://[::1",
        "https://[::g]",
        "https://[fe80::1%25eth0]",
        "https://a.b/x/../y",
        "https://a.b/./y",
        "https://" + "a" * 64 + ".b",
    ],
)
def test_unusable_url_is_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        Origin.parse(url)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("x.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("::2", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert Origin("http", host, 80).is_loopback is expected
