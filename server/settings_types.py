"""The vocabulary of the settings: closed name lists, route entries and checked field types."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    Strict,
    StrictStr,
    WithJsonSchema,
    WrapSerializer,
)
from pydantic_core import PydanticCustomError

from server.addresses import check_proxy_url

RouteClass = Literal[
    "tool_loop", "long_context", "planning", "code_draft", "summary", "fallback_safe"
]
Kind = Literal[
    "user_turn",
    "tool_step",
    "continuation",
    "subagent",
    "title",
    "rename",
    "recap",
    "web_digest",
    "web_search",
    "compaction",
    "post_compaction",
    "count_tokens",
    "bash_prefix",
    "permission_check",
    "quota_probe",
    "topic",
    "file_paths",
    "edited_files",
    "output_digest",
    "prompt_suggestion",
    "notification",
    "shell_command",
    "resume",
    "structured",
    "review",
    "prewarm",
    "app",
    "unknown",
]
Mode = Literal["observe", "verify", "canary", "live"]
LogLevel = Literal["debug", "info", "warning", "error"]
ProviderKind = Literal["anthropic-messages", "openai-responses", "openai-chat"]

ROUTE_CLASSES: tuple[str, ...] = get_args(RouteClass)
KINDS: tuple[str, ...] = get_args(Kind)

NEVER_MOVED = frozenset(
    {
        "bash_prefix",
        "permission_check",
        "quota_probe",
        "count_tokens",
        "compaction",
        "web_search",
        "prewarm",
    }
)
"""Kinds that stay with the client's own vendor and model whatever the settings say."""

MAIN_KINDS = ("user_turn", "tool_step", "continuation", "post_compaction", "resume")
"""Kinds that carry a session's own conversation, so that their prompt is its context."""

BASELINE = "baseline"

_MODEL = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._:/+~\[\]-]{0,199}")
_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_T = TypeVar("_T")
_K = TypeVar("_K")


def fault(reason: str, hint: str = "") -> PydanticCustomError:
    """A validation error whose text is shown to the user as it is, without the value."""
    return PydanticCustomError("setting", "{reason}", {"reason": reason, "hint": hint})


def rule(reason: str, hint: str = "") -> PydanticCustomError:
    """Like ``fault``, for a rule between keys that are each right by themselves."""
    return PydanticCustomError("rule", "{reason}", {"reason": reason, "hint": hint})


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean "..."?`` for the most similar known name, empty when none is similar."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One place a request may go: ``baseline``, a provider, or a provider and a model."""

    provider: str
    model: str | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether it stands for the client protocol's own entry of ``routing.baseline``."""
        return self.provider == BASELINE

    def __str__(self) -> str:
        return self.provider if self.model is None else f"{self.provider}/{self.model}"


def parse_entry(text: str) -> RouteEntry:
    """Read ``"baseline"``, ``"provider"`` or ``"provider/model"``; model ids may hold slashes.

    Raises ``ValueError`` with the reason in words.
    """
    provider, slash, model = text.partition("/")
    if provider == BASELINE and slash:
        raise ValueError('"baseline" takes no model')
    if _PROVIDER.fullmatch(provider) is None:
        raise ValueError('expected "baseline", "provider" or "provider/model"')
    if slash and not is_model_id(model):
        raise ValueError("the part after the first slash is not a model id")
    return RouteEntry(provider, model or None)


def is_model_id(text: str) -> bool:
    """Whether ``text`` can be a model id; never one that could leave its place in a URL path."""
    return _MODEL.fullmatch(text) is not None and ".." not in text and "//" not in text


def _words(check: Callable[[str], _T]) -> Callable[[str], _T]:
    def run(text: str) -> _T:
        try:
            return check(text)
        except ValueError as error:
            raise fault(str(error)) from None

    return run


def _entry(value: Any) -> Any:
    if isinstance(value, RouteEntry):
        return value
    if not isinstance(value, str):
        raise fault('expected text like "baseline", "groq" or "groq/openai/gpt-oss-120b"')
    return _words(parse_entry)(value)


Entry = Annotated[
    RouteEntry,
    BeforeValidator(_entry),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(baseline|[a-z][a-z0-9_-]*(/\S+)?)$"}),
]
Entries = Annotated[tuple[Entry, ...], Field(min_length=1)]


def _provider_name(name: str) -> str:
    if _PROVIDER.fullmatch(name) is None or name == BASELINE:
        raise fault("a provider's name is lower-case letters, digits, - and _ (not: baseline)")
    return name


def _env_name(name: str) -> str:
    if _ENV_NAME.fullmatch(name) is None:
        raise fault(
            "expected the name of an environment variable",
            "the key itself belongs into the environment or into .env, never into this file",
        )
    return name


def _model_id(text: str) -> str:
    if not is_model_id(text):
        raise fault("this is not a model id")
    return text


def _proxy(value: str) -> str:
    return value if value in ("env", "none") else _words(check_proxy_url)(value)


def _ca_bundle(value: str) -> str:
    path = os.path.expanduser(value)
    if value != "system" and not os.path.isabs(path):
        raise fault('must be "system" or an absolute path')
    return path


def _usd(value: Any) -> Any:
    # The shortest text of a float is what the user wrote: 0.1 becomes Decimal("0.1").
    if isinstance(value, float | int) and not isinstance(value, bool):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return value
    raise fault("expected a number: USD for a million tokens")


ProviderName = Annotated[StrictStr, AfterValidator(_provider_name)]
EnvName = Annotated[StrictStr, AfterValidator(_env_name)]
ModelId = Annotated[StrictStr, AfterValidator(_model_id)]
Proxy = Annotated[StrictStr, AfterValidator(_proxy)]
CaBundle = Annotated[StrictStr, AfterValidator(_ca_bundle)]
Text = Annotated[StrictStr, Field(min_length=1)]
Seconds = Annotated[float, Strict(), Field(ge=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1)]
Usd = Annotated[
    Decimal,
    BeforeValidator(_usd),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0}),
]


def _as_dict(value: Mapping[Any, Any], handler: SerializerFunctionWrapHandler) -> Any:
    return handler(dict(value))


Frozen = Annotated[
    Mapping[_K, _T],
    AfterValidator(MappingProxyType),
    WrapSerializer(_as_dict),
]
"""A table with free names; read-only once validated."""
