"""The tools of a Responses request: functions, free-text tools and namespaces of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.neutral import Choice, Pin, Tool, ToolChoice
from providers.protocols.translate import Stop, items, mapping, text

LEFT_OUT_TOOLS = frozenset(["tool_search", "web_search", "web_search_preview"])
"""Vendor-run tools that Codex always lists, whether a turn needs them or not."""

DEFAULT_NAMESPACE = "functions"
"""The group in which models see tools without a namespace; their calls name none."""

_EMPTY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

_Key = tuple[str | None, str]


class ToolReader:
    """Collects tool definitions; of two with one name the later counts.

    Raises ``Stop`` for what cannot be carried.
    """

    def __init__(self, left_out: frozenset[str] = LEFT_OUT_TOOLS) -> None:
        self.dropped: list[str] = []
        self.degraded: list[str] = []
        self._left_out = left_out
        self._tools: dict[_Key, Tool] = {}
        self._allowed: frozenset[_Key] | None = None

    def add(self, definitions: Any) -> None:
        """Read a list of tools, of the request or of an ``additional_tools`` item."""
        for definition in items(definitions):
            tool = mapping(definition)
            kind = text(tool.get("type"))
            if kind == "namespace":
                self._add_namespace(tool)
            elif kind in ("function", "custom"):
                self._add_tool(tool, None)
            elif kind in self._left_out:
                self.degraded.append(f"tools.{kind}")
            else:
                raise Stop(Pin.SERVER_TOOL, kind or "tools")

    def tools(self) -> tuple[Tool, ...]:
        """All tools that the model may call."""
        return tuple(
            tool
            for key, tool in self._tools.items()
            if self._allowed is None or key in self._allowed
        )

    def choice(self, wanted: Any) -> ToolChoice | None:
        """Read ``tool_choice``, after all tools; ``None`` where it asks for nothing."""
        if isinstance(wanted, str):
            return self._mode(wanted)
        if wanted is None:
            return None
        choice = mapping(wanted)
        match text(choice.get("type")):
            case "function" | "custom":
                namespace, name = _key(choice)
                if (namespace, name) not in self._tools:
                    raise Stop(Pin.MALFORMED, "tool_choice.name")
                return ToolChoice(Choice.NAMED, name, namespace)
            case "allowed_tools":
                self._allow(items(choice.get("tools")))
                self.degraded.append("tool_choice.allowed_tools")
                return self._mode(text(choice.get("mode")) or "auto")
            case None:
                raise Stop(Pin.MALFORMED, "tool_choice")
            case kind:
                raise Stop(Pin.SERVER_TOOL, f"tool_choice.{kind}")

    def _mode(self, word: str) -> ToolChoice | None:
        if word not in ("auto", "none", "required"):
            raise Stop(Pin.MALFORMED, "tool_choice")
        if self.tools():
            return ToolChoice(Choice(word))
        if word == "required":
            raise Stop(Pin.TOOL_CHOICE, "tool_choice.required")
        return None

    def _allow(self, wanted: list[Any]) -> None:
        kinds = [text(mapping(tool).get("type")) for tool in wanted]
        for kind in kinds:
            if kind not in ("function", "custom") and kind not in self._left_out:
                raise Stop(Pin.SERVER_TOOL, f"tool_choice.{kind}")
        self._allowed = frozenset(
            _key(mapping(tool))
            for tool, kind in zip(wanted, kinds, strict=True)
            if kind in ("function", "custom")
        )

    def _add_namespace(self, namespace: Mapping[str, Any]) -> None:
        name = text(namespace.get("name"))
        if not name:
            raise Stop(Pin.MALFORMED, "tools.namespace")
        for definition in items(namespace.get("tools")):
            tool = mapping(definition)
            if tool.get("type") not in ("function", "custom"):
                raise Stop(Pin.SERVER_TOOL, f"namespace.{tool.get('type')}")
            self._add_tool(tool, name)

    def _add_tool(self, tool: Mapping[str, Any], group: str | None) -> None:
        namespace, name = _key(tool, group)
        callers = items(tool.get("allowed_callers"))
        if (callers and "direct" not in callers) or tool.get("async") is True:
            raise Stop(Pin.NATIVE_FIELD, "tools.allowed_callers" if callers else "tools.async")
        if tool.get("defer_loading") is True:
            self.degraded.append("tools.defer_loading")
        if tool.get("output_schema") is not None:
            self.dropped.append("tools.output_schema")
        strict = tool.get("strict")
        schema = tool.get("parameters")
        is_custom = tool.get("type") == "custom"
        self._tools[namespace, name] = Tool(
            name=name,
            description=text(tool.get("description")),
            schema=schema if isinstance(schema, dict) else _EMPTY_SCHEMA,
            strict=strict if isinstance(strict, bool) and not is_custom else None,
            is_custom=is_custom,
            grammar=_grammar(tool) if is_custom else None,
            namespace=namespace,
        )


def _key(tool: Mapping[str, Any], group: str | None = None) -> _Key:
    name = text(tool.get("name"))
    if not name:
        raise Stop(Pin.MALFORMED, "tools.name")
    return plain_namespace(group or text(tool.get("namespace"))), name


def plain_namespace(name: str | None) -> str | None:
    """``name``, or ``None`` for the group that calls do not name."""
    return None if not name or name == DEFAULT_NAMESPACE else name


def _grammar(tool: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = tool.get("format")
    return wanted if isinstance(wanted, dict) and wanted.get("type") == "grammar" else None
