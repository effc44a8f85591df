"""What people do with Claude Code, where the provider that serves it speaks Chat Completions.

Run by ``make test-clients``. ``LIMITS`` names what that provider cannot do at all, and why; there
the run must end at once, with the reason in words that its user reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import real_claude
from codex_vendors import HELLO, C, M, Vendor, results_in, twice
from live_gateway import KEY
from pair_world import pair_world
from real_claude import Outcome, Workplace
from scripted_upstream import Script, close, respond
from vendor_replies import JSON_TYPE, Call, Reply, error_body

pytestmark = pytest.mark.clients

BIG = b"a line of a long file\n" * 27_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """Runs of Claude Code in one project, and what must come of the last one."""

    vendor: Callable[[Path], Vendor]
    runs: tuple[tuple[str, ...], ...] = (("say hello",),)
    stdin: bytes | None = None
    says: str = HELLO.text
    reached: str = ""
    """What the provider must have been told."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What cannot be done there."""

    reason: str
    words: str
    """Of the answer that its user reads."""


LIMITS: Mapping[str, Limit] = {
    "a prompt of 600 kB": Limit(
        "it has more tokens than the window of the provider's model", "Prompt is too long"
    ),
    "too long by the provider's count": Limit("the same", "Prompt is too long"),
    "a refused request": Limit("the provider does not take it", "this is not how to ask"),
}


def plain(project: Path) -> Vendor:
    return lambda body: HELLO


def mending(project: Path) -> Vendor:
    file = str(project / "notes.txt")
    edit = {"file_path": file, "old_string": "is 42", "new_string": "is 43"}
    shell = Call("Bash", {"command": "cat notes.txt", "description": "Look"}, "call_shell")
    plan = [
        Reply("I will read it.", (Call("Read", {"file_path": file}, "call_read"),)),
        Reply(calls=(Call("Edit", edit, "call_edit"), shell)),
        HELLO,
    ]
    steps = {0: 0, 1: 1}
    return lambda body: plan[steps.get(results_in(C, body), 2)]


def delegating(project: Path) -> Vendor:
    task = {
        "description": "look",
        "subagent_type": "general-purpose",
        "run_in_background": False,
        "prompt": "Look at the code and REPORT-IT.",
    }

    def vendor(body: dict[str, Any]) -> Reply:
        if results_in(C, body):
            return HELLO
        is_child = "REPORT-IT" in str(body["messages"])
        return Reply("SEEN by it.") if is_child else Reply(calls=(Call("Agent", task),))

    return vendor


def summing_up(project: Path) -> Vendor:
    def vendor(body: dict[str, Any]) -> Reply:
        is_asked = "CRITICAL: Respond with TEXT ONLY" in str(body["messages"][-1])
        return Reply("<summary>SUMMARY of it.</summary>") if is_asked else HELLO

    return vendor


def failing(status: int) -> Callable[[Path], Vendor]:
    body = error_body(C, "server_error", "not now")
    fields = [*JSON_TYPE, (b"retry-after", b"1")]
    return lambda project: twice(respond(status, fields, body))


def refusing(words: str, code: str | None = None) -> Callable[[Path], Vendor]:
    script: Script = respond(400, JSON_TYPE, error_body(C, "invalid_request_error", words, code))
    return lambda project: lambda body: script


SCENARIOS: Mapping[str, Scenario] = {
    "a plain answer": Scenario(plain),
    "a tool loop": Scenario(
        mending,
        (("fix it", "--allowedTools", "Read,Edit,Bash"), ("say bye", "--continue")),
        reached="the answer is 43",
    ),
    "a sub-agent": Scenario(delegating, reached="SEEN by it."),
    "plan mode": Scenario(plain, (("plan it", "--permission-mode", "plan"),)),
    "a compaction": Scenario(
        summing_up,
        (("say hello",), ("/compact", "--continue"), ("go on", "--continue")),
        reached="SUMMARY of it.",
    ),
    "a model of the user's own": Scenario(plain, (("say hello", "--model", "gw/auto"),)),
    "a long answer": Scenario(
        lambda project: lambda body: Reply("word " * 2_000), says=("word " * 2_000).strip()
    ),
    "429 twice": Scenario(failing(429)),
    "500 twice": Scenario(failing(500)),
    "dropped twice": Scenario(lambda project: twice(close())),
    "a prompt of 600 kB": Scenario(plain, stdin=BIG),
    "too long by the provider's count": Scenario(
        refusing("Please reduce the length of the messages.", "context_length_exceeded")
    ),
    "a refused request": Scenario(refusing("this is not how to ask")),
}


@pytest.fixture(scope="session")
def program() -> Path:
    found = real_claude.install()
    if found is None:
        pytest.skip("npm is not installed")
    return found


@pytest.mark.parametrize("name", SCENARIOS)
async def test_it_works_or_says_why_not(name: str, program: Path, tmp_path: Path) -> None:
    place = Workplace(tmp_path / "client", program)
    scenario, limit = SCENARIOS[name], LIMITS.get(name)
    async with pair_world(tmp_path / "h", M, C, scenario.vendor(place.project)) as pair:
        env = place.env(ANTHROPIC_BASE_URL=pair.gateway.url, ANTHROPIC_API_KEY=KEY)
        for run in scenario.runs:
            got = await _claude(place, env, *run, stdin=scenario.stdin)
        sent = str([request.body for request in pair.requests])
        turns = await pair.gateway.turns()
    assert {turn["payer"] for turn in turns} <= {"gateway key"}
    if limit is not None:
        assert got.code != 0
        assert limit.words in str(got.result["result"])
        return
    assert (got.code, got.result["result"].strip()) == (0, scenario.says), got.out
    assert scenario.reached in sent


async def _claude(
    place: Workplace, env: dict[str, str], *args: str, stdin: bytes | None
) -> Outcome:
    argv = [str(place.program), "-p", *args, "--output-format", "json"]
    return await place.run(*argv, env=env, stdin=stdin)
