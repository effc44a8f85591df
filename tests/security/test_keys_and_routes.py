"""S2, S3, S20: who may in, at every route and in every way of showing a key."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fake_clock import FakeClock
from live_gateway import KEY, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond
from security_probe import ask_raw, status_of

from server.credentials import AuthFailed, KeyRing, authenticate
from server.http import routes
from server.http.errors import HttpError
from server.throttle import BURST, MAX_ADDRESSES, FailureThrottle

Fields = list[tuple[bytes, bytes]]
OWN = KEY.encode()
SQL = b"' OR (SELECT 1)--"
OTHERS = [
    b"wrong",
    b"",
    b" ",
    OWN + b"x",
    OWN[:-1],
    OWN.upper(),
    b"k" * 10_000,
    SQL,
    "schlüssel".encode(),
    b"\xff\xfe",
    b'"' + OWN + b'"',
    OWN + b"," + OWN,
]

RIGHT: dict[str, tuple[Fields, str]] = {
    "x-api-key": ([(b"x-api-key", OWN)], ""),
    "X-API-KEY": ([(b"X-API-KEY", OWN)], ""),
    "bearer": ([(b"Authorization", b"Bearer " + OWN)], ""),
    "bearer in lower case": ([(b"authorization", b"bearer  " + OWN)], ""),
    "x-sbgw-key": ([(b"x-sbgw-key", OWN)], ""),
    "x-sbgw-key beside a credential": ([(b"x-sbgw-key", OWN), (b"x-api-key", b"sk-own")], ""),
    "path token": ([], f"/k/{KEY}"),
    "path token beside a credential": ([(b"authorization", b"Bearer own")], f"/k/{KEY}"),
    "both": ([(b"x-api-key", OWN), (b"authorization", b"Bearer " + OWN)], ""),
    "twice": ([(b"x-api-key", OWN), (b"x-api-key", OWN)], ""),
}
WRONG: dict[str, tuple[Fields, str]] = {
    "none": ([], ""),
    "query": ([], f"?key={KEY}&api_key={KEY}&x-api-key={KEY}&token={KEY}"),
    "cookie": ([(b"Cookie", b"key=" + OWN)], ""),
    "another scheme": ([(b"Authorization", b"Basic " + OWN)], ""),
    "both, one wrong": ([(b"x-api-key", OWN), (b"authorization", b"Bearer wrong")], ""),
    "both, the other wrong": ([(b"x-api-key", b"wrong"), (b"authorization", b"Bearer " + OWN)], ""),
    "twice, one wrong": ([(b"x-api-key", OWN), (b"x-api-key", b"wrong")], ""),
    "x-sbgw-key wrong, the rest right": ([(b"x-sbgw-key", b"wrong"), (b"x-api-key", OWN)], ""),
    "x-sbgw-key twice, one wrong": ([(b"x-sbgw-key", OWN), (b"x-sbgw-key", b"wrong")], ""),
    "path token wrong, the rest right": ([(b"x-sbgw-key", OWN), (b"x-api-key", OWN)], "/k/wrong"),
    "path token twice": ([], "/k/wrong/k/" + KEY),
}
WRONG |= {f"x-api-key {value[:12]!r}": ([(b"x-api-key", value)], "") for value in OTHERS}
WRONG |= {f"bearer {v[:12]!r}": ([(b"authorization", b"Bearer " + v)], "") for v in OTHERS}
WRONG |= {f"x-sbgw-key {value[:12]!r}": ([(b"x-sbgw-key", value)], "") for value in OTHERS}


SAMPLES = (
    "/v1/models/claude-x",
    "/events/gw_" + "0" * 24,
    "/verification/title",
    "/doctor/replay/" + "0" * 32 + "/v1/messages",
)
WITHOUT_ONE = ("/events/gw_", "/doctor/replay/")
"""Whose samples name nothing that is there."""


def samples() -> Iterator[tuple[str, str]]:
    """Method and path of every route the edge serves."""
    paths = {path.decode(): methods for path, methods in routes._TABLE.items()}
    for pattern, methods in routes._PATTERNS:
        sample = next((one for one in SAMPLES if pattern.fullmatch(one.encode())), None)
        assert sample is not None, "a pattern without a sample"
        paths[sample] = methods
    paths |= {path.decode(): ("POST",) for path in routes.RELAYED}
    for path, methods in paths.items():
        for method in methods:
            yield method, path


def quart_routes(gateway: LiveGateway) -> Iterator[tuple[str, str]]:
    """Method and path of every rule of the application behind the edge."""
    app = cast(Any, gateway.gateway)._edge._inner
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<turn_id>", "gw_" + "0" * 24).replace("<name>", "anthropic")
        path = path.replace("<kind>", "title")
        assert "<" not in path, "a rule whose sample is not known"
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            yield method, path


def target_of(path: str, extra: str) -> str:
    return path + extra if extra.startswith("?") else extra + path


def request_of(method: str, fields: Fields) -> tuple[Fields, bytes]:
    if method in ("GET", "HEAD"):
        return fields, b""
    return [*fields, (b"content-type", b"application/json")], b"{}"


async def test_s02_every_route_takes_the_key_in_every_documented_way_and_in_no_other(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    model_list = respond(200, [(b"content-type", b"application/json")], b'{"data":[]}')
    async with (
        ScriptedUpstream(model_list) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        everything = sorted({*samples(), *quart_routes(gateway)})
        assert len(everything) > 12
        for (method, path), (name, (given, extra)) in itertools.product(everything, WRONG.items()):
            await clock.advance(0.2)  # So that none is throttled.
            fields, body = request_of(method, given)
            found = await status_of(gateway, method, target_of(path, extra), fields, body)
            where = (method, path, name)
            if routes.is_open(method, path.encode()):
                assert found[0] in (200, 401), where
                continue
            assert found[0] == 401, where
            names = (b'"authentication_error"', b'"invalid_api_key"')
            assert method == "HEAD" or any(name in found[2] for name in names), where
            assert KEY not in found[2].decode() or "default is local-dev-key" in found[2].decode()
            assert not [n for n, _ in found[1] if n.lower().startswith(b"access-control")]
        assert upstream.requests == []
        for (method, path), (given, extra) in itertools.product(everything, RIGHT.values()):
            fields, body = request_of(method, given)
            found = await status_of(gateway, method, target_of(path, extra), fields, body)
            assert found[0] not in (401, 403, 404, 405, 415, 429) or path.startswith(WITHOUT_ONE)
            assert not [n for n, _ in found[1] if n.lower().startswith(b"access-control")]


async def test_s02_no_route_of_the_application_is_hidden_from_the_edge(tmp_path: Path) -> None:
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:
        for method, path in quart_routes(gateway):
            routes.check(method, path.encode())


async def test_s02_what_is_open_reveals_nothing(tmp_path: Path) -> None:
    env = {"STACKBILT_GATEWAY_KEY": "a-key-of-ones-own-0123", "GROQ_API_KEY": "gsk_" + "g" * 30}
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9", env=env) as gateway:
        for path in ("/health", "/health?live=1", "/k/wrong/health?live=1"):
            answer = await gateway.get(path, key=None)
            assert answer.status == 200
            text = answer.body.decode()
            assert not [word for word in (*env.values(), "base_url", "detail") if word in text]
        for path in ("/", "/api/hello", "/health"):
            answer = await gateway.ask("HEAD", path, key=None)
            assert (answer.status, answer.body) == (200, b"")


class CountingRing(KeyRing):
    compared = 0

    def matches(self, presented: bytes) -> bool:
        self.compared += 1
        return super().matches(presented)


@pytest.mark.parametrize("wrong", [0, 1, 2, None])
def test_s20_every_key_presented_is_compared_whichever_is_wrong(wrong: int | None) -> None:
    ring = CountingRing(KEY)
    keys = [b"wrong" if index == wrong else OWN for index in range(3)]
    try:
        authenticate([(b"x-api-key", key) for key in keys], None, ring)
    except AuthFailed:
        assert wrong is not None
    assert ring.compared == 3


PATHS = [
    "//health",
    "/./health",
    "/v1/../health",
    "/health/..",
    "/health/",
    "/health/.",
    "/health;x=1",
    "/health;",
    "/%68ealth",
    "/health%00",
    "/health%2f",
    "/health%3Flive=1",
    "/health#",
    "/HEALTH",
    "/api//hello",
    "//",
    "/.",
    "/..",
    "/snapshot/",
    "//snapshot",
    "/%2e/snapshot",
    "/v1/%2e%2e/snapshot",
    "/v1//messages",
    "/v1/messages/",
    "/v1/messages;a",
    "/v1/%6dessages",
    "/v1\\messages",
    "/v1/models/",
    "/v1/models/..",
    "/v1/models/.",
    "/v1/models/%2e%2e",
    "/v1/models/a/b",
    "/v1/models/a%2fb",
    "/v1/models/a#b",
    "/v1/models/..%2f..%2fsecrets",
    "/events/gw_..",
    "/events/../snapshot",
    "/k//snapshot",
    "/k/",
    "/k",
    "*",
]


async def test_s03_paths_are_matched_exactly_and_only_after_the_key(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, clock=clock) as gateway,
    ):
        for path in PATHS:
            for method in ("GET", "POST"):
                await clock.advance(0.2)
                line = f"{method} {path} HTTP/1.1"
                unknown = await ask_raw(gateway, line, ["Host: {host}"])
                known = await ask_raw(gateway, line, ["Host: {host}", f"x-api-key: {KEY}"])
                assert unknown.status == 401, (method, path)
                assert known.status == 404, (method, path)
                if path != "*":
                    line = f"{method} /k/{KEY}{path} HTTP/1.1"
                    assert (await ask_raw(gateway, line, ["Host: {host}"])).status == 404, line
    assert upstream.requests == []


ABSOLUTE = [
    ("http://{host}/snapshot", 200),
    ("HTTP://{host}/snapshot", 200),
    ("http://{host}/health", 200),
    ("http://{host}//snapshot", 404),
    ("http://{host}", 404),
    ("http://evil.example/snapshot", 403),
    ("http://evil.example@{host}/snapshot", 403),
    ("http://{host}@evil.example/snapshot", 403),
    ("http://127.0.0.1:1/snapshot", 403),
    ("https://{host}/snapshot", 404),
    ("ftp://{host}/snapshot", 404),
    ("evil.example:443", 404),
]


async def test_s03_an_absolute_target_must_name_the_host(tmp_path: Path) -> None:
    clock = FakeClock()
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9", clock=clock) as gateway:
        for target, status in ABSOLUTE:
            await clock.advance(0.2)
            fields = ["Host: {host}", f"x-api-key: {KEY}"]
            got = await ask_raw(gateway, f"GET {target} HTTP/1.1", fields)
            connect = await ask_raw(gateway, f"CONNECT {target} HTTP/1.1", fields)
            unknown = await ask_raw(gateway, f"GET {target} HTTP/1.1", fields[:1])
            assert got.status == status, target
            assert connect.status in (403, 404, 405), target
            expected = 403 if status == 403 else 200 if "health" in target else 401
            assert unknown.status == expected, target


# ---------------------------------------------------------------------- throttling


async def test_s20_failures_are_throttled_and_the_right_key_is_not(tmp_path: Path) -> None:
    clock = FakeClock()
    presented = "sk-presented-and-wrong-0123456789"
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9", clock=clock) as gateway:
        watcher = gateway.gateway.subscribe()
        answers = [await gateway.get("/snapshot", key=presented) for _ in range(9)]
        right = await gateway.get("/snapshot")
        health = await gateway.get("/health", key=None)
        await clock.advance(0.2)
        later = [await gateway.get("/snapshot", key=None) for _ in range(2)]
        events = [event for event in watcher.drain() if event["type"] == "rejected"]
        watcher.close()
        counters = gateway.gateway.stats.counters()
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 4
    assert [answer.header("retry-after") for answer in answers] == [None] * 5 + ["1"] * 4
    assert {a.json["error"]["type"] for a in answers[5:]} == {"rate_limit_error"}
    assert not [a for a in answers if presented.encode() in a.body]
    assert "sbgw-tui claude" in answers[-1].json["error"]["message"]
    assert (right.status, health.status) == (200, 200)
    assert [answer.status for answer in later] == [401, 429]
    assert len(events) == 6
    assert counters["rejected"] == 11


def test_s20_addresses_do_not_share_their_failures() -> None:
    throttle = FailureThrottle(FakeClock())
    first = [throttle.failed("192.0.2.1") for _ in range(int(BURST) + 2)]
    assert first == [False] * int(BURST) + [True] * 2
    assert throttle.failed("192.0.2.2") is False
    network = [throttle.failed(f"2001:db8::{number}") for number in range(1, 8)]
    assert network == [False] * 5 + [True] * 2
    assert throttle.failed("2001:db8:0:1::1") is False


async def test_s20_an_address_gets_five_failures_a_second_in_the_long_run() -> None:
    clock = FakeClock()
    throttle = FailureThrottle(clock)
    told = 0
    for _ in range(1000):
        told += not throttle.failed("127.0.0.1")
        await clock.advance(0.01)
    assert 50 <= told <= 56


def test_s20_the_throttle_remembers_a_bounded_number_of_addresses() -> None:
    throttle = FailureThrottle(FakeClock())
    for number in range(MAX_ADDRESSES + 100):
        throttle.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle._left) == MAX_ADDRESSES


def test_s03_the_check_of_a_route_refuses_what_it_does_not_know() -> None:
    with pytest.raises(HttpError) as caught:
        routes.check("GET", b"/v1/unknown")
    assert caught.value.status == 404
