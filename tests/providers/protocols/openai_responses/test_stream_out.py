from __future__ import annotations

import json
from typing import Any

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from responses_streams import events_of, faults_of

from providers.call_ids import CallIds
from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    UsageSeen,
    fold,
    unfold,
)
from providers.faults import Fault, FaultKind
from providers.neutral import (
    Answer,
    Message,
    Notes,
    Reasoning,
    Refusal,
    Request,
    Role,
    StopReason,
    Text,
    Tool,
    ToolCall,
)
from providers.protocols.openai_responses.request_in import read_request
from providers.protocols.openai_responses.response_in import read_answer
from providers.protocols.openai_responses.response_out import echo_of, write_answer
from providers.protocols.openai_responses.stream_in import Decoder
from providers.protocols.openai_responses.stream_out import KEEPALIVE, Encoder
from providers.tool_book import ToolBook
from providers.types import Usage

Json = dict[str, Any]

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = Usage(
    input_tokens=70,
    output_tokens=30,
    cache_read_tokens=40,
    cache_write_5m_tokens=10,
    reasoning_tokens=8,
)
ANSWER_ID = "resp_0123456789abcdef"
RUN = ToolCall("call_a", "run", '{"cmd":"ls"}')
PATCH = ToolCall("call_b", "apply_patch", '*** "x"\n\t\\é𝄞\r\n', True)
SLEEP = ToolCall("call_c", "sleep", "{}", namespace="clock")


def encoder(**options: Any) -> Encoder:
    return Encoder(answer_id=ANSWER_ID, model="seen", created_at=5, **options)


def stream_of(events: list[Event], **options: Any) -> bytes:
    found = encoder(**options)
    stream = b"".join(found.encode(event) for event in events)
    assert found.is_done
    assert found.encode(TextDelta("late")) == b""
    assert found.keepalive == b""
    return stream


def whole(answer: Answer) -> Json:
    written = write_answer(answer, answer_id=ANSWER_ID, model="seen", created_at=5)
    return json.loads(json.dumps(written))  # type: ignore[no-any-return]


ANSWERS: dict[str, Answer] = {
    "text": Answer((Text("Hello 𝄞"),), StopReason.END, usage=USAGE),
    "calls": Answer((Text("I look."), RUN, PATCH, SLEEP), StopReason.TOOL_CALLS, usage=USAGE),
    "only calls": Answer((RUN, PATCH), StopReason.TOOL_CALLS, usage=USAGE),
    "text after calls": Answer((RUN, Text("So."), PATCH), StopReason.TOOL_CALLS, usage=USAGE),
    "thinking": Answer((Reasoning("secret"), Text("So.")), StopReason.END, usage=USAGE),
    "a refusal": Answer((Text("Hm."), Refusal("No."), Text("Sorry.")), StopReason.REFUSAL),
    "refused without a word": Answer((), StopReason.REFUSAL, usage=USAGE),
    "the limit": Answer((Text("A long st"),), StopReason.MAX_TOKENS, usage=USAGE),
    "the window": Answer((RUN, Text("A long st")), StopReason.CONTEXT_FULL, usage=USAGE),
    "a stop sequence": Answer((Text("x"),), StopReason.STOP_SEQUENCE, "###", usage=USAGE),
    "no usage": Answer((Text("x"),), StopReason.END),
    "an empty free text": Answer((ToolCall("c", "p", "", True),), StopReason.TOOL_CALLS),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_stream_keeps_its_grammar_and_ends_in_the_whole_answer(name: str) -> None:
    stream = stream_of(unfold(ANSWERS[name]))
    assert faults_of(stream) == []
    assert events_of(stream)[-1]["response"] == whole(ANSWERS[name])


@pytest.mark.parametrize("name", ANSWERS)
def test_the_official_types_take_every_event(name: str) -> None:
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    for body in events_of(stream_of(unfold(ANSWERS[name]))):
        event = EVENT.validate_python(body)
        assert event.type == body["type"]
        state.handle_event(event)
    final = whole(ANSWERS[name])
    Response.model_validate(final)
    if final["status"] == "completed":
        assert state._completed_response.output_text == "".join(
            part.text for part in ANSWERS[name].parts if isinstance(part, Text)
        )


@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_can_be_sent_back(name: str) -> None:
    history = [{"role": "user", "content": "x"}, *whole(ANSWERS[name])["output"]]
    request = read_request({"model": "m", "store": False, "input": history})
    assert isinstance(request, Request)
    sent = tuple(p for p in ANSWERS[name].parts if not isinstance(p, Reasoning))
    assert tuple(p for m in request.messages[1:] for p in m.parts) == sent


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("text", "completed", None),
        ("calls", "completed", None),
        ("a stop sequence", "completed", None),
        ("a refusal", "completed", None),
        ("refused without a word", "incomplete", "content_filter"),
        ("the limit", "incomplete", "max_output_tokens"),
        ("the window", "incomplete", "max_output_tokens"),
    ],
)
def test_states(name: str, status: str, reason: str | None) -> None:
    body = whole(ANSWERS[name])
    details = body["incomplete_details"]
    assert (body["status"], details and details["reason"]) == (status, reason)


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_half_a_usage_is_none(usage: Usage) -> None:
    assert whole(Answer((Text("x"),), StopReason.END, usage=usage))["usage"] is None


