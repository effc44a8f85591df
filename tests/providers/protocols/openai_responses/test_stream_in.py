from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st
from responses_streams import (
    USAGE,
    Script,
    call,
    custom_call,
    message,
    reasoning,
    response,
    stream_of,
)

from providers.call_ids import CallIds
from providers.events import Event, Failed, Finished, Started, TextDelta, UsageSeen, fold
from providers.faults import Fault, FaultKind
from providers.neutral import (
    Answer,
    Message,
    Reasoning,
    Refusal,
    Request,
    Role,
    StopReason,
    Text,
    Tool,
    ToolCall,
)
from providers.protocols.openai_responses.response_in import read_answer
from providers.protocols.openai_responses.stream_in import Decoder
from providers.tool_book import ToolBook
from providers.types import Usage

Json = dict[str, Any]

REQUEST = Request(
    "m",
    (Message(Role.USER, (Text("x"),)),),
    tools=(
        Tool("run"),
        Tool("apply_patch", is_custom=True),
        Tool("sleep", namespace="clock"),
    ),
)
BOOK = ToolBook(REQUEST)


def call_ids(*used: str) -> CallIds:
    numbers = itertools.count(1)
    return CallIds(frozenset(used), lambda: f"made{next(numbers)}")


def decode(stream: bytes, *, cuts: tuple[int, ...] = ()) -> list[Event]:
    decoder = Decoder(BOOK, call_ids())
    events: list[Event] = []
    for start, end in itertools.pairwise([0, *cuts, len(stream)]):
        events += decoder.feed(stream[start:end])
    events += decoder.end()
    assert decoder.is_done
    assert decoder.feed(stream) == []
    return events


def answer_of(stream: bytes) -> Answer:
    found = fold(decode(stream))
    assert isinstance(found, Answer), found
    return found


def fault_in(stream: bytes) -> Fault:
    events = decode(stream)
    assert isinstance(events[-1], Failed), events
    return events[-1].fault


def whole(body: Json) -> Answer | Fault:
    return read_answer(body, BOOK, call_ids())


PATCH = '*** Begin Patch\n+\t"q" \\ é 𝄞\r\n*** End Patch\n'

