"""``report`` and ``backtest`` from a ledger to the terminal."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from past_ledger import write_ledger
from turn_factory import NOON, finished

from providers.types import Payer, Usage
from server.ledger_history import history, how_many
from server.ledger_scores import Scored, score_row
from server.paths import find_paths
from server.record import Proposal, Saving, Turn
from tui.cli import main

ROOT = Path(__file__).resolve().parents[2]
SONNET = "claude-sonnet-5-5"
HOSTILE = "<script>alert(1)</script>\x1b[31m=1+1"


def saving(usd: float) -> Saving:
    return Saving("settled", 0.5, usd, usd - 0.01, usd + 0.01, usd, 0.1, 0.05)


def turns() -> list[Turn]:
    move = Proposal("groq", "openai/gpt-oss-120b", "would_move")
    common: dict[str, Any] = {
        "model_asked": SONNET,
        "model_served": SONNET,
        "usage": Usage(10_000, 500, 0, 0),
        "offload": True,
        "route": "planning",
    }
    return [
        finished(**common, cost_usd=0.025, proposal=move, saving=saving(0.02)),
        finished(**common, cost_usd=0.025, proposal=move, saving=saving(-0.04), kind="topic"),
        finished(
            **(common | {"route": "summary"}),
            cost_usd=0.002,
            kind="title",
            provider="groq",
            proposal=Proposal("groq", "openai/gpt-oss-120b", "moved"),
            saving=saving(0.001),
        ),
        finished(**common, cost_usd=None, session="=cmd", project=HOSTILE),
        finished(**common, cost_usd=0.1, payer=Payer.LOGIN, at=NOON + 90_000),
    ]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SBGW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ledger(home: Path) -> Path:
    path = find_paths(os.environ, home).ledger_file
    path.parent.mkdir(parents=True)
    write_ledger(path, turns())
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_report_adds_up(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ledger.read_bytes()
    found = json.loads(ran(capsys, "report", "--since", "all", "--json"))
    total = found["total"]
    assert total["turns"] == 5
    assert (total["cost_usd"], total["list_usd"]) == (pytest.approx(0.152), pytest.approx(0.1))
    assert (total["unpriced"], total["losses"]) == (1, 1)
    assert (total["projected"], total["saved_usd"]) == (2, pytest.approx(-0.02))
    assert (total["saved_low_usd"], total["saved_high_usd"]) == (
        pytest.approx(-0.04),
        pytest.approx(0),
    )
    assert (total["moved"], total["realised_usd"]) == (1, pytest.approx(0.001))
    assert {row["name"]: row["turns"] for row in found["by"]["route"]} == {
        "planning": 4,
        "summary": 1,
    }
    for rows in found["by"].values():
        assert sum(row["cost_usd"] for row in rows) == pytest.approx(total["cost_usd"])
    assert len(found["by"]["day"]) == 2
    assert found["losses"] == [
        "1 of 1 turns of kind topic would cost $0.0400 more elsewhere than at home."
    ]
    assert ledger.read_bytes() == before


def test_the_text_says_what_is_estimated_and_nothing_hostile(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ran(capsys, "report", "--since", "all")
    assert "$0.1520 for 5 turns" in out
    assert "list-price equivalent of a login: $0.1000" in out
    assert "-$0.0200 (-$0.0400 to $0.0000) projected over 2 turns" in out
    assert "for comparison only" in out
    assert "\x1b" not in out


def test_csv_has_every_group_and_no_formulas(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(ran(capsys, "report", "--since", "all", "--csv"))))
    assert {row["group"] for row in rows} == {
        "all",
        "route",
        "kind",
        "model",
        "project",
        "session",
        "day",
    }
    assert all(row["name"][:1] not in ("=", "+", "-", "@") for row in rows)
    assert sum(float(row["cost_usd"]) for row in rows if row["group"] == "kind") == pytest.approx(
        0.152
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = ledger.parent / "page.html"
    assert ran(capsys, "report", "--since", "all", "--html", str(page)) == ""
    text = page.read_text()
    assert text.count('class="range"') == 2, "each kind with a projection has its range"
    assert "list price of a login" in text
    assert "from 1 turn that did move" in text
    seen = _Page()
    seen.feed(text)
    assert "script" not in seen.tags
    assert seen.links == []
    assert seen.tags.count("svg") == 2
    assert "prefers-color-scheme: dark" in text
    assert "\x1b" not in text


def test_what_comparisons_measured_is_told(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [score(n, is_good=n % 8 != 0) for n in range(40)]
    with contextlib.closing(sqlite3.connect(ledger)) as conn, conn:
        for row in scores:
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            conn.execute(f"INSERT INTO verifications ({names}) VALUES ({marks})", row)
    out = ran(capsys, "backtest", "--since", "all")
    words = "5 of 40 answers of groq/openai/gpt-oss-120b to title were not good enough"
    assert words in out
    assert "so 12% (5% to 26%) are reckoned" in out
    assert words in ran(capsys, "report", "--since", "all")


def score(number: int, *, is_good: bool) -> Mapping[str, Any]:
    made = Scored(
        turn_id=f"gw_{number}",
        at=NOON + number,
        kind="title",
        route="summary",
        provider="groq",
        model="openai/gpt-oss-120b",
        source="shadow",
        passed=is_good,
        hard=False,
        checks={},
        figures={},
    )
    return score_row(made).values


def test_without_a_record_it_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "report") == "Nothing is on record for this time.\n"
    assert ran(capsys, "backtest") == "Nothing is on record for this time.\n"
    ran(capsys, "report", "--html", str(home / "page.html"))
    assert "Nothing is on record" in (home / "page.html").read_text()


def test_a_backtest_against_a_file(
    ledger: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = home / "routes.toml"
    table.write_text(
        '[routing.routes]\nplanning = ["groq/openai/gpt-oss-120b"]\n'
        '[routing.modes]\nplanning = "live"\n'
        '[prices."groq/openai/gpt-oss-120b"]\nin = 0.15\nout = 0.60\n'
    )
    out = ran(capsys, "backtest", "--since", "all", "--routes", str(table), "--json")
    found = json.loads(out)
    there = 8000 * 0.15e-6 + 500 * 0.6e-6
    planning = found["routes"]["planning"]
    assert (planning["turns"], planning["moved"], planning["unpriced"]) == (4, 4, 1)
    costs = (0.025, 0.025, 0.1)
    saved = sum(0.9 * (cost - there) - 0.1 * there for cost in costs)
    assert planning["saved_usd"] == pytest.approx(saved)
    assert found["missing_keys"] == ["CEREBRAS_API_KEY", "GROQ_API_KEY"]
    text = ran(capsys, "backtest", "--since", "all", "--routes", str(table))
    assert "It would have saved" in text
    assert "not set now: CEREBRAS_API_KEY, GROQ_API_KEY" in text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["report", "--since", "soon"], "is no time"),
        (["report", "--json", "--csv"], "exclude each other"),
        (["backtest", "--routes", "missing.toml"], "missing.toml"),
    ],
)
def test_mistakes_are_told(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert main(arguments) == 2
    assert why in capsys.readouterr().err


def test_a_file_that_is_no_record_is_told(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.write_bytes(b"not a database, and long enough to be looked at" * 100)
    assert main(["report"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_neither_textual_nor_rich_is_loaded(ledger: Path) -> None:
    code = (
        "import sys; from tui.cli import main; main(['report', '--since', 'all']); "
        "main(['backtest', '--since', 'all']); "
        "sys.exit(any(name in sys.modules for name in ('textual', 'rich')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_bar_counts_the_turns_that_are_read(ledger: Path) -> None:
    for since in (0.0, NOON + 1.0, NOON + 1e9):
        assert how_many(ledger, since) == len(list(history(ledger, since)))
    assert how_many(ledger) == len(turns())
    assert how_many(ledger.with_name("none")) == 0
