"""The first minute of the demo: every kind of request, and everything that can go wrong."""

from __future__ import annotations

import random
from dataclasses import replace

from server.demo import background as side
from server.demo import bodies
from server.demo.answers import Trouble
from server.demo.conversation import OPUS, SONNET, Conversation, Reply, Vendor, uuid
from server.demo.steps import Caller, Script, together
from server.demo.subagents import explore, planner, reviewer
from server.demo.words import (
    CODE,
    CODE_ANSWERS,
    EXPORT,
    FLAKY_TEST,
    MAILS,
    PLANNING,
    PLANNING_ANSWERS,
    SUMMARY,
    SUMMARY_ANSWERS,
    listing,
    prose,
)

LOGIN = (b"authorization", b"Bearer sk-ant-oat01-demo")
"""A subscription's credential in shape alone."""

OUTAGE_S = 5.0
OVERLOADED = Trouble(529)
LIMITED = Trouble(429, "rate_limit_error", "This request would exceed your rate limit.")
DOWN = Trouble(529, down_s=OUTAGE_S)
CUT = Trouble(cut_after=5)
BROKEN_OFF = Trouble(error_after=6)


def conversation(
    rng: random.Random,
    vendor: Vendor,
    project: str,
    branch: str,
    model: str,
    *,
    is_login: bool = False,
    has_many_tools: bool = False,
) -> Conversation:
    """A fresh session of Claude Code, nothing said yet."""
    credential = LOGIN if is_login else None
    caller = Caller(uuid(rng), project, branch, own_credential=credential)
    tools = bodies.many_tools() if has_many_tools else bodies.agent_tools()
    ttl = "1h" if is_login else "5m"
    return Conversation(rng, caller, model, vendor, bodies.main_guide(), tools, ttl)


def opening(c: Conversation, ask: str) -> None:
    """The first message of a session, with what the client adds to it."""
    notes = bodies.reminder(f"Notes of this project:\n{prose(c.rng, 500)}")
    c.ask(notes, ask)
    c.add({"role": "system", "content": bodies.environment(c.caller.project or "")})


def bug_hunt(rng: random.Random, vendor: Vendor) -> Script:
    """A main loop with its tools, sub-agents side by side, and a vendor that fails."""
    c = conversation(rng, vendor, "orchard", "fix/retry", OPUS)
    steps = [Reply(t, calls=((tool, {"input": arg}),)) for t, tool, arg in FLAKY_TEST.steps]
    yield replace(side.quota_probe(c), pause_s=0.05)
    opening(c, FLAKY_TEST.ask)
    first = c.turn(replace(steps[0], thinking=side.think(c)))
    yield together(side.title(c, FLAKY_TEST.ask, FLAKY_TEST.title), first)
    c.results(listing(rng, 60))
    yield c.turn(steps[1])
    c.results(listing(rng, 12))
    yield c.turn(replace(steps[2], thinking=side.think(c)))
    yield together(side.bash_prefix(c, "pytest -x"), side.permission_check(c, "pytest -x"))
    output = listing(rng, 80)
    yield together(
        side.output_digest(c, output),
        side.file_paths(c, "pytest -x", output[:600], "tests/test_retry.py"),
    )
    c.results(output)
    yield c.turn(steps[3])
    c.results("The file was updated.")
    ask = {"description": "Find callers", "prompt": "Who calls the clock, on which thread?"}
    yield c.turn(Reply("Two questions are left; I ask them at once.", calls=(("Agent", ask),) * 2))
    yield together(explore(c, vendor), planner(c, vendor))
    c.results(prose(rng, 900), prose(rng, 700))
    yield c.turn(Reply(FLAKY_TEST.done))
    yield side.prompt_suggestion(c)
    yield from _after_the_hunt(c)


def _after_the_hunt(c: Conversation) -> Script:
    """The vendor goes away in the middle of a step, and comes back."""
    c.ask("continue")
    again = Reply("Running everything once more.", calls=(("Bash", {"command": "pytest -q"}),))
    yield c.turn(again, troubles=(OVERLOADED, DOWN))
    c.results("412 passed in 31.20s")
    yield c.turn(Reply("All 412 tests pass. Nothing else is left to do here."))
    note = "[SYSTEM NOTIFICATION - NOT USER INPUT]\nThe background command has ended: exit 0."
    c.ask(bodies.reminder(note))
    yield c.turn(Reply("The long run in the background has passed as well."))
    c.ask("<bash-input>git status --short</bash-input>\n<bash-stdout> M src/retry.py</bash-stdout>")
    yield c.turn(Reply("Two files are changed, as intended."))


