from __future__ import annotations

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st

from server.classify.continuation import is_bare_continuation


@pytest.mark.parametrize(
    "words",
    [
        "yes",
        "Yes.",
        "  ok! ",
        "Y",
        "continue",
        "Please continue.",
        "go ahead, please",
        "Keep going…",
        "sure, do it",
        "1",
        "2.",
        "option 2",
        "1, 3 and 4",
        "b)",
        "great, proceed",
        "continue, thanks",
        "👍",
        "ja",
        "Ja, bitte mach weiter",
        "weiter!",
        "oui, vas-y",
        "d'accord",
        "Sí, adelante",
        "continúa por favor",
        "dale",
        "sim, pode continuar",
        "prossiga",
        "va bene, vai avanti",
        "да",
        "Продолжай, пожалуйста",
        "давай дальше",
        "继续",
        "好的，继续吧",
        "可以",
        "請繼續",
        "ok 继续",
        "はい",
        "続けてください",
        "お願いします。",
        "네, 계속해줘",
        "진행해 주세요",
        "có, tiếp tục đi",
        "हाँ, जारी रखो",
        "ठीक है",
        "نعم",
        "כן",
        "evet, devam et",
        "ga verder",
        "dalej",
    ],
)
def test_going_on_is_understood(words: str) -> None:
    assert is_bare_continuation(words)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "   ",
        "no",
        "stop",
        "thanks",
        "great, well done",
        "ok, thank you",
        "perfecto, gracias",
        "yes, but keep the old name",
        "continue with the parser tests",
        "what next",
        "ok?",
        "why 2",
        "100",
        "1.5 seconds is too slow",
        "да, но сначала тесты",
        "不要继续",
        "谢谢",
        "はい、でもテストは消して",
        "네 그런데 로그도 남겨줘",
        "/clear",
        "...",
        "yes " * 40,
    ],
)
def test_anything_more_is_a_message_of_its_own(words: str) -> None:
    assert not is_bare_continuation(words)


@steady
@given(st.text(max_size=80))
def test_any_text_gets_an_answer(words: str) -> None:
    # Words that are on no list turn every go-ahead into a message of its own.
    assert not is_bare_continuation(f"{words} frobnicate")
