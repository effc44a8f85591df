"""Every kind in the table is recognised, from headers where there are some, else from the body."""

from __future__ import annotations

from typing import Any

import pytest
from agent_bodies import (
    AGENT_TOOLS,
    BILLING,
    ENVIRONMENT,
    IDENTITY,
    Json,
    assistant,
    background_call,
    codex_turn,
    encode,
    item,
    main_turn,
    text,
    tool,
    tool_result,
    tool_use,
    user,
)

from providers.types import Protocol
from server.classify import KINDS, NATIVE_KINDS, ClientFacts, Intent, classify
from server.classify.kinds import RULES
from server.explain import read_as

CLAUDE = ClientFacts(client="claude-code", is_known_agent=True, path="/v1/messages")
CODEX = ClientFacts(client="codex", is_known_agent=True, path="/v1/responses")


def intent(body: Json, facts: ClientFacts | None = None) -> Intent:
    protocol = Protocol.RESPONSES if "input" in body else Protocol.MESSAGES
    return classify(read_as(protocol, encode(body)), facts)


def title_schema(name: str) -> Json:
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    return {"format": {"type": "json_schema", "schema": schema}}


def facts(base: ClientFacts, **extra: Any) -> ClientFacts:
    return ClientFacts(client=base.client, is_known_agent=True, **{"path": base.path, **extra})


LOOP = (user("go"), assistant(tool_use()), user(tool_result()))
DONE = (*LOOP, assistant("Done."))
SUBAGENT_SYSTEM = [text(f"{BILLING} cc_is_subagent=true;"), text(IDENTITY)]

