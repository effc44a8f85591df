"""S12, S13, S15: what must not be found in any log, file, event or answer of our own."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from anthropic_streams import (
    MESSAGE_STOP,
    error,
    event,
    input_json_delta,
    message_delta,
    message_start,
    text_delta,
    text_start,
    thinking_delta,
    thinking_start,
    tool_start,
)
from live_gateway import HELLO, LiveGateway, live_gateway
from raw_peer import Request
from scripted_upstream import Script, ScriptedUpstream, respond, sse
from security_probe import files_with

from server import logs
from server.log_ring import LogRing
from server.redact import MASK, Redactor, forms

PROVIDER_KEY = "canary/provider+key=0123456789"
GATEWAY_KEY = "canary.gateway.key.0123456789"
CLIENT_KEY = "canary~client~key~0123456789"
LOGIN = "sk-ant-oat01-canaryLoginToken0123456789"
SECRETS = [PROVIDER_KEY, GATEWAY_KEY, CLIENT_KEY, LOGIN]


def written(secret: str) -> list[str]:
    """The forms of a secret that are looked for."""
    plain = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]
    coded = [base64.b64encode(p + secret.encode()).decode() for p in (b"", b"u:", b"me:")]
    return [*plain, *coded, base64.urlsafe_b64encode(secret.encode()).decode()]


NEEDLES = [form for secret in SECRETS for form in written(secret)]


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Give logging and the crash hooks back as they were."""
    kept = {name: logging.getLogger(name) for name in (logs.ROOT, "quart", "hypercorn", "asyncio")}
    before = {name: (log.handlers[:], log.propagate, log.level) for name, log in kept.items()}
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
    for name, log in kept.items():
        for handler in log.handlers:
            if handler not in before[name][0]:
                handler.close()
        log.handlers[:], log.propagate, log.level = before[name]


# ---------------------------------------------------------------------- the redactor


@pytest.mark.parametrize("secret", SECRETS)
def test_s12_a_known_secret_is_masked_in_every_form(secret: str) -> None:
    redact = Redactor([secret])
    for form in written(secret):
        for text in (form, f"before {form} after", f"[{form}]", f'"{form}"', f"x={form}&y"):
            clean = redact(text)
            assert secret not in clean
            leftover = clean.replace(MASK, "")
            # Of base64, what it shares with its neighbours stays, and that is no secret.
            assert len(leftover) <= len(text) - len(form) + 8, clean


@pytest.mark.parametrize(
    "text",
    [
        "key sk-ant-api03-AbCdEfGh0123456789-_xyz is wrong",
        "Incorrect API key provided: sk-proj-********************wxyz.",
        "gsk_0123456789abcdefghijABCDEFGHIJ",
        "csk-0123456789abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "ghp_0123456789abcdefghijABCDEFGHIJ",
        "xoxb-123456789012-abcdefGHIJ",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123_-x",
        "Authorization: Bearer opaque0123456789",
        "authorization: bearer  0123456789abcdef==",
        "{'x-api-key': 'opaque-0123456789'}",
        "api_key=opaque0123456789&x=1",
        "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "http://user:p4ssw0rd@proxy.example:3128/",
    ],
)
def test_s12_what_looks_like_a_credential_is_masked(text: str) -> None:
    clean = Redactor()(text)
    assert MASK in clean
    for part in ("0123456789", "AbCdEfGh", "IOSFODNN7", "eyJzdWIi", "p4ssw0rd", "dXNlcjpw", "wxyz"):
        assert part not in clean


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 100 is larger than the model allows",
        "Number of request tokens has exceeded your rate limit (req_011CSHoEeqs5C35K2UUqR7Fy)",
        "claude-opus-5-5-20260101",
        "task-runner-and-desk-top sk-",
        "anthropic cannot be reached: 127.0.0.1:8787 refused the connection.",
        "messages.3.content.0: unexpected tool_use_id: toolu_01AbCdEfGh0123456789",
        "put ANTHROPIC_API_KEY into .env",
        "the key is missing; x-api-key header is required",
        "see https://docs.example/a@b and mailto:me@example.org",
    ],
)
def test_s12_ordinary_words_stay(text: str) -> None:
    assert Redactor(["other-secret-0123"])(text) == text


def test_s12_short_and_empty_secrets_do_not_blank_everything() -> None:
    assert Redactor(["", "a", "short"])("a short text") == "a short text"
    assert list(forms("1234567")) == []
    odd = "odd-\udcff-\u00e9-secret"
    assert Redactor([odd])(f"x {odd} y") == f"x {MASK} y"


