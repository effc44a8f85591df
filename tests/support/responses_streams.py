"""OpenAI Responses streams: events in the vendor's shape, and a checker of their grammar."""

from __future__ import annotations

import json
from typing import Any

from providers.sse import SseDecoder, encode

Json = dict[str, Any]

USAGE: Json = {
    "input_tokens": 120,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 150,
}


def message(text: str, item_id: str = "msg_1", **extra: Any) -> Json:
    """A complete message item."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": item_id,
        "role": "assistant",
        "status": "completed",
        "content": [part],
        **extra,
    }


def call(name: str, arguments: Any, call_id: str | None = "call_1", **extra: Any) -> Json:
    """A complete function call item."""
    item = {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
        **extra,
    }
    return item if call_id is not None else {k: v for k, v in item.items() if k != "call_id"}


def custom_call(name: str, text: str, call_id: str = "call_1") -> Json:
    """A complete call of a free-text tool."""
    return {
        "type": "custom_tool_call",
        "id": f"ctc_{call_id}",
        "call_id": call_id,
        "name": name,
        "input": text,
    }


def reasoning(text: str, item_id: str = "rs_1") -> Json:
    """A complete reasoning item."""
    return {
        "type": "reasoning",
        "id": item_id,
        "summary": [{"type": "summary_text", "text": text}],
        "encrypted_content": "b3BhcXVl",
    }


def response(*output: Json, status: str = "completed", **extra: Any) -> Json:
    """A response object, as a whole answer or at the end of a stream."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "gpt-5.5",
        "output": list(output),
        "usage": USAGE,
        "error": None,
        "incomplete_details": None,
        **extra,
    }


class Script:
    """Writes the events of an answer as the vendor does, one after another."""

    def __init__(self) -> None:
        self.data = b""
        self._sequence = 0

    def event(self, kind: str, **fields: Any) -> Script:
        body = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        self.data += encode(kind.encode(), text.encode())
        return self

    def opening(self) -> Script:
        begun = response(status="in_progress", usage=None)
        return self.event("response.created", response=begun).event(
            "response.in_progress", response=begun
        )

    def item(self, index: int, item: Json, *, size: int = 7) -> Script:
        """All events of one complete item, its text in pieces of ``size`` characters."""
        place = {"item_id": item["id"], "output_index": index}
        match item["type"]:
            case "message":
                self.event(
                    "response.output_item.added",
                    output_index=index,
                    item={**item, "status": "in_progress", "content": []},
                )
                for at, part in enumerate(item["content"]):
                    self._part(part, {**place, "content_index": at}, size)
            case "reasoning":
                self._added(index, item, summary=[])
                for at, part in enumerate(item["summary"]):
                    where = {**place, "summary_index": at}
                    kind = "response.reasoning_summary_text"
                    self._deltas(f"{kind}.delta", part["text"], where, size)
                    self.event(f"{kind}.done", text=part["text"], **where)
            case "function_call":
                self._added(index, item, arguments="")
                self._call("function_call_arguments", "arguments", item, place, size)
            case "custom_tool_call":
                self._added(index, item, input="")
                self._call("custom_tool_call_input", "input", item, place, size)
            case _:
                self._added(index, item)
        return self.event("response.output_item.done", output_index=index, item=item)

    def _added(self, index: int, item: Json, **empty: Any) -> None:
        opened = {**item, "status": "in_progress", **empty}
        self.event("response.output_item.added", output_index=index, item=opened)

    def _part(self, part: Json, place: Json, size: int) -> None:
        name = "refusal" if part["type"] == "refusal" else "text"
        kind = "response.refusal" if name == "refusal" else "response.output_text"
        self.event("response.content_part.added", part={**part, name: ""}, **place)
        self._deltas(f"{kind}.delta", part[name], place, size)
        self.event(f"{kind}.done", **{name: part[name]}, **place)
        self.event("response.content_part.done", part=part, **place)

    def _call(self, kind: str, name: str, item: Json, place: Json, size: int) -> None:
        if isinstance(item[name], str):
            self._deltas(f"response.{kind}.delta", item[name], place, size)
        self.event(f"response.{kind}.done", **{name: item[name]}, **place)

    def _deltas(self, kind: str, text: str, place: Json, size: int) -> None:
        for start in range(0, len(text), size):
            self.event(kind, delta=text[start : start + size], **place)

    def end(self, body: Json, status: str = "completed") -> bytes:
        """The stream up to its terminal event."""
        return self.event(f"response.{status}", response=body).data


def stream_of(body: Json, *, size: int = 7) -> bytes:
    """The whole stream of a complete answer."""
    script = Script().opening()
    for index, item in enumerate(body["output"]):
        script.item(index, item, size=size)
    return script.end(body, body["status"])


