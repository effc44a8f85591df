"""The training corpus: messages written for this project, one JSON object a line.

``route`` is the class, ``leaves`` whether the message can be answered from itself, ``family`` the
kind of phrase (held out together when generalisation is measured), ``answered`` whether it comes
after an answer. The file's name is the language.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.classify.scorer import ROUTES

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled message."""

    text: str
    route: str
    leaves: bool
    family: str
    language: str
    answered: bool = False


def read_corpus(folder: Path = CORPUS) -> list[Example]:
    """All examples in a fixed order; ``ValueError`` for a class that does not exist."""
    examples = [example for path in sorted(folder.glob("*.jsonl")) for example in _read(path)]
    unknown = {example.route for example in examples} - set(ROUTES)
    if unknown:
        raise ValueError(f"unknown classes: {sorted(unknown)}")
    return examples


def _read(path: Path) -> Iterator[Example]:
    for line in path.read_text("utf-8").split("\n"):
        if line:
            yield Example(language=path.stem, **json.loads(line))