def test_s12_values_are_redacted_at_any_depth() -> None:
    redact = Redactor([PROVIDER_KEY]).also([CLIENT_KEY])
    found = {"a": [{"b": f"x {PROVIDER_KEY}"}, 5, None], PROVIDER_KEY: CLIENT_KEY, "n": 1.5}
    assert redact.values(found) == {"a": [{"b": f"x {MASK}"}, 5, None], MASK: MASK, "n": 1.5}
    clean: dict[str, Any] = {"a": [{"b": "x"}]}
    assert redact.values(clean) is clean


# ---------------------------------------------------------------------- the log


def log_badly() -> None:
    log = logging.getLogger("sbgw.test")
    log.error("key %s and %r", PROVIDER_KEY, PROVIDER_KEY.encode())
    log.warning("header %s", [(b"x-api-key", GATEWAY_KEY.encode())])
    for form in written(CLIENT_KEY):
        log.info("form %s", form)
    try:
        raise ValueError(f"bad value {PROVIDER_KEY!r} in {GATEWAY_KEY}")
    except ValueError:
        log.exception("it failed")


@pytest.mark.usefixtures("quiet_logging")
def test_s12_no_log_holds_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [PROVIDER_KEY, GATEWAY_KEY, CLIENT_KEY]
    path = tmp_path / "gateway.log"
    logs.to_file(path, "debug", secrets)
    log_badly()
    logs.to_stderr("debug", secrets)
    log_badly()
    told: list[dict[str, Any]] = []
    ring = LogRing(told.append, logs.text_of(secrets))
    logging.getLogger(logs.ROOT).handlers[:] = [ring]
    log_badly()
    texts = [path.read_text(), capsys.readouterr().err, json.dumps(told), json.dumps(ring.lines())]
    for text in texts:
        assert "it failed" in text
        assert "Traceback" in text
        assert text.count(MASK) >= 8
        assert [needle for needle in NEEDLES if needle in text] == []


@pytest.mark.usefixtures("quiet_logging")
def test_s12_no_crash_prints_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    logs.mask_crashes([PROVIDER_KEY])
    try:
        raise RuntimeError(f"lost {PROVIDER_KEY}\x1b[31m")
    except RuntimeError as failure:
        sys.excepthook(type(failure), failure, failure.__traceback__)

    def crash() -> None:
        raise RuntimeError(f"in a thread {PROVIDER_KEY}")

    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    assert said.count("RuntimeError: ") == 2
    assert said.count(MASK) >= 2
    assert PROVIDER_KEY not in said
    assert "\x1b" not in said


FORGED = 'x\n{"level":"info","message":"forged"}\r12:00:00 info: forged\x1b[2J\u2028\x85\x00\u202e'


@pytest.mark.usefixtures("quiet_logging")
def test_s15_a_record_is_one_line_of_json_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    logs.to_file(path, "info", [])
    log = logging.getLogger("sbgw.test")
    log.info("%s", FORGED)
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("failed")
    data = path.read_bytes()
    lines = data.splitlines()
    assert len(lines) == 2
    assert data.isascii()
    assert not [byte for byte in data if byte < 0x20 and byte != 0x0A]
    assert json.loads(lines[0])["message"] == FORGED
    assert json.loads(lines[1])["level"] == "error"


@pytest.mark.usefixtures("quiet_logging")
def test_s15_a_forged_line_is_seen_to_belong_to_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.to_stderr("info", [])
    logging.getLogger("sbgw.test").info("%s", FORGED)
    first, *rest = capsys.readouterr().err.rstrip("\n").split("\n")
    assert first.endswith("info: x")
    assert len(rest) >= 2
    assert all(line.startswith("    ") for line in rest)
    assert all(c.isprintable() for line in rest for c in line)


# ---------------------------------------------------------------------- the running gateway


