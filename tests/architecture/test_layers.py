"""``providers <- server <- tui``: an arrow is an import, wherever in a file it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "providers": {"server", "tui", "textual", "rich"},
    "server": {"tui", "textual", "rich"},
    "tui": set[str](),
}


def _imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, ``import_module("...")`` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            first = node.args[0]
            is_name = isinstance(first, ast.Constant) and isinstance(first.value, str)
            if called in {"import_module", "__import__"} and is_name:
                assert isinstance(first, ast.Constant)
                yield node.lineno, str(first.value)


def _violations(layer: str, source: str) -> list[str]:
    found = []
    for line, name in _imports(source):
        top = name.partition(".")[0]
        if name.startswith("."):
            found.append(f"line {line}: relative import")
        elif top in FORBIDDEN[layer]:
            found.append(f"line {line}: {layer} imports {name}")
    return found


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_no_module_imports_a_higher_layer(layer: str) -> None:
    found = {
        str(path.relative_to(ROOT)): problems
        for path in sorted((ROOT / layer).rglob("*.py"))
        if (problems := _violations(layer, path.read_text("utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("providers", "import server.bus"),
        ("providers", "def f():\n    from tui import app"),
        ("server", "if TYPE_CHECKING:\n    import textual.app"),
        ("server", "import importlib\nimportlib.import_module('rich.text')"),
        ("tui", "from . import app"),
    ],
)
def test_the_check_sees_a_violation(layer: str, source: str) -> None:
    assert len(_violations(layer, source)) == 1


def test_allowed_imports_pass() -> None:
    assert _violations("tui", "import textual\nfrom server.engine import EngineClient") == []
    assert _violations("server", "import providers.types\nimport richly") == []


def test_the_top_level_holds_only_the_three_packages_and_the_tests() -> None:
    with_code = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    assert {name for name in with_code if not name.startswith(".")} - {"build", "dist"} == {
        "providers",
        "server",
        "tui",
        "tests",
    }
    assert [path.name for path in ROOT.glob("*.py")] == ["sbgw.py"]


def test_the_tests_cannot_shadow_the_packages_they_mirror() -> None:
    import providers
    import server
    import tui

    assert list((ROOT / "tests").rglob("__init__.py")) == []
    for package in (providers, server, tui):
        assert Path(str(package.__file__)).parent.parent == ROOT


def test_every_package_folder_is_a_regular_package() -> None:
    missing = {
        path.parent.relative_to(ROOT)
        for layer in FORBIDDEN
        for path in (ROOT / layer).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert missing == set()
