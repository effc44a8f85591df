"""From a request to its route class, kind and offload: pure, and safe on any JSON object.

Structure decides first and exactly: a pending tool result is ``tool_loop``, a conversation over
12,000 tokens is ``long_context``. Then the kind, if the client gave itself away. Only what is left
is a matter of judgement, and that judgement is one replaceable function, the ``Scorer``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from providers.protocols.anthropic.request import MessagesRequest
from server.classify.client import ClientFacts
from server.classify.continuation import is_bare_continuation
from server.classify.entries import AnyRequest
from server.classify.kinds import NATIVE_KINDS, KindRule, find_kind
from server.classify.outline import Outline, outline
from server.classify.score import Score, Scorer
from server.classify.trained import judge

CLASSIFIER_VERSION = "4"
"""Stored with every turn; changes whenever the same request could be classified differently."""

ROUTES = ("tool_loop", "long_context", "planning", "code_draft", "summary", "fallback_safe")
LONG_CONTEXT_TOKENS = 12_000
"""Above this many tokens of history and turn (characters / 4) a conversation is long."""

Feature = bool | int | str

_TOOL_CHOICES = frozenset({"auto", "any", "tool", "none", "required", "function"})
_OUTPUT_FORMATS = frozenset({"json_schema", "json_object", "text"})
_log = logging.getLogger("sbgw.classify")


@dataclass(frozen=True, slots=True)
class Intent:
    """What a request is and whether it may leave its vendor; metadata only, no prompt text."""

    route: str
    kind: str
    offload: bool
    confidence: float
    """0 to 1, that ``route`` is right."""
    confidence_level: str
    """``high``, ``medium`` or ``low``."""
    reasons: tuple[str, ...]
    """Sentences for the user, the deciding one first."""
    estimates: Mapping[str, int] = field(default_factory=dict)
    """Tokens ``system tools history turn``."""
    features: Mapping[str, Feature] = field(default_factory=dict)
    """What was looked at: flags, counts and words of short fixed lists."""
    pinned_by: str | None = None
    """Why the request cannot leave its vendor whatever the settings say; ``None`` if it could."""
    session: str | None = None
    agent: str | None = None


def classify(request: AnyRequest, facts: ClientFacts | None, scorer: Scorer = judge) -> Intent:
    """Classify a request; ``facts=None`` looks at the body alone. Never raises."""
    try:
        return _classify(request, facts, scorer)
    except Exception as error:
        # Promise 1: a request nobody understands is still relayed.
        _log.warning("classification failed: %s", type(error).__name__)
        return Intent(
            "fallback_safe",
            "unknown",
            offload=False,
            confidence=0.0,
            confidence_level="low",
            reasons=("The request could not be understood, so it stays with its own vendor.",),
            pinned_by="not_understood",
        )


def _classify(request: AnyRequest, facts: ClientFacts | None, scorer: Scorer) -> Intent:
    seen = outline(request)
    rule = find_kind(seen, facts)
    is_app = facts is not None and not facts.is_known_agent and rule.kind != "count_tokens"
    kind = "app" if is_app else rule.kind
    score = _route(seen, rule, scorer, is_app=is_app)
    pin = _pin(seen, rule.kind)
    reasons = [score.reason, *filter(None, [score.offload_reason])]
    if is_app:
        reasons.append("The headers are not those of a known agent, so a program is asking.")
    elif rule.reason != score.reason:
        reasons.append(rule.reason)
    if pin is not None:
        reasons.append(_PINS.get(pin, _NATIVE_KIND))
    return Intent(
        route=score.route,
        kind=kind,
        offload=score.offload and pin is None and not _is_long(seen),
        confidence=score.confidence,
        confidence_level=confidence_level(score.confidence),
        reasons=tuple(dict.fromkeys(reasons)),
        estimates=seen.estimates,
        features={**_features(seen), **_signals(score)},
        pinned_by=pin,
        session=_session(request, facts),
        agent=facts.agent_id if facts else None,
    )


def confidence_level(confidence: float) -> str:
    """The word for a confidence: ``high`` from 0.85, ``medium`` from 0.6."""
    if confidence >= 0.85:
        return "high"
    return "medium" if confidence >= 0.6 else "low"


def _is_long(seen: Outline) -> bool:
    return seen.conversation_tokens > LONG_CONTEXT_TOKENS


def _route(seen: Outline, rule: KindRule, scorer: Scorer, *, is_app: bool) -> Score:
    """Structure first, then the kind, then the scorer."""
    structural = None if rule.kind == "count_tokens" else _structural(seen, rule)
    if structural is not None:
        return structural
    if rule.route is not None and not is_app:
        return Score(rule.route, offload=rule.offload, confidence=0.95, reason=rule.reason)
    score = scorer(seen)
    # The other kinds need tools, or the client's own machinery.
    if rule.kind in ("user_turn", "unknown") or rule.offload:
        return score
    return replace(score, offload=False, offload_reason="")


def _structural(seen: Outline, rule: KindRule) -> Score | None:
    reason = None
    # An instruction of the client in a message of its own replaces the next step of the loop.
    is_step = seen.result_is_last or rule.kind not in _INSTRUCTIONS
    if seen.has_tool_result and not seen.interrupted and is_step:
        reason = "The last message carries a tool result, so this is a step of a running tool loop."
    elif _is_long(seen):
        return Score(
            "long_context",
            offload=False,
            confidence=0.99,
            reason=f"The conversation holds about {seen.conversation_tokens:,.0f} tokens, "
            f"more than {LONG_CONTEXT_TOKENS:,}.",
        )
    elif seen.tool_activity and (
        rule.kind == "resume" or (rule.kind == "continuation" and is_bare_continuation(seen.human))
    ):
        reason = "The user only said to go on after tools were used, so the tool loop continues."
    return None if reason is None else Score("tool_loop", False, 0.99, reason)


_INSTRUCTIONS = frozenset({"compaction", "recap", "prompt_suggestion"})
_NATIVE_KIND = "Requests of this kind never leave their vendor."
_PINS = {
    "tool_result": "A tool result in the last message keeps it where the tool was called.",
    "forced_tool": "The answer must be a tool call.",
    "image": "It contains an image.",
    "document": "It contains a document.",
    "server_tool": "It uses tools that only the vendor can run.",
    "structured_output": "The answer must come through a tool of the client.",
    "signed_thinking": "It carries reasoning that only its own vendor can read.",
    "unknown_block": "It contains a kind of content this gateway does not know.",
    "vendor_state": "It refers to something stored at the vendor.",
}


def _pin(seen: Outline, kind: str) -> str | None:
    """The first thing that keeps a request native, most telling first."""
    if kind in NATIVE_KINDS:
        return kind
    pins = (
        ("tool_result", seen.has_tool_result),
        ("forced_tool", seen.forced_tool),
        ("image", seen.images > 0),
        ("document", seen.documents > 0),
        ("server_tool", seen.server_tools > 0 or seen.server_blocks > 0),
        ("structured_output", "StructuredOutput" in seen.tool_names),
        ("signed_thinking", seen.signed_blocks > 0),
        ("unknown_block", seen.unknown_blocks > 0),
        ("vendor_state", seen.native_fields > 0),
    )
    return next((name for name, holds in pins if holds), None)


def _features(seen: Outline) -> dict[str, Feature]:
    return {
        "protocol": seen.protocol,
        "n_messages": seen.n_messages,
        "n_tools": seen.n_tools,
        "server_tools": seen.server_tools,
        "mcp_tools": seen.mcp_tools,
        "deferred_tools": seen.deferred_tools,
        "structured_output": "StructuredOutput" in seen.tool_names,
        "tool_choice": _word(seen.tool_choice, _TOOL_CHOICES),
        "forced_tool": seen.forced_tool,
        "output_format": _word(seen.output_format, _OUTPUT_FORMATS),
        "thinking": seen.thinking is not None,
        "stream": seen.stream,
        "max_tokens": -1 if seen.max_tokens is None else seen.max_tokens,
        "has_tool_result": seen.has_tool_result,
        "interrupted": seen.interrupted,
        "continuation": seen.answered_before and is_bare_continuation(seen.human),
        "answered_before": seen.answered_before,
        "tool_activity": seen.tool_activity,
        "prefill": seen.prefill,
        "plan_mode": seen.plan_mode,
        "subagent_body": seen.marks_subagent,
        "images": seen.images,
        "documents": seen.documents,
        "server_blocks": seen.server_blocks,
        "unknown_blocks": seen.unknown_blocks,
        "signed_blocks": seen.signed_blocks,
        "native_fields": seen.native_fields,
        "human_chars": len(seen.human),
    }


def _signals(score: Score) -> dict[str, Feature]:
    """What the scorer saw in the words, so that stored turns can be judged anew without them."""
    return {f"says_{name.replace('~', '_weak')}": count for name, count in score.signals.items()}


def _word(text: str | None, allowed: frozenset[str]) -> str:
    """A client's word if it is on the list: features must never carry free text."""
    if text is None:
        return "none_given"
    return text if text in allowed else "other"


def _session(request: AnyRequest, facts: ClientFacts | None) -> str | None:
    if facts is not None and facts.session is not None:
        return facts.session
    return request.session_id if isinstance(request, MessagesRequest) else None
