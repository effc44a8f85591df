"""Group 3: what a translation must carry, through the whole program and to the last byte."""

from __future__ import annotations

import json
from typing import Any

import chat_streams as chat
import pytest
from anthropic_rules import check_history
from fault_world import (
    HELLO,
    NATIVE,
    TRANSLATED,
    C,
    Case,
    Lane,
    M,
    R,
    Seen,
    forms,
    lanes,
)
from scripted_upstream import respond, sse
from sdk_drivers import PIXEL
from security_probe import canary
from vendor_replies import JSON_TYPE, Call, Reply, answering, whole

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session")]

CHAT_PROVIDERS = [("crossed", M), ("turned", R)]
MESSAGES_PROVIDERS = [("crossed", R), ("turned", C)]
ARGUMENTS = {"path": 'a "b"\\c\n\t', "n": 10**15, "deep": {"x": [1, None, True]}, "ü": "你好"}


def tools(lane: Lane, *names: str) -> dict[str, Any]:
    """For ``Case.ask``."""
    return {"tools": lane.tools(*(names or ("get_weather",)))}


@lanes(CHAT_PROVIDERS)
async def test_F_050_interleaved_calls_come_out_one_after_another(lane: Lane) -> None:
    texts = [json.dumps({"n": n} | ARGUMENTS) for n in range(3)]
    found = [chat.ROLE]
    found += [chat.tool(n, "", name="get_weather", call_id=f"call_{n}") for n in range(3)]
    for at in range(0, max(map(len, texts)), 7):
        found += [chat.tool(n, t[at : at + 7]) for n, t in enumerate(texts) if t[at : at + 7]]
    script = sse([*found, chat.end("tool_calls")])
    got = await lane.run(Case(script, Seen(), ask=tools(lane)))
    assert [json.loads(text) for _, text in got.told.calls] == [json.loads(t) for t in texts]
    assert len(set(got.told.ids)) == 3
    assert got.told.stop == "tool"


ODD_CALLS: dict[str, list[bytes]] = {
    "without id": [chat.tool(0, '{"a":1}', name="get_weather")],
    "without index": [chat.tool(None, '{"a":1}', name="get_weather", call_id="call_1")],
    "object": [chat.tool(0, {"a": 1}, name="get_weather", call_id="call_1")],
    "with text": [
        chat.chunk(
            {
                "content": "Let me look.",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"a":1}'},
                    }
                ],
            }
        )
    ],
}


@lanes(CHAT_PROVIDERS)
@pytest.mark.parametrize("name", ODD_CALLS)
async def test_F_051_F_052_F_053_odd_deltas_are_calls_all_the_same(lane: Lane, name: str) -> None:
    script = sse([chat.ROLE, *ODD_CALLS[name], chat.end("tool_calls")])
    got = await lane.run(Case(script, Seen(), ask=tools(lane)))
    assert got.told.arguments == [("get_weather", {"a": 1})]
    assert got.told.text == ("Let me look." if name == "with text" else "")
    assert all(got.told.ids)
    # The next turn gives the provider its own id back, or one that it can pair.
    follow = _follow_up(lane, got.told.ids[0])
    lane.play(lane.well)
    answer = await lane.ask(body=follow)
    await lane.world.settle(2)
    assert answer.status == 200, answer.body
    sent = json.loads(lane.upstream.requests[-1].body)["messages"]
    call = next(m["tool_calls"][0]["id"] for m in sent if m.get("tool_calls"))
    assert next(m["tool_call_id"] for m in sent if m["role"] == "tool") == call
    if name in ("object", "with text", "without index"):
        assert call == "call_1"


def _follow_up(lane: Lane, call_id: str) -> bytes:
    """The call and its result, as the client's next request."""
    body = json.loads(lane.body(streamed=True, **tools(lane)))
    if lane.client is M:
        call = {"type": "tool_use", "id": call_id, "name": "get_weather", "input": {"a": 1}}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "dry"}
        body["messages"] += [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
    else:
        item = {"type": "function_call", "call_id": call_id, "name": "get_weather"}
        body["input"] = [
            {"role": "user", "content": body["input"]},
            item | {"arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": call_id, "output": "dry"},
        ]
    return json.dumps(body).encode()


@lanes([*CHAT_PROVIDERS, ("turned", M), ("crossed", C)])
@forms
@pytest.mark.parametrize("text", ["not json", '{"city": "Os', '["a"]', '{"a":1,}', "```{}```"])
async def test_F_054_arguments_that_are_no_object_stay_what_they_were(
    lane: Lane, streamed: bool, text: str
) -> None:
    reply = Reply(calls=(Call("get_weather", {"x": "BROKEN"}),))
    coded = json.dumps(json.dumps({"x": "BROKEN"})).encode()
    answer = whole(lane.provider, reply).replace(coded, json.dumps(text).encode())
    case = Case(respond(200, JSON_TYPE, answer), Seen(), ask=tools(lane))
    got = await lane.run(case, streamed=streamed)
    assert got.told.arguments == [("get_weather", {"_raw": text})]


LONG = "mcp__a_server_with_a_long_name__a.tool.with.dots_and_a_name_that_is_far_too_long_for_most"


@lanes(TRANSLATED)
async def test_F_055_a_name_no_provider_takes_comes_back_as_it_was(lane: Lane) -> None:
    def reply(_: Any) -> Any:
        body = json.loads(lane.upstream.requests[-1].body)
        tool = body["tools"][0]
        name = (tool.get("function") or tool)["name"]
        assert len(name) <= 64 or lane.provider is M
        return answering(lane.provider, Reply(calls=(Call(name, {"a": 1}),)), streamed=True)

    async def script(peer: Any) -> None:
        await reply(peer)(peer)

    got = await lane.run(Case(script, Seen(), ask=tools(lane, LONG)))
    assert got.told.arguments == [(LONG, {"a": 1})]


@lanes(MESSAGES_PROVIDERS)
async def test_F_056_F_061_a_messy_history_is_one_that_the_vendor_takes(lane: Lane) -> None:
    body = json.loads(lane.body(streamed=True, **tools(lane)))
    if lane.client is C:
        call = {"id": "c/1", "type": "function"}
        body["messages"] += [
            {"role": "user", "content": "and this"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call | {"function": {"name": "get_weather", "arguments": "{}"}}],
            },
            {"role": "user", "content": "before the result"},
            {"role": "tool", "tool_call_id": "c/1", "content": ""},
            {"role": "developer", "content": "be brief"},
        ]
    else:
        body["input"] = [
            {"role": "user", "content": body["input"]},
            {"type": "function_call", "call_id": "c/1", "name": "get_weather", "arguments": "{}"},
            {"role": "user", "content": "before the result"},
            {"type": "function_call_output", "call_id": "c/1", "output": "x" * 500_000},
            {"type": "function_call_output", "output": "nobody asked"},
            {"role": "developer", "content": "be brief"},
        ]
    await lane.run(Case([lane.well], body=json.dumps(body).encode()))
    sent = json.loads(lane.upstream.requests[-1].body)
    assert check_history(sent) == []


