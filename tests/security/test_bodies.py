"""S6-S9: what a body may hold, and that nothing in it moves a request elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

from anthropic_streams import TEXT
from live_gateway import HELLO, KEY, live_gateway
from scripted_upstream import ScriptedUpstream, sse
from security_probe import ask_raw, canary

from providers.protocols import peek
from providers.protocols.anthropic.request import read_request
from providers.protocols.json_limits import DEPTH_BYTES
from server.explain import explain

SMALL = json.dumps(HELLO).encode()


HEADS: list[tuple[str, list[str], int]] = [
    ("GET /snapshot HTTP/1.1", [f"A{n}: b" for n in range(98)], 200),
    ("GET /snapshot HTTP/1.1", [f"A{n}: b" for n in range(99)], 431),
    ("GET /snapshot HTTP/1.1", ["A: " + "b" * 31_000], 200),
    ("GET /snapshot HTTP/1.1", ["A: " + "b" * 32_768], 431),
    ("GET /snapshot?" + "q" * 8_000 + " HTTP/1.1", [], 200),
    ("GET /snapshot?" + "q" * 8_192 + " HTTP/1.1", [], 414),
    ("GET /snapshot HTTP/1.1", ["A: b", " folded: c"], 400),
    ("GET /snapshot HTTP/1.1", ["A : b"], 400),
    ("POST /v1/messages HTTP/1.1", ["Content-Length: 2", "Transfer-Encoding: chunked"], 400),
    ("POST /v1/messages HTTP/1.1", ["Content-Length: 2", "Content-Length: 3"], 400),
    ("GET /snapshot HTTP/2.0", [], 505),
    ("GET /snapshot HTTP/1.1", ["Upgrade: h2c"], 400),
]


async def test_s06_heads_have_one_reading_and_a_bounded_size(tmp_path: Path) -> None:
    async with live_gateway(tmp_path / "h", "http://127.0.0.1:9") as gateway:
        for line, fields, status in HEADS:
            # The path token leaves ``Host`` and ``Connection`` beside the fields.
            keyed = line.replace(" /", f" /k/{KEY}/", 1)
            got = await ask_raw(gateway, keyed, ["Host: {host}", *fields])
            assert got.status == status, (line[:60], fields[:2])


def nested(levels: int) -> bytes:
    """A request whose body is ``levels`` deep."""
    inner = levels - 1
    value = b'{"a":' * (inner // 2) + b"[" * (inner - inner // 2)
    value += b"1" + b"]" * (inner - inner // 2) + b"}" * (inner // 2)
    return SMALL[:-1] + b', "metadata": ' + value + b"}"


BODIES: list[tuple[bytes, int, str]] = [
    (nested(128), 200, ""),
    (nested(129), 400, "nested too deeply"),
    (nested(900), 400, "nested too deeply"),
    (nested(200_000), 400, "nested too deeply"),
    (SMALL[:-1] + b', "n": ' + b"9" * 1000 + b"}", 200, ""),
    (SMALL[:-1] + b', "n": ' + b"9" * 1001 + b"}", 400, "number"),
    (SMALL[:-1] + b', "n": 0.' + b"9" * 100_000 + b"}", 400, "number"),
    (SMALL[:-1] + b', "n": "' + b"9" * 100_000 + b'"}', 200, ""),
    (SMALL[:-1] + b', "n": NaN}', 400, "not valid JSON"),
    (SMALL[:-1] + b', "n": -Infinity}', 400, "not valid JSON"),
    (SMALL[:-1] + b', "n": 1e999}', 200, ""),
    (SMALL[:-1] + b', "n": "\\ud800 \\udc00\\ud800"}', 200, ""),
    (SMALL[:-1] + b', "\\udfff": 1}', 200, ""),
    (SMALL + b"{}", 400, "not valid JSON"),
    (b"[" + SMALL + b"]", 400, "JSON object"),
]


async def test_s07_a_body_is_refused_only_where_it_cannot_be_understood_safely(
    tmp_path: Path,
) -> None:
    packed = [(b"content-encoding", b"gzip")]
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for body, status, words in BODIES:
            sent = len(upstream.requests)
            got = await gateway.ask(body=body)
            explained = await gateway.ask(target="/v1/route/explain", body=body)
            zipped = await gateway.ask(body=gzip.compress(body, 1), headers=packed)
            statuses = (got.status, explained.status, zipped.status)
            assert statuses == (status, status, status), body[-40:]
            if status == 200:
                plain, coded = upstream.requests[sent:]
                assert plain.body == body
                assert gzip.decompress(coded.body) == body
            else:
                assert len(upstream.requests) == sent
                assert got.json["error"]["type"] == "invalid_request_error"
                assert words in got.json["error"]["message"]


async def test_s07_a_large_body_is_bounded_by_the_parser_and_breaks_nothing(tmp_path: Path) -> None:
    pad = b', "pad": "' + b"x" * DEPTH_BYTES + b'"}'
    deep = [nested(levels)[:-1] + pad for levels in (129, 400, 5000)]
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        answers = [await gateway.ask(body=body) for body in deep]
        explained = [await gateway.ask(target="/v1/route/explain", body=body) for body in deep]
        turns = await gateway.turns(3)
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert [answer.status for answer in explained] == [200, 200, 400]
    assert "nested too deeply" in answers[2].json["error"]["message"]
    assert [request.body for request in upstream.requests] == deep[:2]
    assert [turn["status"] for turn in turns] == ["completed", "completed", "rejected"]


async def test_s07_of_duplicate_keys_the_last_decides_and_all_go_up(tmp_path: Path) -> None:
    body = (
        b'{"model":"claude-first","stream":false,"max_tokens":1,"messages":[{"role":"user",'
        b'"content":"a","content":"b"}],"tool_choice":{"type":"none","type":"any"},'
        b'"mod\\u0065l":"claude-last","max_tokens":77,"stream":true}'
    )
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=body)
        turn = await gateway.turn()
    assert upstream.requests[0].body == body
    assert got.header("x-gateway-model") == "claude-last"
    assert (turn["model_asked"], turn["max_tokens"], turn["stream"]) == ("claude-last", 77, True)
    assert turn["tool_choice"] == "any"


def test_s07_a_route_is_decided_on_what_goes_up() -> None:
    body = b'{"messages":[],"model":"a","messages":[{"role":"user","content":"hi"}],"model":"b"}'
    request = read_request(body)
    spliced = peek.replace_model(body, "c")
    assert (request.model, len(request.messages)) == ("b", 1)
    assert json.loads(spliced) == json.loads(body) | {"model": "c"}
    assert b'"a"' not in spliced
    assert explain(body)["decision"]["model"] == "b"


async def test_s07_a_large_compressed_body_is_bounded_by_what_it_holds(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (40 * 1024 * 1024), 1)
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        got = await gateway.ask(body=bomb, headers=[(b"content-encoding", b"gzip")])
    assert (got.status, got.json["error"]["type"]) == (413, "request_too_large")
    assert upstream.requests == []


# ---------------------------------------------------------------------- nothing moves it elsewhere


def poisoned(url: str) -> dict[str, Any]:
    """Every field that has moved a request in some gateway, at every depth."""
    fields: dict[str, Any] = {
        "api_base": url,
        "base_url": url,
        "baseURL": url,
        "api_url": url,
        "endpoint": url,
        "host": url.removeprefix("http://"),
        "proxy": url,
        "http_proxy": url,
        "callback_url": url,
        "webhook": url,
        "custom_llm_provider": "openai",
        "provider": {"base_url": url, "order": [url]},
        "extra_headers": {"Host": "evil.example", "x-api-key": "other", "Location": url},
        "extra_body": {"api_base": url},
        "model_list": [{"litellm_params": {"api_base": url}}],
        "mcp_servers": [{"type": "url", "url": url, "name": "m"}],
    }
    return fields | {
        "user_config": {"router": fields},
        "metadata": fields,
        "litellm_params": fields,
    }


async def test_s08_nothing_in_a_request_changes_where_it_goes(tmp_path: Path) -> None:
    async with (
        canary() as elsewhere,
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        url = elsewhere.url
        body = json.dumps(HELLO | poisoned(url)).encode()
        fields = [
            (b"x-api-base", url.encode()),
            (b"x-base-url", url.encode()),
            (b"x-upstream", url.encode()),
            (b"x-forwarded-host", url.removeprefix("http://").encode()),
            (b"forwarded", b"host=" + url.removeprefix("http://").encode()),
            (b"x-original-url", url.encode()),
            (b"x-rewrite-url", b"/other"),
            (b"x-http-method-override", b"GET"),
            (b"location", url.encode()),
            (b"x-sbgw-provider", url.encode()),
        ]
        query = f"?beta=true&base_url={url}&api_base={url}"
        got = await gateway.ask(target="/v1/messages" + query, body=body, headers=fields)
        await asyncio.sleep(0)
        assert elsewhere.hits == 0
    assert got.status == 200
    assert [r.target for r in upstream.requests] == [f"/v1/messages{query}".encode()]
    assert upstream.requests[0].method == b"POST"
    assert upstream.requests[0].header(b"host") == f"127.0.0.1:{upstream.port}".encode()
    assert upstream.requests[0].body == body


MODELS = [
    "../../v1/files",
    "..",
    "http://evil.example/x",
    "//evil.example/x",
    "a/b/c",
    "user@evil.example",
    "m?base_url=http://evil.example",
    "m#fragment",
    "m\r\nHost: evil.example\r\n\r\n",
    "m\x00",
    "%2e%2e%2f",
    "x" * 5000,
    "\u202egpt",
    "' OR 1=1 --",
]


async def test_s08_the_name_of_a_model_is_data(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for model in MODELS:
            body = json.dumps(HELLO | {"model": model}).encode()
            got = await gateway.ask(body=body)
            request = upstream.requests[-1]
            assert (got.status, got.body) == (200, TEXT)
            assert (request.method, request.target, request.body) == (
                b"POST",
                b"/v1/messages",
                body,
            )
            assert request.header(b"host") == f"127.0.0.1:{upstream.port}".encode()
            assert (got.header("x-gateway-model") or "").isprintable()
            explained = await gateway.ask(target="/v1/route/explain", body=body)
            assert explained.status == 200
    assert len(upstream.requests) == len(MODELS)


async def test_s08_the_name_of_a_model_cannot_leave_its_place_in_a_path(tmp_path: Path) -> None:
    names = ["..", ".", "%2e%2e", "a/../b", "a%2fb", "a#b", "a;b", "-", "@evil.example", "a%00"]
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        for name in names:
            fields = ["Host: {host}", f"x-api-key: {KEY}"]
            got = await ask_raw(gateway, f"GET /v1/models/{name} HTTP/1.1", fields)
            assert got.status == 404, name
    assert upstream.requests == []


async def test_s09_no_address_in_a_message_is_fetched(tmp_path: Path) -> None:
    async with (
        canary() as elsewhere,
        ScriptedUpstream(sse([TEXT])) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        url = elsewhere.url + "/image.png"
        content = [
            {"type": "image", "source": {"type": "url", "url": url}},
            {"type": "document", "source": {"type": "url", "url": url}},
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "input_image", "image_url": url},
            {"type": "input_file", "file_url": url},
            {"type": "text", "text": f"![x]({url})"},
        ]
        body = json.dumps(HELLO | {"messages": [{"role": "user", "content": content}]}).encode()
        got = await gateway.ask(body=body)
        explained = await gateway.ask(target="/v1/route/explain", body=body)
        counted = await gateway.ask(target="/v1/messages/count_tokens", body=body)
        assert elsewhere.hits == 0
    assert (got.status, explained.status, counted.status) == (200, 200, 200)
    assert [request.body for request in upstream.requests] == [body, body]
