"""Group 1: what goes wrong before the client has a byte, so that all can still be mended."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
import zstandard
from fault_world import (
    GOOD,
    HELLO,
    IN_WORDS,
    NATIVE,
    SECRETS,
    TARGETS,
    TRANSLATED,
    C,
    Case,
    Got,
    Json,
    Lane,
    M,
    R,
    Seen,
    World,
    fault_world,
    forms,
    lanes,
    providers_of,
    settings_of,
)
from gateway_process import Call as RawCall
from scripted_upstream import (
    Authority,
    Script,
    ScriptedUpstream,
    chunk,
    hang,
    head,
    reset,
    respond,
    send,
    sse,
    steps,
)
from security_probe import canary
from vendor_replies import (
    JSON_TYPE,
    Reply,
    answering,
    error_body,
    error_event,
    events,
    stream,
    whole,
)
from wire_readers import faults_of

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

SSE_HEAD = head(200, [(b"Content-Type", b"text/event-stream"), (b"Transfer-Encoding", b"chunked")])
HTML = [(b"Content-Type", b"text/html; charset=utf-8")]
NOT_FOR_NATIVE = "a native stream that the vendor began is not made anew"


def refusing(
    lane: Lane,
    status: int,
    kind: str,
    words: str,
    *fields: tuple[bytes, bytes],
    code: str | None = None,
) -> Script:
    """An error answer of the lane's vendor."""
    body = error_body(lane.provider, kind, words, code)
    return respond(status, [*JSON_TYPE, *fields], body)


# ---------------------------------------------------------------- nobody there


@lanes()
@forms
async def test_F_002_a_refused_connection_is_a_503_in_shape(lane: Lane, streamed: bool) -> None:
    seen = Seen(503, "failed", ("connect", "connect"), failures=2, words="cannot be reached")
    got = await lane.run(Case([], seen, retries=1, away=True), streamed=streamed)
    assert int(got.headers.get("retry-after", "1")) <= 30
    if lane.client is M:
        assert got.error["type"] == "api_error"


@lanes()
@forms
async def test_F_005_a_reset_before_the_answer_is_tried_once_more(
    lane: Lane, streamed: bool
) -> None:
    seen = Seen(outcomes=("dropped", "success"), text=HELLO.text, stop="end")
    await lane.run(Case([reset()], seen, retries=1, fresh=True), streamed=streamed)
    dead = Case(steps(reset()), Seen(502, "failed", ("dropped",) * 2, failures=2), 1, fresh=True)
    await lane.run(dead, streamed=streamed)


@lanes()
@forms
async def test_F_006_a_stale_connection_is_replaced_unseen(lane: Lane, streamed: bool) -> None:
    await lane.run(Case([lane.well], fresh=True), streamed=streamed)
    # It is kept now; the vendor gives it up just as the next request is written to it.
    await lane.run(Case([reset()], GOOD, unseen=1), streamed=streamed)


@lanes()
@forms
async def test_F_008_no_headers_end_in_the_clients_own_protocol(lane: Lane, streamed: bool) -> None:
    kind = {M: "timeout_error"}.get(lane.client)
    seen = Seen(504, "failed", ("deadline",), failures=1, kind=kind)
    hint = ("x-stainless-timeout: 1",)
    await lane.run(Case(hang(), seen, headers=hint), streamed=streamed)


@lanes()
async def test_F_009_headers_without_content_keep_the_status_open(lane: Lane) -> None:
    seen = Seen(504, "failed", ("deadline",), failures=1)
    script = steps(send(SSE_HEAD + chunk(events(lane.provider, HELLO)[0])), hang())
    await lane.run(Case(script, seen, headers=("x-stainless-timeout: 1",)))


# ---------------------------------------------------------------- refusals


@lanes()
@forms
async def test_F_010_one_500_is_never_seen(lane: Lane, streamed: bool) -> None:
    script = refusing(lane, 500, "api_error", "a bad moment")
    seen = Seen(outcomes=("http_500", "success"), text=HELLO.text, stop="end")
    if lane.is_native:
        # The client's own SDK retries; the vendor's words are its to see.
        seen = Seen(500, "error", ("http_500",), failures=1, words="a bad moment")
    await lane.run(Case([script], seen, retries=1), streamed=streamed)


