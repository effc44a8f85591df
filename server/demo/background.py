"""The small requests Claude Code makes beside a conversation, each in its own shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from server.demo import bodies
from server.demo.answers import Answer, Trouble, tokens
from server.demo.bodies import Json
from server.demo.conversation import HAIKU, OPUS, Conversation, Reply
from server.demo.steps import COUNT_TOKENS, Caller, Step
from server.demo.words import THOUGHTS, prose

_CRITICAL = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."
_AWAY = "The user stepped away and is coming back. Recap what was done, in two short sentences."
_SUGGEST = "[SUGGESTION MODE: say in at most eight words what the user may type next.]"


def title(c: Conversation, about: str, name: str) -> Step:
    """Names the session; runs on the conversation's own model unless a small one is set."""
    return _small(
        c,
        "You are naming a coding session; three or four words are enough.",
        f"<session>\n{about}\n</session>\n\nAnswer in the language of the session.",
        msgspec.json.encode({"title": name}).decode(),
        output_config=bodies.structured("title"),
    )


def rename(c: Conversation, about: str, name: str) -> Step:
    """Proposes a name for a session the user wants to rename."""
    return _small(
        c,
        "Generate a short kebab-case name for this conversation, of two to four words.",
        about,
        msgspec.json.encode({"name": name}).decode(),
        output_config=bodies.structured("name"),
    )


def topic(c: Conversation, said: str) -> Step:
    """Asks whether the user has changed the subject."""
    return _small(
        c,
        "Analyze if this message indicates a new conversation topic, and name it if so.",
        said,
        '{"isNewTopic": true, "title": "Next question"}',
        model=HAIKU,
    )


def file_paths(c: Conversation, command: str, output: str, path: str) -> Step:
    """Lists the files a command has touched."""
    return _small(
        c,
        "Extract any file paths that this command reads or modifies, one a line.",
        f"Command: {command}\nOutput: {output}",
        path,
        model=HAIKU,
    )


def edited_files(c: Conversation, history: str) -> Step:
    """Picks the files people work on most."""
    return _small(
        c,
        "You are an expert at analyzing git history. Name the five files that matter most.",
        history,
        "page.py\ncsv.py\nretry.py\nclock.py\nqueue.py",
        model=HAIKU,
    )


def output_digest(c: Conversation, output: str) -> Step:
    """Shortens the output of a command before the conversation gets it."""
    return _small(
        c,
        "You are analyzing output from a bash command. Keep what the next step needs.",
        output,
        "One of 212 tests failed: test_retry_keeps_order, which expected two calls and saw three.",
        model=HAIKU,
    )


def bash_prefix(c: Conversation, command: str) -> Step:
    """Decides by which prefix a shell command may be allowed."""
    return _small(
        c,
        "Your task is to process Bash commands that an agent wants to run.\n<policy_spec>\n"
        "Answer with the prefix the user would have to allow.\n</policy_spec>",
        f"Command: {command}",
        command.split(" ")[0],
        model=HAIKU,
    )


def permission_check(c: Conversation, command: str) -> Step:
    """Allows or blocks what the agent is about to do."""
    return _small(
        c,
        "You are a security monitor for autonomous AI coding agents. Decide whether the tool call "
        "is one to allow or to block.",
        f"Tool call: Bash {command}",
        "ALLOW: it only runs the tests of this project.",
        model=HAIKU,
    )


def quota_probe(c: Conversation) -> Step:
    """Asks for a single token, to see whether the account may ask at all."""
    step = _small(c, "", "quota", "", model=HAIKU)
    answer = replace(step.answers[-1], text="I", input_tokens=8, max_tokens=True)
    body = {
        "model": HAIKU,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "quota"}],
        "metadata": bodies.user_id(c.caller.session or ""),
    }
    return replace(step, body=msgspec.json.encode(body), answers=(answer,))


def web_digest(c: Conversation, page: str, summary: str) -> Step:
    """Digests a fetched page for the conversation."""
    words = f"\nWeb page content:\n---\n{page}\n---\n\nWhat does it say about the question at hand?"
    return _small(c, "", words, summary)


def web_search(c: Conversation, query: str, found: str) -> Step:
    """Has the vendor search the web; nobody else can run its tool."""
    step = _small(
        c,
        "You run a web search for another Claude model. Say what it finds.",
        f"Search the web for: {query}",
        found,
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        tool_choice={"type": "auto"},
    )
    return replace(step, answers=(replace(step.answers[-1], web_searches=1),))


