"""What can be learned from a provider's 400: a field its model does not take, a lower limit. Pure.

Only what may be left out without changing what the client asked for is learned; ``_FIELDS`` is
that list. Everything else stays the provider's refusal.

Sources: error messages of Anthropic (``temperature: Extra inputs are not permitted``), OpenAI
(``Unsupported parameter: 'max_tokens' is not supported with this model``), Groq (``property
'seed' is unsupported``), Cerebras (``body.seed: Extra inputs are not permitted``), vLLM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from providers.faults import Fault, FaultKind
from providers.traits import Traits

_PLAIN: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "verbosity",
        "stream_options",
        "cache_control",
        "service_tier",
        "speed",
        "metadata",
        "thinking",
    }
)
"""Left out as they are. Not among them: what shapes the answer (tools, stop sequences, formats),
and ``store``, whose default would keep the user's text."""

_EFFORT: Final = frozenset({"reasoning_effort", "reasoning", "effort"})
_PARALLEL: Final = "parallel_tool_calls"
_STRICT: Final = "strict"
_LIMITS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "max_tokens": "max_completion_tokens",
        "max_completion_tokens": "max_tokens",
        "max_output_tokens": None,
    }
)
"""Fields that hold the limit of the answer, and how else it may be called."""

_FIELDS: Final = (*_PLAIN, *_EFFORT, _PARALLEL, _STRICT, *_LIMITS)
_WHOLE: Final = MappingProxyType(
    {"effort": ("output_config", "reasoning"), "verbosity": ("text",), _STRICT: ("tools",)}
)
"""Fields that are inside another one of the body."""

TEACHING: Final = frozenset({400, 422})
"""Statuses of a request that is wrong in itself."""

MESSAGE_HEAD: Final = 300
"""Characters of a message in which a field is looked for."""

_REFUSES: Final = re.compile(
    r"not\s+(?:be\s+)?(?:currently\s+)?(?:supported|permitted|allowed|available)|unsupported"
    r"|(?:does|do) not (?:support|accept|recogni[sz]e)|unrecogni[sz]ed|\bunknown\b|unexpected"
    r"|extra (?:inputs|fields)|extra_forbidden|\bdeprecated\b",
    re.IGNORECASE,
)
_MOST: Final = re.compile(
    r"(?:at most|less than or equal to|no more than|maximum(?: value)?(?: (?:of|is|for \S+ is))?"
    r"|must be below|cannot exceed|not exceed|<=|(?<=\d) >)\s*[`'\"(]*(\d{1,3}(?:,\d{3})+|\d+)",
    re.IGNORECASE,
)
_BETA: Final = re.compile(r"[Uu]nexpected value\(s\) (.{1,300}?) for the .anthropic-beta. header")
_QUOTED: Final = re.compile(r"[`'\"]([A-Za-z0-9._-]{1,64})[`'\"]")


@dataclass(frozen=True, slots=True)
class Refusals:
    """What one model at one provider does not take."""

    fields: frozenset[str] = frozenset()
    max_output: int | None = None
    """Tokens."""
    betas: frozenset[str] = frozenset()
    """Values of ``anthropic-beta``."""

    def __or__(self, other: Refusals) -> Refusals:
        limits = [m for m in (self.max_output, other.max_output) if m is not None]
        return Refusals(
            self.fields | other.fields,
            min(limits, default=None),
            self.betas | other.betas,
        )

    def words(self) -> tuple[str, ...]:
        """For the log and for people."""
        limit = () if self.max_output is None else (f"at most {self.max_output} tokens of output",)
        return (
            *(f"no {name}" for name in sorted(self.fields)),
            *limit,
            *(f"no beta {name}" for name in sorted(self.betas)),
        )

    def applied(self, traits: Traits) -> Traits:
        """``traits`` of a model that refuses this too."""
        if self == NOTHING:
            return traits
        known = [m for m in (traits.max_output, self.max_output) if m is not None]
        changes: dict[str, Any] = {
            "max_output": min(known, default=None),
            "unsupported": traits.unsupported | set(self._unsupported()),
            "refused_betas": (*traits.refused_betas, *sorted(self.betas)),
        }
        if self.fields & _EFFORT:
            changes["efforts"] = ()
        if _PARALLEL in self.fields:
            changes["parallel_control"] = False
        if _STRICT in self.fields:
            changes["strict_tools"] = False
        for name in self.fields & _LIMITS.keys():
            if (other := _LIMITS[name]) is not None and traits.max_tokens_field == name:
                changes["max_tokens_field"] = other
        return replace(traits, **changes)

    def _unsupported(self) -> Iterator[str]:
        yield from self.fields & _PLAIN
        if "thinking" in self.fields:
            yield "thinking.adaptive"
        if self.fields & _EFFORT:
            yield "output_config.effort"


NOTHING: Final = Refusals()


def refused(fault: Fault, sent: Mapping[str, Any]) -> Refusals:
    """What ``fault`` says is not taken of a body with the fields ``sent``; nothing where unsure."""
    if fault.status not in TEACHING or fault.kind not in (
        FaultKind.UNSUPPORTED,
        FaultKind.INVALID,
    ):
        return NOTHING
    if betas := _betas(fault.message):
        return Refusals(betas=betas)
    if (limit := _limit(fault, sent)) is not None:
        return Refusals(max_output=limit)
    says_so = fault.kind is FaultKind.UNSUPPORTED or _REFUSES.search(fault.message) is not None
    name = next(_named(fault, sent), None) if says_so else None
    return NOTHING if name is None else Refusals(frozenset([name]))


def _named(fault: Fault, sent: Mapping[str, Any]) -> Iterator[str]:
    """The fields at fault that could be left out: the one named, else those in the message."""
    if fault.param:
        parts = re.split(r"[.\[\]]+", fault.param)
        yield from _sendable([parts[-1], *parts], sent)
        return
    # Further on, a message may repeat what the user wrote.
    places = {name: _place(name, fault.message[:MESSAGE_HEAD]) for name in _FIELDS}
    found = sorted((at, name) for name, at in places.items() if at is not None)
    yield from _sendable((name for _, name in found), sent)


def _sendable(names: Iterable[str], sent: Mapping[str, Any]) -> Iterator[str]:
    for name in names:
        if name in _FIELDS and (name in sent or any(n in sent for n in _WHOLE.get(name, ()))):
            yield name


def _place(name: str, message: str) -> int | None:
    found = re.search(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])", message)
    return None if found is None else found.start()


def _limit(fault: Fault, sent: Mapping[str, Any]) -> int | None:
    """A lower limit of output that ``fault`` names."""
    asked = [value for name in _LIMITS if isinstance(value := sent.get(name), int)]
    text = f"{fault.param or ''} {fault.message}"
    if not asked or not any(_place(name, text) is not None for name in _LIMITS):
        return None
    named = (int(number.replace(",", "")) for number in _MOST.findall(fault.message))
    return max((number for number in named if 1 <= number < min(asked)), default=None)


def _betas(message: str) -> frozenset[str]:
    found = _BETA.search(message)
    return frozenset(_QUOTED.findall(found[1])) if found else frozenset()
