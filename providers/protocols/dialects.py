"""The protocols side by side: one ``Dialect`` for each, so that nobody else has to know three.

client body --read_request--> Request --write_request--> provider body
provider answer --read_answer | decoder--> neutral --write_answer | encoder--> client answer
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from providers.call_ids import CallIds
from providers.events import StreamDecoder, StreamEncoder
from providers.faults import Fault
from providers.neutral import Answer, CannotCarry, Request
from providers.protocols.anthropic import faults as messages_faults
from providers.protocols.anthropic import request_in as messages_request_in
from providers.protocols.anthropic import request_out as messages_request_out
from providers.protocols.anthropic import response_in as messages_response_in
from providers.protocols.anthropic import response_out as messages_response_out
from providers.protocols.anthropic import stream_in as messages_stream_in
from providers.protocols.anthropic import stream_out as messages_stream_out
from providers.protocols.anthropic.stream import PING
from providers.protocols.openai_chat import faults as chat_faults
from providers.protocols.openai_chat import request_in as chat_request_in
from providers.protocols.openai_chat import request_out as chat_request_out
from providers.protocols.openai_chat import response_in as chat_response_in
from providers.protocols.openai_chat import response_out as chat_response_out
from providers.protocols.openai_chat import stream_in as chat_stream_in
from providers.protocols.openai_chat import stream_out as chat_stream_out
from providers.protocols.openai_responses import faults as responses_faults
from providers.protocols.openai_responses import request_in as responses_request_in
from providers.protocols.openai_responses import request_out as responses_request_out
from providers.protocols.openai_responses import response_in as responses_response_in
from providers.protocols.openai_responses import response_out as responses_response_out
from providers.protocols.openai_responses import stream_in as responses_stream_in
from providers.protocols.openai_responses import stream_out as responses_stream_out
from providers.tool_book import ToolBook
from providers.traits import Outgoing
from providers.types import Headers, Protocol


@dataclass(frozen=True, slots=True)
class Front:
    """What an answer needs to know of the request it is given to."""

    request_id: str
    """Our own id of the turn."""
    answer_id: str
    """Letters and digits; the writers put their protocol's prefix before it."""
    model: str
    """The model the client asked for, which the answer names."""
    created: int = 0
    """Seconds since the epoch."""
    input_estimate: int = 0
    """Input tokens, for frames that must name them before the provider has."""
    includes_usage: bool = False
    """Chat ``stream_options.include_usage``."""
    echo: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What a Responses answer repeats of its request."""
    stop_retries: bool = False
    """Tell the client that trying again is in vain."""


Written = tuple[int, Headers, bytes]
"""Status, fields without a length, body."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol, read and written; every member is pure."""

    protocol: Protocol
    path: bytes
    """Of its endpoint, below an address that ends in the API's version."""
    read_request: Callable[[Any], Request | CannotCarry]
    write_request: Callable[..., Outgoing | CannotCarry]
    """``(request, model, traits, *, input_tokens=None)``."""
    decoder: Callable[[ToolBook, CallIds], StreamDecoder]
    read_answer: Callable[[Any, ToolBook, CallIds], Answer | Fault]
    read_fault: Callable[[int, Headers, bytes, float], Fault]
    encoder: Callable[[Front], StreamEncoder]
    write_answer: Callable[[Answer, Front], dict[str, Any]]
    write_fault: Callable[[Fault, Front], Written]
    keepalive: bytes
    """A sign of life between any two events of a stream, of a type its clients count as one."""
    echo_of: Callable[[Any], Mapping[str, Any]] = lambda body: {}


def _messages_encoder(front: Front) -> StreamEncoder:
    return messages_stream_out.Encoder(
        message_id=f"msg_{front.answer_id}",
        model=front.model,
        input_estimate=front.input_estimate,
        request_id=front.request_id,
    )


def _messages_answer(answer: Answer, front: Front) -> dict[str, Any]:
    name = f"msg_{front.answer_id}"
    return messages_response_out.write_answer(answer, answer_id=name, model=front.model)


def _chat_encoder(front: Front) -> StreamEncoder:
    return chat_stream_out.Encoder(
        answer_id=f"chatcmpl-{front.answer_id}",
        model=front.model,
        created=front.created,
        includes_usage=front.includes_usage,
    )


def _chat_answer(answer: Answer, front: Front) -> dict[str, Any]:
    name = f"chatcmpl-{front.answer_id}"
    return chat_response_out.write_answer(
        answer, answer_id=name, model=front.model, created=front.created
    )


def _responses_encoder(front: Front) -> StreamEncoder:
    return responses_stream_out.Encoder(
        answer_id=f"resp_{front.answer_id}",
        model=front.model,
        created_at=front.created,
        echo=front.echo,
        stop_retries=front.stop_retries,
    )


def _responses_answer(answer: Answer, front: Front) -> dict[str, Any]:
    return responses_response_out.write_answer(
        answer,
        answer_id=f"resp_{front.answer_id}",
        model=front.model,
        created_at=front.created,
        echo=front.echo,
    )


MESSAGES: Final = Dialect(
    protocol=Protocol.MESSAGES,
    path=b"/messages",
    read_request=messages_request_in.read_request,
    write_request=messages_request_out.write_request,
    decoder=messages_stream_in.Decoder,
    read_answer=messages_response_in.read_answer,
    read_fault=messages_faults.read_fault,
    encoder=_messages_encoder,
    write_answer=_messages_answer,
    write_fault=lambda fault, front: messages_faults.write_fault(fault, front.request_id),
    keepalive=PING,
)

CHAT: Final = Dialect(
    protocol=Protocol.CHAT,
    path=b"/chat/completions",
    read_request=chat_request_in.read_request,
    write_request=chat_request_out.write_request,
    decoder=chat_stream_in.Decoder,
    read_answer=chat_response_in.read_answer,
    read_fault=chat_faults.read_fault,
    encoder=_chat_encoder,
    write_answer=_chat_answer,
    write_fault=lambda fault, front: chat_faults.write_fault(fault, front.request_id),
    keepalive=chat_stream_out.KEEPALIVE,
)

RESPONSES: Final = Dialect(
    protocol=Protocol.RESPONSES,
    path=b"/responses",
    read_request=responses_request_in.read_request,
    write_request=responses_request_out.write_request,
    decoder=responses_stream_in.Decoder,
    read_answer=responses_response_in.read_answer,
    read_fault=responses_faults.read_fault,
    encoder=_responses_encoder,
    write_answer=_responses_answer,
    write_fault=lambda fault, front: responses_faults.write_fault(
        fault, front.request_id, stop=front.stop_retries
    ),
    keepalive=responses_stream_out.KEEPALIVE,
    echo_of=responses_response_out.echo_of,
)

DIALECTS: Final[Mapping[Protocol, Dialect]] = MappingProxyType(
    {dialect.protocol: dialect for dialect in (MESSAGES, CHAT, RESPONSES)}
)
