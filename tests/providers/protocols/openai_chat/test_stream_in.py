"""Chat streams of all kinds of providers, to neutral events."""

from __future__ import annotations

import json

import pytest
from chat_streams import DONE, ROLE, USAGE, chunk, data, end, head, text, tool, usage
from hypothesis import given, settings
from hypothesis import strategies as st
from translating import decode, ids, read_chat, request

from providers.events import (
    Event,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    UsageSeen,
    fold,
)
from providers.faults import FaultKind
from providers.neutral import Answer, Message, Role, StopReason, Text, Tool, ToolCall, ToolResult
from providers.protocols.openai_chat.response_in import read_answer
from providers.protocols.openai_chat.stream_in import Decoder
from providers.tool_book import ToolBook


def texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(e.id, e.name, e.arguments) for e in events if isinstance(e, ToolCall)]


def fault(events: list[Event]) -> FaultKind:
    last = events[-1]
    assert isinstance(last, Failed), events
    return last.fault.kind


def stop(events: list[Event]) -> StopReason:
    last = events[-1]
    assert isinstance(last, Finished), events
    return last.stop


def test_text_with_usage_after_the_finish_reason() -> None:
    events = read_chat(ROLE + text("Hel") + text("lo 👋🏽\u2028x") + end())

    assert texts(events) == "Hello 👋🏽\u2028x"
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.stop, last.usage.input_tokens, last.usage.output_tokens) == (
        StopReason.END,
        120,
        14,
    )


USAGES = {
    "after the finish reason": text("a") + chunk(finish="stop") + usage() + DONE,
    "before it": text("a") + usage() + chunk(finish="stop") + DONE,
    "with it": text("a") + chunk(finish="stop", usage=USAGE) + DONE,
    "only in x_groq": text("a") + chunk(finish="stop", x_groq={"id": "r", "usage": USAGE}) + DONE,
    "twice": text("a") + chunk(finish="stop", usage=USAGE) + usage() + DONE,
    "null before": chunk({"content": "a"}, usage=None) + end(),
}


@pytest.mark.parametrize("name", USAGES)
def test_usage_wherever_it_comes(name: str) -> None:
    last = read_chat(USAGES[name])[-1]

    assert isinstance(last, Finished)
    assert (last.usage.input_tokens, last.usage.output_tokens) == (120, 14)


def test_no_usage_is_unknown_and_zero_is_zero() -> None:
    missing = read_chat(text("a") + chunk(finish="stop") + DONE)[-1]
    zero = read_chat(
        text("a") + chunk(finish="stop") + usage({"prompt_tokens": 0, "completion_tokens": 0})
    )[-1]

    assert isinstance(missing, Finished)
    assert not missing.usage.is_known
    assert isinstance(zero, Finished)
    assert (zero.usage.input_tokens, zero.usage.output_tokens) == (0, 0)


def test_cached_tokens_are_taken_out_of_the_input() -> None:
    raw = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    last = read_chat(text("a") + chunk(finish="stop") + usage(raw))[-1]

    assert isinstance(last, Finished)
    found = last.usage
    assert (found.input_tokens, found.cache_read_tokens, found.cache_write_5m_tokens) == (
        30,
        60,
        10,
    )
    assert (found.prompt_tokens, found.reasoning_tokens) == (100, 3)


@pytest.mark.parametrize(
    ("name", "stream"),
    {
        "done": text("a") + chunk(finish="stop") + DONE,
        "clean end without done": text("a") + chunk(finish="stop"),
        "done without its blank line": text("a") + chunk(finish="stop") + b"data: [DONE]",
        "done twice": text("a") + end() + DONE,
        "chunks after done": text("a") + end() + text("b"),
    }.items(),
)
def test_complete_streams(name: str, stream: bytes) -> None:
    events = read_chat(stream)

    assert (texts(events), stop(events)) == ("a", StopReason.END)


