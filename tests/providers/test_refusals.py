"""What is learned from a provider's 400, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.faults import Fault, FaultKind
from providers.protocols.dialects import DIALECTS
from providers.refusals import NOTHING, Refusals, refused
from providers.traits import Traits
from providers.types import Protocol

M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
SENT: dict[str, Any] = {
    "model": "m",
    "messages": [],
    "tools": [],
    "stop": ["x"],
    "store": False,
    "temperature": 0.5,
    "seed": 1,
    "presence_penalty": 0.1,
    "reasoning_effort": "low",
    "reasoning": {"effort": "low"},
    "output_config": {"effort": "low"},
    "thinking": {"type": "adaptive"},
    "parallel_tool_calls": True,
    "text": {"verbosity": "low"},
    "max_tokens": 100_000,
    "max_completion_tokens": 100_000,
    "max_output_tokens": 100_000,
}


def fault(protocol: Protocol, error: Any, status: int = 400) -> Fault:
    """What the reader of a protocol makes of an error response."""
    return DIALECTS[protocol].read_fault(status, [], json.dumps(error).encode(), 0.0)


def openai(message: str, param: str | None = None, code: str | None = None) -> Any:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(message: str) -> Any:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}


FIELDS: list[tuple[Protocol, Any, str]] = [
    (M, anthropic("temperature: Extra inputs are not permitted"), "temperature"),
    (M, anthropic("adaptive thinking is not supported on this model"), "thinking"),
    (M, anthropic("output_config.effort: Extra inputs are not permitted"), "effort"),
    (C, openai("property 'seed' is unsupported"), "seed"),
    (C, openai("'seed' : value is wrong", "seed", "unsupported_parameter"), "seed"),
    (
        C,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        "max_tokens",
    ),
    (
        C,
        openai("Unsupported value: 'temperature' does not support 0.5 with this model.",
               "temperature", "unsupported_value"),
        "temperature",
    ),
    (C, openai("not supported", "tools[0].function.strict", "unsupported_parameter"), "strict"),
    (C, openai("`reasoning_effort` is not supported with this model"), "reasoning_effort"),
    (C, {"message": "body.presence_penalty: Extra inputs are not permitted",
         "type": "invalid_request_error", "param": "body.presence_penalty", "code": "x"},
     "presence_penalty"),
    (C, {"detail": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed')}]"}, "seed"),
    (C, openai("parallel_tool_calls is not supported by this model"), "parallel_tool_calls"),
    (R, openai("Unknown parameter: 'text.verbosity'.", "text.verbosity", "unknown_parameter"),
     "verbosity"),
    (R, openai("Unsupported parameter: 'reasoning.effort'", "reasoning.effort",
               "unsupported_parameter"), "effort"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "error", "name"), FIELDS)
def test_a_field_that_may_go_is_learned(protocol: Protocol, error: Any, name: str) -> None:
    assert refused(fault(protocol, error), SENT) == Refusals(frozenset([name]))
    assert refused(fault(protocol, error), {"model": "m"}) == NOTHING


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        # What shapes the answer is never left out.
        (C, openai("`tools` are not supported by this model")),
        (C, openai("'stop' is not supported with this model", "stop", "unsupported_parameter")),
        (C, openai("unsupported", "response_format", "unsupported_parameter")),
        (R, openai("Unknown parameter: 'store'.", "store", "unknown_parameter")),
        (M, anthropic("output_config.format: Extra inputs are not permitted")),
        # A wrong value is the client's affair.
        (M, anthropic("temperature: Input should be less than or equal to 1")),
        (C, openai("Invalid 'seed': expected an integer", "seed", "invalid_type")),
        (C, openai("this is wrong")),
        (M, anthropic("x" * 400 + " temperature is not supported")),
    ],
)
def test_anything_else_stays_a_refusal(protocol: Protocol, error: Any) -> None:
    assert refused(fault(protocol, error), SENT) == NOTHING


@pytest.mark.parametrize("kind", [FaultKind.RATE_LIMIT, FaultKind.CONTEXT, FaultKind.AUTH])
def test_only_a_refusal_of_the_request_teaches(kind: FaultKind) -> None:
    told = Fault(kind, "seed is not supported", 400, param="seed")
    assert refused(told, SENT) == NOTHING
    assert refused(Fault(FaultKind.UNSUPPORTED, "seed", 500, param="seed"), SENT) == NOTHING


@pytest.mark.parametrize(
    ("protocol", "message", "limit"),
    [
        (M, "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens "
            "for claude-haiku-4-5", 64_000),
        (C, "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, "
            "whereas you provided 100000.", 16_384),
        (C, "`max_completion_tokens` must be less than or equal to `8192`, the maximum value for "
            "`max_completion_tokens` is less than the `context_window` for this model", 8_192),
        (C, "max_completion_tokens cannot exceed 40,960", 40_960),
        (R, "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 32768, "
            "but got 100000 instead.", 32_768),
    ],
)  # fmt: skip
def test_a_limit_that_is_named_is_learned(protocol: Protocol, message: str, limit: int) -> None:
    error = anthropic(message) if protocol is M else openai(message)
    assert refused(fault(protocol, error), SENT) == Refusals(max_output=limit)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
        "max_tokens must be less than or equal to 200000",
        "at most 4 stop sequences",
    ],
)
def test_a_number_that_is_no_lower_limit_is_not(message: str) -> None:
    assert refused(fault(C, openai(message)), SENT) == NOTHING


def test_a_beta_of_other_models_is_learned() -> None:
    said = "Unexpected value(s) `context-1m-2025-08-07`, `x-1` for the `anthropic-beta` header."
    found = refused(fault(M, anthropic(said)), SENT)
    assert found.betas == {"context-1m-2025-08-07", "x-1"}
    assert found.applied(Traits()).refused_betas == ("context-1m-2025-08-07", "x-1")


class TestApplied:
    TRAITS = Traits(
        max_output=1_000,
        efforts=("low",),
        parallel_control=True,
        strict_tools=True,
        unsupported=frozenset(["verbosity"]),
    )

    def test_nothing_changes_nothing(self) -> None:
        assert NOTHING.applied(self.TRAITS) is self.TRAITS

    def test_a_field_goes_where_the_writers_look(self) -> None:
        found = Refusals(frozenset(["seed", "effort", "parallel_tool_calls", "strict"]))
        made = found.applied(self.TRAITS)
        assert made.unsupported == {"verbosity", "seed", "output_config.effort"}
        assert (made.efforts, made.parallel_control, made.strict_tools) == ((), False, False)
        assert made.max_output == 1_000

    def test_a_limit_gets_lower_never_higher(self) -> None:
        assert Refusals(max_output=500).applied(self.TRAITS).max_output == 500
        assert Refusals(max_output=5_000).applied(self.TRAITS).max_output == 1_000
        assert Refusals(max_output=5_000).applied(Traits()).max_output == 5_000
        assert (Refusals(max_output=9) | Refusals(max_output=7)).max_output == 7

    def test_a_limit_is_called_by_its_other_name(self) -> None:
        swapped = Refusals(frozenset(["max_tokens"])).applied(Traits())
        assert swapped.max_tokens_field == "max_completion_tokens"
        back = Refusals(frozenset(["max_completion_tokens"])).applied(
            Traits(max_tokens_field="max_completion_tokens")
        )
        assert back.max_tokens_field == "max_tokens"

    def test_it_can_be_told(self) -> None:
        found = Refusals(frozenset(["seed"]), 500, frozenset(["x-1"]))
        assert found.words() == ("no seed", "at most 500 tokens of output", "no beta x-1")
