"""``POST /v1/context/compact``: a long transcript becomes six short lists.

Every question to a model is an ordinary turn: it is planned on the ``summary`` route as a recap
(so that in shadow the baseline answers, and a mode or a kind's entries hold for it too), tried,
failed over, priced and recorded like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from providers.types import Headers, Protocol
from server import compact_text as text
from server import endpoints
from server.compact_text import BadAnswer, Compact
from server.credentials import Access
from server.dispatch import Dispatcher
from server.exchange import Exchange, Inbound, Sink
from server.headers import first
from server.http.errors import HttpError
from server.planning import Planner
from server.policy import Plan
from server.services import Services

PATH: Final = "/v1/context/compact"
KIND: Final = "recap"
ROUTE: Final = "summary"
REASON: Final = "A client asked the gateway to condense a context."
MAX_OUTPUT: Final = 8192
"""Tokens: models that think first count that as output too."""
AT_ONCE: Final = 2
"""Parts that are condensed at the same time."""
MOST_REPAIRED_CHARS: Final = 20_000

_PASSED_ON: Final = frozenset(
    {
        b"user-agent",
        b"anthropic-version",
        b"x-stainless-timeout",
        b"x-claude-code-session-id",
        b"x-sbgw-project",
        b"x-sbgw-branch",
        b"x-sbgw-label",
    }
)
"""What is taken over from the client: who asks, for which project, and how long it waits."""


class Compactions(Dispatcher):
    """Dispatches our own questions; what they are is known, not classified."""

    def _accept(self, inbound: Inbound, sink: Sink) -> Exchange:
        exchange = super()._accept(inbound, sink)
        exchange.turn.path = PATH
        return exchange

    def _plan(self, exchange: Exchange) -> Plan:
        turn = exchange.turn
        turn.kind, turn.route, turn.offload = KIND, ROUTE, True
        turn.confidence, turn.confidence_level = 1.0, "high"
        turn.reasons = [REASON]
        return super()._plan(exchange)


@dataclass(frozen=True, slots=True)
class _Reply:
    """One model's answer, or why there is none."""

    text: str = ""
    is_cut: bool = False
    reason: str | None = None
    provider: str | None = None
    model: str | None = None
    turn_id: str | None = None


class _Failed(Exception):
    """No usable answer came; ``str()`` says why."""

    def __init__(self, reason: str, reply: _Reply | None = None) -> None:
        super().__init__(reason)
        self.reply = reply


@dataclass(slots=True)
class _Job:
    """One request of a client while it is worked on."""

    access: Access
    headers: Headers
    protocol: Protocol
    model: str
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    turn_ids: list[str] = field(default_factory=list)
    repaired: int = 0
    has_failed: bool = False


