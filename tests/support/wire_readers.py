"""What a client reads in an answer, by hand and strictly, in each protocol; and what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anthropic_rules
import responses_streams

from providers.sse import SseDecoder
from providers.types import Protocol

Json = dict[str, Any]


@dataclass(slots=True)
class Told:
    """One answer, complete or not."""

    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments as JSON text, of calls that a client would run."""
    ids: list[str] = field(default_factory=list)
    stop: str | None = None
    """``end``, ``tool``, ``max_tokens``, ``refusal``; ``None`` when it has no proper end."""
    prompt: int | None = None
    cached: int | None = None
    output: int | None = None
    error: str | None = None
    """What the client is told went wrong."""

    @property
    def arguments(self) -> list[tuple[str, Any]]:
        """The calls with parsed arguments."""
        return [(name, json.loads(text)) for name, text in self.calls]


def faults_of(protocol: Protocol, stream: bytes) -> list[str]:
    """What a strict client of ``protocol`` has against a whole stream; empty if nothing."""
    try:
        stream.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"not UTF-8: {error}"]
    if protocol is Protocol.MESSAGES:
        return anthropic_rules.check_stream(stream)
    if protocol is Protocol.RESPONSES:
        return responses_streams.faults_of(stream)
    return _chat_faults(stream)


def read_stream(protocol: Protocol, stream: bytes) -> Told:
    """The answer in a stream."""
    decoder = SseDecoder()
    data = [event.data for event in [*decoder.feed(stream), *decoder.end()]]
    if protocol is Protocol.CHAT:
        return _chat_stream(data)
    frames = [json.loads(text) for text in data]
    return _messages_stream(frames) if protocol is Protocol.MESSAGES else _responses_stream(frames)


def read_whole(protocol: Protocol, body: Json) -> Told:
    """The answer in a body that was not streamed."""
    if "error" in body and body.get("object") != "response":
        return Told(error=str(body["error"]["message"]))
    if protocol is Protocol.MESSAGES:
        return _message(body)
    return _completion(body) if protocol is Protocol.CHAT else _response(body)


# -- Messages -----------------------------------------------------------------------------------

_MESSAGES_STOPS = {
    "end_turn": "end",
    "stop_sequence": "end",
    "tool_use": "tool",
    "max_tokens": "max_tokens",
    "refusal": "refusal",
}


def _message(body: Json) -> Told:
    told = Told(stop=_MESSAGES_STOPS[body["stop_reason"]])
    for block in body["content"]:
        if block["type"] == "text":
            told.text += block["text"]
        else:
            told.calls.append((block["name"], json.dumps(block["input"])))
            told.ids.append(block["id"])
    _messages_usage(told, body["usage"])
    return told


def _messages_usage(told: Told, usage: Json) -> None:
    told.cached = usage.get("cache_read_input_tokens") or 0
    told.prompt = usage["input_tokens"] + told.cached
    told.prompt += usage.get("cache_creation_input_tokens") or 0
    told.output = usage["output_tokens"]


def _messages_stream(frames: list[Json]) -> Told:
    told, usage, block, text = Told(), Json(), Json(), ""
    for frame in frames:
        match frame["type"]:
            case "message_start":
                usage = frame["message"]["usage"]
            case "content_block_start":
                block, text = frame["content_block"], ""
            case "content_block_delta":
                delta = frame["delta"]
                told.text += delta.get("text", "")
                text += delta.get("partial_json", "")
            case "content_block_stop" if block["type"] == "tool_use":
                told.calls.append((block["name"], text or "{}"))
                told.ids.append(block["id"])
            case "message_delta":
                usage = usage | frame.get("usage", {})
                told.stop = _MESSAGES_STOPS[frame["delta"]["stop_reason"]]
            case "error":
                told.error, told.stop = frame["error"]["message"], None
    if told.stop:
        _messages_usage(told, usage)
    return told


# -- Chat Completions ---------------------------------------------------------------------------

_CHAT_STOPS = {
    "stop": "end",
    "tool_calls": "tool",
    "length": "max_tokens",
    "content_filter": "refusal",
}


