"""What a run really loads: only the screen may load Textual or Rich, only a gateway a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import module_probe
import pytest

ROOT = module_probe.ROOT
SCREEN = {"textual", "rich"}
SERVER = {"quart", "hypercorn", "werkzeug", "flask"}
UI_FREE = ["tui.cli", "tui.launcher", "tui.client", "tui.state", "tui.keys"]
# httpx loads Rich for a command line of its own; no module that serves imports this adapter.
LOADS_HTTPX = {"providers._httpx"}
REQUEST = b'{"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "Hello"}]}'


def _loaded(home: Path, *arguments: str) -> set[str]:
    """Top-level names in ``sys.modules`` after a successful run of the program."""
    report = home.with_suffix(".json")
    done = subprocess.run(
        [sys.executable, "-E", "-P", module_probe.__file__, str(report), *arguments],
        env={"PATH": os.defpath, "SBGW_HOME": str(home), "HOME": str(home)},
        cwd=report.parent,
        input=REQUEST,
        capture_output=True,
        check=False,
        timeout=module_probe.PATIENCE_S * 2,
    )
    assert done.returncode == 0, done.stderr.decode()
    return _tops(json.loads(report.read_text("utf-8")))


def _modules(layer: str) -> Iterator[str]:
    for path in (ROOT / layer).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__")


def _tops(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["config"], ["config", "--schema"], ["explain", "-"]],
    ids=" ".join,
)
def test_a_command_loads_neither_screen_nor_server(sbgw_home: Path, arguments: list[str]) -> None:
    loaded = _loaded(sbgw_home, *arguments)
    assert "tui" in loaded
    assert loaded & (SCREEN | SERVER) == set()


def test_a_headless_gateway_loads_no_screen(sbgw_home: Path) -> None:
    loaded = _loaded(sbgw_home, "--no-ui", "--port", "0")
    assert {"server", "quart", "hypercorn"} <= loaded
    assert loaded & SCREEN == set()


@pytest.mark.parametrize("layer", ["providers", "server", "tui"])
def test_every_module_below_the_screen_imports_cleanly(layer: str) -> None:
    modules = UI_FREE if layer == "tui" else sorted(set(_modules(layer)) - LOADS_HTTPX)
    assert len(modules) >= 5
    code = (
        "import importlib, json, sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code, str(ROOT), *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _tops(json.loads(done.stdout)) & SCREEN == set()