# name: (kind, route, offload, body); nothing but the body is looked at.
BODIES: dict[str, tuple[str, str, bool, Json]] = {
    "session title": (
        "title",
        "summary",
        True,
        background_call(
            "You are naming a coding session so that it can be found again.",
            "<session>\nmake it faster\n</session>",
            output_config=title_schema("title"),
        ),
    ),
    "title by its schema": (
        "title",
        "summary",
        True,
        background_call(
            "A prompt of the future.",
            "<session>\nx\n</session>",
            output_config=title_schema("title"),
        ),
    ),
    "older title": (
        "title",
        "summary",
        True,
        background_call("Summarize this coding conversation in under 50 characters.", "text"),
    ),
    "codex title": (
        "title",
        "summary",
        True,
        codex_turn(item("user", "Generate a concise, single-line task title of 36 characters.")),
    ),
    "title of another agent": (
        "title",
        "summary",
        True,
        background_call("Write a short title for the task below, five words at most.", "fix x"),
    ),
    "rename": (
        "rename",
        "summary",
        True,
        background_call("Generate a short kebab-case name for this.", "conversation"),
    ),
    "topic": (
        "topic",
        "summary",
        True,
        {
            **background_call("Analyze if this message indicates a new conversation topic.", "hi"),
            "messages": [user("hi"), assistant("{")],
        },
    ),
    "file paths": (
        "file_paths",
        "summary",
        True,
        background_call("Extract any file paths that this command reads or modifies.", "ls"),
    ),
    "edited files": (
        "edited_files",
        "summary",
        True,
        background_call("You are an expert at analyzing git history. Pick files.", "a.py\nb.py"),
    ),
    "output digest": (
        "output_digest",
        "summary",
        True,
        background_call("You are analyzing output from a bash command.", "much output"),
    ),
    "web digest": (
        "web_digest",
        "summary",
        True,
        background_call("", "\nWeb page content:\n---\nA page about tides.\n---\nWhat is it?"),
    ),
    "long web digest": (
        "web_digest",
        "long_context",
        False,
        background_call("", "\nWeb page content:\n---\n" + "tide " * 10_000),
    ),
    "recap": (
        "recap",
        "summary",
        True,
        main_turn(*DONE, user("The user stepped away and is coming back. Recap in a line.")),
    ),
    "recap of a long session": (
        "recap",
        "long_context",
        False,
        main_turn(
            user("x" * 50_000),
            assistant("ok"),
            user("The user stepped away and is coming back. Recap in a line."),
        ),
    ),
    "bash prefix": (
        "bash_prefix",
        "fallback_safe",
        False,
        background_call("Your task is to process Bash commands that an agent runs.", "git status"),
    ),
    "bash prefix by its policy": (
        "bash_prefix",
        "fallback_safe",
        False,
        background_call("", "<policy_spec>\n# Prefixes\n</policy_spec>\nCommand: ls"),
    ),
    "permission check": (
        "permission_check",
        "fallback_safe",
        False,
        background_call("You are a security monitor for autonomous AI coding agents.", "rm -rf x"),
    ),
    "permission check in other words": (
        "permission_check",
        "fallback_safe",
        False,
        background_call(
            "Decide whether a tool call of the assistant is permitted. Allow it or block it.", "ls"
        ),
    ),
    "quota probe": (
        "quota_probe",
        "fallback_safe",
        False,
        {"model": "m", "max_tokens": 1, "messages": [user("quota")]},
    ),
    "cache prewarm": ("prewarm", "fallback_safe", False, main_turn(user("hi"), max_tokens=0)),
    "web search": (
        "web_search",
        "fallback_safe",
        False,
        background_call(
            "You run a web search for another Claude model. Search once.",
            "Perform a web search for the query: tides",
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        ),
    ),
    "web search by its tool": (
        "web_search",
        "fallback_safe",
        False,
        background_call(
            "A prompt of the future.",
            "tides",
            tools=[{"type": "web_search_2", "name": "web_search"}],
        ),
    ),
    "compaction": (
        "compaction",
        "summary",
        False,
        main_turn(
            *DONE, user("CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\nSum up.")
        ),
    ),
    "older compaction": (
        "compaction",
        "summary",
        False,
        main_turn(*DONE, user("Your task is to create a detailed summary of the conversation.")),
    ),
    "compaction of a long session": (
        "compaction",
        "long_context",
        False,
        main_turn(
            user("x" * 50_000),
            assistant("ok"),
            user("CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."),
        ),
    ),
    "compaction right after a tool": (
        "compaction",
        "summary",
        False,
        main_turn(*LOOP, user("CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.")),
    ),
    "codex compaction": (
        "compaction",
        "summary",
        False,
        codex_turn(item("user", "You are performing a CONTEXT CHECKPOINT COMPACTION. Hand over.")),
    ),
    "codex remote compaction": (
        "compaction",
        "summary",
        False,
        codex_turn(
            item("user", "go"),
            item("assistant", "done"),
            {"type": "compaction_trigger"},
            metadata={"request_kind": "compaction"},
        ),
    ),
    "after a compaction": (
        "post_compaction",
        "fallback_safe",
        False,
        main_turn(
            user("This session is being continued from a previous conversation. Summary: ...")
        ),
    ),
    "later after a compaction": (
        "user_turn",
        "fallback_safe",
        False,
        main_turn(
            user("This session is being continued from a previous conversation. Summary: ..."),
            assistant("Done."),
            user("now the lexer"),
        ),
    ),
    "codex after a compaction": (
        "post_compaction",
        "fallback_safe",
        False,
        codex_turn(
            item("user", "fix it"),
            item("user", "Another language model started to solve this problem. Summary: ..."),
        ),
    ),
    "prompt suggestion": (
        "prompt_suggestion",
        "fallback_safe",
        False,
        main_turn(*DONE, user("[SUGGESTION MODE: what might the user type next?]")),
    ),
    "search sub-agent": (
        "subagent",
        "summary",
        False,
        main_turn(
            user("find the parser"),
            system=[*SUBAGENT_SYSTEM, text("You are a file search specialist for Claude Code.")],
        ),
    ),
    "planning sub-agent": (
        "subagent",
        "planning",
        False,
        main_turn(
            user("plan it"), system="You are a software architect and planning specialist for X."
        ),
    ),
    "general sub-agent": (
        "subagent",
        "fallback_safe",
        False,
        main_turn(user("look"), system=SUBAGENT_SYSTEM),
    ),
    "step of a sub-agent": (
        "subagent",
        "tool_loop",
        False,
        main_turn(*LOOP, system=SUBAGENT_SYSTEM),
    ),
    "codex sub-agent": (
        "subagent",
        "fallback_safe",
        False,
        codex_turn(
            {"type": "function_call", "call_id": "c", "name": "spawn_agent", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "spawned"},
            {
                "type": "agent_message",
                "author": "/root",
                "recipient": "/root/look",
                "content": [{"type": "input_text", "text": "Look around."}],
            },
            metadata={"thread_source": "subagent", "subagent_kind": "thread_spawn"},
        ),
    ),
    "codex review": (
        "review",
        "planning",
        False,
        codex_turn(item("developer", "# Review guidelines:\nBe strict."), item("user", "Review.")),
    ),
    "notification": (
        "notification",
        "fallback_safe",
        False,
        main_turn(
            *DONE,
            user("<system-reminder>\n[SYSTEM NOTIFICATION - NOT USER INPUT]\nBuild ended."),
        ),
    ),
    "shell command": (
        "shell_command",
        "fallback_safe",
        False,
        main_turn(*DONE, user("<bash-input>ls</bash-input><bash-stdout>a</bash-stdout>")),
    ),
    "resumed answer": (
        "resume",
        "tool_loop",
        False,
        main_turn(*DONE, user("Output token limit hit. Resume directly where you stopped.")),
    ),
    "resumed answer without tools": (
        "resume",
        "fallback_safe",
        False,
        main_turn(
            user("hi"),
            assistant("Well,"),
            user("Your response above was stopped by a safety classifier. Go on."),
        ),
    ),
    "structured by its tool": (
        "structured",
        "summary",
        False,
        main_turn(user("count"), tools=[*AGENT_TOOLS, tool("StructuredOutput")]),
    ),
    "structured, reminded": (
        "structured",
        "fallback_safe",
        False,
        main_turn(*DONE, user("[structured-output-enforce] You have to call the tool.")),
    ),
    "codex structured": (
        "structured",
        "summary",
        False,
        codex_turn(item("user", "count"), text=title_schema("ok")),
    ),
    "tool step": ("tool_step", "tool_loop", False, main_turn(*LOOP)),
    "continuation": ("continuation", "tool_loop", False, main_turn(*DONE, user("yes"))),
    "first user turn": ("user_turn", "fallback_safe", False, main_turn(user("hello"))),
    "plan mode": (
        "user_turn",
        "planning",
        False,
        main_turn(user("plan it"), {"role": "system", "content": "Plan mode is active."}),
    ),
    "nothing at all": ("unknown", "fallback_safe", False, main_turn()),
}