def events_of(stream: bytes) -> list[Json]:
    """The events of a stream; fails where the event line and the type differ."""
    decoder = SseDecoder()
    found = []
    for event in [*decoder.feed(stream), *decoder.end()]:
        body = json.loads(event.data)
        assert event.event.decode() == body["type"]
        found.append(body)
    return found


_TERMINALS = frozenset(["response.completed", "response.incomplete", "response.failed"])
_FINAL_TEXT = {
    "response.output_text.done": ("response.output_text.delta", "text"),
    "response.refusal.done": ("response.refusal.delta", "refusal"),
    "response.function_call_arguments.done": (
        "response.function_call_arguments.delta",
        "arguments",
    ),
    "response.custom_tool_call_input.done": ("response.custom_tool_call_input.delta", "input"),
}


class _Checker:
    def __init__(self) -> None:
        self.faults: list[str] = []
        self.sequence = 0
        self.open: Json | None = None
        self.part: tuple[str, int] | None = None
        self.deltas: dict[str, str] = {}
        self.done: list[Json] = []
        self.ids: set[str] = set()
        self.has_ended = False

    def fault(self, words: str, event: Json) -> None:
        self.faults.append(f"{event['type']}: {words}")

    def check(self, at: int, event: Json) -> None:
        kind = event["type"]
        if self.has_ended:
            self.fault("after the terminal event", event)
        if kind == "keepalive":
            return
        if event.get("sequence_number") != self.sequence:
            self.fault(f"sequence_number {event.get('sequence_number')}", event)
        self.sequence += 1
        if (kind == "response.created") != (at == 0):
            self.fault("response.created comes first and once", event)
        if kind in ("response.created", "response.in_progress"):
            if event["response"]["output"] or event["response"]["status"] != "in_progress":
                self.fault("has output or a status", event)
        elif kind in _TERMINALS:
            self._terminal(kind, event)
        elif event.get("output_index") != len(self.done):
            self.fault(f"output_index {event.get('output_index')}", event)
        elif kind == "response.output_item.added":
            self._added(event)
        elif kind == "response.output_item.done":
            self._done(event)
        else:
            self._inside(kind, event)

    def _added(self, event: Json) -> None:
        item = event["item"]
        if self.open is not None:
            self.fault("before the last item was done", event)
        if item["id"] in self.ids or not 4 < len(item["id"]) <= 64:
            self.fault(f"id {item['id']}", event)
        prefix = {"message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_"}
        if not item["id"].startswith(prefix[item["type"]]):
            self.fault(f"id {item['id']}", event)
        if item.get("content") or item.get("arguments") or item.get("input"):
            self.fault("is not empty", event)
        self.ids.add(item["id"])
        self.open, self.part, self.deltas = item, None, {}

    def _inside(self, kind: str, event: Json) -> None:
        if self.open is None or event.get("item_id") != self.open["id"]:
            self.fault(f"item_id {event.get('item_id')}", event)
        elif kind == "response.content_part.added":
            if self.part is not None:
                self.fault("before the last part was done", event)
            self.part = (event["part"]["type"], event["content_index"])
        elif kind.endswith(".delta"):
            if not event["delta"]:
                self.fault("is empty", event)
            self.deltas[kind] = self.deltas.get(kind, "") + event["delta"]
            if self.open["type"] == "message" and (
                self.part is None or event["content_index"] != self.part[1]
            ):
                self.fault("is outside its part", event)
        elif kind in _FINAL_TEXT:
            delta, name = _FINAL_TEXT[kind]
            if self.deltas.pop(delta, "") != event[name]:
                self.fault("differs from its deltas", event)
        elif kind == "response.content_part.done":
            if self.part != (event["part"]["type"], event["content_index"]) or self.deltas:
                self.fault("closes another part, or too early", event)
            self.part = None
        else:
            self.fault("is unknown", event)

    def _done(self, event: Json) -> None:
        item = event["item"]
        if self.open is None or item["id"] != self.open["id"] or self.part or self.deltas:
            self.fault("closes another item, or too early", event)
        self.open = None
        self.done.append(item)

    def _terminal(self, kind: str, event: Json) -> None:
        self.has_ended = True
        body = event["response"]
        if body["status"] != kind.removeprefix("response."):
            self.fault(f"status {body['status']}", event)
        output = body["output"]
        if kind == "response.failed":
            if output[: len(self.done)] != self.done or not body["error"]["code"]:
                self.fault("output or error", event)
        elif self.open is not None or output != self.done:
            self.fault("output differs from the items", event)


def faults_of(stream: bytes) -> list[str]:
    """What is wrong with a stream that a Responses client would be sent; empty if nothing is."""
    checker = _Checker()
    for at, event in enumerate(events_of(stream)):
        checker.check(at, event)
    if not checker.has_ended:
        checker.faults.append("no terminal event")
    return checker.faults
