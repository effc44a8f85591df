"""What may be answered from the request alone; every example is written for this test."""

from __future__ import annotations

from typing import Any

import pytest
from agent_bodies import (
    AGENT_TOOLS,
    REMINDER,
    Json,
    assistant,
    codex_turn,
    encode,
    item,
    main_turn,
    steady,
    text,
    tool_result,
    tool_use,
    user,
)
from hypothesis import given
from hypothesis import strategies as st

from providers.types import Protocol
from server.classify import ClientFacts, Intent, classify
from server.classify.gate import MAX_HISTORY_TOKENS, find_obstacle, may_leave
from server.classify.intent import LONG_CONTEXT_TOKENS
from server.classify.outline import Outline, outline
from server.classify.reading import read_message
from server.explain import read_as

ROUTES = ("planning", "code_draft", "summary", "fallback_safe")


def intent(body: Json, facts: ClientFacts | None = None) -> Intent:
    protocol = Protocol.RESPONSES if "input" in body else Protocol.MESSAGES
    return classify(read_as(protocol, encode(body)), facts)


def outlined(body: Json) -> Outline:
    return outline(read_as(Protocol.MESSAGES, encode(body)))


STAYS = """
explain how the scheduler works in this repo
What does lib/queue/worker.ts do?
what's in @docs/notes.md
summarize my changes since Monday
summarize the diff between this branch and develop
review this PR
take a look at the session store and tell me how it expires things
why is the checkout page so slow?
what is the difference between our two retry helpers?
How should we split the billing service?
explain https://example.com/spec/v2 to me
what does commit 4fe2a1b change?
what does issue #51 ask for?
explain it
what about the other one?
Add a retry to the uploader
write unit tests for the date parser
Write a script that cleans the build folder
Create a login form component
Explain what goes wrong here and fix it
fix this error: TypeError: x is not a function
list all TODO comments in the code base
list every environment variable the server reads
describe the data flow of the import job
what do we use Redis for?
which of our tests are flaky?
explain the architecture of the application
where is the rate limit configured?
is there a helper for dates already?
what does handleOverflow do?
explain the Docker setup
what is a good name for this?
is it safe to upgrade postgres?
describe the Postgres schema
where is the JWT validated?
list the SQL migrations
how should we add OAuth?
what version of Python is required?
should we upgrade React?
What approach would you take to split billing from shipping?
Как лучше разделить оплату и доставку?
what is the purpose of `parse_header`?
should we keep the retry queue or drop it?
how would you restructure the settings dialog?
what happens when the exporter runs twice?
What's a good name for the new endpoint, given the others?
do the tests cover the parser?
translate the error messages of the app into French
run the tests and summarize the failures
write the release notes for the last release
plan how to replace the template engine; check the templates first
Erkläre mir, wie dieses Projekt aufgebaut ist
Schau dir den Parser an und erkläre ihn
Was macht unsere Warteschlange?
Explique le fonctionnement de ce projet
Regarde le module de paiement et explique-le
Explica cómo está organizado este proyecto
Mira el módulo de pagos y explícame qué hace
Explique como este projeto está organizado
Olhe o módulo de pagamentos e explique
Spiegami com'è organizzato questo progetto
Объясни, как устроен этот проект
Посмотри на модуль оплаты и объясни его
解释一下这个项目的结构
看一下支付模块然后总结
このプロジェクトの構成を説明して
決済モジュールを見て説明して
이 프로젝트의 구조를 설명해줘
Giải thích cấu trúc của dự án này
इस प्रोजेक्ट की संरचना समझाओ
"""

LEAVES = """
What is the difference between a mutex and a semaphore in POSIX?
is there a way in git to list only merge commits?
explain how TLS session resumption works in general
how do I squash three commits into one with git?
Should we use JWT or opaque tokens for a public API?
What approach would you take to paginate a GraphQL API?
Give me a regex that matches ISO dates
write a one-liner in bash that counts the unique words of its input
what does this command do: tar -xzf - -C /srv --strip-components=1
translate this sentence into French: the order was shipped yesterday
Was ist der Unterschied zwischen TCP und UDP?
Was bedeutet dieser Fehler: Segmentation fault (core dumped)
Quelle est la différence entre TCP et UDP ?
Explique cette commande : ps aux | grep nginx
¿Cuál es la diferencia entre TCP y UDP?
Explica este comando: ps aux | grep nginx
Qual a diferença entre TCP e UDP?
Explique este comando: ps aux | grep nginx
Qual è la differenza tra TCP e UDP?
В чём разница между TCP и UDP?
Объясни эту команду: ps aux | grep nginx
TCP 和 UDP 有什么区别？
解释一下这条命令：ps aux | grep nginx
TCPとUDPの違いは何ですか
このコマンドを説明して: ps aux | grep nginx
이 명령어 설명해줘: ps aux | grep nginx
"""


def lines(table: str) -> list[str]:
    return table.strip().splitlines()


@pytest.mark.parametrize("words", lines(STAYS))
def test_what_needs_the_project_stays(words: str) -> None:
    found = intent(main_turn(user(words)))
    assert not found.offload
    assert intent(codex_turn(item("user", words))).offload is False