@lanes()
async def test_F_011_a_wait_that_was_asked_for_is_never_shortened(lane: Lane) -> None:
    if lane.is_native:
        script = refusing(lane, 503, "overloaded", "busy", (b"retry-after", b"1"))
        got = await lane.run(Case([script], Seen(503, "error", ("http_503",), failures=1)))
        assert got.headers["retry-after"] == "1"
        return
    script = refusing(lane, 500, "server_error", "busy", (b"retry-after", b"1"))
    seen = Seen(outcomes=("http_500", "success"), text=HELLO.text, stop="end")
    await lane.run(Case([script], seen, retries=1))
    (first, second) = lane.world.home.rows(
        "SELECT started_s FROM attempts WHERE turn_id = (SELECT id FROM turns ORDER BY seq DESC"
        " LIMIT 1) ORDER BY number"
    )
    assert second[0] - first[0] >= 1.0


@lanes(NATIVE)
@forms
async def test_F_013_a_native_429_is_the_vendors_to_the_byte(lane: Lane, streamed: bool) -> None:
    body = error_body(lane.provider, "rate_limit_error", "slow  down") + b"  \n"
    fields = [(b"retry-after", b"30"), (b"x-should-retry", b"true"), (b"x-ratelimit-x", b"1")]
    script = respond(429, [*JSON_TYPE, *fields], body)
    got = await lane.run(Case(script, Seen(429, "error", ("http_429",))), streamed=streamed)
    assert got.body == body
    assert {n.decode(): v.decode() for n, v in fields}.items() <= got.headers.items()


@lanes()
async def test_F_014_a_spend_limit_is_final(lane: Lane) -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    error = {"type": "rate_limit_error", "message": "the limit is reached", "details": details}
    if lane.provider is not M:
        error = {"type": "insufficient_quota", "message": "used up", "code": "insufficient_quota"}
    body = json.dumps({"type": "error", "error": error}).encode()
    script = respond(429, [*JSON_TYPE, (b"x-should-retry", b"false")], body)
    if lane.is_native:
        got = await lane.run(Case(script, Seen(429, "error", ("http_429",))))
        assert (got.body, got.headers["x-should-retry"]) == (body, "false")
    else:
        # The bill is not the client's: it is told of a provider that cannot, in its own shape.
        status = 429 if lane.client is R else 502
        await lane.run(Case(script, Seen(status, "failed", ("http_429",))))
    found = await lane.world.provider(lane.name)
    assert found["cooldown"]["cause"] == "quota used up"
    assert 880 < found["cooldown"]["left_s"] <= 900


@lanes()
@forms
async def test_F_015_a_key_of_ours_that_is_refused_is_no_401(lane: Lane, streamed: bool) -> None:
    key = SECRETS[1 + ["anthropic", "openai", "groq", "vendor"].index(lane.name)]
    script = refusing(lane, 401, "authentication_error", f"bad key {key}")
    status = 400 if lane.client is R else 502
    seen = Seen(status, "failed", ("http_401",), words="bad key")
    got = await lane.run(Case(script, seen), streamed=streamed)
    assert key not in json.dumps(got.headers)
    assert (await lane.world.provider(lane.name))["cooldown"]["cause"] == "it refused our key"


@lanes(NATIVE)
async def test_F_015_a_key_of_the_clients_own_that_is_refused_is_its_401(lane: Lane) -> None:
    body = error_body(lane.provider, "authentication_error", "bad key") + b" "
    own = ("x-sbgw-key: " + SECRETS[0], "authorization: Bearer sk-of-the-client-alone")
    await lane.world.anew(lane.name)
    lane.play(respond(401, JSON_TYPE, body))
    lane.world.asked += 1
    call = RawCall(
        lane.world.gateway.port,
        lane.body(streamed=True),
        TARGETS[lane.client],
        key=None,
        fields=own,
    )
    got = lane.got(await call.run())
    await lane.world.settle(1)
    assert (got.status, got.body) == (401, body)
    assert (await lane.world.provider(lane.name))["cooldown"] is None