@lanes(NATIVE)
async def test_F_060_F_063_a_native_body_goes_up_to_the_byte(lane: Lane) -> None:
    more = {"brand_new": {"a": [1, 2.50, "\u00e9"]}, "cache_control": {"type": "ephemeral"}}
    if lane.client is R:
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "b3Bh=="}
        more["input"] = [item, {"role": "user", "content": "canary-prompt"}]
    body = json.dumps(json.loads(lane.body(streamed=True)) | more, indent=1).encode() + b"\n "
    await lane.run(Case([lane.well], body=body))
    assert lane.upstream.requests[-1].body == body


STOPS = ["end", "tool", "max_tokens", "refusal"]


@lanes(TRANSLATED)
@forms
async def test_F_062_every_reason_to_stop(lane: Lane, streamed: bool) -> None:
    for stop in STOPS:
        calls = (Call("get_weather", {}),) if stop == "tool" else ()
        reply = Reply("Some words.", calls, "" if calls else stop)
        case = Case([answering(lane.provider, reply, streamed=streamed)], Seen(), ask=tools(lane))
        got = await lane.run(case, streamed=streamed)
        assert (got.told.stop, got.told.text) == (stop, "Some words.")


@lanes([("crossed", R), ("turned", R)])
async def test_F_065_five_thousand_events_of_a_response(lane: Lane) -> None:
    reply = Reply("word " * 5_000)
    got = await lane.run(Case([answering(lane.provider, reply, streamed=True)], Seen()))
    assert got.told.text == reply.text
    assert got.body.count(b"event: response.output_text.delta") >= 4_000


@lanes([("crossed", R)])
async def test_F_066_without_a_limit_the_model_may_say_all_it_can(lane: Lane) -> None:
    await lane.run(Case([lane.well]))
    assert json.loads(lane.upstream.requests[-1].body)["max_tokens"] >= 32_000


@lanes(TRANSLATED)
async def test_F_068_no_address_of_a_picture_is_fetched(lane: Lane) -> None:
    async with canary() as elsewhere:
        url = f"{elsewhere.url}/picture.png"
        for address in (url, f"data:image/png;base64,{PIXEL}"):
            body = json.loads(lane.body(streamed=True))
            if lane.client is M:
                source = {"type": "url", "url": address}
                if address != url:
                    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
                body["messages"][0]["content"] = [{"type": "image", "source": source}]
            elif lane.client is C:
                part = {"type": "image_url", "image_url": {"url": address}}
                body["messages"][0]["content"] = [part]
            else:
                part = {"type": "input_image", "image_url": address}
                body["input"] = [{"role": "user", "content": [part]}]
            await lane.world.anew(lane.name)
            lane.play(lane.well)
            got = await lane.ask(body=json.dumps(body).encode())
            await lane.world.settle(1)
            assert got.status == 200 or (got.status == 400 and got.told.error), got.body
    assert elsewhere.hits == 0


UNCARRIED: dict[str, Any] = {"n": 2, "logprobs": True, "modalities": ["text", "audio"]}


@lanes([("turned", C), ("crossed", C)])
async def test_F_069_what_cannot_be_carried_is_refused_by_name(lane: Lane) -> None:
    for name, value in UNCARRIED.items():
        before = len(lane.upstream.requests)
        await lane.world.anew(lane.name)
        got = await lane.ask(**{name: value})
        await lane.world.settle(1)
        assert got.status == 400, got.body
        assert name.split("_")[0] in (got.told.error or "")
        assert len(lane.upstream.requests) == before


@lanes()
async def test_F_070_streamed_and_whole_answers_are_the_same(lane: Lane) -> None:
    for reply in (HELLO, Reply("Both.", (Call("get_weather", ARGUMENTS),))):
        told = []
        for streamed in (True, False):
            script = answering(lane.provider, reply, streamed=streamed)
            more = (
                {}
                if lane.client is not C or not streamed
                else {"stream_options": {"include_usage": True}}
            )
            case = Case([script], Seen(), ask=tools(lane) | more)
            told.append((await lane.run(case, streamed=streamed)).told)
        first, second = told
        assert first.arguments == second.arguments
        parts = ("text", "stop", "prompt", "cached", "output")
        assert [getattr(first, p) for p in parts] == [getattr(second, p) for p in parts]