@pytest.mark.parametrize("words", lines(LEAVES))
def test_what_is_complete_in_itself_may_leave(words: str) -> None:
    found = intent(main_turn(user(words)))
    assert (found.offload, found.pinned_by) == (True, None)
    assert intent(codex_turn(item("user", words))).offload is True


FENCE = "```python\ndef f(xs):\n    return sorted(set(xs))\n```"


@pytest.mark.parametrize(
    ("words", "leaves"),
    [
        (f"explain what this does:\n{FENCE}", True),
        (f"{FENCE}\nExplain this function", True),
        (f"what is the complexity of this?\n{FENCE}\nDescribe it in one line.", True),
        (f"convert this code to JavaScript:\n{FENCE}", True),
        (f"put this into src/util.py:\n{FENCE}", False),
        (f"add this to the project\n{FENCE}", False),
        ("explain this function", False),
        ("explain what this does:", False),
        ("explain this function: src/util.py", False),
        ("explain this error: see @log.txt", False),
        ("explain this error: it happens when the user logs in twice (or more)", False),
        ("explain this error: it is thrown in src/login.py after the second click", False),
        ("explain this error: ECONNREFUSED (errno=111)", True),
        ("summarize this text: the ship left the harbour early and was lost at sea", True),
    ],
)
def test_material_must_be_in_the_message(words: str, leaves: bool) -> None:
    assert intent(main_turn(user(words))).offload is leaves


@pytest.mark.parametrize(
    "words",
    [
        "Write a Python function that merges two sorted lists. Just the function, no files.",
        "Write a Python function that merges two sorted lists.",
    ],
)
def test_code_leaves_when_no_file_is_to_be_written(words: str) -> None:
    says_so = "Just the function" in words
    assert intent(main_turn(user(words))).offload is says_so
    assert intent(main_turn(user(words), tools=[])).offload


def test_a_question_about_the_conversation_needs_a_conversation() -> None:
    words = "summarize what we decided so far"
    talked = main_turn(user("hello"), assistant("Let us use tokens."), user(words))
    assert intent(talked).offload
    assert not intent(main_turn(user(words))).offload


KNOWLEDGE = "What is the difference between a mutex and a semaphore in POSIX?"
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}}
HELD: dict[str, Json] = {
    "tool result": main_turn(user("go"), assistant(tool_use()), user(tool_result(), KNOWLEDGE)),
    "forced tool": main_turn(user(KNOWLEDGE), tool_choice={"type": "any"}),
    "image": main_turn(user(text(KNOWLEDGE), IMAGE)),
    "document": main_turn(user(text(KNOWLEDGE), {"type": "document", "source": {}})),
    "server tool": main_turn(user(KNOWLEDGE), tools=[{"type": "web_search_1", "name": "s"}]),
    "long history": main_turn(user("x" * 48_001), assistant("ok"), user(KNOWLEDGE)),
}


@pytest.mark.parametrize("name", HELD)
def test_the_gate_itself_sees_what_only_the_vendor_can_do(name: str) -> None:
    reading = read_message(KNOWLEDGE)
    assert may_leave(outlined(main_turn(user(KNOWLEDGE))), reading, "summary", 1.0).may_leave
    verdict = may_leave(outlined(HELD[name]), reading, "summary", 1.0)
    assert not verdict.may_leave
    assert verdict.reason.endswith(".")
    assert not intent(HELD[name]).offload


def test_both_lines_are_drawn_at_the_same_length() -> None:
    assert MAX_HISTORY_TOKENS == LONG_CONTEXT_TOKENS


def test_a_route_that_is_none_of_the_cheap_ones_never_leaves() -> None:
    seen = outlined(main_turn(user(KNOWLEDGE)))
    for route in ("fallback_safe", "tool_loop", "long_context"):
        assert not may_leave(seen, read_message(KNOWLEDGE), route, 1.0).may_leave


@pytest.mark.parametrize("name", ["tool result", "forced tool", "image", "server tool"])
@steady
@given(st.data())
def test_no_wording_opens_the_gate(name: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from(lines(LEAVES)) | st.text(max_size=20), max_size=3))
    words = " ".join(parts)
    route = data.draw(st.sampled_from(ROUTES))
    assert find_obstacle(outlined(HELD[name]), read_message(words), route) is not None
    body = {**HELD[name]}
    body["messages"] = [*body["messages"], user(words)]
    assert not intent(body).offload


PERMISSION = "Decide whether a tool call of the assistant is permitted. Allow it or block it."


@steady
@given(st.sampled_from(lines(LEAVES)), st.booleans())
def test_a_decision_on_permissions_never_leaves(words: str, is_app: bool) -> None:
    sender = ClientFacts(client="anthropic-sdk") if is_app else None
    found = intent(main_turn(user(words), system=PERMISSION, tools=[]), sender)
    assert (found.offload, found.pinned_by) == (False, "permission_check")


