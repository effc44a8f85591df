"""Models as a real Codex meets them: what each provider answers, and what was sent to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import responses_streams
from scripted_upstream import Script, sse
from vendor_replies import Call, Reply

from providers.types import Protocol

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
Vendor = Callable[[dict[str, Any]], Reply | Script]

HELLO = Reply("HELLO there.")
_RESULTS = {M: "'type': 'tool_result'", C: "'role': 'tool'", R: "_call_output'"}


def results_in(provider: Protocol, body: dict[str, Any]) -> int:
    """How many results of tools a request holds."""
    return str(body).count(_RESULTS[provider])


def has_results(provider: Protocol, body: dict[str, Any]) -> bool:
    """Whether it holds any."""
    return results_in(provider, body) > 0


def free_text(
    provider: Protocol, name: str, words: str, call_id: str = "call_patch"
) -> Reply | Script:
    """A call of a free-text tool, as a model of this provider makes it."""
    if provider is not R:
        return Reply(calls=(Call(name, {"input": words}, call_id),))
    item = responses_streams.custom_call(name, words, call_id)
    return sse([responses_streams.stream_of(responses_streams.response(item))])


def twice(trouble: Script, *, times: int = 2) -> Vendor:
    """Trouble for the first ``times`` requests, and ``HELLO`` from then on."""
    left = [trouble] * times

    def vendor(body: dict[str, Any]) -> Reply | Script:
        return left.pop() if left else HELLO

    return vendor