@lanes()
@forms
async def test_F_016_a_400_keeps_the_vendors_words(lane: Lane, streamed: bool) -> None:
    words = "messages.3: `tool_use` ids were found without `tool_result` blocks: toolu_1"
    body = error_body(lane.provider, "invalid_request_error", words) + b"\n"
    seen = Seen(400, "error" if lane.is_native else "failed", ("http_400",), words=words)
    got = await lane.run(Case(respond(400, JSON_TYPE, body), seen), streamed=streamed)
    assert got.body == body or not lane.is_native


@lanes()
@forms
async def test_F_018_a_context_that_is_too_long(lane: Lane, streamed: bool) -> None:
    words = "prompt is too long: 210000 tokens > 200000 maximum"
    body = error_body(lane.provider, "invalid_request_error", words)
    if lane.provider is not M:
        words = "This model's maximum context length is 8192 tokens"
        body = error_body(lane.provider, "invalid_request_error", words, "context_length_exceeded")
    seen = Seen(400, "error" if lane.is_native else "failed", ("http_400",))
    got = await lane.run(Case(respond(400, JSON_TYPE, body), seen), streamed=streamed)
    if lane.is_native:
        assert got.body == body
    elif lane.client is M:
        assert got.error["type"] == "invalid_request_error"
        assert "prompt is too long" in got.error["message"]
    else:
        assert got.error["code"] == "context_length_exceeded"


# ---------------------------------------------------------------- answers that are none


@lanes()
@forms
async def test_F_020_a_web_page_is_no_answer(lane: Lane, streamed: bool) -> None:
    page = respond(200, HTML, b"<!DOCTYPE html><html><title>Sign in to the network</title></html>")
    seen = Seen(502, "failed", (lane.either("unusable", "refused"),), failures=1, words="web page")
    await lane.run(Case(page, seen), streamed=streamed)


@lanes()
async def test_F_021_json_where_a_stream_was_asked_for(lane: Lane) -> None:
    script = respond(200, JSON_TYPE, whole(lane.provider, HELLO))
    if lane.is_native:
        seen = Seen(502, "failed", ("unusable",), failures=1, words="did not stream")
        await lane.run(Case(script, seen))
        return
    await lane.run(Case(script, GOOD))


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
}


@lanes(TRANSLATED)
@forms
async def test_F_023_a_compressed_answer_is_read_once(lane: Lane, streamed: bool) -> None:
    data = stream(lane.provider, HELLO) if streamed else whole(lane.provider, HELLO)
    kind = [(b"Content-Type", b"text/event-stream")] if streamed else JSON_TYPE
    for coding, pack in CODINGS.items():
        fields = [*kind, (b"Content-Encoding", coding.encode())]
        got = await lane.run(Case(respond(200, fields, pack(data)), GOOD), streamed=streamed)
        assert "content-encoding" not in got.headers
        broken = Case(respond(200, fields, data), Seen(502, "failed", ("unusable",), failures=1))
        await lane.run(broken, streamed=streamed)


@lanes(NATIVE)
async def test_F_023_a_native_compressed_answer_is_relayed_and_read_beside(lane: Lane) -> None:
    for coding, pack in CODINGS.items():
        fields = [*JSON_TYPE, (b"Content-Encoding", coding.encode())]
        packed = pack(whole(lane.provider, HELLO))
        await lane.world.anew(lane.name)
        lane.play(respond(200, fields, packed))
        call = await lane.world.call(TARGETS[lane.client], lane.body(streamed=False))
        assert (bytes(call.body), call.headers["content-encoding"]) == (packed, coding)
        (turn,) = await lane.world.settle(1)
        assert (turn["status"], turn["output_tokens"]) == ("completed", 30)


@lanes()
@forms
async def test_F_024_no_redirect_is_followed(lane: Lane, streamed: bool) -> None:
    async with canary() as elsewhere:
        for status in (301, 307) if streamed else (302, 308):
            script = respond(status, [(b"Location", elsewhere.url.encode())], b"")
            seen = Seen(502, "failed", ("unusable",), failures=1, words="redirect")
            await lane.run(Case(script, seen), streamed=streamed)
    assert elsewhere.hits == 0