BASES = [
    *(main_turn(user(words)) for words in (*lines(LEAVES)[:8], *lines(STAYS)[:8])),
    main_turn(user("go"), assistant(tool_use()), user(tool_result())),
    main_turn(user("go"), assistant(tool_use()), user(tool_result()), assistant("ok"), user("yes")),
    main_turn(
        user("hi"), assistant("hello"), user("The user stepped away and is coming back. Recap")
    ),
    main_turn(
        user("hi"),
        assistant("hello"),
        user("Your task is to create a detailed summary of the conversation"),
    ),
]
TRIGGERS = "Plan, explain, fix, run and review this project. Look at src/a.py. ```x```"
NOTE = f"<system-reminder>\n{TRIGGERS}\n</system-reminder>"


def with_note(body: Json, where: str, at: int) -> Json:
    """The body with a reminder put somewhere into or around its messages."""
    messages = [
        {**m, "content": [text(m["content"])] if isinstance(m["content"], str) else m["content"]}
        for m in body["messages"]
    ]
    spot = at % len(messages)
    chosen: dict[str, Any] = dict(messages[spot])
    if where == "system message":
        messages.insert(spot + 1, {"role": "system", "content": [text(NOTE)]})
    elif where == "own message" and chosen["role"] == "user":
        messages.insert(spot, user(text(NOTE)))
    elif where == "first block" and chosen["role"] == "user":
        messages[spot] = {**chosen, "content": [text(NOTE), *chosen["content"]]}
    elif where == "last block" and chosen["role"] == "user":
        messages[spot] = {**chosen, "content": [*chosen["content"], text(NOTE)]}
    elif where == "same text" and chosen["role"] == "user":
        messages[spot] = {**chosen, "content": [noted(block) for block in chosen["content"]]}
    return {**body, "messages": messages}


def noted(block: Json) -> Json:
    return {**block, "text": f"{NOTE}\n{block['text']}\n{REMINDER}"} if "text" in block else block


PLACES = ["system message", "own message", "first block", "last block", "same text"]


@steady
@given(st.sampled_from(BASES), st.sampled_from(PLACES), st.integers(0, 9))
def test_a_reminder_changes_no_verdict(body: Json, where: str, at: int) -> None:
    plain, reminded = intent(body), intent(with_note(body, where, at))
    for name in ("route", "kind", "offload", "pinned_by", "reasons", "confidence"):
        assert getattr(plain, name) == getattr(reminded, name)


@steady
@given(
    st.sampled_from(BASES),
    st.sampled_from(["claude-haiku-5-5", "claude-opus-5-5", "gpt-5.5", "plan-and-explain"]),
    st.integers(2, 200_000),
    st.sampled_from([TRIGGERS, "Summarize.", "x" * 90_000]),
)
def test_model_limit_and_tool_texts_say_nothing(
    body: Json, model: str, limit: int, words: str
) -> None:
    tools = [{**tool, "description": words} for tool in AGENT_TOOLS]
    plain, other = (
        intent(body),
        intent({**body, "model": model, "max_tokens": limit, "tools": tools}),
    )
    assert (plain.route, plain.kind, plain.offload) == (other.route, other.kind, other.offload)


CODEX_NOTE = f"<environment_context>\n{TRIGGERS}\n</environment_context>"


@pytest.mark.parametrize("words", [KNOWLEDGE, "run the linter", "review this PR"])
@pytest.mark.parametrize("role", ["developer", "system", "user"])
@pytest.mark.parametrize("spot", [0, 1])
def test_notes_of_codex_change_no_verdict(words: str, role: str, spot: int) -> None:
    note = CODEX_NOTE if role == "user" else TRIGGERS
    items = [item("user", words)]
    items.insert(spot, item(role, note))
    plain, noted_too = intent(codex_turn(item("user", words))), intent(codex_turn(*items))
    assert (plain.route, plain.offload) == (noted_too.route, noted_too.offload)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_chat_notes_after_the_user_are_skipped(role: str) -> None:
    def chat(*messages: Json) -> Intent:
        body = {"model": "m", "messages": [user(KNOWLEDGE), *messages]}
        return classify(read_as(Protocol.CHAT, encode(body)), None)

    noted_too = chat({"role": role, "content": TRIGGERS})
    assert (noted_too.route, noted_too.offload) == (chat().route, chat().offload)


def test_what_the_editor_adds_is_no_request() -> None:
    request = f"# Context from my IDE setup:\n\n## Open tabs:\n- plan.md\n\n## My request for Codex:\n{KNOWLEDGE}"
    assert intent(codex_turn(item("user", request))).offload
    selection = "<ide_selection>The user selected: explain, fix and run</ide_selection>"
    body = main_turn(user(text(selection), text("run the linter")))
    assert intent(body).route == "fallback_safe"


@pytest.mark.parametrize("words", [*lines(STAYS), *lines(LEAVES)])
def test_reasons_are_sentences_that_quote_nothing(words: str) -> None:
    reasons = " ".join(intent(main_turn(user(f"{words} hunter2"))).reasons)
    assert "hunter2" not in reasons