def test_a_usage_of_zero_is_one() -> None:
    usage = Usage(input_tokens=0, output_tokens=0)
    assert whole(Answer((Text("x"),), StopReason.END, usage=usage))["usage"]["total_tokens"] == 0


def test_thinking_is_never_shown() -> None:
    stream = stream_of(unfold(ANSWERS["thinking"]))
    assert b"secret" not in stream
    assert b"reasoning" not in json.dumps(events_of(stream)[-1]["response"]["output"]).encode()
    assert b"encrypted" not in stream
    assert "secret" not in json.dumps(whole(ANSWERS["thinking"]))


def test_the_events_of_a_text() -> None:
    found = encoder()
    assert found.encode(Started("x", "y")) == b""
    assert found.encode(ReasoningDelta("hm")) == b""
    assert found.encode(UsageSeen(USAGE)) == b""
    assert not found.has_content
    first = [body["type"] for body in events_of(found.encode(TextDelta("Hel")))]
    assert first == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ]
    assert found.has_content
    (more,) = events_of(found.encode(TextDelta("lo")))
    assert more == {
        "type": "response.output_text.delta",
        "sequence_number": 5,
        "item_id": "msg_0123456789abcdef0000",
        "output_index": 0,
        "content_index": 0,
        "delta": "lo",
        "logprobs": [],
    }
    last = events_of(found.encode(Finished(StopReason.END, USAGE)))
    assert [body["type"] for body in last] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert last[0]["text"] == "Hello"
    assert last[-1]["response"]["usage"] == {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 150,
    }


def test_calls_keep_every_character() -> None:
    bodies = events_of(stream_of(unfold(ANSWERS["calls"])))
    done = [body["item"] for body in bodies if body["type"] == "response.output_item.done"]
    assert done[1:] == [
        {
            "type": "function_call",
            "id": "fc_0123456789abcdef0001",
            "call_id": "call_a",
            "name": "run",
            "arguments": '{"cmd":"ls"}',
            "status": "completed",
        },
        {
            "type": "custom_tool_call",
            "id": "ctc_0123456789abcdef0002",
            "call_id": "call_b",
            "name": "apply_patch",
            "input": PATCH.arguments,
            "status": "completed",
        },
        {
            "type": "function_call",
            "id": "fc_0123456789abcdef0003",
            "call_id": "call_c",
            "name": "sleep",
            "namespace": "clock",
            "arguments": "{}",
            "status": "completed",
        },
    ]


BUSY = Fault(FaultKind.SERVER, "the machine is on fire")