@lanes()
@forms
async def test_F_025_an_empty_completion_is_no_success(lane: Lane, streamed: bool) -> None:
    empty = answering(lane.provider, Reply(""), streamed=streamed)
    if lane.is_native:
        # What the vendor calls a success, empty as it is, is relayed as it is.
        await lane.run(Case(empty, Seen()), streamed=streamed)
        return
    seen = Seen(outcomes=("refused", "success"), text=HELLO.text, stop="end")
    await lane.run(Case([empty], seen, retries=1), streamed=streamed)
    seen = Seen(502, "failed", ("refused", "refused"), failures=2, words="empty answer")
    await lane.run(Case(empty, seen, retries=1), streamed=streamed)


# ---------------------------------------------------------------- somebody else can

FALLBACKS = {M: ("anthropic", M), R: ("openai", R), C: ("openai", C)}
LOST = "https://nowhere.invalid"


def failover_settings(urls: Mapping[str, str]) -> str:
    """Every client's own vendor first, and Groq where it fails."""
    lines = ["[server]", "port = 0", "[routing]", "shadow = false", "cross_vendor_failover = true"]
    lines.append("[routing.baseline]")
    lines += [f'{IN_WORDS[client]} = ["{who}", "groq"]' for client, (who, _) in FALLBACKS.items()]
    return "\n".join([*lines, *providers_of(urls)]) + "\n"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def spared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway that may turn to another vendor."""
    folder = tmp_path_factory.mktemp("spared")
    async with fault_world(folder / "w", failover_settings) as world:
        yield world


def spared_lanes(world: World) -> Iterator[tuple[Lane, Lane]]:
    """For each client its own vendor, and the one that stands in."""
    for client, (who, protocol) in FALLBACKS.items():
        yield Lane(world, client, protocol, who), Lane(world, client, C, "groq")


async def stands_in(first: Lane, second: Lane, *, streamed: bool) -> tuple[Got, Json]:
    """Ask once; the second vendor must have answered, and everything is in order."""
    second.play(second.well)
    got = await first.ask(streamed=streamed)
    (turn,) = await first.world.settle(1)
    assert (got.told.text, got.told.stop) == (HELLO.text, "end"), got.body
    assert not streamed or faults_of(first.client, got.body) == []
    assert (turn["status"], turn["provider"]) == ("completed", "groq")
    assert [a[1] for a in turn["attempts"]][-1] == "success"
    assert got.headers["x-gateway-provider"] == "groq"
    return got, turn


@forms
async def test_F_001_a_refused_connection_and_somebody_else(spared: World, streamed: bool) -> None:
    for first, second in spared_lanes(spared):
        await spared.anew(first.name, "groq")
        async with first.upstream.away():
            _, turn = await stands_in(first, second, streamed=streamed)
        assert {a[1] for a in turn["attempts"][:-1]} == {"connect"}


@forms
async def test_F_012_a_rate_limit_and_somebody_else(spared: World, streamed: bool) -> None:
    for first, second in spared_lanes(spared):
        await spared.anew(first.name, "groq")
        first.play(refusing(first, 429, "rate_limit_error", "slow", (b"retry-after", b"30")))
        before = len(first.upstream.requests)
        _, turn = await stands_in(first, second, streamed=streamed)
        assert [a[:2] for a in turn["attempts"]] == [(first.name, "http_429"), ("groq", "success")]
        for _ in range(10):
            await spared.anew()
            await stands_in(first, second, streamed=streamed)
        assert len(first.upstream.requests) == before + 1, "it was asked in spite of its limit"
        health = await spared.provider(first.name)
        assert (health["breaker"], health["failures"]) == ("closed", 0)
        assert health["cooldown"]["cause"] == "rate limit"
        assert 20 < health["cooldown"]["left_s"] <= 30


BROKEN_OFF: dict[str, Callable[[Lane], Script]] = {
    "F_005": lambda _: reset(),
    "F_010": lambda lane: refusing(lane, 500, "api_error", "it broke"),
    "F_020": lambda _: respond(200, HTML, b"<html>Sign in</html>"),
    "F_026": lambda lane: sse(events(lane.provider, HELLO)[:1]),
    "F_031": lambda lane: sse([error_event(lane.provider, "overloaded")]),
    "F_033": lambda _: sse([b"data: {not json\n\n"]),
}


@pytest.mark.parametrize("name", BROKEN_OFF)
async def test_F_001_what_fails_before_content_is_answered_elsewhere(
    spared: World, name: str
) -> None:
    for first, second in spared_lanes(spared):
        await spared.anew(first.name, "groq")
        first.play(*[BROKEN_OFF[name](first)] * 9)
        await stands_in(first, second, streamed=True)


async def test_F_016_what_another_could_not_cure_is_not_asked_of_it(spared: World) -> None:
    for first, second in spared_lanes(spared):
        await spared.anew(first.name, "groq")
        first.play(refusing(first, 400, "invalid_request_error", "no such field"))
        second.play(second.well)
        before = len(second.upstream.requests)
        got = await first.ask()
        await spared.settle(1)
        assert (got.status, len(second.upstream.requests)) == (400, before)


# ---------------------------------------------------------------- names and certificates


async def test_F_003_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    def settings(_: Mapping[str, str]) -> str:
        return settings_of("turned", dict.fromkeys(("anthropic", "openai", "groq"), LOST))

    async with fault_world(tmp_path / "w", settings, vendors=()) as world:
        for client in (M, R, C):
            lane = Lane(world, client, C, "")
            await world.anew()
            got = await lane.ask()
            (turn,) = await world.settle(1)
            assert got.status == 503
            assert got.told.error
            assert int(got.headers.get("retry-after", "1")) <= 30
            assert turn["status"] == "failed"
            assert {a[1] for a in turn["attempts"]} <= {"offline", "connect"}


async def test_F_004_a_certificate_that_is_wrong_gets_no_key(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(authority.pem)
    contexts = {
        "anthropic": authority.server("expired"),
        "openai": authority.server("wrong-host"),
        "groq": stranger.server(),
    }
    async with AsyncExitStack() as stack:
        vendors = {
            name: await stack.enter_async_context(ScriptedUpstream(tls=context))
            for name, context in contexts.items()
        }
        urls = {name: vendor.base_url for name, vendor in vendors.items()}

        def settings(_: Mapping[str, str]) -> str:
            network = f'[network]\nca_bundle = "{bundle}"\nproxy = "none"\n'
            return settings_of("turned", urls) + network

        world = await stack.enter_async_context(fault_world(tmp_path / "w", settings, vendors=()))
        for client, name in ((M, "openai"), (R, "groq"), (C, "anthropic")):
            lane = Lane(world, client, C, name)
            await world.anew(name)
            got = await lane.ask()
            (turn,) = await world.settle(1)
            assert got.status in (502, 503)
            assert "certificate" in (got.told.error or ""), got.body
            assert [a[1] for a in turn["attempts"]] == ["tls"], turn
            assert (await world.provider(name))["status"] == "failing"
            assert vendors[name].requests == []
            assert not [peer for peer in vendors[name].peers if peer.received]


# ---------------------------------------------------------------- Cloudflare


async def test_F_022_a_failure_with_status_200(tmp_path: Path) -> None:
    def settings(urls: Mapping[str, str]) -> str:
        lines = ["[server]", "port = 0", "[routing.baseline]"]
        lines += [f'{IN_WORDS[client]} = ["cloudflare"]' for client in (M, R, C)]
        address = urls["cloudflare"]
        return "\n".join([*lines, f'[providers.cloudflare]\nbase_url = "{address}"']) + "\n"

    env = {"CLOUDFLARE_API_TOKEN": "canary-cloudflare-0123456789", "CLOUDFLARE_ACCOUNT_ID": "a1"}
    vendors = ("cloudflare",)
    async with fault_world(tmp_path / "w", settings, vendors=vendors, env=env) as world:
        for client, streamed in itertools.product((M, R, C), (True, False)):
            lane = Lane(world, client, C, "cloudflare")
            for code, cause in ((3036, "quota used up"), (3040, None), (5007, None)):
                errors = [{"code": code, "message": f"words of {code}"}]
                body = json.dumps({"success": False, "errors": errors, "result": None}).encode()
                await world.anew("cloudflare")
                lane.play(*[respond(200, JSON_TYPE, body)] * 2)
                got = await lane.ask(streamed=streamed)
                await world.settle(1)
                assert got.status >= 400
                assert f"words of {code}" in (got.told.error or "")
                health = await world.provider("cloudflare")
                assert (health["cooldown"] or {}).get("cause") == cause, code
                assert (health["failures"] > 0) == (code != 3036)