class Compactor:
    """Serves the endpoint; shared by all requests."""

    def __init__(self, services: Services, planner: Planner, dispatcher: Compactions) -> None:
        self._services = services
        self._planner = planner
        self._dispatcher = dispatcher

    async def compact(self, data: bytes, access: Access, headers: Headers) -> dict[str, Any]:
        """The answer's body; ``ok: false`` with ``reason`` when no model gave a usable one.

        Raises ``HttpError`` 400 for a malformed body, 503 while the gateway stops.
        """
        if self._services.is_draining():
            raise HttpError(503, "api_error", "the gateway is shutting down", reason="draining")
        entries = await asyncio.to_thread(_read, data)
        chunks = text.cut(entries)
        answer: dict[str, Any] = {
            "ok": False,
            "reason": None,
            "provider": None,
            "model": None,
            "inputTokensEstimate": text.estimate_tokens(entries),
            "compact": None,
            "coverage": {
                "messages": chunks.kept_messages,
                "omitted": chunks.omitted_messages,
                "clipped": chunks.clipped_messages,
                "parts": len(chunks.parts),
                "merged_by": None,
            },
        }
        job: _Job | None = None
        try:
            job = self._job(access, headers)
            compact, reply, merged_by = await self._run(job, chunks.parts)
            answer |= {"ok": True, "compact": compact}
            answer["coverage"]["merged_by"] = merged_by
        except _Failed as failure:
            answer["reason"] = access.redact(str(failure))[:500]
            reply = failure.reply or _Reply()
        answer |= {"provider": reply.provider, "model": reply.model}
        answer["repaired"] = job.repaired if job else 0
        answer["requestIds"] = job.turn_ids if job else []
        return answer

    # ------------------------------------------------------------------ map and reduce

    async def _run(self, job: _Job, parts: Sequence[str]) -> tuple[Compact, _Reply, str | None]:
        """The result, the answer it came from, and who merged the parts."""
        count = len(parts)
        found = await asyncio.gather(
            *(self._part(job, part, number, count) for number, part in enumerate(parts, 1)),
            return_exceptions=True,
        )
        for number, item in enumerate(found, 1):
            if isinstance(item, _Failed):
                if count == 1 or item.reply is None:
                    raise item
                raise _Failed(f"part {number} of {count}: {item}", item.reply)
            if isinstance(item, BaseException):
                raise item
        done = [item for item in found if not isinstance(item, BaseException)]
        if count == 1:
            return (*done[0], None)
        compacts = [compact for compact, _ in done]
        try:
            whole, reply = await self._ask(job, text.MERGE_SYSTEM, text.merge_prompt(compacts))
        except _Failed:
            return text.merged(compacts), done[-1][1], "gateway"
        return whole, reply, "model"

    async def _part(self, job: _Job, part: str, number: int, count: int) -> tuple[Compact, _Reply]:
        async with job.slots:
            if job.has_failed:
                # An earlier part's failure is the answer already; more would only cost.
                raise _Failed("an earlier part could not be condensed")
            try:
                return await self._ask(job, text.SYSTEM, text.part_prompt(part, number, count))
            except _Failed:
                job.has_failed = True
                raise

    async def _ask(self, job: _Job, system: str, prompt: str) -> tuple[Compact, _Reply]:
        """One question, and once more where its answer cannot be used; raises ``_Failed``."""
        talk = [{"role": "user", "content": prompt}]
        reply = await self._send(job, system, talk)
        try:
            return text.read_answer(reply.text), reply
        except BadAnswer as error:
            problem = _problem(error, reply)
        job.repaired += 1
        said = reply.text[:MOST_REPAIRED_CHARS] if reply.text.strip() else "(nothing)"
        talk.append({"role": "assistant", "content": said})
        talk.append({"role": "user", "content": text.repair_prompt(problem)})
        reply = await self._send(job, system, talk)
        try:
            return text.read_answer(reply.text), reply
        except BadAnswer as error:
            said = f"the model's answer cannot be used, twice: {_problem(error, reply)}"
            raise _Failed(said, reply) from error

    # ------------------------------------------------------------------ one turn

    def _job(self, access: Access, headers: Headers) -> _Job:
        """In the protocol whose baseline has a credential; Messages where both or neither has."""
        settings = self._services.settings
        own = _own_headers(self._services.keys.without_key(headers))
        for protocol in (Protocol.MESSAGES, Protocol.CHAT):
            for entry in settings.routing.baseline_of(protocol):
                if self._planner.credential(protocol, access, own, entry.provider) is None:
                    continue
                provider = settings.provider(entry.provider)
                model = entry.model or provider.model or provider.translated_model
                if model is None:
                    raise _Failed(f"no model is named for {entry.provider} in routing.baseline")
                return _Job(access, own, protocol, model)
        # Nobody can be asked: the first question is refused in the words the user needs.
        return _Job(access, own, Protocol.MESSAGES, "none")

    async def _send(self, job: _Job, system: str, talk: list[dict[str, str]]) -> _Reply:
        """One turn; raises ``_Failed`` unless an answer came."""
        is_messages = job.protocol is Protocol.MESSAGES
        body: dict[str, Any] = {"model": job.model, "stream": False}
        if is_messages:
            body |= {"max_tokens": MAX_OUTPUT, "system": system, "messages": talk}
        else:
            body["max_completion_tokens"] = MAX_OUTPUT
            body["messages"] = [{"role": "system", "content": system}, *talk]
        path = endpoints.MESSAGES if is_messages else endpoints.CHAT
        inbound = Inbound("POST", path, b"", job.headers, job.access)
        client = _Client(msgspec.json.encode(body))
        sink = Sink(client.send, self._services.clock)
        await self._dispatcher.handle(inbound, client.receive, sink)
        reply = _reply(client)
        if reply.turn_id is not None:
            job.turn_ids.append(reply.turn_id)
        if reply.reason is not None:
            raise _Failed(reply.reason, reply)
        return reply


class _Client:
    """Stands where a client's connection would: gives one body, keeps one answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 0
        self.headers: Headers = []
        self.answer = bytearray()

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            # It never goes away: who gives up cancels the whole exchange.
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.answer += message["body"]


def _read(data: bytes) -> list[tuple[str, str]]:
    try:
        return text.read_body(msgspec.json.decode(data))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        said = f"the body is not right: {error}"
        raise HttpError(400, "invalid_request_error", said, reason="bad_body") from error


def _own_headers(headers: Headers) -> Headers:
    taken = [(n, v) for n, v in headers if n.lower() in _PASSED_ON]
    if first(taken, b"anthropic-version") is None:
        taken.append((b"anthropic-version", b"2023-06-01"))
    betas = (first(headers, b"anthropic-beta") or "").split(",")
    # A login is only taken with its own beta; the others change what an answer is.
    logins = [beta.strip() for beta in betas if beta.strip().startswith("oauth-")]
    if logins:
        taken.append((b"anthropic-beta", ",".join(logins).encode("latin-1")))
    return [*taken, (b"content-type", b"application/json"), (b"accept", b"application/json")]


def _reply(client: _Client) -> _Reply:
    base = _Reply(
        provider=first(client.headers, b"x-gateway-provider") or None,
        model=first(client.headers, b"x-gateway-model") or None,
        turn_id=first(client.headers, b"x-gateway-request-id"),
    )
    try:
        answer = msgspec.json.decode(bytes(client.answer))
    except (msgspec.DecodeError, ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return replace(base, reason="the provider's answer is not JSON")
    if client.status != 200:
        error = answer.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        return replace(base, reason=str(said or f"the provider answered {client.status}"))
    found, is_cut = _text_of(answer)
    return replace(base, text=found, is_cut=is_cut)


def _text_of(answer: dict[str, Any]) -> tuple[str, bool]:
    """The answer's text, and whether its end is missing; Messages and Chat Completions."""
    content = answer.get("content")
    if isinstance(content, list):
        blocks = (block.get("text") for block in content if isinstance(block, dict))
        joined = "".join(block for block in blocks if isinstance(block, str))
        return joined, answer.get("stop_reason") == "max_tokens"
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    found = message.get("content") if isinstance(message, dict) else None
    is_cut = isinstance(choice, dict) and choice.get("finish_reason") == "length"
    return (found if isinstance(found, str) else ""), is_cut


def _problem(error: BadAnswer, reply: _Reply) -> str:
    return "it was cut off at its limit; be much shorter" if reply.is_cut else str(error)