def _completion(body: Json) -> Told:
    (choice,) = body["choices"]
    message = choice["message"]
    told = Told(text=message.get("content") or message.get("refusal") or "")
    told.stop = _CHAT_STOPS[choice["finish_reason"]]
    for call in message.get("tool_calls") or []:
        told.calls.append((call["function"]["name"], call["function"]["arguments"]))
        told.ids.append(call["id"])
    _chat_usage(told, body.get("usage"))
    return told


def _chat_usage(told: Told, usage: Json | None) -> None:
    if usage:
        told.prompt, told.output = usage["prompt_tokens"], usage["completion_tokens"]
        told.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)


def _chat_stream(data: list[bytes]) -> Told:
    told, calls, stop = Told(), dict[int, list[str]](), None
    for text in data:
        if text == b"[DONE]":
            told.stop = stop
            break
        chunk = json.loads(text)
        if "error" in chunk:
            told.error = chunk["error"]["message"]
            break
        _chat_usage(told, chunk.get("usage"))
        for choice in chunk["choices"]:
            delta = choice["delta"]
            told.text += delta.get("content") or delta.get("refusal") or ""
            for call in delta.get("tool_calls") or []:
                found = calls.setdefault(call["index"], ["", "", ""])
                found[0] += call.get("id") or ""
                found[1] += call["function"].get("name") or ""
                found[2] += call["function"].get("arguments") or ""
            stop = _CHAT_STOPS.get(choice["finish_reason"]) or stop
    if told.stop:
        for _, (call_id, name, arguments) in sorted(calls.items()):
            told.calls.append((name, arguments))
            told.ids.append(call_id)
    return told


def _chat_faults(stream: bytes) -> list[str]:
    decoder = SseDecoder()
    found = [event.data for event in [*decoder.feed(stream), *decoder.end()]]
    faults: list[str] = []
    has_ended, finish, had_calls = False, None, False
    for at, text in enumerate(found):
        if has_ended:
            faults.append("after the end")
        if text == b"[DONE]":
            has_ended = True
            continue
        chunk = json.loads(text)
        if "error" in chunk:
            has_ended = True
            continue
        for choice in chunk["choices"]:
            if at == 0 and choice["delta"].get("role") != "assistant":
                faults.append("the first chunk names no role")
            if finish and choice["delta"]:
                faults.append("content after the finish reason")
            had_calls |= bool(choice["delta"].get("tool_calls"))
            finish = choice["finish_reason"] or finish
        if not chunk["choices"] and finish is None:
            faults.append("usage before the finish reason")
    if not has_ended:
        faults.append("no terminal event")
    if found and found[-1] == b"[DONE]" and finish is None:
        faults.append("no finish reason")
    if finish in ("stop", "tool_calls") and (finish == "tool_calls") != had_calls:
        faults.append(f"{finish} with calls: {had_calls}")
    return faults


# -- Responses ----------------------------------------------------------------------------------


def _response(body: Json) -> Told:
    told = Told()
    for item in body["output"]:
        if item["type"] == "message":
            told.text += "".join(p.get("text") or p.get("refusal", "") for p in item["content"])
        elif item["type"] == "function_call":
            told.calls.append((item["name"], item["arguments"]))
            told.ids.append(item["call_id"])
    match body["status"]:
        case "completed":
            told.stop = "tool" if told.calls else "end"
        case "incomplete":
            reason = body["incomplete_details"]["reason"]
            told.stop = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}[reason]
        case _:
            told.error = body["error"]["message"]
    if usage := body.get("usage"):
        told.prompt, told.output = usage["input_tokens"], usage["output_tokens"]
        told.cached = usage["input_tokens_details"]["cached_tokens"]
    return told


def _responses_stream(frames: list[Json]) -> Told:
    """As Codex reads it: content from the ``done`` events alone."""
    items = [f["item"] for f in frames if f["type"] == "response.output_item.done"]
    last = frames[-1] if frames else Json()
    if last.get("type") == "error":
        return Told(error=last["message"])
    if "response" not in last or last["type"] in ("response.created", "response.in_progress"):
        return _response({"output": items, "status": "failed", "error": {"message": "cut"}})
    if last["type"] == "response.failed":
        told = _response(last["response"])
        deltas = (f["delta"] for f in frames if f["type"] == "response.output_text.delta")
        told.text = "".join(deltas)
        return told
    return _response(last["response"] | {"output": items})
