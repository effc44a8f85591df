"""``verify`` and ``live`` in words."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fake_clock import FakeClock
from turn_factory import NOON, finished

from server.ledger import Ledger
from server.ledger_scores import Scored, score_row
from server.paths import find_paths
from tui.cli import main
from tui.verification_text import evidence, verification_text

ENTRY: dict[str, Any] = {
    "kind": "title",
    "route": "summary",
    "provider": "groq",
    "model": "openai/gpt-oss-120b\x1b[31m",
    "samples": 40,
    "passed": 39,
    "low": 0.8718,
    "high": 0.9956,
    "rung": "verify",
    "reason": "only 87% is sure",
}
FOUND: dict[str, Any] = {
    "consent": True,
    "sample_percent": 10,
    "spent_today_usd": 0.0123,
    "daily_budget_usd": 0.25,
    "leases": [],
    "verification": [ENTRY],
    "skipped": {"the day's budget is spent": 2},
    "moves": [],
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_ladder_as_a_table() -> None:
    move = {"at": 0.0, "kind": "title", "provider": "", "model": "", "from_rung": "observe"}
    move |= {"to_rung": "live", "reason": "made live for 2 h", "source": "HTTP"}
    leases = [{"name": "title", "until": 7200.0}, {"name": "recap", "until": None}]
    text = verification_text(FOUND | {"leases": leases, "moves": [move]})
    assert text.splitlines() == [
        "10 % of what could move is compared, after the first 20 of each; "
        "$0.0123 of $0.2500 spent today.",
        "title is live until 1970-01-01 02:00.",
        "recap is live until the gateway stops.",
        "",
        "kind   candidate                      passed  sure      rung    why",
        "title  groq/openai/gpt-oss-120b?[31m  39/40   87%-100%  verify  only 87% is sure",
        "",
        "Not compared since the start: the day's budget is spent (2).",
        "",
        "Latest moves",
        "  1970-01-01 00:00  title: observe -> live, made live for 2 h (HTTP)",
    ]


def test_before_anything_is_known() -> None:
    nothing = {"verification": [], "skipped": {}, "consent": False}
    assert verification_text(FOUND | nothing).splitlines() == [
        "Nothing is compared: there is no consent (sbgw-tui verify on).",
        "Nothing was compared yet.",
    ]


def test_what_is_known_before_a_kind_goes_live() -> None:
    (line,) = evidence([ENTRY, ENTRY | {"samples": 0}])
    assert line.endswith("39 of 40 compared answers would have done, at least 87% is sure")
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["live"], "Missing argument"),
        (["live", "title", "--for", "2x"], "is no time"),
        (["live", "title", "--for", "0h"], "is no time"),
        (["live", "../x"], "is no kind"),
        (["live", "title", "--for", "2h", "--off"], "exclude each other"),
        (["verify", "maybe"], "'maybe' is not one of"),
    ],
)
def test_wrong_words_end_it_with_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["live", "title"], ["verify"], ["verify", "on"]])
def test_without_a_gateway_they_end_with_four(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert os.environ["SBGW_HOME"]
    assert main(arguments) == 4
    captured = capsys.readouterr()
    assert "no gateway runs" in captured.err
    assert captured.out == ""


def test_the_report_tells_what_comparisons_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = find_paths(os.environ, tmp_path).ledger_file
    path.parent.mkdir(parents=True)
    turn = finished()
    ledger = Ledger(path, clock=FakeClock(), boot_id="boot-1")
    ledger.start()
    ledger.close_turn(turn)
    scored = Scored(
        turn_id=turn.id, at=NOON, kind="title", route="summary", provider="groq", model="m",
        source="shadow", passed=True, hard=False, checks={}, figures={}, cost_usd=0.0125,
    )  # fmt: skip
    ledger.add(score_row(scored))
    ledger.close(5)
    assert main(["report", "--since", "all"]) == 0
    said = "Comparing answers in the background cost $0.0125 beside all this."
    assert said in capsys.readouterr().out.splitlines()
