"""The vendor's rules for the input of a Responses request, checked as strictly as it checks them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

Json = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "compaction": "cmp_",
}
"""How the ids of items open that the vendor has made, or is to take for its own."""
_CALLS = frozenset(["function_call", "custom_tool_call"])
_BLOCKS = {
    "user": {"input_text", "input_image", "input_file"},
    "developer": {"input_text"},
    "system": {"input_text"},
    "assistant": {"output_text", "refusal"},
}


def check_input(body: Json, sealed: Collection[str]) -> list[str]:
    """What the vendor would refuse in a body; an empty list when it takes it.

    ``sealed``: every ``encrypted_content`` that it has given out.
    """
    checker = _Checker(set(sealed))
    for at, item in enumerate(body["input"]):
        checker.check(f"input.{at}", item)
    return checker.faults + [f"no output for {call}" for call in checker.open_calls]


class _Checker:
    def __init__(self, sealed: set[str]) -> None:
        self.faults: list[str] = []
        self.open_calls: dict[str, str] = {}
        """Type of each call that has no output yet, by its call id."""
        self._sealed = sealed
        self._calls: set[str] = set()

    def check(self, where: str, item: Json) -> None:
        kind = item.get("type", "message")
        identity = item.get("id")
        made_by_vendor = kind != "message" or item.get("role") == "assistant"
        if identity is not None and kind in _PREFIXES and made_by_vendor:
            fits = identity.startswith(_PREFIXES[kind]) and len(identity) <= 64
            self._expect(fits, where, f"id {identity!r} of a {kind}")
        if kind == "message":
            self._message(where, item)
        elif kind in _CALLS:
            self._call(where, kind, item)
        elif kind.removesuffix("_output") in (*_CALLS, "custom_tool_call"):
            self._output(where, kind, item)
        elif kind in ("reasoning", "compaction"):
            self._expect(item.get("encrypted_content") in self._sealed, where, f"foreign {kind}")
        elif kind != "additional_tools":
            self.faults.append(f"{where}: {kind} is not known here")

    def _expect(self, is_fine: bool, where: str, words: str) -> None:
        if not is_fine:
            self.faults.append(f"{where}: {words}")

    def _message(self, where: str, item: Json) -> None:
        content = item["content"]
        if isinstance(content, str):
            self._expect(bool(content), where, "is empty")
            return
        self._expect(bool(content), where, "has no content")
        for block in content:
            self._expect(block["type"] in _BLOCKS[item["role"]], where, f"a {block['type']} block")

    def _call(self, where: str, kind: str, item: Json) -> None:
        call_id = item["call_id"]
        self._expect(0 < len(call_id) <= 64, where, f"call_id {call_id!r}")
        self._expect(call_id not in self._calls, where, f"call_id {call_id!r} again")
        self._expect(_NAME.fullmatch(item["name"]) is not None, where, f"name {item['name']!r}")
        self._calls.add(call_id)
        self.open_calls[call_id] = kind

    def _output(self, where: str, kind: str, item: Json) -> None:
        called = self.open_calls.pop(item["call_id"], None)
        expected = "function_call" if kind == "function_call_output" else "custom_tool_call"
        self._expect(called == expected, where, f"an output for {called}")