@pytest.mark.parametrize(
    ("name", "stream", "kind"),
    [
        ("no finish reason", text("a"), FaultKind.TRUNCATED),
        ("done without finish reason", text("a") + DONE, FaultKind.TRUNCATED),
        ("nothing at all", b"", FaultKind.TRUNCATED),
        ("inside arguments", tool(0, '{"a', name="f", call_id="c"), FaultKind.TRUNCATED),
        ("not json", text("a") + b"data: {nope\n\n", FaultKind.MALFORMED),
        ("not an object", text("a") + b"data: [1]\n\n", FaultKind.MALFORMED),
        ("empty", ROLE + end(), FaultKind.EMPTY),
        ("white space", ROLE + text("\n \n") + end(), FaultKind.EMPTY),
        ("only thinking", chunk({"reasoning": "hm"}) + end("length"), FaultKind.EMPTY),
        ("tool_calls without a call", end("tool_calls"), FaultKind.EMPTY),
        ("cerebras", data({"error": {"message": "x"}, "status_code": 503}), FaultKind.OVERLOADED),
        ("groq", chunk(x_groq={"error": "over capacity"}), FaultKind.SERVER),
        ("openai", data({"error": {"code": "rate_limit_exceeded"}}), FaultKind.RATE_LIMIT),
        (
            "cloudflare",
            data({"success": False, "errors": [{"code": 3040, "message": "out of capacity"}]}),
            FaultKind.OVERLOADED,
        ),
        ("named", b'event: error\ndata: {"message": "x"}\n\n', FaultKind.SERVER),
        ("named, empty", b"event: error\ndata: {}\n\n", FaultKind.SERVER),
        ("too large", text("a" * 3000), FaultKind.MALFORMED),
        ("a call too large", 3 * tool(0, "x" * 900, name="f"), FaultKind.MALFORMED),
    ],
)
def test_failed_streams(name: str, stream: bytes, kind: FaultKind) -> None:
    asked = request()
    events = decode(Decoder(ToolBook(asked), ids(), limit=2000), stream)

    assert fault(events) is kind
    assert not calls(events)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1


def test_an_error_after_text_keeps_the_text() -> None:
    events = read_chat(text("partial") + data({"error": {"message": "boom"}}) + text("more"))

    assert texts(events) == "partial"
    assert fault(events) is FaultKind.SERVER


CALLS = {
    "usual": tool(0, "", name="Read", call_id="c1") + tool(0, '{"p":') + tool(0, '"x"}'),
    "one piece": tool(0, '{"p":"x"}', name="Read", call_id="c1"),
    "no index": tool(None, '{"p":', name="Read", call_id="c1") + tool(None, '"x"}'),
    "id on every delta": tool(None, '{"p":', name="Read", call_id="c1")
    + tool(None, '"x"}', call_id="c1"),
    "name repeated": tool(0, '{"p":', name="Read", call_id="c1")
    + tool(0, '"x"}', name="Read", call_id="c1"),
    "name in pieces": tool(0, "", name="Re", call_id="c1") + tool(0, '{"p":"x"}', name="ad"),
    "index 3 alone": tool(3, '{"p":"x"}', name="Read", call_id="c1"),
    "arguments an object": tool(0, {"p": "x"}, name="Read", call_id="c1"),
    "empty choices between": tool(0, '{"p":', name="Read", call_id="c1")
    + data(head() | {"choices": []})
    + tool(0, '"x"}'),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
def test_one_call_in_every_dialect(name: str, finish: str) -> None:
    events = read_chat(CALLS[name] + end(finish))

    assert calls(events) == [("c1", "Read", '{"p":"x"}')]
    assert stop(events) is StopReason.TOOL_CALLS


def test_finish_reason_in_the_chunk_of_the_call() -> None:
    events = read_chat(tool(0, "{}", name="f", call_id="c", finish="tool_calls") + DONE)

    assert calls(events) == [("c", "f", "{}")]


def test_interleaved_calls_come_out_whole_and_in_order() -> None:
    stream = (
        tool(0, "", name="a", call_id="c0")
        + tool(2, '{"z":', name="c", call_id="c2")
        + tool(1, '{"y":1', name="b", call_id="c1")
        + tool(0, '{"x":1}')
        + tool(2, "3}")
        + tool(1, "}")
        + end("tool_calls")
    )
    assert calls(read_chat(stream)) == [
        ("c0", "a", '{"x":1}'),
        ("c1", "b", '{"y":1}'),
        ("c2", "c", '{"z":3}'),
    ]


def test_every_call_under_index_zero() -> None:
    stream = tool(0, '{"x":1}', name="a", call_id="c0") + tool(0, '{"y":1}', name="b", call_id="c1")

    assert [call[:2] for call in calls(read_chat(stream + end("tool_calls")))] == [
        ("c0", "a"),
        ("c1", "b"),
    ]


def test_several_calls_without_index_in_one_delta() -> None:
    both = [{"id": f"c{n}", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}} for n in (0, 1)]

    assert calls(read_chat(chunk({"tool_calls": both}) + end("tool_calls"))) == [
        ("c0", "f", '{"n":0}'),
        ("c1", "f", '{"n":1}'),
    ]


