"""The vendor's rules for a Messages request and stream, checked as strictly as it checks them."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

from providers.sse import SseDecoder

Json = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_FIELDS = {
    "text": {"text", "cache_control", "citations"},
    "image": {"source", "cache_control"},
    "document": {"source", "title", "context", "cache_control", "citations"},
    "tool_use": {"id", "name", "input", "cache_control", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
}
_OF_ROLE = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
    "system": {"text"},
}
_SECRET = b"only the vendor has this"


def sign(system: Any, thinking: str) -> str:
    """A signature that binds thinking to the system prompt, as the vendor makes it."""
    bound = json.dumps([system, thinking], sort_keys=True).encode()
    return hmac.new(_SECRET, bound, hashlib.sha256).hexdigest()


def check_history(body: Json) -> list[str]:
    """What the vendor would refuse in a request body; an empty list when it takes it."""
    faults: list[str] = []
    messages = body["messages"]
    turns = [message for message in messages if message["role"] != "system"]
    if not turns or turns[0]["role"] != "user":
        faults.append("first message must use the user role")
    if messages and messages[-1]["role"] == "assistant":
        faults.append("this model does not take a prefill")
    used: set[str] = set()
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        blocks = _blocks(message, where, faults)
        for block in blocks:
            _check_block(block, message["role"], where, body.get("system"), faults)
        calls = [block["id"] for block in blocks if block.get("type") == "tool_use"]
        faults += [f"{where}: tool_use ids must be unique" for call in calls if call in used]
        used.update(calls)
        follower = messages[at + 1] if at + 1 < len(messages) else {"role": "", "content": []}
        _check_pairs(calls, follower, where, faults)
        before = messages[at - 1] if at else {"role": "", "content": []}
        _check_results(blocks, before, where, faults)
    return faults + _check_tools(body, used)


def _blocks(message: Json, where: str, faults: list[str]) -> list[Json]:
    content = message["content"]
    if isinstance(content, str):
        if not content.strip():
            faults.append(f"{where}: text must be non-empty")
        return [{"type": "text", "text": content}]
    if not content and message["role"] != "system":
        faults.append(f"{where}: content must be non-empty")
    return list(content)


def _check_block(block: Json, role: str, where: str, system: Any, faults: list[str]) -> None:
    kind = block.get("type")
    if kind not in _FIELDS or kind not in _OF_ROLE.get(role, set()):
        faults.append(f"{where}: {role} cannot hold {kind}")
        return
    extra = set(block) - _FIELDS[kind] - {"type"}
    if extra:
        faults.append(f"{where}: {kind}: extra inputs are not permitted: {sorted(extra)}")
    if kind == "text" and not block["text"].strip():
        faults.append(f"{where}: text must contain non-whitespace text")
    if kind == "tool_use":
        if not _ID.fullmatch(block["id"]):
            faults.append(f"{where}: tool_use.id does not match")
        if not _NAME.fullmatch(block["name"]):
            faults.append(f"{where}: tool_use.name does not match")
        if not isinstance(block["input"], dict):
            faults.append(f"{where}: tool_use.input must be an object")
    if kind == "thinking" and block.get("signature") != sign(system, block["thinking"]):
        faults.append(f"{where}: invalid signature in thinking block")
    if kind == "tool_result" and isinstance(block.get("content"), list):
        for inner in block["content"]:
            _check_block(inner, "user", where, system, faults)


def _check_pairs(calls: list[str], follower: Json, where: str, faults: list[str]) -> None:
    if not calls:
        return
    content = follower["content"] if isinstance(follower["content"], list) else []
    leading: list[str] = []
    for block in content:
        if block.get("type") != "tool_result":
            break
        leading.append(block["tool_use_id"])
    if follower["role"] != "user" or sorted(leading) != sorted(calls):
        faults.append(f"{where}: tool_use ids were found without tool_result blocks after")


def _check_results(blocks: list[Json], before: Json, where: str, faults: list[str]) -> None:
    content = before["content"] if isinstance(before["content"], list) else []
    known = {block.get("id") for block in content if block.get("type") == "tool_use"}
    for block in blocks:
        if block.get("type") == "tool_result" and block["tool_use_id"] not in known:
            faults.append(f"{where}: unexpected tool_use_id in tool_result")


def _check_tools(body: Json, used: set[str]) -> list[str]:
    faults = [] if body.get("tools") or not used else ["tools must be defined for tool_use"]
    for tool in body.get("tools", []):
        if not _NAME.fullmatch(tool["name"]):
            faults.append(f"tools: the name {tool['name']!r} does not match")
        if tool["input_schema"].get("type") != "object":
            faults.append("tools: input_schema.type must be object")
    names = [tool["name"] for tool in body.get("tools", [])]
    return faults + (["tools: names must be unique"] if len(set(names)) < len(names) else [])


def check_stream(data: bytes) -> list[str]:
    """What is wrong with a finished or failed Messages stream, after the grammar of the API."""
    decoder = SseDecoder()
    events = decoder.feed(data)
    faults = ["the stream ends inside an event"] if decoder.end() else []
    checker = _Grammar()
    for event in events:
        frame = json.loads(event.data)
        if event.event.decode() != frame["type"]:
            faults.append(f"event {event.event!r} holds {frame['type']}")
        checker.take(frame)
    return faults + checker.faults + ([] if checker.ended else ["no terminal event"])


class _Grammar:
    def __init__(self) -> None:
        self.faults: list[str] = []
        self.ended = False
        self._started = False
        self._open: Json | None = None
        self._index = 0
        self._arguments = ""
        self._stop: str | None = None
        self._tools = 0

    def take(self, frame: Json) -> None:
        kind = frame["type"]
        if self.ended:
            self.faults.append(f"{kind} after the end")
        if kind == "ping":
            return
        if kind == "error":
            self.ended = True
            return
        if (kind == "message_start") == self._started:
            self.faults.append(f"{kind} is out of place")
        getattr(self, f"_{kind}")(frame)

    def _message_start(self, frame: Json) -> None:
        self._started = True
        message = frame["message"]
        if message["content"] or message["stop_reason"] is not None or "usage" not in message:
            self.faults.append("message_start is not empty")

    def _content_block_start(self, frame: Json) -> None:
        if self._open is not None or frame["index"] != self._index or self._stop:
            self.faults.append(f"block {frame['index']} starts out of order")
        self._open, self._arguments = frame["content_block"], ""
        self._tools += frame["content_block"]["type"] == "tool_use"

    def _content_block_delta(self, frame: Json) -> None:
        kind = self._open["type"] if self._open else None
        wanted = {"text": "text_delta", "tool_use": "input_json_delta"}.get(str(kind))
        if frame["index"] != self._index or frame["delta"]["type"] != wanted:
            self.faults.append(f"{frame['delta']['type']} in a block of {kind}")
        self._arguments += frame["delta"].get("partial_json", "")

    def _content_block_stop(self, frame: Json) -> None:
        if self._open is None or frame["index"] != self._index:
            self.faults.append(f"block {frame['index']} stops twice")
        elif not isinstance(json.loads(self._arguments or "{}"), dict):
            self.faults.append("the arguments are no object")
        self._open, self._index = None, self._index + 1

    def _message_delta(self, frame: Json) -> None:
        if self._stop or self._open is not None:
            self.faults.append("message_delta is out of place")
        self._stop = frame["delta"]["stop_reason"]
        is_use = self._stop == "tool_use"
        if is_use != bool(self._tools) and self._stop in ("tool_use", "end_turn"):
            self.faults.append(f"{self._stop} with {self._tools} calls")

    def _message_stop(self, frame: Json) -> None:
        self.ended = True
        if not self._stop:
            self.faults.append("message_stop without a stop reason")
