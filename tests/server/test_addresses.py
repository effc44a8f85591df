"""Hosts and URLs that may stand in settings, and those that must not."""

from __future__ import annotations

import pytest

from server.addresses import (
    check_base_url,
    check_host,
    check_proxy_url,
    is_loopback,
    points_at,
    without_userinfo,
)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.255.254", "::1", "[::1]", "localhost", "LOCALHOST"]
)
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.1",
        "128.0.0.1",
        "",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_ipv4_inside_ipv6_is_seen_through() -> None:
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:10.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "box", "my-box.local", "a.b.example."])
def test_hosts(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["", "a b", "http://x", "host:80", "-x", "a..b", "a\n", "höst"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        check_host(host)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://api.anthropic.com/", "https://api.anthropic.com"),
        ("https://proxy.example/team/anthropic", "https://proxy.example/team/anthropic"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1"),
        ("http://localhost", "http://localhost"),
        (
            "https://x.example/accounts/{account_id}/v1",
            "https://x.example/accounts/{account_id}/v1",
        ),
    ],
)
def test_base_urls(given: str, kept: str) -> None:
    assert check_base_url(given) == kept


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("api.anthropic.com", "must start with https"),
        ("ftp://x.example", "must start with https"),
        ("https://", "not a URL"),
        ("https://x.example:0", "not a URL"),
        ("https://x.example:99999", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://user:pw@x.example", "user name"),
        ("https://user@x.example", "user name"),
        ("https://@x.example", "user name"),
        ("https://x.example?a=1", "query"),
        ("https://x.example/v1?", "query"),
        ("https://x.example/v1#frag", "query or a fragment"),
        ("https://x.example/../v1", "path"),
        ("https://x.example/./v1", "path"),
        ("https://x.example/%2e%2e/v1", "path"),
        ("https://x.example//v1", "path"),
        ("https://x.example/v1;x", "path"),
        ("https://x.example/{other}", "path"),
        ("https://x.example\\@evil.example", "not a URL"),
        ("https://x.example/\n", "not a URL"),
        (" https://x.example", "must start"),
        ("HTTPS:x.example", "must start"),
        ("https://x.exämple", "not a URL"),
        ("http://x.example", "plain http"),
        ("http://10.0.0.1/v1", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("http://0.0.0.0:1234", "plain http"),
    ],
)
def test_base_urls_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_base_url(url)


def test_plain_http_elsewhere_has_to_be_asked_for() -> None:
    assert check_base_url("http://10.0.0.1:8000/v1", allow_http=True) == "http://10.0.0.1:8000/v1"


@pytest.mark.parametrize(
    "url", ["http://proxy.example:3128", "https://proxy.example", "http://u:p@127.0.0.1:8080/"]
)
def test_proxies(url: str) -> None:
    assert check_proxy_url(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://127.0.0.1:1080", "SOCKS"),
        ("proxy.example:3128", "must be"),
        ("http://proxy.example/path", "must be"),
        ("http://proxy.example/?q", "must be"),
        ("", "must be"),
        ("http://proxy exam", "not a URL"),
    ],
)
def test_proxies_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_proxy_url(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "is_us"),
    [
        ("http://127.0.0.1:8787", "127.0.0.1", 8787, True),
        ("http://localhost:8787/v1", "127.0.0.1", 8787, True),
        ("http://[::1]:8787", "127.0.0.1", 8787, True),
        ("http://127.0.0.9:8787", "0.0.0.0", 8787, True),
        ("http://BOX.local:8787", "box.local", 8787, True),
        ("https://localhost", "127.0.0.1", 443, True),
        ("http://127.0.0.1:8788", "127.0.0.1", 8787, False),
        ("https://api.anthropic.com", "127.0.0.1", 443, False),
        ("http://10.0.0.1:8787", "127.0.0.1", 8787, False),
    ],
)
def test_an_address_that_leads_back_here(url: str, host: str, port: int, is_us: bool) -> None:
    assert points_at(url, host, port) is is_us


def test_user_names_and_passwords_are_masked() -> None:
    assert without_userinfo("http://me:p@ss@proxy:1") == "http://***@proxy:1"
    assert without_userinfo("http://proxy:1/a@b") == "http://proxy:1/a@b"
    assert without_userinfo("env") == "env"
