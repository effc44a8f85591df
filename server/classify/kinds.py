"""What kind of request this is: one ordered table, the first rule that holds wins.

Claude Code's main model and ``max_tokens`` identify nothing any more, so the rules look at the
prompts the clients ship, at the shape of the request, and at the headers Codex and Claude Code
send. Rules that allow an offload ask for the whole shape; rules that forbid it are content with
one sign, because a wrong "never" costs a few cents and a wrong "yes" costs the user's trust.
"""

from __future__ import annotations

from dataclasses import dataclass

from server import settings_types
from server.classify.client import ClientFacts
from server.classify.matchers import (
    Match,
    all_of,
    answer_keys,
    any_of,
    background,
    bare_continuation,
    codex_says,
    first_turn,
    judges_permission,
    last_text_opens,
    last_text_says,
    opening_starts,
    orders_a_title,
    subagent_header,
    system_opens,
    system_says,
)
from server.classify.outline import Outline

KINDS = frozenset(settings_types.KINDS)

NATIVE_KINDS = settings_types.NEVER_MOVED
"""Never offloaded and never downgraded: safety decisions, account probes, whole-session state."""


@dataclass(frozen=True, slots=True)
class KindRule:
    """One row of the table."""

    kind: str
    reason: str
    """A sentence for the user."""
    match: Match
    route: str | None = None
    """Route class when the structure does not decide; ``None`` leaves it to the scorer."""
    offload: bool = False
    """May leave the vendor as far as the kind is concerned; size and pins still decide."""