def test_text_and_calls_in_one_delta_are_both_kept() -> None:
    delta = {
        "content": "I look.",
        "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
    }
    events = read_chat(chunk(delta) + text(" Now.") + end("tool_calls"))

    assert texts(events) == "I look. Now."
    assert calls(events) == [("c", "f", "{}")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (None, "{}"),
        ("", "{}"),
        (" \n", "{}"),
        ("{}", "{}"),
        ('{ "a" : 1.0,"b":"\\ud83d" }', None),
        ('{"a": 1, }', None),
        ("```json\n{}\n```", None),
        ("{'a': 1}", None),
        ("[1]", None),
        ('"{}"', None),
        ("null", None),
        ('{"a": "trunc', None),
        ('{ "b":2,\t"a":1 }', '{ "b":2,\t"a":1 }'),
    ],
)
def test_arguments_are_kept_or_wrapped_never_lost(arguments: object, expected: str | None) -> None:
    stream = tool(0, arguments, name="f", call_id="c") + end("tool_calls")
    found = calls(read_chat(stream))[0][2]

    if expected is None:
        assert json.loads(found) == {"_raw": arguments}
    else:
        assert found == expected


def test_a_call_cut_off_by_the_token_limit_is_not_run() -> None:
    stream = (
        text("Let me")
        + tool(0, "{}", name="f", call_id="c0")
        + tool(1, '{"path": "/et', name="g", call_id="c1")
        + end("length")
    )
    events = read_chat(stream)

    assert calls(events) == [("c0", "f", "{}")]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.stop, last.notes.degraded) == (StopReason.MAX_TOKENS, ("cut_call",))


def test_ids_are_made_where_missing_and_never_used_twice() -> None:
    old = ToolCall("call_0", "f", "{}")
    asked = request(
        Message(Role.USER, (Text("go"),)),
        Message(Role.ASSISTANT, (old,)),
        Message(Role.USER, (ToolResult("call_0", (Text("ok"),)),)),
    )
    stream = (
        tool(0, "{}", name="f", call_id="call_0")
        + tool(1, "{}", name="f")
        + tool(2, "{}", name="f", call_id="call_0")
        + end("tool_calls")
    )
    assert [call[0] for call in calls(read_chat(stream, of=asked))] == [
        "call_0_2",
        "call_made1",
        "call_0_3",
    ]


def test_names_are_given_back_as_the_client_wrote_them() -> None:
    long = "mcp__github.com/very-long-server-name__" + "x" * 60
    asked = request(tools=[Tool(long)])
    wire = ToolBook(asked).wire_name(long)

    assert len(wire) <= 64
    events = read_chat(tool(0, "{}", name=wire, call_id="c") + end("tool_calls"), of=asked)
    assert calls(events)[0][1] == long


def test_a_free_text_tool_gets_its_text_back() -> None:
    asked = request(tools=[Tool("apply_patch", is_custom=True)])
    patch = '*** Begin Patch\n\t"quoted"\n'
    arguments = json.dumps({"input": patch})
    events = read_chat(tool(0, arguments, name="apply_patch", call_id="c") + end(), of=asked)

    assert ToolCall("c", "apply_patch", patch, is_custom=True) in events


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_told_apart(field: str) -> None:
    events = read_chat(chunk({field: "hm "}) + chunk({field: "so"}) + text("yes") + end())

    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["hm ", "so"]
    assert texts(events) == "yes"


@pytest.mark.parametrize(
    ("content", "thought", "said"),
    [
        ("<think>a < b </ c</think>\n\nyes", "a < b </ c", "yes"),
        ("\n<think></think>yes", "", "yes"),
        ("yes <think>no</think>", "", "yes <think>no</think>"),
        ("<thin", "", "<thin"),
        ("<thinking>x</thinking>", "", "<thinking>x</thinking>"),
        ("  yes  ", "", "  yes  "),
    ],
)
def test_thinking_inside_the_content(content: str, thought: str, said: str) -> None:
    for pieces in ([content], list(content)):
        events = read_chat(*map(text, pieces), end())
        assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == thought
        assert texts(events) == said


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["a\ud83d", "\ude00b"], "a😀b"),
        (["\ud83d", "\ude00"], "😀"),
        (["a\ud83d", "b"], "a\ufffdb"),
        (["a\ude00b\ud83d"], "a\ufffdb\ufffd"),
    ],
)
def test_characters_cut_in_two(pieces: list[str], said: str) -> None:
    stream = b"".join(data({"choices": [{"delta": {"content": p}}]}, escaped=True) for p in pieces)
    called = [tool(0, "", name="f", call_id="c")]
    for piece in ('{"k":"', *pieces, '"}'):
        called.append(data(_tool_delta(piece), escaped=True))
    events = read_chat(stream, *called, end("tool_calls"))

    assert texts(events) == said
    assert json.loads(calls(events)[0][2]) == {"k": said}


def _tool_delta(piece: str) -> dict[str, object]:
    return {
        "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]
    }