@pytest.mark.parametrize(("kind", "route", "offload", "body"), BODIES.values(), ids=BODIES)
def test_the_body_tells_the_kind(kind: str, route: str, offload: bool, body: Json) -> None:
    found = intent(body)
    assert (found.kind, found.route, found.offload) == (kind, route, offload)
    agent = CODEX if "input" in body else CLAUDE
    assert intent(body, agent) == found


HEADERS: dict[str, tuple[str, ClientFacts, Json]] = {
    "count_tokens": (
        "count_tokens",
        facts(CLAUDE, path="/v1/messages/count_tokens"),
        {"model": "m", "messages": [user("foo")], "tools": AGENT_TOOLS},
    ),
    "claude sub-agent": ("subagent", facts(CLAUDE, agent_id="a-1"), main_turn(user("look"))),
    "codex review": ("review", facts(CODEX, subagent="review"), codex_turn(item("user", "x"))),
    "codex spawn": (
        "subagent",
        facts(CODEX, subagent="collab_spawn"),
        codex_turn(item("user", "x")),
    ),
    "codex guardian": (
        "permission_check",
        facts(CODEX, subagent="guardian"),
        codex_turn(item("user", "x")),
    ),
    "codex title": (
        "title",
        facts(CODEX, turn_metadata={"thread_source": "thread_title"}),
        codex_turn(item("user", "x")),
    ),
    "codex compaction": (
        "compaction",
        facts(CODEX, turn_metadata={"request_kind": "compaction"}),
        codex_turn(item("user", "x")),
    ),
    "codex prewarm": (
        "prewarm",
        facts(CODEX, turn_metadata={"request_kind": "prewarm"}),
        codex_turn(item("user", "x")),
    ),
    "background call of a sub-agent": (
        "web_digest",
        facts(CLAUDE, agent_id="a-1"),
        BODIES["web digest"][3],
    ),
}


@pytest.mark.parametrize(("kind", "sender", "body"), HEADERS.values(), ids=HEADERS)
def test_headers_tell_the_kind(kind: str, sender: ClientFacts, body: Json) -> None:
    assert intent(body, sender).kind == kind


def test_every_kind_has_an_example() -> None:
    seen = {kind for kind, *_ in BODIES.values()} | {kind for kind, *_ in HEADERS.values()}
    assert seen | {"app"} == KINDS
    assert {rule.kind for rule in RULES} | {"app"} == KINDS
    assert NATIVE_KINDS < KINDS


def test_kinds_that_decide_or_probe_are_pinned_by_their_kind() -> None:
    for kind, _, _, body in BODIES.values():
        found = intent(body)
        assert (found.pinned_by == kind) is (kind in NATIVE_KINDS)


@pytest.mark.parametrize("name", ["session title", "rename", "topic", "file paths", "web digest"])
@pytest.mark.parametrize(
    "extra", [{"tools": AGENT_TOOLS}, {"thinking": {"type": "adaptive"}}], ids=["tools", "thinking"]
)
def test_a_background_call_has_no_tools_and_no_thinking(name: str, extra: Json) -> None:
    found = intent({**BODIES[name][3], **extra})
    assert not found.offload
    assert found.kind != BODIES[name][0]


@pytest.mark.parametrize(
    "words",
    [
        "what does 'You are naming a coding session' mean?",
        "Web page content:\n---\nthis is from my browser, put it into the docs",
        "explain <policy_spec> to me",
        "why does it say CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.",
    ],
)
def test_a_user_who_quotes_a_client_prompt_is_still_a_user(words: str) -> None:
    assert intent(main_turn(user(words), {"role": "system", "content": ENVIRONMENT})).kind == (
        "user_turn"
    )


@pytest.mark.parametrize("name", BODIES)
def test_a_program_is_an_app_and_is_never_offloaded(name: str) -> None:
    kind, route, _, body = BODIES[name]
    sender = ClientFacts(client="anthropic-sdk", is_known_agent=False, path="/v1/messages")
    found = intent(body, sender)
    assert (found.kind, found.offload) == ("app", False)
    if route in ("tool_loop", "long_context") and kind not in ("resume",):
        assert found.route == route
    assert any("program" in reason for reason in found.reasons)
