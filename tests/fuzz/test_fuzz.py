"""Six parsers that read what others wrote, fed with what nobody would write.

Bounded here; ``make fuzz`` runs the same for long (``FUZZ_EXAMPLES``, ``FUZZ_SECONDS``).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import pytest_asyncio
from agent_bodies import codex_turn, item, main_turn, user
from hostile_text import HOSTILE, assert_safe
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from live_gateway import KEY, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream
from security_probe import parse
from settings_home import SettingsHome
from vendor_replies import Call, Reply, events
from wire_readers import faults_of

from providers.call_ids import CallIds
from providers.events import Event, Failed, Finished
from providers.neutral import Request
from providers.protocols.dialects import DIALECTS, Front
from providers.protocols.peek import BadRequest, read_object
from providers.sse import EventTooLargeError, SseDecoder
from providers.tool_book import ToolBook
from providers.types import Protocol
from server.settings_errors import SettingsError
from server.taps import TapOverflow, tap_for
from tui.format import neutralise

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""If set, each target goes on for so long, with new examples every time."""

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
P = ParamSpec("P")


def lasting(test: Callable[P, None]) -> Callable[P, None]:
    """Run a target again and again until its time is over."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        end = time.monotonic() + SECONDS
        for _ in itertools.count():
            test(*args, **kwargs)
            if time.monotonic() >= end:
                return

    return run


REPLIES = [
    Reply("Hello there, 你好 \U0001f44b."),
    Reply("Let me look.", (Call("get_weather", {"city": "Oslo"}), Call("b", {}, "call_2"))),
    Reply("Too long", stop="max_tokens"),
]
STREAMS = [(p, events(p, reply)) for p in Protocol for reply in REPLIES]
NOISE = [
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"data: ",
    b"event: error\n",
    b": x\n\n",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"data: {}\n\n",
    b"data: [DONE]\n\n",
    b'data: {"type":"error"}\n\n',
    b"retry: 1e9\n",
    b"[" * 3000,
    b'"\\ud800"',
    b"1e999",
    b"9" * 5000,
]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Protocol, bytes]:
    """A good transcript whose events are lost, doubled, swapped, cut and mixed with noise."""
    protocol, parts = draw(st.sampled_from(STREAMS))
    found = list(parts)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        match draw(st.integers(0, 6)):
            case 0:
                del found[at : at + draw(st.integers(1, 3))]
            case 1:
                found[at:at] = found[at : at + 1]
            case 2:
                found[at:at] = [draw(st.sampled_from(NOISE))]
            case 3 if found:
                cut = draw(st.integers(0, len(found[at])))
                found[at] = found[at][:cut] + draw(st.sampled_from(NOISE)) + found[at][cut:]
            case 4 if found:
                found[at] = found[at][: draw(st.integers(0, len(found[at])))]
            case 5:
                found[at:at] = [draw(st.sampled_from(draw(st.sampled_from(STREAMS))[1]))]
            case _:
                found.reverse()
    return protocol, b"".join(found)


@st.composite
def cuts(draw: st.DrawFn) -> list[int]:
    """Where a stream is cut into pieces."""
    return draw(st.lists(st.integers(0, 3000), max_size=8))


def pieces(data: bytes, at: list[int]) -> Iterator[bytes]:
    """``data`` in pieces."""
    bounds = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return (data[a:b] for a, b in itertools.pairwise(bounds))


# ---------------------------------------------------------------- event streams


@lasting
@given(st.binary(max_size=400) | mutated().map(lambda found: found[1]), cuts())
@bounded
def test_the_event_decoder_depends_on_bytes_alone(data: bytes, at: list[int]) -> None:
    whole, split = SseDecoder(limit=4096), SseDecoder(limit=4096)
    try:
        expected = [*whole.feed(data), *whole.end()]
    except EventTooLargeError:
        return
    try:
        found = [event for piece in pieces(data, at) for event in split.feed(piece)]
    except EventTooLargeError:
        return
    assert [*found, *split.end()] == expected


@lasting
@given(mutated(), cuts())
@bounded
def test_no_transcript_breaks_a_tap_or_a_translation(
    transcript: tuple[Protocol, bytes], at: list[int]
) -> None:
    protocol, data = transcript
    tap = tap_for(protocol, thinking=False)
    relayed = b""
    try:
        for piece in pieces(data, at):
            relayed += tap.feed(piece)
        relayed += tap.end()
    except TapOverflow:
        return
    assert data == relayed
    for client in Protocol:
        if client is not protocol:
            _translate(protocol, client, data, at)


def _translate(provider: Protocol, client: Protocol, data: bytes, at: list[int]) -> None:
    """What a client would be sent is well formed and has one end, whatever came."""
    ids = CallIds(frozenset(), iter(f"call_n{n}" for n in range(10**6)).__next__)
    decoder = DIALECTS[provider].decoder(ToolBook(Request(model="m", messages=())), ids)
    encoder = DIALECTS[client].encoder(Front(request_id="gw_1", answer_id="1", model="m"))
    found: list[Event] = []
    for piece in pieces(data, at):
        if not decoder.is_done:
            found += decoder.feed(piece)
    if not decoder.is_done:
        found += decoder.end()
    assert sum(isinstance(event, Finished | Failed) for event in found) == 1
    out = b"".join(encoder.encode(event) for event in found)
    if encoder.has_content:
        assert faults_of(client, out) == []


# ---------------------------------------------------------------- requests

any_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["text", "tool_use", "user", "function_call", "message", "auto"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
GOOD_BODIES: dict[Protocol, Any] = {
    Protocol.MESSAGES: main_turn(user("hello")),
    Protocol.RESPONSES: codex_turn(item("user", "hello")),
    Protocol.CHAT: {"model": "m", "messages": [{"role": "user", "content": "hello"}]},
}


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(inner, (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value in one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(copy[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("protocol", Protocol)
def test_no_request_breaks_its_parser(protocol: Protocol) -> None:
    good = GOOD_BODIES[protocol]
    places = list(paths_of(good))

    @lasting
    @given(st.lists(st.tuples(st.sampled_from(places), any_json), min_size=1, max_size=3))
    @bounded
    def check(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        body = good
        for path, new in changes:
            try:
                body = with_value(body, path, new)
            except (KeyError, IndexError, TypeError, ValueError):
                continue
        DIALECTS[protocol].read_request(body)

    check()


@lasting
@given(st.binary(max_size=300) | any_json.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":' * 5000)
@example(b"9" * 6000)
@example(b'{"a":"\\ud800"}')
@bounded
def test_a_body_is_an_object_or_a_bad_request(body: bytes) -> None:
    try:
        found = read_object(body)
    except BadRequest:
        return
    assert isinstance(found, dict)


# ---------------------------------------------------------------- hosts and paths


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[LiveGateway, ScriptedUpstream]]:
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        yield gateway, upstream


HOSTS = ["{host}", "evil.example", "{host}/?", "{host}/#", "{host}@evil", "localhost", "[::1]"]
HOSTS += ["127.0.0.1.evil.example", "127.1", "0.0.0.0", "", " ", "{host}, {host}", "%31", "\x00"]
TARGETS = ["/v1/messages", "/v1/models", "/health", "/snapshot", "/k/x/v1/messages", "/"]
BITS = [
    "/",
    "//",
    "/./",
    "/..",
    "%2e",
    "%2f",
    ";",
    "?",
    "#",
    "@",
    "\\",
    "%00",
    "\x7f",
    "http://evil",
]
targets = st.lists(st.sampled_from(TARGETS + BITS) | st.text("/.%2ef;?k", max_size=4), max_size=5)


async def test_no_host_or_path_leads_past_the_checks(
    running: tuple[LiveGateway, ScriptedUpstream],
) -> None:
    gateway, upstream = running
    ours = f"127.0.0.1:{gateway.origin.port}"
    drawn: list[tuple[str, str, bool]] = []

    @lasting
    @given(st.sampled_from(HOSTS), targets.map("".join), st.booleans())
    @bounded
    def draw(host: str, target: str, has_key: bool) -> None:
        drawn.append((host, target, has_key))

    await asyncio.to_thread(draw)
    for host, target, has_key in drawn:
        name = host.replace("{host}", ours)
        lines = [f"GET {target} HTTP/1.1", f"Host: {name}", "Connection: close"]
        lines += [f"x-api-key: {KEY}"] if has_key else []
        sent = "\r\n".join([*lines, "", ""]).encode("latin-1")
        answer = parse(await gateway.raw(sent))
        where = (name, target, has_key, answer.status)
        is_open = target.partition("?")[0] in ("/health", "/api/hello", "/")
        if name.strip() != ours:
            assert answer.status in (400, 403, 421), where
        elif not has_key and not is_open:
            assert answer.status in (400, 401, 403, 404, 405, 429), where
        assert answer.status < 500, where
        assert b"<html" not in answer.body.lower(), where
        assert answer.header("access-control-allow-origin") is None
    assert [r for r in upstream.requests if r.method != b"GET"] == []


# ---------------------------------------------------------------- settings

LINES = [
    "[server]",
    "[routing]",
    "[routing.routes]",
    "[routing.kinds]",
    "[routing.modes]",
    "[providers.groq]",
    "[providers.x]",
    "[network]",
    "[[prices]]",
    "port = 1",
    "port = -1",
    'port = "a"',
    "port = 1e400",
    "host = [1]",
    'host = "\\u0000"',
    "shadow = 1979-05-27",
    'title = ["groq"]',
    'title = ["a/b/c", ""]',
    "title = [[]]",
    "canary_percent = nan",
    'base_url = "file:///etc/passwd"',
    'base_url = "http://x:99999"',
    'base_url = "https://u:p@h/?q#f"',
    'kind = "openai-chat"',
    'key_env = "\\n"',
    "log_level = {}",
    "a.b.c = 1",
    '"" = 1',
    "= 1",
    "[",
    '"""',
    "\x00",
    "é = 1",
]


def test_no_settings_file_is_worse_than_refused(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)

    @lasting
    @given(st.lists(st.sampled_from(LINES) | st.text(max_size=20), max_size=8))
    @bounded
    def check(lines: list[str]) -> None:
        text = "\n".join(lines)
        home.config_file.write_bytes(text.encode("utf-8", "surrogatepass"))
        home.config_file.chmod(0o600)
        try:
            home.load()
        except SettingsError:
            return

    check()


# ---------------------------------------------------------------- the terminal

escapes = st.text(
    "\x1b\x9b\x9d\x90\x07[]()PX^_0123456789;?:\\mKJHABCD\r\n\t\u202e\u200d\ufe0fa日👍"
)


@lasting
@given(st.lists(escapes | st.text(max_size=10) | st.sampled_from(HOSTILE), max_size=6))
@bounded
def test_nothing_that_a_terminal_acts_on_is_shown(parts: list[str]) -> None:
    for width in (None, 0, 7, 40):
        assert_safe(neutralise("".join(parts)[:4000], width))
