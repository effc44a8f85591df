"""What a provider's model takes, as data: ``data/traits.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from providers.neutral import NO_NOTES, Notes, Pin, Request
from providers.protocols.translate import Stop
from providers.tool_book import ToolBook

ALL_CHOICES = frozenset(["auto", "none", "required", "named"])
_DATA = Path(__file__).with_name("data") / "traits.toml"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Traits:
    """Limits and deviations of one model at one provider.

    The defaults are those of an OpenAI-compatible server we know nothing about: what could be
    refused is left out, and what would be lost by leaving it out pins the request.
    """

    context: int | None = None
    """Tokens of input and output together; ``None``: unknown."""
    max_output: int | None = None
    """Tokens; ``None``: unknown, the provider's own default applies."""
    max_tokens_field: str = "max_tokens"
    """``max_tokens`` or ``max_completion_tokens``."""
    unsupported: frozenset[str] = frozenset()
    """Body fields, and ``messages.name``, that are left out because they would be refused."""
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """Body fields that every request gets."""
    tools: bool = True
    max_tools: int | None = None
    tool_choices: frozenset[str] = ALL_CHOICES
    parallel_control: bool = False
    """Takes ``parallel_tool_calls``."""
    strict_tools: bool = False
    """Takes ``strict`` on tools."""
    uniform_strict: bool = False
    """Wants the same ``strict`` on all tools of a request."""
    custom_tools: bool = False
    """Takes free-text tools (OpenAI ``custom``); else a function with one argument stands in."""
    schema_drops: frozenset[str] = frozenset(["$schema"])
    """JSON Schema keywords that are refused."""
    vision: bool = False
    files: bool = False
    """Takes documents other than plain text."""
    stop_limit: int | None = 4
    """Most stop sequences."""
    efforts: tuple[str, ...] = ()
    """Values of ``reasoning_effort``, from least to most; empty: the field is not sent."""
    json_schema: bool = False
    """Takes ``response_format`` with a schema."""
    sampling: bool = True
    """Takes ``temperature`` and ``top_p``."""
    system_role: str = "system"
    """``system`` or ``developer``."""
    mid_system: bool = True
    """Takes instructions between other messages."""
    flat_content: bool = False
    """Wants message content as one string."""
    refused_betas: tuple[str, ...] = ()
    """Patterns of ``anthropic-beta`` values that are bound to other models."""
    null_content: bool = True
    """Takes ``content: null`` beside tool calls; else it gets ``""``."""

    def choose_effort(self, wanted: str) -> str | None:
        """The closest effort the model has, never a higher one if there is a lower one."""
        if not self.efforts:
            return None
        if wanted in self.efforts:
            return wanted
        ranks = {name: rank for rank, name in enumerate(EFFORTS)}
        rank = ranks.get(wanted, ranks["medium"])
        lower = [name for name in self.efforts if ranks.get(name, rank + 1) <= rank]
        return lower[-1] if lower else self.efforts[0]


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts, from least to most."""

_FIELDS = {item.name for item in fields(Traits)}
_SETS = frozenset(["unsupported", "tool_choices", "schema_drops"])


def read_traits(row: Mapping[str, Any], base: Traits = Traits()) -> Traits:
    """``base`` with the values of a table of the data file; raises ``ValueError`` for a typo."""
    unknown = set(row) - _FIELDS
    if unknown:
        raise ValueError(f"unknown traits: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in _SETS:
            value = frozenset(value)
        elif name in ("efforts", "refused_betas"):
            value = tuple(value)
        elif name == "extra":
            value = MappingProxyType(dict(value))
        values[name] = value
    return replace(base, **values)


def traits_of(provider: str, model: str) -> Traits:
    """The traits of a model at a provider; the defaults for a provider we know nothing about."""
    general, by_pattern = _tables().get(provider, (Traits(), ()))
    for pattern, traits in by_pattern:
        if fnmatchcase(model, pattern):
            return traits
    return general


@cache
def _tables() -> Mapping[str, tuple[Traits, tuple[tuple[str, Traits], ...]]]:
    found = {}
    for name, row in tomllib.loads(_DATA.read_text(encoding="utf-8")).items():
        models = row.pop("models", {})
        general = read_traits(row)
        by_pattern = tuple((key, read_traits(value, general)) for key, value in models.items())
        found[name] = (general, by_pattern)
    return found


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request in a provider's own protocol, and what is needed to read its answer."""

    body: dict[str, Any]
    """For ``providers.tool_book.encode``."""
    book: ToolBook
    notes: Notes = NO_NOTES
    """All that the reader and the writer left out or changed."""


MIN_OUTPUT = 1024
"""Tokens of output that must be left in the window, unless the client wants fewer."""


def output_limit(
    request: Request, traits: Traits, input_tokens: int | None
) -> tuple[int | None, bool]:
    """How many tokens the answer may have, and whether that is less than was asked for.

    ``None``: unknown, so the provider's default applies. Raises ``Stop`` when ``input_tokens``
    leave no room in the model's window.
    """
    asked = request.max_tokens
    known = [limit for limit in (asked, traits.max_output) if limit is not None]
    if traits.context is not None and input_tokens is not None:
        room = traits.context - input_tokens
        if room < min([MIN_OUTPUT, *known]):
            raise Stop(Pin.CONTEXT, f"{input_tokens} tokens of {traits.context}")
        known.append(room)
    limit = min(known, default=None)
    return limit, asked is not None and limit is not None and limit < asked