def compaction(c: Conversation, summary: str) -> Step:
    """Asks for a summary that will stand for the whole conversation."""
    rules = prose(c.rng, 1_800)
    reply = Reply(f"<summary>\n{summary}\n</summary>", pace=20)
    return c.aside(f"{_CRITICAL}\n\n{rules}", reply)


def recap(c: Conversation) -> Step:
    """A reminder for a user who has been away."""
    text = "You were fixing a flaky test. The cause is found, the change is in, the tests pass."
    return c.aside(_AWAY, Reply(text))


def prompt_suggestion(c: Conversation) -> Step:
    """Guesses what the user may type next."""
    return c.aside(_SUGGEST, Reply("commit this with a short message"))


def count(c: Conversation, tools: int) -> Step:
    """Counts the tokens of a few tools, as the client's context view does."""
    body = {
        "model": c.model,
        "messages": [{"role": "user", "content": "foo"}],
        "tools": c.tools[:tools],
    }
    answer = Answer(input_tokens=tokens(body), first_byte_s=c.rng.uniform(0.1, 0.4))
    return Step(c.caller, msgspec.json.encode(body), (answer,), 0.05, COUNT_TOKENS)


def app(words: str, answer: str, *, stream: bool = False, **who: Any) -> Step:
    """A program that inherited the agent's base URL."""
    body = {
        "model": HAIKU,
        "max_tokens": 300,
        "system": "You help people who answer support mails.",
        "messages": [{"role": "user", "content": words}],
        "stream": stream,
    }
    caller = Caller(**who)
    said = Answer(answer, input_tokens=tokens(body), first_byte_s=0.4)
    return Step(caller, msgspec.json.encode(body), (said,), may_retry=False)


def broken() -> Step:
    """A program that sends half a JSON object."""
    return Step(Caller(), b'{"model": "claude-haiku-5-5", "mess', may_retry=False)


def refused() -> Step:
    """A program that brings a key of its own, which its vendor takes no more."""
    credential = (b"x-api-key", b"an-expired-key")
    step = app("Is this mail about billing?", "", own_credential=credential)
    trouble = Trouble(401, "authentication_error", "invalid x-api-key")
    return replace(step, answers=(Answer(first_byte_s=0.2, trouble=trouble),))


def missing_model() -> Step:
    """A program that asks for a model nobody has."""
    step = app("Is this mail about billing?", "")
    trouble = Trouble(404, "not_found_error", "model: claude-haiku-2")
    body = msgspec.json.decode(step.body) | {"model": "claude-haiku-2"}
    answer = Answer(first_byte_s=0.2, trouble=trouble)
    return replace(step, body=msgspec.json.encode(body), answers=(answer,))


def unfamiliar(c: Conversation) -> Step:
    """Something a later client may send: a note of the client and no turn of anybody."""
    body: Json = {
        "model": OPUS,
        "max_tokens": 64,
        "messages": [{"role": "system", "content": [bodies.text("The user opened a file.")]}],
    }
    answer = Answer("Noted.", input_tokens=tokens(body), first_byte_s=0.3)
    return Step(c.caller, msgspec.json.encode(body), (answer,))


def _small(
    c: Conversation, guide: str, words: str, answer: str, *, model: str | None = None,
    **fields: Any,
) -> Step:  # fmt: skip
    """One question with a short answer: no tools, no thinking, nothing cached."""
    session = c.caller.session or ""
    blocks = [bodies.billing(session), bodies.text(bodies.IDENTITY)]
    body: Json = {
        "model": model or c.model,
        "messages": [bodies.user(words)],
        "system": [*blocks, bodies.text(guide)] if guide else blocks,
        "tools": [],
        "metadata": bodies.user_id(session),
        "max_tokens": 128_000,
        "stream": True,
    } | fields
    said = Answer(
        answer,
        input_tokens=tokens(body["system"]) + tokens(body["messages"]) + tokens(body["tools"]),
        first_byte_s=c.rng.uniform(0.25, 0.6),
        pieces_per_s=14,
    )
    caller = replace(c.caller, agent=None)
    return Step(caller, msgspec.json.encode(body), (said,), c.rng.uniform(0.05, 0.25))


def think(c: Conversation) -> str:
    """A thought of a random length."""
    return " ".join(c.rng.sample(THOUGHTS, c.rng.randint(1, 3)))