def test_a_refusal() -> None:
    events = read_chat(chunk({"refusal": "I can"}) + chunk({"refusal": "not."}) + end())

    assert [e.text for e in events if isinstance(e, RefusalDelta)] == ["I can", "not."]
    assert stop(events) is StopReason.REFUSAL


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", StopReason.END),
        ("length", StopReason.MAX_TOKENS),
        ("content_filter", StopReason.REFUSAL),
        ("tool_calls", StopReason.END),
        ("eos", StopReason.END),
    ],
)
def test_finish_reasons_of_text(finish: str, expected: StopReason) -> None:
    assert stop(read_chat(text("a") + end(finish))) is expected


def test_progress_grows_while_a_call_is_held_back() -> None:
    decoder = Decoder(ToolBook(request()), ids())
    seen = []
    for piece in (tool(0, "", name="f", call_id="c"), tool(0, '{"a":'), tool(0, '"b"}')):
        assert [e for e in decoder.feed(piece) if isinstance(e, ToolCall)] == []
        seen.append(decoder.semantic_events)
    assert seen == [1, 2, 3]
    assert not decoder.may_end
    decoder.feed(chunk(finish="tool_calls"))
    assert decoder.may_end


MIXED = (
    b"\xef\xbb\xbf: hello\r\n\r\n"
    + ROLE.replace(b"\n", b"\r\n")
    + chunk({"reasoning": "thinking…"})
    + text("\n")
    + text("Grüße 👩‍👩‍👧 \u2028\u0085")
    + b": comment\n\n"
    + b"id: 7\nretry: 10\n"
    + tool(0, '{"k', name="f", call_id="x.1")
    + tool(1, '{"m":"é', name="g", call_id="x.2")
    + tool(0, '":"\\n"}')
    + tool(1, '"}')
    + end("tool_calls")
).replace(json.dumps(head())[1:-1].encode() + b", ", b"")


def test_a_stream_cut_at_every_byte_is_the_same() -> None:
    whole = read_chat(MIXED)

    assert stop(whole) is StopReason.TOOL_CALLS
    for cut in range(1, len(MIXED)):
        assert read_chat(MIXED[:cut], MIXED[cut:]) == whole


def test_a_stream_in_single_bytes_is_the_same() -> None:
    assert read_chat(*(bytes([byte]) for byte in MIXED)) == read_chat(MIXED)


def test_a_stream_that_stops_at_any_byte_never_succeeds_too_early() -> None:
    safe = MIXED.index(b'"finish_reason": "tool_calls"')
    for cut in range(safe):
        events = read_chat(MIXED[:cut])
        assert fault(events) is FaultKind.TRUNCATED
        assert calls(events) == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_ends_in_one_failure(garbage: bytes) -> None:
    events = read_chat(garbage)

    assert isinstance(events[-1], Failed)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1


_keys = st.sampled_from(
    [
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "index",
        "id",
        "usage",
        "error",
        "finish_reason",
        "reasoning",
        "prompt_tokens",
        "x_groq",
        "code",
        "errors",
        "success",
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(_keys, _json, max_size=5), max_size=4))
def test_any_json_ends_in_one_terminal_event(chunks: list[object]) -> None:
    events = read_chat(*map(data, chunks))

    assert isinstance(events[-1], Failed | Finished)
    assert sum(isinstance(event, Failed | Finished) for event in events) == 1


_arguments = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2).map(json.dumps)
_call = st.tuples(st.text("abc", min_size=1, max_size=3), _arguments | st.just("") | st.just("{'x"))


@settings(max_examples=60, deadline=None)
@given(
    content=st.text(max_size=20),
    reasoning=st.text(max_size=5),
    made=st.lists(_call, max_size=3),
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    size=st.integers(1, 7),
)
def test_streamed_and_whole_answers_are_equal(
    content: str, reasoning: str, made: list[tuple[str, str]], finish: str, size: int
) -> None:
    tool_calls = [
        {"id": f"id{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(made)
    ]
    message = {"content": content, "reasoning": reasoning, "tool_calls": tool_calls}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    whole = read_answer(head() | {"choices": [choice], "usage": USAGE}, ToolBook(request()), ids())
    stream = [chunk({"reasoning": reasoning})]
    stream += [text(content[at : at + size]) for at in range(0, len(content), size)]
    for n, (name, arguments) in enumerate(made):
        stream.append(tool(n, "", name=name, call_id=f"id{n}"))
        stream += [tool(n, arguments[at : at + size]) for at in range(0, len(arguments), size)]
    streamed = fold(read_chat(*stream, end(finish)))

    assert streamed == whole
    assert isinstance(whole, Answer) or whole.kind is FaultKind.EMPTY


def test_usage_is_reported_as_it_comes() -> None:
    events = read_chat(usage() + text("a") + end())

    assert sum(isinstance(event, UsageSeen) for event in events) == 2
