from __future__ import annotations

import io
import sys

import pytest

from tui.progress import WORTH_A_BAR, bar, counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_every_item_passes_and_is_counted_once(count: int) -> None:
    told: list[int] = []
    assert list(counted(range(count), told.append)) == list(range(count))
    assert sum(told) == count


def test_a_bar_is_shown_to_a_person_and_only_for_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for name, total, kind in (
        ("long", WORTH_A_BAR, Terminal),
        ("short", WORTH_A_BAR - 1, Terminal),
        ("piped", WORTH_A_BAR, io.StringIO),
    ):
        stream = kind()
        monkeypatch.setattr(sys, "stderr", stream)
        with bar("reading", total) as step:
            step(total)
        shown[name] = stream.getvalue()
    assert "reading" in shown["long"]
    assert "100%" in shown["long"]
    assert (shown["short"], shown["piped"]) == ("", "")
