from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_clock import FakeClock
from fake_gateway import KEY, HealthServer, paths_of

from server.instance import InstanceError, InstanceLock, load_secret
from server.paths import Paths
from tui.client import (
    GatewayUnreachableError,
    Health,
    NotOurs,
    Unreachable,
    call,
    find,
    health,
)

SECRET = b"s" * 32


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_of(tmp_path / "home")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def silent_listener() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


# -------------------------------------------------------------------------------- health


def test_a_gateway_with_our_secret_is_ours() -> None:
    with HealthServer(SECRET) as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, Health)
    assert (answer.url, answer.status, answer.version) == (server.url, "up", "0.0")
    assert answer.state == "serving"
    assert answer.body["ok"] is True
    assert answer.is_serving


def test_every_question_has_a_fresh_nonce_and_no_key() -> None:
    with HealthServer(SECRET) as server:
        health(server.url, secret=SECRET)
        health(server.url, secret=SECRET)

    paths = [path for _, path, _, _ in server.requests]
    assert len(set(paths)) == 2
    for _, _, headers, _ in server.requests:
        assert not {"x-sbgw-key", "authorization", "x-api-key"} & headers.keys()


def test_a_draining_gateway_takes_nothing_new() -> None:
    with HealthServer(SECRET, state="draining") as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, Health)
    assert not answer.is_serving


@pytest.mark.parametrize("status", ["up", "degraded"])
def test_a_gateway_in_trouble_still_serves(status: str) -> None:
    assert Health("http://127.0.0.1:1", status, "serving", "1").is_serving


def test_a_gateway_of_another_home_is_refused() -> None:
    with HealthServer(b"t" * 32) as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, NotOurs)
    assert "proof is wrong" in answer.reason


def test_a_proof_passed_on_from_another_port_is_refused() -> None:
    with HealthServer(SECRET, claimed_port=9) as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, NotOurs)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"status": "up"}',
        b'{"proof": 7}',
        b'{"proof": ""}',
        '{"proof": "é"}'.encode(),
        b'{"proof": "%s"}' % (b"0" * 64),
        b"\xff\xfe",
    ],
)
def test_a_listener_without_the_proof_is_refused(body: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with HealthServer(SECRET, raw=raw) as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, NotOurs)


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9"])
def test_a_listener_that_speaks_something_else_is_refused(raw: bytes) -> None:
    with HealthServer(SECRET, raw=raw) as server:
        answer = health(server.url, secret=SECRET)

    assert isinstance(answer, NotOurs)


def test_an_endless_answer_is_refused() -> None:
    body = b"x" * (256 * 1024 + 1)
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with HealthServer(SECRET, raw=raw) as server:
        assert isinstance(health(server.url, secret=SECRET), NotOurs)


def test_nothing_there_is_unreachable() -> None:
    answer = health(f"http://127.0.0.1:{free_port()}", secret=SECRET)

    assert isinstance(answer, Unreachable)
    assert answer.reason == "nothing listens there"


def test_silence_is_unreachable() -> None:
    with silent_listener() as url:
        answer = health(url, secret=SECRET, timeout_s=0.05)

    assert isinstance(answer, Unreachable)
    assert answer.reason == "it did not answer in time"


def test_an_address_without_a_port_is_not_asked() -> None:
    assert isinstance(health("http://127.0.0.1", secret=SECRET), Unreachable)


def test_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, dead)
    with HealthServer(SECRET) as server:
        assert isinstance(health(server.url, secret=SECRET), Health)


# ---------------------------------------------------------------------------------- find


def test_no_lock_means_no_gateway(paths: Paths) -> None:
    assert find(paths) is None


def test_the_gateway_is_found_through_its_lock(paths: Paths) -> None:
    with HealthServer(load_secret(paths)) as server, InstanceLock(paths, FakeClock()) as lock:
        starting = find(paths)
        lock.publish("127.0.0.1", server.port)
        running = find(paths)
    ended = find(paths)

    assert isinstance(starting, Unreachable)
    assert starting.reason == "it is still starting"
    assert isinstance(running, Health)
    assert ended is None


def test_a_line_left_by_a_dead_gateway_is_not_followed(paths: Paths) -> None:
    with HealthServer(load_secret(paths)) as server:
        with InstanceLock(paths, FakeClock()) as lock:
            lock.publish("127.0.0.1", server.port)
            line = paths.lock_file.read_bytes()
        paths.lock_file.write_bytes(line)

        assert find(paths) is None
        assert server.requests == []


def test_a_secret_others_can_read_stops_the_search(paths: Paths) -> None:
    load_secret(paths)
    paths.instance_secret_file.chmod(0o644)
    with InstanceLock(paths, FakeClock()) as lock:
        lock.publish("127.0.0.1", 1)
        with pytest.raises(InstanceError):
            find(paths)


# ---------------------------------------------------------------------------------- call


def proven(server: HealthServer) -> Health:
    answer = health(server.url, secret=SECRET)
    assert isinstance(answer, Health)
    return answer


def test_a_call_carries_the_key_and_json() -> None:
    with HealthServer(SECRET) as server:
        reply = call(proven(server), "POST", "/shadow", key=KEY, payload={"enabled": True})

    method, path, headers, body = server.requests[-1]
    assert (method, path, headers["x-sbgw-key"]) == ("POST", "/shadow", KEY)
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"enabled": True}
    assert reply.is_ok
    assert reply.status == 200
    assert reply.json() == {"path": "/shadow"}
    assert reply.headers["content-type"] == "application/json"


def test_a_refused_call_is_a_reply() -> None:
    with HealthServer(SECRET) as server:
        reply = call(proven(server), "GET", "/providers", key="wrong")

    assert (reply.status, reply.is_ok) == (401, False)
    assert "content-type" not in server.requests[-1][2]


def test_a_gateway_that_went_away_is_told_in_one_line() -> None:
    with HealthServer(SECRET) as server:
        gateway = proven(server)

    with pytest.raises(GatewayUnreachableError) as caught:
        call(gateway, "GET", "/providers", key=KEY)
    assert (
        str(caught.value) == f"the gateway at {server.url} does not answer: nothing listens there"
    )


def test_an_answer_cut_off_is_told_in_one_line() -> None:
    with HealthServer(SECRET) as server:
        gateway = proven(server)
        server.raw = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"
        with pytest.raises(GatewayUnreachableError, match="not HTTP or was cut off"):
            call(gateway, "GET", "/providers", key=KEY)
