"""The tables of cues and how they are matched."""

from __future__ import annotations

import pytest

from server.classify import scorer
from server.classify.cues import find_cues
from server.classify.lexicon import CONTEXT, GAPS, lexicon
from server.classify.passage import FENCE, MENTION, NAME, PASTE, PATH, SPAN, URL, read_passage

STRUCTURE = {"lead", "join", "soft", "close"}
BOOK = lexicon()
CUES = BOOK.cues


def groups(words: str) -> set[str]:
    return set(find_cues(read_passage(words).prose).counts)


def test_every_group_has_a_meaning() -> None:
    weighed = {name.removesuffix("~") for name in scorer._WEIGHTS}
    used = {group for cue in CUES for group in cue.groups}
    assert used == CONTEXT | STRUCTURE | weighed - {"given_here", "paste"}


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "pt", "it", "ru", "zh", "ja", "ko"])
def test_every_language_has_cues_for_every_decision(language: str) -> None:
    needed = {"change", "make", "design", "choose", "diagnose", "review", "explain", "digest"}
    needed |= {"operate", "close", "repo", "look", "here", "given", "general", "unclear", "hold"}
    assert needed <= {group for cue in CUES if cue.language == language for group in cue.groups}


def test_cues_are_well_formed() -> None:
    for cue in CUES:
        assert cue.words
        assert cue.words[0] not in GAPS
        assert cue.words[-1] not in GAPS
        assert all(word.strip("*") for word in cue.words)


@pytest.mark.parametrize(
    ("words", "group", "is_met"),
    [
        ("explain it", "explain", True),
        ("please explain it", "explain", True),
        ("so, can you explain it", "explain", True),
        ("I tried to explain it", "explain~", True),
        ("they explain a lot", "explain", False),
        ("explanation", "explain", True),
        ("inexplainable", "explain", False),
        ("rename it and push", "operate", True),
        ("between merge and push", "operate", False),
        ("how does the new parser work", "explain", True),
        ("how does it. The parts work", "general", False),
        ("réfactorise le module pour moi", "change", True),
        ("REFACTOR IT", "change", True),
        ("don\u2019t edit anything", "hold", True),
        ("这段代码是什么意思", "explain", True),
        ("ログを要約して", "digest", True),
        ("다음 로그를 요약해줘", "digest", True),
    ],
)
def test_a_cue_is_met_where_it_should_be(words: str, group: str, is_met: bool) -> None:
    assert (group in groups(words)) is is_met


@pytest.mark.parametrize(
    ("words", "marker"),
    [
        ("see ```\nx\n``` there", FENCE),
        ("see ```\nx", FENCE),
        ("the `git log` output", SPAN),
        ("the `load_all` call", NAME),
        ("the loadAll call", NAME),
        ("run it with --dry-run", NAME),
        ("open src/app/main.py now", PATH),
        ("open `src/main.py` now", PATH),
        ("open main.py now", PATH),
        ("open ~/notes now", PATH),
        ("open C:\\work\\x now", PATH),
        ("read @docs/plan", MENTION),
        ("see https://example.com/x", URL),
        ("it says\n2026-01-01 10:00 started", PASTE),
        ("it says\n    indented()", PASTE),
        ("it says\nsrc/x.c:10:4: bad", PASTE),
        ('it says level=error msg="no way"', PASTE),
    ],
)
def test_what_is_shown_becomes_a_marker(words: str, marker: str) -> None:
    assert marker in read_passage(words).prose


@pytest.mark.parametrize(
    "words",
    [
        "the client/server split and/or the rest",
        "File upload is broken",
        "at the moment it is slow",
        "version 2.5 is out, e.g. for tests",
        "- first point\n- second point",
        "a one-liner, well-known",
    ],
)
def test_plain_sentences_stay_plain(words: str) -> None:
    prose = read_passage(words).prose
    assert not any(0xE000 <= ord(char) <= 0xF8FF for char in prose)


def test_a_marker_cannot_be_typed() -> None:
    assert not groups(f"explain {FENCE} and {PATH}") & {FENCE, PATH}