def export_page(rng: random.Random, vendor: Vendor) -> Script:
    """A large warm prefix, and questions on top of it that a cheap model could have answered."""
    c = conversation(
        rng, vendor, "lighthouse", "feature/export", SONNET, is_login=True, has_many_tools=True
    )
    opening(c, EXPORT.ask)
    first, second = (Reply(t, calls=((tool, {"input": a}),)) for t, tool, a in EXPORT.steps)
    yield together(side.edited_files(c, listing(rng, 30)), c.turn(first))
    c.results(listing(rng, 40))
    yield c.turn(second, troubles=(LIMITED,))
    c.results("The file was updated.")
    yield c.turn(Reply(EXPORT.done))
    yield side.rename(c, EXPORT.ask, "report-csv-export")
    c.ask(SUMMARY[0])
    yield together(side.topic(c, SUMMARY[0]), c.turn(Reply(SUMMARY_ANSWERS[0])))
    c.ask(CODE[0])
    yield c.turn(Reply(CODE_ANSWERS[0], max_tokens=True))
    c.ask("Output token limit hit. Resume directly where the answer stopped, without an apology.")
    yield c.turn(
        Reply("To refuse month 13 in the pattern itself, write `(0[1-9]|1[0-2])` for the month.")
    )
    yield from looking_things_up(c)
    yield from _change_of_mind(c)
    yield reviewer(c, vendor)


def looking_things_up(c: Conversation) -> Script:
    """A search on the web, and a page that is read for the conversation."""
    c.ask("What does the CSV standard say about line ends? Look it up.")
    yield c.turn(Reply("Searching.", calls=(("WebSearch", {"query": "csv rfc line ends"}),)))
    yield side.web_search(c, "csv rfc line ends", "RFC 4180 asks for CRLF at the end of each line.")
    c.results("RFC 4180 asks for CRLF at the end of each line.")
    page = {"url": "https://example.org/rfc4180", "prompt": "line ends"}
    yield c.turn(Reply("Reading the page itself.", calls=(("WebFetch", page),)))
    told = "Each record is on a line of its own, ended by CRLF; the last one may have no line end."
    yield side.web_digest(c, prose(c.rng, 30_000), told)
    c.results(told)
    yield c.turn(Reply("The standard asks for CRLF, and lets the last record go without. Done so."))


def _change_of_mind(c: Conversation) -> Script:
    c.ask("Now rewrite the whole report module in the same style.")
    begun = "I will begin with the header, then the rows, then the totals below them. " * 18
    yield c.cancelled(Reply(begun, pace=9), leave_after_s=2.2)
    c.interrupted("I will begin with the header", "No, wait: only the header row.")
    yield c.turn(Reply("Only the header row then. It follows the same rules as the export now."))
    c.ask("Give me the names of the changed files as JSON.")
    shape = {"output_config": bodies.structured("first", "second")}
    yield c.turn(Reply('{"first": "page.py", "second": "csv.py"}'), fields=shape)


def log_reading(rng: random.Random, vendor: Vendor) -> Script:
    """A question worth moving, then a conversation that outgrows its window."""
    c = conversation(rng, vendor, "orchard", "main", OPUS)
    yield c.prewarm()
    c.ask(PLANNING[0])
    answer = c.turn(Reply(PLANNING_ANSWERS[0], pace=18))
    yield together(answer, *(side.count(c, tools) for tools in (2, 5, 12)))
    c.ask(f"Here is the log of the last night. What stands out?\n\n{prose(rng, 52_000)}")
    found = (
        "Every line is plausible by itself, but the exporter restarts once an hour, on the hour."
    )
    yield c.turn(Reply(found, thinking=side.think(c)), troubles=(BROKEN_OFF,))
    c.ask("Check whether a timer could do that.")
    yield c.turn(Reply("Looking for timers.", calls=(("Grep", {"pattern": "hourly"}),)))
    c.results(listing(rng, 25))
    because = "A cleanup runs hourly and sends the exporter a signal it takes for the end. " * 3
    yield c.turn(Reply(because), troubles=(CUT,))
    summary = prose(rng, 1_500)
    yield side.compaction(c, summary)
    c.restart(
        "This session is being continued from a previous conversation; its summary:\n\n"
        f"{summary}\n\nGo on with the last thing that was asked."
    )
    yield c.turn(Reply("Going on: the cleanup must not signal it.", calls=(_EDIT,)))
    c.results("The file was updated.")
    yield c.turn(Reply("The cleanup leaves the exporter alone now."))
    yield replace(side.recap(c), pause_s=2.0)
    yield replace(side.unfamiliar(c), pause_s=0.5)


_EDIT = ("Edit", {"file_path": "src/cleanup.py"})


def programs() -> Script:
    """What else talks to the port: programs of the project, well behaved and not."""
    yield replace(side.app(*MAILS[1]), pause_s=3)
    yield replace(side.broken(), pause_s=6)
    yield replace(side.refused(), pause_s=5)
    yield replace(side.app(*MAILS[0], stream=True), pause_s=5)
    yield replace(side.app("hello?", "", wrong_key=True), pause_s=6)
    yield replace(side.missing_model(), pause_s=7)
