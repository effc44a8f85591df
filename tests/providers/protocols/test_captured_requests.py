"""Requests that the real clients sent, where a folder with them stands beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic_rules import check_history
from translating import EVERYTHING, written

from providers.neutral import CannotCarry, Pin, Request
from providers.protocols.anthropic import request_in as messages_in
from providers.protocols.anthropic import request_out as messages_out
from providers.protocols.openai_chat import request_in as chat_in
from providers.protocols.openai_chat import request_out as chat_out

CAPTURES = Path(__file__).resolve().parents[4] / "shared" / "captures" / "claude"
FILES = sorted(CAPTURES.glob("*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="no captured requests here")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_captured_request_is_translated_or_names_its_pin(path: Path) -> None:
    body: Any = json.loads(path.read_text("utf-8"))["body"]
    if not isinstance(body, dict) or "messages" not in body:
        pytest.skip("not a request for an answer")
    request = messages_in.read_request(body)
    if isinstance(request, CannotCarry):
        assert request.pin in (Pin.SERVER_TOOL, Pin.NATIVE_PART)
        return
    chat = written(chat_out.write_request(request, "m", EVERYTHING))
    back = chat_in.read_request(chat.body)
    assert isinstance(back, Request)
    again = written(messages_out.write_request(back, "m", EVERYTHING))
    assert check_history(again.body) == []
    assert [tool.name for tool in back.tools] == [tool.name for tool in request.tools]
    assert "\n\n".join(back.system) == "\n\n".join(request.system)