RULES: tuple[KindRule, ...] = (
    KindRule(
        "count_tokens",
        "This only counts tokens, which is free and exact at the vendor.",
        lambda _, f: f.path.rstrip("/").endswith("/count_tokens"),
        "fallback_safe",
    ),
    # Requests that must never leave: the first sign is enough.
    KindRule(
        "quota_probe",
        "A one-token probe tests the account itself.",
        lambda o, _: o.max_tokens == 1 and o.n_tools == 0 and not o.answered_before,
        "fallback_safe",
    ),
    KindRule(
        "prewarm",
        "This request only warms the vendor's cache.",
        any_of(lambda o, _: o.max_tokens == 0, codex_says("request_kind", "prewarm")),
        "fallback_safe",
    ),
    KindRule(
        "compaction",
        "The client compacts its conversation; a mistake would spoil the rest of the session.",
        any_of(
            codex_says("request_kind", "compaction"),
            last_text_opens(
                "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.",
                "Your task is to create a detailed summary of the conversation",
                "Your task is to create a detailed summary of the RECENT portion",
                "You are performing a CONTEXT CHECKPOINT COMPACTION",
            ),
            system_opens("You are a helpful AI assistant tasked with summarizing conversations"),
        ),
        "summary",
    ),
    KindRule(
        "bash_prefix",
        "The answer decides whether a shell command may run without asking.",
        any_of(
            system_says("Your task is to process Bash commands", "<policy_spec>"),
            all_of(background, opening_starts("<policy_spec>", "Your task is to process Bash")),
        ),
        "fallback_safe",
    ),
    KindRule(
        "permission_check",
        "The answer allows or blocks an action of the agent.",
        any_of(
            subagent_header("guardian", "auto_review", "approval"),
            codex_says("subagent_kind", "guardian", "auto_review", "approval"),
            system_opens(
                "You are a security monitor for autonomous AI coding agents",
                "You are judging one planned coding-agent action",
            ),
            judges_permission,
        ),
        "fallback_safe",
    ),
    KindRule(
        "web_search",
        "Only the vendor can run the web search this request asks for.",
        any_of(
            system_says(
                "You run a web search for another Claude model", "performing a web search tool use"
            ),
            lambda o, _: o.n_tools == o.server_tools == 1 and "web_search" in o.tool_names,
        ),
        "fallback_safe",
    ),
    # Small background calls.
    KindRule(
        "title",
        "A background call that names the session.",
        any_of(
            codex_says("thread_source", "thread_title"),
            last_text_opens("Generate a concise, single-line task title"),
            all_of(
                background,
                any_of(
                    system_says(
                        "You are naming a coding session",
                        "Summarize this coding conversation in under 50 characters",
                        "Please write a 5-10 word title",
                        "Generate a concise, sentence-case title",
                    ),
                    opening_starts("Please write a 5-10 word title"),
                    all_of(answer_keys("title"), opening_starts("<session>")),
                    orders_a_title,
                ),
            ),
        ),
        "summary",
        offload=True,
    ),
    KindRule(
        "rename",
        "A background call that proposes a name.",
        all_of(background, system_says("Generate a short kebab-case name")),
        "summary",
        offload=True,
    ),
    KindRule(
        "topic",
        "A background call that asks whether the subject has changed.",
        all_of(
            background,
            system_says("Analyze if this message indicates a new conversation topic"),
        ),
        "summary",
        offload=True,
    ),
    KindRule(
        "file_paths",
        "A background call that lists the files a command touched.",
        all_of(
            background,
            any_of(
                system_says("Extract any file paths that this command reads or modifies"),
                opening_starts("Extract any file paths that this command reads or modifies"),
            ),
        ),
        "summary",
        offload=True,
    ),
    KindRule(
        "edited_files",
        "A background call that picks frequently edited files from the history.",
        all_of(background, system_says("You are an expert at analyzing git history")),
        "summary",
        offload=True,
    ),
    KindRule(
        "output_digest",
        "A background call that shortens the output of a command.",
        all_of(background, system_says("analyzing output from a bash command")),
        "summary",
        offload=True,
    ),
    KindRule(
        "web_digest",
        "A background call that digests a fetched web page.",
        all_of(background, opening_starts("Web page content:\n---")),
        "summary",
        offload=True,
    ),
    KindRule(
        "recap",
        "The client asks for a short recap while the user is away.",
        last_text_opens("The user stepped away and is coming back. Recap"),
        "summary",
        offload=True,
    ),
    KindRule(
        "prompt_suggestion",
        "The client asks what the user might type next, on the cached conversation.",
        last_text_opens("[SUGGESTION MODE:"),
        "fallback_safe",
    ),
    # Sub-agents: all their requests, tool steps included, so that they stay on one model.
    KindRule(
        "review",
        "A review agent is at work; it needs its tools.",
        any_of(
            subagent_header("review"),
            codex_says("subagent_kind", "review"),
            system_opens("# Review guidelines:"),
        ),
        "planning",
    ),
    KindRule(
        "subagent",
        "A search sub-agent is at work; it needs its tools.",
        system_opens("You are a file search specialist"),
        "summary",
    ),
    KindRule(
        "subagent",
        "A planning sub-agent is at work; it needs its tools.",
        system_opens("You are a software architect and planning specialist"),
        "planning",
    ),
    KindRule(
        "subagent",
        "A sub-agent is at work; it needs its tools.",
        any_of(
            lambda o, f: o.marks_subagent or f.agent_id is not None or f.subagent is not None,
            codex_says("thread_source", "subagent"),
            system_opens("You are an agent for Claude Code"),
        ),
    ),
    # The main conversation, by what the last turn is.
    KindRule(
        "notification",
        "A note from the client, not from the user.",
        last_text_says(
            "[SYSTEM NOTIFICATION - NOT USER INPUT]", "<task-notification>", "<subagent_notif"
        ),
        "fallback_safe",
    ),
    KindRule(
        "tool_step",
        "A step of a running tool loop.",
        lambda o, _: o.has_tool_result and not o.interrupted,
    ),
    KindRule(
        "shell_command",
        "The user ran a shell command from the prompt.",
        last_text_opens("<bash-input>", "<bash-stdout>", "<bash-stderr>", "<user_shell_command>"),
        "fallback_safe",
    ),
    KindRule(
        "resume",
        "The client resumes an answer that was cut off.",
        last_text_opens(
            "Output token limit hit. Resume directly",
            "Your response above was stopped by a safety classifier",
        ),
        "fallback_safe",
    ),
    KindRule(
        "post_compaction",
        "The first turn after a compaction.",
        all_of(
            first_turn,
            any_of(
                opening_starts(
                    "This session is being continued from a previous conversation",
                    "Another language model started to solve this problem",
                ),
                last_text_opens("Another language model started to solve this problem"),
            ),
        ),
        "fallback_safe",
    ),
    KindRule("continuation", "The user only said to go on.", bare_continuation),
    KindRule(
        "structured",
        "The answer must have a given JSON form.",
        any_of(
            last_text_says("[structured-output-enforce]"),
            lambda o, _: "StructuredOutput" in o.tool_names,
            lambda o, _: o.output_format in ("json_schema", "json_object"),
        ),
    ),
    KindRule("user_turn", "A new message of the user.", lambda o, _: o.has_turn),
    KindRule("unknown", "Nothing in this request is familiar.", lambda _o, _f: True),
)

_NOBODY = ClientFacts()


def find_kind(outline: Outline, facts: ClientFacts | None) -> KindRule:
    """The first rule that holds; without facts the body alone decides."""
    for rule in RULES:
        if rule.match(outline, facts or _NOBODY):
            return rule
    return RULES[-1]