ANSWERS: dict[str, Json] = {
    "text": response(message("Hello, wörld 𝄞.")),
    "reasoning first": response(reasoning("Let me see."), message("Done.")),
    "one call": response(call("run", '{"cmd": "ls  -l"}')),
    "text and calls": response(
        message("I look."),
        call("run", '{"a":1}', "call_a"),
        call("run", '{"a":[1,2]}', "call_b"),
        custom_call("apply_patch", PATCH, "call_c"),
    ),
    "a call of a namespace": response(call("clock__sleep", '{"s":5}')),
    "a free-text tool as a function": response(
        call("apply_patch", json.dumps({"input": PATCH}), "call_d")
    ),
    "two messages": response(message("First."), reasoning("Hm."), message("Second.", "msg_2")),
    "an empty message": response(message(" \n"), message("Hi.", "msg_2"), message("", "msg_3")),
    "messages around a call": response(message("A"), call("run", "{}"), message("B", "msg_2")),
    "arguments as an object": response(call("run", {"a": 1})),
    "no arguments": response(call("run", "")),
    "broken arguments": response(call("run", '{"a": 1,}')),
    "no call id": response(call("run", "{}", None, id="fc_x")),
    "an unknown tool": response(call("who", "{}")),
    "an unknown item": response({"type": "brand_new", "id": "x_1"}, message("Hi.")),
    "a refusal": response(
        message("", content=[{"type": "refusal", "refusal": "I will not."}]),
    ),
    "cut by the limit": response(
        message("A long st", status="incomplete"),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    "cut in a call": response(
        message("I look."),
        call("run", '{"cmd": "rm -r', status="incomplete"),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    "cut behind a call": response(
        message("I look."),
        call("run", "{}", status="incomplete"),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    "filtered": response(
        message("Well", status="incomplete"),
        status="incomplete",
        incomplete_details={"reason": "content_filter"},
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_gives_the_same_as_the_whole_answer(name: str) -> None:
    found = whole(ANSWERS[name])
    assert isinstance(found, Answer)
    for size in (1, 7, 1000):
        assert fold(decode(stream_of(ANSWERS[name], size=size))) == found


def short_stream() -> bytes:
    """Text, a call and a free-text call in few bytes."""
    items = [message("é𝄞\n"), call("run", '{"a":"é"}', "a"), custom_call("apply_patch", "+\t", "b")]
    script = Script()
    for index, item in enumerate(items):
        script.item(index, item, size=9)
    return script.end({"id": "r", "output": items})


def test_any_cut_gives_the_same_events() -> None:
    stream = short_stream()
    expected = decode(stream)
    assert len(expected) == 5
    for cut in range(len(stream)):
        assert decode(stream, cuts=(cut,)) == expected


@pytest.mark.parametrize("name", ANSWERS)
def test_single_bytes_give_the_same_events(name: str) -> None:
    stream = stream_of(ANSWERS[name])
    assert decode(stream, cuts=tuple(range(1, len(stream)))) == decode(stream)


def test_a_stream_that_ends_anywhere_else_is_truncated() -> None:
    stream = short_stream()
    terminal = stream.rindex(b"event: response.completed")
    for cut in range(terminal):
        assert fault_in(stream[:cut]).kind is FaultKind.TRUNCATED


def test_the_parts_of_an_answer() -> None:
    answer = answer_of(stream_of(ANSWERS["text and calls"]))
    assert answer.parts == (
        Text("I look."),
        ToolCall("call_a", "run", '{"a":1}'),
        ToolCall("call_b", "run", '{"a":[1,2]}'),
        ToolCall("call_c", "apply_patch", PATCH, True),
    )
    assert answer.stop is StopReason.TOOL_CALLS
    assert (answer.id, answer.model) == ("resp_1", "gpt-5.5")


def test_usage_leaves_caches_out_of_the_input() -> None:
    usage = answer_of(stream_of(ANSWERS["text"])).usage
    assert usage == Usage(
        input_tokens=70,
        output_tokens=30,
        cache_read_tokens=40,
        cache_write_5m_tokens=10,
        reasoning_tokens=8,
        raw=USAGE,
    )
    assert answer_of(stream_of(response(message("x"), usage=None))).usage == Usage()


PARTS: dict[str, tuple[Any, StopReason]] = {
    "reasoning first": ((Reasoning("Let me see."), Text("Done.")), StopReason.END),
    "a call of a namespace": (
        (ToolCall("call_1", "sleep", '{"s":5}', namespace="clock"),),
        StopReason.TOOL_CALLS,
    ),
    "a free-text tool as a function": (
        (ToolCall("call_d", "apply_patch", PATCH, True),),
        StopReason.TOOL_CALLS,
    ),
    "two messages": (
        (Text("First."), Reasoning("Hm."), Text("\n\nSecond.")),
        StopReason.END,
    ),
    "an empty message": ((Text("Hi."),), StopReason.END),
    "messages around a call": (
        (Text("A"), ToolCall("call_1", "run", "{}"), Text("B")),
        StopReason.TOOL_CALLS,
    ),
    "arguments as an object": ((ToolCall("call_1", "run", '{"a":1}'),), StopReason.TOOL_CALLS),
    "no arguments": ((ToolCall("call_1", "run", "{}"),), StopReason.TOOL_CALLS),
    "broken arguments": (
        (ToolCall("call_1", "run", '{"_raw":"{\\"a\\": 1,}"}'),),
        StopReason.TOOL_CALLS,
    ),
    "no call id": ((ToolCall("call_made1", "run", "{}"),), StopReason.TOOL_CALLS),
    "an unknown item": ((Text("Hi."),), StopReason.END),
    "a refusal": ((Refusal("I will not."),), StopReason.REFUSAL),
    "cut by the limit": ((Text("A long st"),), StopReason.MAX_TOKENS),
    "cut in a call": ((Text("I look."),), StopReason.MAX_TOKENS),
    "cut behind a call": ((Text("I look."),), StopReason.MAX_TOKENS),
    "filtered": ((Text("Well"),), StopReason.REFUSAL),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_and_stop_reasons(name: str) -> None:
    answer = answer_of(stream_of(ANSWERS[name]))
    assert (answer.parts, answer.stop) == PARTS[name]


def test_what_only_the_last_event_tells_is_taken_from_there() -> None:
    body = ANSWERS["text and calls"]
    assert fold(decode(Script().opening().end(body))) == whole(body)


def test_deltas_without_announcements_are_enough() -> None:
    script = Script()
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    script.event("response.output_text.delta", delta="Hel", **place)
    script.event("response.output_text.delta", delta="lo", **place)
    answer = answer_of(script.end(response(message("Hello"))))
    assert answer.parts == (Text("Hello"),)


def test_closing_events_bring_what_no_delta_did() -> None:
    script = Script().opening()
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    script.event("response.output_item.added", output_index=0, item=message("", content=[]))
    script.event("response.output_text.delta", delta="Hel", **place)
    script.event("response.output_text.done", text="Hello", **place)
    script.event("response.output_item.done", output_index=0, item=message("Hello, you"))
    assert answer_of(script.end(response())).parts == (Text("Hello, you"),)


def test_arguments_may_come_in_the_closing_event_alone() -> None:
    script = Script().opening()
    item = call("run", "")
    place = {"item_id": item["id"], "output_index": 0}
    script.event("response.output_item.added", output_index=0, item=item)
    script.event("response.function_call_arguments.done", arguments='{"a":1}', **place)
    script.event("response.output_item.done", output_index=0, item=item)
    assert answer_of(script.end(response(item))).parts == (ToolCall("call_1", "run", '{"a":1}'),)


@pytest.mark.parametrize(
    "final",
    [
        call("run", '{"a":1}', "call_1", id="fc_other"),
        call("run", '{"a":1}', None, id="fc_call_1"),
        call("run", '{"a":1}', None, id="fc_other"),
    ],
)
@pytest.mark.parametrize("index", [0, 1, 5])
def test_a_call_told_under_other_ids_runs_once(final: Json, index: int) -> None:
    script = Script().opening().item(index, call("run", '{"a":1}'))
    answer = answer_of(script.end(response(final)))
    assert answer.parts == (ToolCall("call_1", "run", '{"a":1}'),)


def test_a_call_that_only_the_last_event_closes_is_found_by_its_call_id() -> None:
    first, second = call("run", '{"n":1}', "a"), call("run", '{"n":2}', "b")
    script = Script().opening().item(1, first)
    script.event("response.output_item.added", output_index=2, item=second | {"arguments": ""})
    answer = answer_of(script.end(response(second | {"id": "fc_x"}, first | {"id": "fc_y"})))
    assert [found.id for found in answer.tool_calls] == ["a", "b"]


def test_events_without_indexes_are_placed_by_id_or_order() -> None:
    script = Script()
    for item in (call("run", '{"a":1}', "x"), call("run", '{"a":2}', "y")):
        script.event("response.output_item.added", item={**item, "arguments": ""})
        delta = {"delta": item["arguments"], "item_id": item["id"]}
        script.event("response.function_call_arguments.delta", **delta)
        script.event("response.output_item.done", item={**item, "arguments": ""})
    answer = answer_of(script.end(response()))
    assert [found.arguments for found in answer.tool_calls] == ['{"a":1}', '{"a":2}']


def test_interleaved_arguments_stay_apart() -> None:
    items = [call("run", f'{{"n":{n},"s":"abcdef"}}', f"call_{n}") for n in range(3)]
    script = Script().opening()
    for index, item in enumerate(items):
        script.event(
            "response.output_item.added", output_index=index, item=item | {"arguments": ""}
        )
    for start in range(0, 20, 3):
        for index, item in enumerate(items):
            piece = item["arguments"][start : start + 3]
            place = {"item_id": item["id"], "output_index": index}
            script.event("response.function_call_arguments.delta", delta=piece, **place)
    for index, item in enumerate(items):
        script.event("response.output_item.done", output_index=index, item=item)
    answer = answer_of(script.end(response(*items)))
    assert [found.arguments for found in answer.tool_calls] == [i["arguments"] for i in items]


def test_ids_that_the_history_has_are_not_given_again() -> None:
    decoder = Decoder(BOOK, call_ids("call_1"))
    answer = fold(decoder.feed(stream_of(ANSWERS["one call"])))
    assert isinstance(answer, Answer)
    assert [found.id for found in answer.tool_calls] == ["call_1_2"]


def test_a_call_is_handed_on_when_it_is_closed_and_not_before() -> None:
    script = Script().opening().item(0, call("run", '{"a":1}'))
    stream = script.data
    closing = stream.rindex(b"event: response.output_item.done")
    decoder = Decoder(BOOK, call_ids())
    events = decoder.feed(stream[:closing])
    assert events == [Started("resp_1", "gpt-5.5")]
    assert decoder.semantic_events > 1
    assert decoder.output_chars == len('{"a":1}')
    assert decoder.feed(stream[closing:]) == [ToolCall("call_1", "run", '{"a":1}')]
    assert not decoder.is_done


def test_progress_and_usage_can_be_watched() -> None:
    decoder = Decoder(BOOK, call_ids())
    events = decoder.feed(stream_of(ANSWERS["two messages"]))
    assert decoder.output_chars == len("First.Hm.Second.")
    assert decoder.usage.output_tokens == 30
    assert decoder.model == "gpt-5.5"
    assert isinstance(events[0], Started)
    assert isinstance(events[-2], UsageSeen)
    assert isinstance(events[-1], Finished)


def test_strange_events_are_passed_over() -> None:
    script = Script().opening()
    script.event("keepalive").event("response.brand_new", x=[1])
    script.event("response.output_text.annotation.added", annotation={})
    script.item(0, message("Hi."))
    stream = script.end(response(message("Hi.")))
    stream = b": comment\n\n" + stream + b"data: [DONE]\n\n"
    assert answer_of(stream).parts == (Text("Hi."),)


def test_the_type_may_stand_in_the_event_line_alone() -> None:
    data = json.dumps({"response": response(message("Hi."))}).encode()
    assert answer_of(b"event: response.completed\ndata: " + data + b"\n\n").parts == (Text("Hi."),)


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert answer_of(stream_of(ANSWERS["text"]).rstrip(b"\n")).stop is StopReason.END


FAILURES: dict[str, tuple[bytes, FaultKind]] = {
    "failed": (
        Script()
        .opening()
        .end(
            response(
                status="failed",
                error={"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."},
            ),
            "failed",
        ),
        FaultKind.RATE_LIMIT,
    ),
    "flat error": (
        Script().event("error", code="server_is_overloaded", message="busy", param=None).data,
        FaultKind.OVERLOADED,
    ),
    "nested error": (
        Script().event("error", error={"type": "server_error", "message": "x"}).data,
        FaultKind.SERVER,
    ),
    "cancelled": (
        Script().opening().end(response(status="cancelled"), "cancelled"),
        FaultKind.TRUNCATED,
    ),
    "steered": (
        stream_of(
            response(message("x"), status="incomplete", incomplete_details={"reason": "steered"})
        ),
        FaultKind.TRUNCATED,
    ),
    "empty": (stream_of(response()), FaultKind.EMPTY),
    "only reasoning": (stream_of(response(reasoning("Hm."))), FaultKind.EMPTY),
    "only white space": (stream_of(response(message(" \n"))), FaultKind.EMPTY),
    "used up": (
        stream_of(
            response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        ),
        FaultKind.EMPTY,
    ),
    "a call without a name": (stream_of(response(call("", "{}"))), FaultKind.MALFORMED),
    "no JSON": (b"data: {oops\n\n", FaultKind.MALFORMED),
    "no object": (b"data: [1]\n\n", FaultKind.MALFORMED),
    "nothing": (b"", FaultKind.TRUNCATED),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str) -> None:
    stream, kind = FAILURES[name]
    assert fault_in(stream).kind is kind


def test_text_before_a_failure_was_handed_on() -> None:
    script = Script().opening().item(0, message("Half"))
    events = decode(script.event("error", code="server_error", message="x").data)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Half"
    assert isinstance(events[-1], Failed)


def test_calls_that_grow_without_end_are_refused() -> None:
    decoder = Decoder(BOOK, call_ids(), limit=2000)
    events: list[Event] = []
    for _ in range(5):
        script = Script()
        script.event("response.function_call_arguments.delta", delta="x" * 900, output_index=0)
        events += decoder.feed(script.data)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.fault.kind is FaultKind.MALFORMED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, FaultKind.MALFORMED),
        ({}, FaultKind.MALFORMED),
        ({"error": {"message": "no", "type": "server_error"}}, FaultKind.SERVER),
        (response(status="failed", error={"code": "server_error"}), FaultKind.SERVER),
        (response(status="in_progress"), FaultKind.TRUNCATED),
        (response(), FaultKind.EMPTY),
        ({"output": "x"}, FaultKind.MALFORMED),
        ({"output": [1, None, {"type": 5}, {"type": "message", "content": 1}]}, FaultKind.EMPTY),
    ],
)
def test_whole_answers_that_are_none(body: Any, kind: FaultKind) -> None:
    found = whole(body)
    assert isinstance(found, Fault)
    assert found.kind is kind


KINDS = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.refusal.delta",
    "response.reasoning_text.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.done",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "error",
]
FIELDS = [
    *("response", "item", "item_id", "output_index", "content_index", "delta", "text", "refusal"),
    *("arguments", "input", "output", "type", "id", "call_id", "name", "content", "status"),
    *("summary", "usage", "error", "code", "message", "param", "incomplete_details", "reason"),
]
WORDS = [
    "message",
    "function_call",
    "custom_tool_call",
    "reasoning",
    "output_text",
    "refusal",
    "{}",
]
scrap = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=8,
)
frames = st.tuples(
    st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), scrap, max_size=6)
)


@steady
@given(st.lists(frames, max_size=6))
def test_no_stream_is_raised_on(found: list[tuple[str, Json]]) -> None:
    script = Script()
    for kind, fields in found:
        script.event(kind, **{k: v for k, v in fields.items() if k != "type"})
    events = decode(script.data)
    terminals = [event for event in events if isinstance(event, Finished | Failed)]
    assert terminals == [events[-1]]


@steady
@given(scrap)
def test_no_body_is_raised_on(body: Any) -> None:
    assert isinstance(whole(body), Answer | Fault)
    assert isinstance(whole({"output": [body]}), Answer | Fault)


@steady
@given(st.binary(max_size=200))
def test_no_bytes_are_raised_on(data: bytes) -> None:
    assert isinstance(decode(data)[-1], Failed)
