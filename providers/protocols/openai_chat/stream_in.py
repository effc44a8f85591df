"""A Chat Completions stream to neutral events, from any provider that claims to speak it.

Source: OpenAI ``chat.completion.chunk``, data-only SSE that ends with ``data: [DONE]``; and what
Groq, Cerebras, Cloudflare and local servers do differently: no ``[DONE]``, usage in ``x_groq``,
errors inside a 200 stream, tool deltas without index or id, arguments in one piece or as an
object, several calls under one index.

The answer is complete with a ``finish_reason`` and then ``[DONE]`` or the end of the stream;
calls are handed on only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.neutral import StopReason
from providers.protocols.collect import BaseDecoder
from providers.protocols.openai_chat.faults import fault_in
from providers.protocols.openai_chat.response_in import (
    STOP_REASONS,
    content_of,
    reasoning_of,
    usage_in,
)
from providers.protocols.translate import items, loads, mapping, text, whole
from providers.sse import ServerSentEvent

DONE = b"[DONE]"


@dataclass(slots=True)
class _Call:
    index: int | None
    id: str | None = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    whole: Any = None
    """Arguments that came as an object."""

    @property
    def arguments(self) -> Any:
        return "".join(self.pieces) if self.pieces or self.whole is None else self.whole


class Decoder(BaseDecoder):
    """One stream of a Chat upstream."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, splits_thinking=True, **options)
        self._calls: list[_Call] = []
        self._held_chars = 0
        self._stop: StopReason | None = None
        self._declined = False

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete but for ``[DONE]``, which some servers never send."""
        return self._stop is not None

    def _event(self, event: ServerSentEvent) -> None:
        if event.data.strip() == DONE:
            self._closed()
            return
        chunk = loads(event.data)
        if not isinstance(chunk, dict):
            if event.data.strip():
                self._malformed()
            return
        fault = fault_in(chunk)
        if fault is None and event.event == b"error":
            fault = fault_in({"error": chunk or "error"})
        if fault is not None:
            self._collector.fail(fault)
            return
        self._chunk(chunk)

    def _chunk(self, chunk: dict[str, Any]) -> None:
        self._collector.start(text(chunk.get("id")), text(chunk.get("model")))
        if (usage := usage_in(chunk)) is not None:
            self._collector.see_usage(usage)
        for found in items(chunk.get("choices")):
            choice = mapping(found)
            if choice.get("index") in (None, 0):
                self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        # Some servers put the whole message into the last chunk, as if nothing was streamed.
        delta = mapping(choice.get("delta")) or mapping(choice.get("message"))
        collector, before = self._collector, self.output_chars
        collector.reasoning(reasoning_of(delta))
        collector.content(content_of(delta))
        if refusal := text(delta.get("refusal")):
            self._declined = True
            collector.refusal(refusal)
        calls = items(delta.get("tool_calls"))
        for position, call in enumerate(calls):
            self._tool_delta(mapping(call), position)
        if legacy := mapping(delta.get("function_call")):
            self._tool_delta({"index": 0, "function": legacy}, 0)
        if calls or legacy or self.output_chars != before:
            self.semantic_events += 1
        reason = text(choice.get("finish_reason"))
        if reason and self._stop is None:
            self.semantic_events += 1
            self._stop = STOP_REASONS.get(reason, StopReason.END)

    # ------------------------------------------------------------------ calls

    def _tool_delta(self, delta: Mapping[str, Any], position: int) -> None:
        call = self._slot(delta, position)
        function = mapping(delta.get("function"))
        call.id = call.id or text(delta.get("id")) or None
        name = text(function.get("name")) or ""
        if name != call.name:
            # Names come in pieces from some servers, and again with every delta from others.
            call.name += name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.pieces.append(arguments)
            self._held_chars += len(arguments)
            self._collector.output_chars += len(arguments)
        elif arguments is not None:
            call.whole = arguments
        if self._held_chars > self._limit:
            self._too_large()

    def _slot(self, delta: Mapping[str, Any], position: int) -> _Call:
        """The call a delta belongs to: by index, else by id, else by its place in the list."""
        index, call_id = whole(delta.get("index")), text(delta.get("id"))
        found: _Call | None = None
        if index is not None:
            # The newest of an index: some servers give every call the index 0.
            same = [call for call in self._calls if call.index == index]
            found = same[-1] if same else None
        elif call_id:
            found = next((call for call in self._calls if call.id == call_id), None)
        elif self._calls:
            found = self._calls[position] if position < len(self._calls) else None
            found = self._calls[-1] if len(self._calls) > 1 and position == 0 else found
        if found is not None and not self._opens_another(found, delta):
            return found
        call = _Call(index)
        self._calls.append(call)
        return call

    @staticmethod
    def _opens_another(call: _Call, delta: Mapping[str, Any]) -> bool:
        """Whether a delta with a name and another id cannot belong to ``call``."""
        call_id = text(delta.get("id"))
        has_name = bool(mapping(delta.get("function")).get("name"))
        return bool(call_id and call.id and call_id != call.id and has_name)

    def _closed(self) -> None:
        if self._stop is None:
            super()._closed()
            return
        for call in sorted(self._calls, key=lambda call: (call.index is None, call.index or 0)):
            self._collector.call(call.id, call.name, call.arguments)
        is_refusal = self._declined and self._stop is StopReason.END
        self._collector.complete(StopReason.REFUSAL if is_refusal else self._stop)