@pytest.mark.parametrize(
    "before",
    [
        [],
        [Started("x", "y"), ReasoningDelta("hm")],
        [TextDelta("Half a wor")],
        [TextDelta("I look."), RUN],
        [RUN, TextDelta("Half"), RefusalDelta("No")],
    ],
)
def test_a_failure_closes_nothing_that_is_open(before: list[Event]) -> None:
    stream = stream_of([*before, Failed(BUSY, USAGE)])
    assert faults_of(stream) == []
    bodies = events_of(stream)
    for body in bodies:
        EVENT.validate_python(body)
    calls = sum(isinstance(event, ToolCall) for event in before)
    done = [body["item"] for body in bodies if body["type"] == "response.output_item.done"]
    assert sum(item["type"] == "function_call" for item in done) == calls
    has_open_text = bool(before) and isinstance(before[-1], TextDelta | RefusalDelta)
    output = bodies[-1]["response"]["output"]
    assert len(output) == len(done) + has_open_text
    if has_open_text:
        assert output[-1]["status"] == "incomplete"
    assert bodies[-1]["response"]["error"] == {
        "code": "server_error",
        "message": "the machine is on fire",
    }
    assert bodies[-1]["response"]["usage"]["total_tokens"] == 150


def test_a_success_without_content_is_a_failure() -> None:
    stream = stream_of([Started(), Finished(StopReason.END, USAGE)])
    assert faults_of(stream) == []
    assert events_of(stream)[-1]["type"] == "response.failed"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.CONTEXT, "context_length_exceeded"),
        (FaultKind.BILLING, "insufficient_quota"),
        (FaultKind.QUOTA, "insufficient_quota"),
        (FaultKind.INVALID, "invalid_prompt"),
        (FaultKind.AUTH, "invalid_prompt"),
        (FaultKind.RATE_LIMIT, "rate_limit_exceeded"),
        (FaultKind.OVERLOADED, "server_error"),
        (FaultKind.TRUNCATED, "server_error"),
    ],
)
def test_codes_say_whether_to_try_again(kind: FaultKind, code: str) -> None:
    (*_, last) = events_of(stream_of([Failed(Fault(kind, "words"))]))
    assert last["response"]["error"] == {"code": code, "message": "words"}


def test_the_wait_is_in_the_words() -> None:
    fault = Fault(FaultKind.RATE_LIMIT, "Slow down.", retry_after_s=2.5)
    (*_, last) = events_of(stream_of([Failed(fault)]))
    assert last["response"]["error"]["message"] == "Slow down. Please try again in 2.500s."


def test_a_last_failure_says_so() -> None:
    for kind in (FaultKind.SERVER, FaultKind.RATE_LIMIT, FaultKind.TRUNCATED):
        stream = stream_of([Failed(Fault(kind, "words"))], stop_retries=True)
        assert events_of(stream)[-1]["response"]["error"]["code"] == "server_is_overloaded"
    stream = stream_of([Failed(Fault(FaultKind.CONTEXT, "words"))], stop_retries=True)
    assert events_of(stream)[-1]["response"]["error"]["code"] == "context_length_exceeded"


def test_keep_alives_may_come_between_any_events() -> None:
    for name, answer in ANSWERS.items():
        found = encoder()
        stream = b""
        for event in unfold(answer):
            stream += found.keepalive + found.encode(event)
        assert faults_of(stream) == [], name
        assert events_of(stream)[2] == {"type": "keepalive"}
        state: Any = ResponseStreamState(input_tools=[], text_format=omit)
        for body in events_of(stream):
            if body["type"] != "keepalive":
                state.handle_event(EVENT.validate_python(body))


def test_a_keep_alive_is_no_content_and_announces_once() -> None:
    found = encoder()
    first, second = found.keepalive, found.keepalive
    assert first.endswith(KEEPALIVE)
    assert second == KEEPALIVE
    assert not found.has_content
    stream = first + second + found.encode(Failed(BUSY))
    assert faults_of(stream) == []


def test_five_thousand_events_stay_contiguous() -> None:
    events: list[Event] = [Started()]
    for number in range(1500):
        events += [TextDelta(f"{number} "), TextDelta("…")]
        if number % 3 == 0:
            events.append(ToolCall(f"call_{number}", "run", "{}"))
    stream = stream_of([*events, Finished(StopReason.TOOL_CALLS, USAGE)])
    assert faults_of(stream) == []
    bodies = events_of(stream)
    assert len(bodies) > 5000
    assert len(bodies[-1]["response"]["output"]) == 1001


