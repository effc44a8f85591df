"""``config.example.toml`` names every key, with its default and a sentence, and can be used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from settings_home import SettingsHome

from server.config import Settings
from server.settings_keys import ANY_NAME, all_keys, join, split
from server.settings_read import key_lines
from server.settings_types import KINDS

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
TEXT = EXAMPLE.read_text()
# A key without a default is shown as "#key = value", a sentence as "# Sentence.".
ALL_ACTIVE = re.sub(r"(?m)^#(?=\S)", "", TEXT)


def test_a_copy_of_it_is_the_defaults_and_nothing_else(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)
    home.config(TEXT)
    loaded = home.load()

    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_the_examples_in_it_are_right_too(tmp_path: Path) -> None:
    home = SettingsHome(tmp_path)
    home.config(ALL_ACTIVE)

    assert home.load().settings != Settings()


@pytest.mark.parametrize("path", [key.path for key in all_keys()], ids=join)
def test_every_key_is_in_it(path: tuple[str, ...]) -> None:
    assert any(_fits(path, found) for found in _paths(tomllib.loads(ALL_ACTIVE)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_named(kind: str) -> None:
    assert re.search(rf"\b{kind}\b", TEXT)


def test_every_key_has_one_sentence_where_it_first_stands() -> None:
    lines = ALL_ACTIVE.splitlines()
    seen: set[str] = set()
    for path, number in key_lines(ALL_ACTIVE).items():
        name = path[-1]
        if "=" not in lines[number - 1] or name in seen:
            continue
        seen.add(name)
        above = lines[number - 2]
        assert above.startswith("# "), f"{join(path)} has no sentence"
        assert above.rstrip().endswith("."), f"{join(path)}: {above}"


def test_no_line_is_wider_than_the_code() -> None:
    assert max(map(len, TEXT.splitlines())) <= 100


def _paths(data: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(data, dict):
        return [at]
    return [path for name, value in data.items() for path in _paths(value, (*at, name))]


def _fits(path: tuple[str, ...], found: tuple[str, ...]) -> bool:
    return len(path) == len(found) and all(
        part in (ANY_NAME, other) for part, other in zip(path, found, strict=True)
    )


def test_the_pattern_of_a_key_is_what_it_looks_like() -> None:
    assert _fits(split("a.b"), ("a", "b"))
    assert not _fits(("a", "b"), ("a", "c"))
    assert _fits(("a", ANY_NAME), ("a", "c"))