def echo(request: Request) -> Script:
    """An upstream that repeats the credential it got wherever an answer has room for words."""
    key = (request.header(b"x-api-key") or request.header(b"authorization") or b"").decode()
    key = key.removeprefix("Bearer ")
    said = " ".join(["x" * 280, *written(key)])
    fields = [
        (b"request-id", b"req_" + key.encode()),
        (b"anthropic-ratelimit-tokens-remaining", key.encode()),
        (b"retry-after", key.encode()),
    ]
    kind = [(b"content-type", b"application/json")]
    body = {"type": "error", "error": {"type": f"e_{key}", "message": said}, "request_id": key}
    match request.header(b"x-case"):
        case b"error":
            return respond(401, [*kind, *fields], json.dumps(body).encode())
        case b"odd":
            return respond(400, [*kind, *fields], json.dumps({"error": said}).encode())
        case b"event":
            parts = [message_start({"service_tier": key}, model=key), error(f"e_{key}", said)]
            return sse(parts, [(b"content-type", b"text/event-stream"), *fields])
        case b"stream":
            stop = message_delta(key, {"output_tokens": 3, "service_tier": key, key: key})
            parts = [message_start({"input_tokens": 1}, model=key), text_start(0)]
            parts += [text_delta(0, said), stop, MESSAGE_STOP]
            return sse(parts, [(b"content-type", b"text/event-stream"), *fields])
        case _:
            usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": key}
            whole = {"type": "message", "model": key, "stop_reason": key, "usage": usage}
            return respond(200, [*kind, *fields], json.dumps(whole).encode())


CASES = ["error", "odd", "event", "stream", "whole"]
CREDENTIALS: list[tuple[bytes, bytes] | None] = [
    None,
    (b"x-api-key", CLIENT_KEY.encode()),
    (b"authorization", b"Bearer " + LOGIN.encode()),
]


async def everything_told(gateway: LiveGateway, watcher: Any) -> str:
    """All that front ends and other programs can get out of the gateway."""
    key = GATEWAY_KEY
    answers = [
        await gateway.get(path, key=key)
        for path in ("/snapshot", "/events/recent", "/metrics", "/providers", "/health?live=1")
    ]
    text = [(b"Accept", b"text/plain")]
    answers.append(await gateway.get("/metrics", key=key, headers=text))
    for turn in await gateway.turns():
        answers.append(await gateway.get(f"/events/{turn['id']}", key=key))
    assert {answer.status for answer in answers} == {200}
    told = [answer.body.decode() for answer in answers]
    return "\n".join([*told, json.dumps(watcher.drain())])


@pytest.mark.usefixtures("quiet_logging")
async def test_s12_a_credential_that_an_upstream_repeats_is_kept_nowhere(tmp_path: Path) -> None:
    env = {"ANTHROPIC_API_KEY": PROVIDER_KEY, "STACKBILT_GATEWAY_KEY": GATEWAY_KEY}
    home = tmp_path / "h"
    logs.to_file(tmp_path / "gateway.log", "debug", [PROVIDER_KEY, GATEWAY_KEY])
    async with (
        ScriptedUpstream(route=echo) as upstream,
        live_gateway(home, upstream.base_url, env=env) as gateway,
    ):
        watcher = gateway.gateway.subscribe()
        relayed = []
        for case in CASES:
            for own in CREDENTIALS:
                fields = [(b"x-sbgw-key", GATEWAY_KEY.encode()), (b"x-case", case.encode())]
                fields += [own] if own is not None else []
                body = HELLO | {"stream": case in ("event", "stream")}
                got = await gateway.ask(body=body, headers=fields, key=None)
                relayed.append((case, own, got))
        turns = await gateway.turns(len(relayed))
        told = await everything_told(gateway, watcher)
        watcher.close()
        found = files_with(tmp_path, NEEDLES)
    found += files_with(tmp_path, NEEDLES)
    assert len(turns) == len(CASES) * len(CREDENTIALS)
    assert [needle for needle in NEEDLES if needle in told] == []
    assert found == []
    assert any(turn["error_message"] and "x" * 200 in turn["error_message"] for turn in turns)
    for case, own, got in relayed:
        secret = own[1].decode().removeprefix("Bearer ") if own else PROVIDER_KEY
        if case == "error" and own is None:
            # A refused key of ours is not told in the vendor's words.
            assert (got.status, secret in got.body.decode()) == (502, False)
            continue
        assert secret in got.body.decode(), case
        assert got.status == {"error": 401, "odd": 400}.get(case, 200)


