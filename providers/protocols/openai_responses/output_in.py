"""The output items of a Responses answer, whole or in deltas, for a ``Collector``.

Both ways end in ``finish``, which reads the final response object: what no delta and no closing
event told is taken from there, so that a stream and a whole answer give the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from providers.faults import Fault, FaultKind
from providers.neutral import StopReason
from providers.protocols.collect import Collector
from providers.protocols.openai_responses.faults import fault_of
from providers.protocols.openai_responses.usage import usage_of
from providers.protocols.translate import items, mapping, text
from providers.tool_book import CUSTOM_KEY

CALLS = frozenset(["function_call", "custom_tool_call"])

INCOMPLETE: Mapping[str, StopReason] = {
    "max_output_tokens": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
}
"""``incomplete_details.reason``; the others come from features that are never asked for."""

_SEPARATOR = "\n\n"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class _Item:
    """What is known of one output item so far."""

    kind: str | None = None
    name: str | None = None
    call_id: str | None = None
    given: dict[tuple[str, int], int] = field(default_factory=dict)
    """Characters handed on, by kind of part and its index."""
    pieces: list[str] = field(default_factory=list)
    whole: Any = None
    """Arguments of a call that came in one piece."""
    is_done: bool = False


class OutputReader:
    """Hands each item on once, however often and in whatever pieces it is told."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._items: dict[int, _Item] = {}
        self._index_of: dict[str, int] = {}
        self._texting: int | None = None
        """The message that the last text belongs to, since the last call."""
        self._has_text = False
        self._has_refused = False
        self.held_chars = 0
        """Characters of arguments of calls that are not complete."""

    # ------------------------------------------------------------------ the stream

    def added(self, event: Mapping[str, Any]) -> None:
        """``response.output_item.added``."""
        item = mapping(event.get("item"))
        self._note(self._items[self._new_place(event, item)], item)

    def delta(self, event: Mapping[str, Any], part: str) -> None:
        """More of a ``text``, ``refusal``, ``summary`` or ``reasoning`` part."""
        more = text(event.get("delta")) or ""
        key = (part, _part_index(event))
        index = self._place(event)
        found = self._items[index]
        found.given[key] = found.given.get(key, 0) + len(more)
        self._hand_on(index, part, more)

    def part_done(self, event: Mapping[str, Any], part: str, whole: Any) -> None:
        """A part in full: what no delta brought is handed on now."""
        self._fill(self._place(event), part, _part_index(event), whole)

    def arguments_delta(self, event: Mapping[str, Any]) -> None:
        """More of a call's arguments or free text, which wait until the call is closed."""
        more = text(event.get("delta")) or ""
        self._items[self._place(event)].pieces.append(more)
        self.held_chars += len(more)
        self._collector.output_chars += len(more)

    def arguments_done(self, event: Mapping[str, Any], whole: Any) -> None:
        """A call's arguments in full; the call itself is closed by its item."""
        self._items[self._place(event)].whole = whole

    def done(self, event: Mapping[str, Any]) -> None:
        """``response.output_item.done``."""
        item = mapping(event.get("item"))
        self._done(self._place(event, item), item)

    # ------------------------------------------------------------------ the whole answer

    def finish(self, response: Mapping[str, Any], status: str | None = None) -> None:
        """Read a final response object; ``status`` where the object itself names none."""
        status = text(response.get("status")) or status or "completed"
        usage = usage_of(response)
        if usage.raw:
            self._collector.see_usage(usage)
        if status == "failed" or (response.get("error") and status != "completed"):
            self._collector.fail(fault_of(response.get("error")))
            return
        if status not in ("completed", "incomplete"):
            message = f"the provider left the answer in the state {status[:40]!r}"
            self._collector.fail(Fault(FaultKind.TRUNCATED, message))
            return
        claimed: set[int] = set()
        for position, found in enumerate(items(response.get("output"))):
            item = mapping(found)
            index = self._match(position, item, claimed)
            claimed.add(index)
            self._done(index, item)
        self._complete(status, text(mapping(response.get("incomplete_details")).get("reason")))

    def _complete(self, status: str, reason: str | None) -> None:
        stop: StopReason | None = StopReason.END
        if status == "incomplete":
            stop = INCOMPLETE.get(reason or "")
        if stop is None:
            message = f"the provider stopped early: {(reason or 'no reason given')[:80]}"
            self._collector.fail(Fault(FaultKind.TRUNCATED, message, code=reason))
        else:
            refused = self._has_refused and stop is StopReason.END
            self._collector.complete(StopReason.REFUSAL if refused else stop)

    # ------------------------------------------------------------------ items

    def _place(self, event: Mapping[str, Any], item: Mapping[str, Any] = _NOTHING) -> int:
        """The index of the item an event speaks of: by number, else by id, else the newest."""
        item_id = text(item.get("id")) or text(event.get("item_id"))
        index = event.get("output_index")
        if not isinstance(index, int):
            index = self._index_of.get(item_id or "", max(self._items, default=0))
        if item_id:
            self._index_of.setdefault(item_id, index)
        self._items.setdefault(index, _Item())
        return index

    def _new_place(self, event: Mapping[str, Any], item: Mapping[str, Any]) -> int:
        """The same for an item that is announced."""
        if isinstance(event.get("output_index"), int) or text(item.get("id")) in self._index_of:
            return self._place(event, item)
        return self._place({"output_index": max(self._items, default=-1) + 1}, item)

    def _match(self, position: int, item: Mapping[str, Any], claimed: set[int]) -> int:
        """Which item of the stream an item of the final response is; a new one if it is none.

        A call told twice would run twice, so that ids and indexes that changed are looked through.
        """
        kind, call_id = text(item.get("type")), text(item.get("call_id"))
        by_id = self._index_of.get(text(item.get("id")) or "")
        free = [
            index
            for index, known in self._items.items()
            if index not in claimed and known.kind in (kind, None)
        ]
        if by_id in free:
            return by_id
        for index in free:
            if call_id and self._items[index].call_id == call_id:
                return index
        if position in free:
            return position
        if free:
            return free[0]
        return self._place({"output_index": max(self._items, default=-1) + 1}, item)

    def _note(self, found: _Item, item: Mapping[str, Any]) -> None:
        found.kind = text(item.get("type")) or found.kind
        found.name = text(item.get("name")) or found.name
        found.call_id = text(item.get("call_id")) or found.call_id

    def _done(self, index: int, item: Mapping[str, Any]) -> None:
        found = self._items[index]
        if found.is_done:
            return
        found.is_done = True
        self._note(found, item)
        if found.kind in CALLS:
            self._close_call(found, item)
        elif found.kind == "message":
            for position, part in enumerate(items(item.get("content"))):
                fields = mapping(part)
                if fields.get("type") == "refusal":
                    self._fill(index, "refusal", position, fields.get("refusal"))
                else:
                    self._fill(index, "text", position, fields.get("text"))
        elif found.kind == "reasoning":
            for part in ("summary", "content"):
                name = "summary" if part == "summary" else "reasoning"
                for position, piece in enumerate(items(item.get(part))):
                    self._fill(index, name, position, mapping(piece).get("text"))

    def _close_call(self, found: _Item, item: Mapping[str, Any]) -> None:
        self._texting, self._has_text = None, False
        self.held_chars -= sum(map(len, found.pieces))
        if item.get("status") == "incomplete":
            return
        if not found.name:
            fault = Fault(FaultKind.MALFORMED, "the provider sent a tool call without a name")
            self._collector.fail(fault)
            return
        is_custom = found.kind == "custom_tool_call"
        written = item.get("input" if is_custom else "arguments")
        for whole in (written, found.whole, "".join(found.pieces)):
            if whole:
                written = whole
                break
        if not found.pieces and isinstance(written, str):
            self._collector.output_chars += len(written)
        if is_custom:
            written = {CUSTOM_KEY: text(written) or ""}
        self._collector.call(found.call_id, found.name, written)

    def _fill(self, index: int, part: str, position: int, whole: Any) -> None:
        known = self._items[index].given
        start = known.get((part, position), 0)
        rest = (text(whole) or "")[start:]
        if rest:
            known[part, position] = start + len(rest)
            self._hand_on(index, part, rest)

    def _hand_on(self, index: int, part: str, more: str) -> None:
        if part == "text":
            if index != self._texting:
                self._texting = index
                self._collector.new_block()
                if self._has_text:
                    # Messages are apart at the vendor; run together they would be misread.
                    self._collector.text(_SEPARATOR)
                    self._collector.output_chars -= len(_SEPARATOR)
            self._has_text = self._has_text or bool(more.strip())
            self._collector.text(more)
        elif part == "refusal":
            self._has_refused = self._has_refused or bool(more)
            self._collector.refusal(more)
        else:
            self._collector.reasoning(more)


def _part_index(event: Mapping[str, Any]) -> int:
    for name in ("content_index", "summary_index"):
        index = event.get(name)
        if isinstance(index, int):
            return index
    return 0
