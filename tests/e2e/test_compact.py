"""``POST /v1/context/compact`` over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from live_gateway import VENDOR_KEY, LiveGateway, live_gateway
from scripted_upstream import Request, Script, ScriptedUpstream, hang, respond

from server import compact_text

JSON_TYPE = ((b"Content-Type", b"application/json"),)
PATH = "/v1/context/compact"
COMPACT: dict[str, Any] = {
    "durable_facts": ["The database is SQLite."],
    "decisions_made": ["WAL mode."],
    "files_changed": ["db.py: opens it"],
    "open_questions": [],
    "next_actions": ["write the schema"],
    "context_to_discard": "greetings",
}
TALK = {"messages": [{"role": "user", "content": "Use SQLite."}]}

Says = Callable[[dict[str, Any]], str]


def message(text: str, stop: str = "end_turn") -> Script:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 50},
    }
    return respond(200, JSON_TYPE, json.dumps(body).encode())


def completion(text: str) -> Script:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-oss-120b",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }
    return respond(200, JSON_TYPE, json.dumps(body).encode())


def refused(status: int, words: str) -> Script:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    return respond(status, JSON_TYPE, json.dumps(error).encode())


class World:
    def __init__(self, gateway: LiveGateway, anthropic: ScriptedUpstream, chat: ScriptedUpstream):
        self.gateway = gateway
        self.anthropic = anthropic
        self.chat = chat

    async def ask(self, body: Any = None, **kwargs: Any) -> Any:
        data = json.dumps(TALK if body is None else body).encode()
        return await self.gateway.ask(target=PATH, body=data, **kwargs)


@asynccontextmanager
async def world(
    home: Path,
    *answers: Script,
    route: Callable[[Request], Script] | None = None,
    chat: Script | None = None,
    settings: str = "",
    env: dict[str, str] | None = None,
) -> AsyncIterator[World]:
    """Cerebras and Anthropic, scripted; ``answers`` of Anthropic in turn."""
    left = list(answers) or [message(json.dumps(COMPACT))]

    def in_order(_: Request) -> Script:
        return left.pop(0) if len(left) > 1 else left[0]

    async with AsyncExitStack() as stack:
        anthropic = await stack.enter_async_context(ScriptedUpstream(route=route or in_order))
        other = await stack.enter_async_context(
            ScriptedUpstream(chat or completion(json.dumps(COMPACT)))
        )
        urls = "".join(
            f'[providers.{name}]\nbase_url = "{other.base_url}"\n'
            for name in ("cerebras", "groq", "openai")
        )
        keys = {"CEREBRAS_API_KEY": "csk-x"} if env is None else env
        gateway = await stack.enter_async_context(
            live_gateway(home, anthropic.base_url, env=keys, settings=urls + settings)
        )
        yield World(gateway, anthropic, other)


async def test_in_shadow_the_baseline_does_it(tmp_path: Path) -> None:
    async with world(tmp_path / "h") as w:
        got = await w.ask()
        turn = await w.gateway.turn()
    assert got.status == 200
    answer = got.json
    assert (answer["ok"], answer["reason"], answer["compact"]) == (True, None, COMPACT)
    assert (answer["provider"], answer["model"]) == ("anthropic", "claude-sonnet-5-5")
    assert answer["inputTokensEstimate"] == len("Use SQLite.") // 4
    assert answer["requestIds"] == [turn["id"]]
    assert w.chat.requests == []
    sent = w.anthropic.requests[0]
    assert sent.header(b"x-api-key") == VENDOR_KEY.encode()
    assert "Use SQLite." in json.loads(sent.body)["messages"][0]["content"]
    assert (turn["kind"], turn["route"], turn["path"]) == ("recap", "summary", PATH)
    assert (turn["mode"], turn["status"], turn["cost_usd"] is not None) == (
        "shadow",
        "completed",
        True,
    )
    assert turn["proposal"]["provider"] == "cerebras"


async def test_live_it_goes_to_the_summary_route(tmp_path: Path) -> None:
    async with world(tmp_path / "h", settings="[routing]\nshadow = false\n") as w:
        answer = (await w.ask()).json
        turn = await w.gateway.turn()
    assert (answer["ok"], answer["provider"], answer["model"]) == (True, "cerebras", "gpt-oss-120b")
    assert answer["compact"] == COMPACT
    assert w.anthropic.requests == []
    assert w.chat.requests[0].header(b"authorization") == b"Bearer csk-x"
    assert (turn["mode"], turn["provider"]) == ("live", "cerebras")


async def test_a_kind_that_only_observes_stays(tmp_path: Path) -> None:
    settings = '[routing]\nshadow = false\n[routing.modes]\nrecap = "observe"\n'
    async with world(tmp_path / "h", settings=settings) as w:
        assert (await w.ask()).json["provider"] == "anthropic"
        assert w.chat.requests == []


async def test_a_failing_route_hands_back_to_the_baseline(tmp_path: Path) -> None:
    broken = respond(503, JSON_TYPE, b'{"error":{"message":"down"}}')
    async with world(tmp_path / "h", chat=broken, settings="[routing]\nshadow = false\n") as w:
        answer = (await w.ask()).json
        turn = await w.gateway.turn()
    assert (answer["ok"], answer["provider"]) == (True, "anthropic")
    assert turn["fallback_chain"][0] == "cerebras"
    assert turn["fallback_chain"][-1] == "anthropic"


class TestAnswers:
    async def test_prose_and_fences_around_it_are_taken_off(self, tmp_path: Path) -> None:
        text = f"Here {{it}} is:\n```json\n{json.dumps(COMPACT)}\n```\nDone."
        async with world(tmp_path / "h", message(text)) as w:
            answer = (await w.ask()).json
        assert (answer["ok"], answer["compact"], answer["repaired"]) == (True, COMPACT, 0)

    async def test_missing_keys_are_filled(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", message('{"durable_facts": ["a"]}')) as w:
            answer = (await w.ask()).json
        assert answer["compact"] == {key: [] for key in compact_text.LISTS} | {
            "durable_facts": ["a"],
            "context_to_discard": "",
        }

    @pytest.mark.parametrize("bad", ["no JSON", '{"durable_facts": [1]}', "{}", ""])
    async def test_one_repair_is_tried_and_told(self, bad: str, tmp_path: Path) -> None:
        async with world(tmp_path / "h", message(bad), message(json.dumps(COMPACT))) as w:
            answer = (await w.ask()).json
            turns = await w.gateway.turns(2)
        assert (answer["ok"], answer["repaired"], answer["compact"]) == (True, 1, COMPACT)
        assert answer["requestIds"] == [turn["id"] for turn in turns]
        talk = json.loads(w.anthropic.requests[1].body)["messages"]
        assert [entry["role"] for entry in talk] == ["user", "assistant", "user"]
        assert "cannot be used" in talk[2]["content"]

    async def test_two_bad_answers_are_an_honest_failure(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", message("no"), message("no", "max_tokens")) as w:
            got = await w.ask()
            await w.gateway.turns(2)
        assert got.status == 200
        assert (got.json["ok"], got.json["compact"]) == (False, None)
        assert "cut off" in got.json["reason"]
        assert got.json["provider"] == "anthropic"
        assert len(w.anthropic.requests) == 2

    async def test_a_refusing_provider_is_an_honest_failure(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", refused(400, "this is too much")) as w:
            got = await w.ask()
        assert got.status == 200
        assert got.json["ok"] is False
        assert got.json["reason"] == "this is too much"


class TestLong:
    def talk(self, count: int) -> dict[str, Any]:
        words = [f"step {n}: " + "x" * 15_000 for n in range(count)]
        return {"messages": [{"role": "user", "content": text} for text in words]}

    def says(self, request: Request) -> Script:
        body = json.loads(request.body)
        prompt = body["messages"][0]["content"]
        if prompt.startswith("Summary of part"):
            return message(json.dumps(COMPACT | {"durable_facts": ["merged"]}))
        number = prompt.partition(" of ")[0].rpartition(" ")[2]
        return message(json.dumps(COMPACT | {"durable_facts": [f"part {number}"]}))

    async def test_it_is_cut_condensed_and_merged(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", route=self.says) as w:
            answer = (await w.ask(self.talk(9))).json
            await w.gateway.turns(4)
        assert answer["coverage"] == {
            "messages": 9,
            "omitted": 0,
            "clipped": 0,
            "parts": 3,
            "merged_by": "model",
        }
        assert answer["compact"]["durable_facts"] == ["merged"]
        assert len(answer["requestIds"]) == len(w.anthropic.requests) == 4
        last = json.loads(w.anthropic.requests[-1].body)["messages"][0]["content"]
        order = [last.index(f'"part {n}"') for n in (1, 2, 3)]
        assert order == sorted(order)

    async def test_what_no_model_can_merge_is_put_together(self, tmp_path: Path) -> None:
        def says(request: Request) -> Script:
            prompt = json.loads(request.body)["messages"][0]["content"]
            return message("sorry") if prompt.startswith("Summary") else self.says(request)

        async with world(tmp_path / "h", route=says) as w:
            answer = (await w.ask(self.talk(9))).json
        assert answer["ok"] is True
        assert answer["coverage"]["merged_by"] == "gateway"
        assert answer["compact"]["durable_facts"] == ["part 1", "part 2", "part 3"]
        assert answer["compact"]["decisions_made"] == ["WAL mode."]

    async def test_the_newest_is_kept_and_the_rest_is_told(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", route=self.says) as w:
            answer = (await w.ask(self.talk(40))).json
        coverage = answer["coverage"]
        assert coverage["parts"] == compact_text.MOST_CHUNKS
        assert coverage["messages"] + coverage["omitted"] == 40
        assert coverage["omitted"] > 0
        everything = b"".join(request.body for request in w.anthropic.requests)
        assert b"step 39:" in everything
        assert b"step 0:" not in everything

    async def test_a_failing_part_fails_the_whole_and_stops_the_rest(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", refused(400, "not today")) as w:
            answer = (await w.ask(self.talk(40))).json
        assert answer["ok"] is False
        assert answer["reason"] == "part 1 of 8: not today"
        assert len(w.anthropic.requests) < 8


class TestWho:
    async def test_a_login_pays_for_itself(self, tmp_path: Path) -> None:
        login = [
            (b"x-sbgw-key", b"local-dev-key"),
            (b"Authorization", b"Bearer sk-ant-oat01-mine"),
            (b"anthropic-beta", b"oauth-2025-04-20,context-1m-2025-08-07"),
        ]
        async with world(tmp_path / "h") as w:
            answer = (await w.ask(headers=login, key=None)).json
            turn = await w.gateway.turn()
        assert answer["ok"] is True
        sent = w.anthropic.requests[0]
        assert sent.header(b"authorization") == b"Bearer sk-ant-oat01-mine"
        assert sent.header(b"x-api-key") is None
        assert sent.header(b"anthropic-beta") == b"oauth-2025-04-20"
        assert turn["payer"] == "login"

    async def test_with_an_openai_key_alone_its_baseline_does_it(self, tmp_path: Path) -> None:
        env = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "sk-o"}
        async with world(tmp_path / "h", env=env) as w:
            answer = (await w.ask()).json
        assert (answer["ok"], answer["provider"]) == (True, "openai")
        assert w.chat.requests[0].target == b"/chat/completions"

    async def test_with_no_key_the_reason_names_it(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", env={"ANTHROPIC_API_KEY": ""}) as w:
            answer = (await w.ask()).json
        assert answer["ok"] is False
        assert "ANTHROPIC_API_KEY" in answer["reason"]
        assert w.anthropic.requests == []

    async def test_the_key_is_needed(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h") as w:
            assert (await w.ask(key=None)).status == 401
            assert w.anthropic.requests == []

    async def test_a_client_that_leaves_stops_the_question(self, tmp_path: Path) -> None:
        async with world(tmp_path / "h", hang()) as w:
            asked = asyncio.get_running_loop().create_task(w.ask())
            await w.anthropic.wait_for(requests=1)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            await w.anthropic.peers[0].gone.wait()
            turn = await w.gateway.turn()
        assert turn["status"] == "cancelled"


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b'{"messages": []}',
    b'{"messages": "hello"}',
    b'{"messages": ["hello"]}',
    b'{"messages": [{"content": "hello"}]}',
    b'{"messages": [{"role": "user", "content": 5}]}',
    b'{"messages": [{"role": "user", "content": [5]}]}',
    b'{"messages": [{"role": "user", "content": " "}]}',
    b'{"messages": [{"role": "user", "content": "a"}], "system": 5}',
]


async def test_a_malformed_body_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path / "h") as w:
        for body in MALFORMED:
            got = await w.gateway.ask(target=PATH, body=body)
            assert got.status == 400, body
            assert got.json["error"]["type"] == "invalid_request_error"
        assert w.anthropic.requests == []