@pytest.mark.usefixtures("quiet_logging")
async def test_s12_a_refused_key_is_kept_nowhere(tmp_path: Path) -> None:
    logs.to_file(tmp_path / "gateway.log", "debug", [PROVIDER_KEY])
    async with (
        ScriptedUpstream() as upstream,
        live_gateway(tmp_path / "h", upstream.base_url) as gateway,
    ):
        watcher = gateway.gateway.subscribe()
        for secret in SECRETS:
            got = await gateway.ask(key=secret)
            token = await gateway.ask(target=f"/k/{quote(secret, safe='')}/v1/messages", key=None)
            assert (got.status, token.status) in ((401, 401), (401, 429), (429, 429))
            assert not [n for n in NEEDLES if n.encode() in got.body + token.body]
        told = json.dumps(watcher.drain())
        watcher.close()
    assert [needle for needle in NEEDLES if needle in told] == []
    assert files_with(tmp_path, NEEDLES) == []


# ---------------------------------------------------------------------- bodies

PROMPT = "canary-prompt-plum-orchard"
ANSWER = "canary-answer-walnut-bridge"


def talkative(stream: bool) -> dict[str, Any]:
    """A request with the canary in every place that holds text of a conversation."""
    tool = {
        "name": "Read",
        "description": PROMPT,
        "input_schema": {"type": "object", "description": PROMPT, "properties": {PROMPT: {}}},
    }
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": PROMPT}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": PROMPT}
    thought = {"type": "thinking", "thinking": PROMPT, "signature": PROMPT}
    return HELLO | {
        "stream": stream,
        "system": [{"type": "text", "text": PROMPT}],
        "tools": [tool],
        "stop_sequences": [PROMPT],
        "messages": [
            {"role": "user", "content": f"how do I {PROMPT}? summarize /home/me/{PROMPT}.py"},
            {"role": "assistant", "content": [thought, call]},
            {"role": "user", "content": [result, {"type": "text", "text": PROMPT}]},
        ],
    }


STREAM = (
    message_start({"input_tokens": 5})
    + thinking_start(0)
    + thinking_delta(0, ANSWER)
    + text_start(1)
    + text_delta(1, ANSWER)
    + tool_start(2, "Read")
    + input_json_delta(2, json.dumps({"path": ANSWER}))
    + message_delta("tool_use", {"output_tokens": 9}, stop_sequence=ANSWER)
    + MESSAGE_STOP
)


def answering(request: Request) -> Script:
    kind = [(b"content-type", b"application/json")]
    match request.header(b"x-case"):
        case b"stream":
            return sse([STREAM])
        case b"cut":
            return sse([STREAM[:-60]])
        case b"garbage":
            return sse([event("message_start", {"type": ANSWER}), f"data: {ANSWER}\n\n".encode()])
        case b"page":
            return respond(200, [(b"content-type", b"text/html")], f"<html>{ANSWER}".encode())
        case _:
            content = [{"type": "text", "text": ANSWER}]
            whole = {"type": "message", "model": "m", "content": content, "usage": {}}
            return respond(200, kind, json.dumps(whole).encode())


@pytest.mark.usefixtures("quiet_logging")
async def test_s13_nothing_of_a_conversation_is_kept_or_told(tmp_path: Path) -> None:
    logs.to_file(tmp_path / "gateway.log", "debug", [])
    env = {"STACKBILT_GATEWAY_KEY": GATEWAY_KEY}
    async with (
        ScriptedUpstream(route=answering) as upstream,
        live_gateway(tmp_path / "h", upstream.base_url, env=env) as gateway,
    ):
        watcher = gateway.gateway.subscribe()
        for case in ("stream", "cut", "garbage", "page", "whole"):
            body = talkative(case != "whole")
            case_field = [(b"x-case", case.encode())]
            await gateway.ask(body=body, headers=case_field, key=GATEWAY_KEY)
        broken = json.dumps(talkative(True)).encode()
        for bad in (
            broken[:-5],
            broken + b"x",
            broken.replace(b"model", b"mdl", 1),
            b"\xff" + broken,
        ):
            got = await gateway.ask(body=bad, key=GATEWAY_KEY)
            assert got.status == 400
            assert PROMPT.encode() not in got.body
        explained = await gateway.ask(target="/v1/route/explain", body=broken, key=GATEWAY_KEY)
        assert explained.status == 200
        assert PROMPT.encode() not in explained.body
        await gateway.ask(target="/v1/messages/count_tokens", body=broken, key=GATEWAY_KEY)
        await gateway.turns(10)
        told = await everything_told(gateway, watcher)
        watcher.close()
        await asyncio.to_thread(gateway.gateway.services.ledger.flush, 5.0)
        found = files_with(tmp_path, [PROMPT, ANSWER])
    found += files_with(tmp_path, [PROMPT, ANSWER])
    assert found == []
    assert [needle for needle in (PROMPT, ANSWER) if needle in told] == []