def test_the_response_repeats_the_request() -> None:
    body = {
        "model": "m",
        "input": "x",
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
        "tool_choice": "required",
        "metadata": {"a": "b"},
        "client_metadata": {"secret": "x"},
        "temperature": None,
    }
    echo = echo_of(body)
    assert set(echo) == {"instructions", "tools", "tool_choice", "metadata"}
    stream = stream_of([TextDelta("x"), Finished(StopReason.END)], echo=echo)
    created, *_, completed = events_of(stream)
    for event in (created, completed):
        EVENT.validate_python(event)
        assert event["response"]["tool_choice"] == "required"
        assert event["response"]["instructions"] == "Be brief."
        assert event["response"]["model"] == "seen"
    assert echo_of(None) == {}


@pytest.mark.parametrize("answer_id", ["resp_" + "a" * 80, "chatcmpl-x/y", "resp_é1"])
def test_item_ids_are_ones_the_vendor_takes(answer_id: str) -> None:
    answer = ANSWERS["calls"]
    output = write_answer(answer, answer_id=answer_id, model="m")["output"]
    ids = [item["id"] for item in output]
    assert len(set(ids)) == len(output)
    for item in output:
        assert item["id"].isascii()
        assert item["id"].replace("_", "").isalnum()
        assert len(item["id"]) <= 64


def test_call_ids_are_ones_the_vendor_takes() -> None:
    call = ToolCall("x" * 90, "run", "{}")
    (item,) = write_answer(Answer((call,), StopReason.TOOL_CALLS), answer_id="r", model="m")[
        "output"
    ]
    assert len(item["call_id"]) <= 64


# ---------------------------------------------------------------------- there and back

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
call_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
custom_calls = st.builds(ToolCall, call_ids, st.just("apply_patch"), words, st.just(True))
function_calls = st.builds(
    ToolCall,
    call_ids,
    st.sampled_from(["run", "edit"]),
    st.dictionaries(words, words, max_size=2).map(json.dumps),
)
parts = st.lists(
    st.builds(Text, words) | st.builds(Reasoning, words) | custom_calls | function_calls,
    min_size=1,
    max_size=6,
    unique_by=lambda part: part.id if isinstance(part, ToolCall) else object(),
)
BOOK = ToolBook(
    Request(
        "m",
        (Message(Role.USER, (Text("x"),)),),
        tools=(Tool("run"), Tool("edit"), Tool("apply_patch", is_custom=True)),
    )
)


def shown(answer: Answer) -> tuple[Any, ...]:
    """The parts that a client sees, stretches of text joined, with their stop reason."""
    visible = tuple(part for part in answer.parts if not isinstance(part, Reasoning))
    joined = fold([*unfold(Answer(visible, answer.stop)), Finished(answer.stop)])
    return joined.parts if isinstance(joined, Answer) else ()


def ids() -> CallIds:
    return CallIds(frozenset(), lambda: "made")


@steady
@given(parts)
def test_what_is_written_is_read_back(found: list[Any]) -> None:
    has_calls = any(isinstance(part, ToolCall) for part in found)
    stop = StopReason.TOOL_CALLS if has_calls else StopReason.END
    answer = Answer(tuple(found), stop, usage=USAGE)
    if answer.is_empty:
        assert events_of(stream_of(unfold(answer)))[-1]["type"] == "response.failed"
        return
    stream = stream_of(unfold(answer))
    assert faults_of(stream) == []
    decoder = Decoder(BOOK, ids())
    streamed = fold([*decoder.feed(stream), *decoder.end()])
    read = read_answer(whole(answer), BOOK, ids())
    assert isinstance(read, Answer)
    assert streamed == read
    assert (shown(read), read.stop) == (shown(answer), stop)
    assert read.usage.prompt_tokens == 120
    assert read.notes == Notes()
