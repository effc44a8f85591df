"""A vendor of the standard library alone, for a walk that starts with nothing installed."""

from __future__ import annotations

import http.server
import json

_COMPACT = {
    "durable_facts": ["SQLite it is."], "decisions_made": [], "files_changed": [],
    "open_questions": [], "next_actions": [], "context_to_discard": "",
}  # fmt: skip


class PlainVendor(http.server.BaseHTTPRequestHandler):
    """Answers both vendors' protocols with one word, so that curl and a client see a whole turn."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep the walk's own lines readable."""

    def do_GET(self) -> None:
        """The list of models, and single ones."""
        model = {"type": "model", "id": "claude-opus-5-5", "display_name": "Claude Opus 5.5"}
        one = self.path.rstrip("/").rpartition("/")[2] != "models"
        self._json(model if one else {"data": [model], "has_more": False})

    def do_POST(self) -> None:
        """A message, a response, a completion or a count."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._json({"input_tokens": 9})
        elif path.endswith("/messages"):
            self._message(asked)
        elif path.endswith("/responses"):
            self._json(_response())
        else:
            self._json(_completion())

    def _message(self, asked: dict[str, object]) -> None:
        text = json.dumps(_COMPACT) if "durable_facts" in json.dumps(asked) else "hello"
        usage = {"input_tokens": 9, "output_tokens": 3}
        message: dict[str, object] = {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
                   "model": "claude-opus-5-5", "stop_reason": None, "stop_sequence": None,
                   "usage": usage}  # fmt: skip
        if not asked.get("stream"):
            block = {"type": "text", "text": text}
            self._json(message | {"content": [block], "stop_reason": "end_turn"})
            return
        events: list[dict[str, object]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": _text("")},
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
             "usage": usage},
            {"type": "message_stop"},
        ]  # fmt: skip
        body = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
        self._send("text/event-stream", body.encode())

    def _json(self, body: object) -> None:
        self._send("application/json", json.dumps(body).encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _response() -> dict[str, object]:
    part = {"type": "output_text", "text": "hello", "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [part]}  # fmt: skip
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    return {"id": "resp_1", "object": "response", "created_at": 1_800_000_000,
            "status": "completed", "model": "gpt-5.5", "output": [item], "usage": usage}  # fmt: skip


def _completion() -> dict[str, object]:
    choice = {"index": 0, "finish_reason": "stop",
              "message": {"role": "assistant", "content": "hello"}}  # fmt: skip
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_800_000_000,
            "model": "gpt-5.5", "choices": [choice], "usage": usage}  # fmt: skip
