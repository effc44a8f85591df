"""``python -m server.savings FILE``: a file's own vectors and prices against the formulas."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.savings_vectors import main, run_file

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT.parent / "shared" / "savings" / "vectors.json"

PRICES = {
    "home": {"in": 2, "out": 10, "w5m": 2.5, "w1h": 4, "read": 0.1},
    "tiered": {
        "in": 2,
        "out": 10,
        "w5m": 2.5,
        "read": 0.2,
        "above": {"tokens": 1000, "in": 4, "out": 15},
    },
    "away": {"in": 0.5, "out": 1},
}
NAIVE = {
    "id": "naive",
    "kind": "naive",
    "in": {"route": "summary", "chars": 4001},
    "expect": {"est_input": 1001, "est_output": 500, "naive_usd": 0.01035},
}
TURN = {
    "id": "turn",
    "kind": "turn",
    "in": {
        "model": "home",
        "usage": {"w5m": 10_000, "read": 90_000, "output": 100},
        "cheap": {"model": "away", "k_in": 0.5, "k_out": 2, "stripped": 60_000},
        "next": {"anthropic": True, "gap_prev_s": 200, "gap_next_s": 150},
    },
    "expect": {
        "cost_anthropic": 0.035,
        "cheap_input": 20_000,
        "cost_cheap": 0.0102,
        "penalty_write": 0.024,
        "penalty_ttl": 0.216,
        "net": -0.2152,
    },
}
TIER = {
    "id": "tier",
    "kind": "turn",
    "in": {
        "model": "tiered",
        "usage": {"input": 1001, "output": 10},
        "cheap": {"model": "away", "k_in": 1, "k_out": 1, "free": True},
        "next": {"anthropic": False},
    },
    "expect": {"cost_anthropic": 0.004154, "cost_cheap": 0, "net": 0.004154},
}
LIVE = {
    "id": "live",
    "kind": "live",
    "in": {
        "model": "home",
        "prefix_tokens": 10_000,
        "increment_est": 1000,
        "cache_warm": False,
        "cheap_output": 100,
        "cheap_cost": 0.005,
        "out_ratio": 1,
        "extra_write_tokens": 1000,
    },
    "expect": {"est_anthropic": 0.0285, "extra_write": 0.0024, "realised": 0.0211},
}
SESSION = {
    "id": "session",
    "kind": "session",
    "in": {
        "model": "home",
        "base_tokens": 1000,
        "cheap": {"model": "away", "k_in": 1, "k_out": 1, "quota": {"rpm": 1}},
        "turns": [
            {"t": 0, "new": 0, "out": 0},
            {"t": 10, "new": 1000, "out": 0, "offload": True},
            {"t": 20, "new": 0, "out": 0, "offload": True},
        ],
    },
    # At home: 1000 written, 1000 read and 1000 written, 2000 read. Routed: the second turn costs
    # 2000 tokens away, the third does not fit and writes at home what the second did not.
    "expect": {
        "all_anthropic": 0.0053,
        "routed": 0.0061,
        "saving": -0.0008,
        "admitted": [True, False],
    },
}
GOOD = [NAIVE, TURN, TIER, LIVE, SESSION]


def written(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "vectors.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def ran(*arguments: str) -> tuple[int, list[str], str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(list(arguments), out, err)
    return code, out.getvalue().splitlines(), err.getvalue()


def test_all_kinds_pass_with_the_files_own_prices(tmp_path: Path) -> None:
    path = written(tmp_path, {"prices": PRICES, "vectors": GOOD})
    assert ran(path) == (0, ["5 passed, 0 failed"], "")


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: str(vector["id"]))
def test_every_figure_is_looked_at(tmp_path: Path, vector: dict[str, Any]) -> None:
    for name, value in vector["expect"].items():
        wrong = [not value[0], *value[1:]] if isinstance(value, list) else value + 1e-6
        broken = vector | {"expect": vector["expect"] | {name: wrong}}
        code, lines, _ = ran(written(tmp_path, {"prices": PRICES, "vectors": [NAIVE, broken]}))
        assert code == 1
        assert [line.split(":")[:2] for line in lines[:-1]] == [[vector["id"], f" {name}"]]
        assert lines[-1] == "1 passed, 1 failed"


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "odd", "kind": "unheard-of", "in": {}, "expect": {"usd": 1}},
        {"id": "odd", "kind": "turn", "in": TURN["in"], "expect": {"no_such_figure": 1}},
        {"id": "odd", "kind": "naive", "in": NAIVE["in"], "expect": {}},
        {"id": "odd", "kind": "turn", "in": {}, "expect": {"net": 1}},
        {"id": "odd", "kind": "naive", "in": NAIVE["in"], "expect": {"naive_usd": "much"}},
        "odd",
    ],
)
def test_what_cannot_be_run_failed(tmp_path: Path, odd: Any) -> None:
    code, lines, _ = ran(written(tmp_path, {"prices": PRICES, "vectors": [odd, NAIVE]}))
    assert code == 1
    assert lines[-1] == "1 passed, 1 failed"
    assert len(lines) == 2


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"vectors": 1}', '{"vectors": [], "prices": {"a": 1}}']
)
def test_a_file_without_vectors_is_refused(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    code, lines, complaint = ran(path)
    assert (code, lines) == (2, [])
    assert path in complaint


def test_without_a_file_it_says_how_to_call_it(tmp_path: Path) -> None:
    assert ran()[0] == 2
    assert ran(str(tmp_path / "missing.json"))[0] == 2


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    path = written(tmp_path, {"prices": PRICES, "vectors": GOOD})
    command = [sys.executable, "-m", "server.savings", path]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "5 passed, 0 failed\n")


@pytest.mark.skipif(not VECTORS.is_file(), reason="the shared vectors are not here")
def test_all_shared_vectors_hold() -> None:
    outcomes = run_file(VECTORS)
    assert len(outcomes) >= 15
    assert [outcome for outcome in outcomes if outcome.misses] == []
