"""The engine draws, answers and encodes as a current terminal does."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from tui.terminal import ghostty_library
from tui.terminal.engine import (
    ALT,
    CTRL,
    PLAIN,
    RGB,
    SHIFT,
    CellStyle,
    Colours,
    Cursor,
    CursorShape,
    EngineMissing,
    KeyPress,
    MouseDeed,
    MousePress,
    Underline,
)
from tui.terminal.ghostty import GhosttyEngine, require_engine
from tui.terminal.ghostty_rows import joined, shown_as

COLUMNS, ROWS = 20, 5


@pytest.fixture
def engine() -> Iterator[GhosttyEngine]:
    made = GhosttyEngine(COLUMNS, ROWS)
    made.recolour(Colours((213, 219, 230), (13, 17, 23), True, {1: (255, 0, 0)}))
    yield made
    made.close()


def lines(engine: GhosttyEngine) -> list[str]:
    engine.take_dirty()
    wanted = range(engine.size[1])
    return ["".join(text for text, _ in runs).rstrip() for _, runs in engine.rows(wanted)]


def styles(engine: GhosttyEngine, text: str) -> CellStyle:
    """How the run that holds ``text`` looks."""
    engine.take_dirty()
    for _, runs in engine.rows(range(engine.size[1])):
        for shown, style in runs:
            if text in shown:
                return style
    raise AssertionError(f"{text!r} is not shown")


@pytest.mark.parametrize(
    ("fed", "shown"),
    [
        ("plain", ["plain"]),
        ("one\r\ntwo", ["one", "two"]),
        ("\x1b[?1049hother\x1b[?1049l", [""]),
        ("keep\x1b[?1049hother\x1b[?1049l", ["keep"]),
        ("a\x1b[2;3Hb", ["a", "  b"]),
        ("\x1b[2;3r\x1b[2;1Hx\r\ny\r\nz\x1b[r", ["", "y", "z"]),
        ("a\r\nb\x1b[H\x1bMtop", ["top", "a", "b"]),
        ("abcdef\x1b[3G\x1b[2X", ["ab  ef"]),
        ("abcdef\x1b[3G\x1b[2P", ["abef"]),
        ("abcd\x1b[2G\x1b[2@", ["a  bcd"]),
        ("abcd\x1b[2G\x1b[K", ["a"]),
        ("a\r\nb\r\nc\x1b[2J", [""]),
        ("x" * COLUMNS + "\r\ny", ["x" * COLUMNS, "y"]),
        ("x" * COLUMNS + "y", ["x" * COLUMNS, "y"]),
        ("a\r\nb\x1b[S", ["b"]),
        ("a\x1b[T", ["", "a"]),
        ("x\x1b[4b", ["xxxxx"]),
        ("\x1b(0lqk\x1b(B", ["┌─┐"]),
        ("漢字", ["漢字"]),
        ("x" * (COLUMNS - 1) + "漢", ["x" * (COLUMNS - 1), "漢"]),
        ("e\u0301", ["e\u0301"]),
        ("👨\u200d👩\u200d👧x", ["👨\u200d👩\u200d👧x"]),
        ("❤\ufe0fx", ["❤\ufe0fx"]),
        ("🇩🇪👍🏽x", ["🇩🇪👍🏽x"]),
        ("a\x1b[>7ub\x1b[<uc", ["abc"]),
        ("a\x1b_Gi=1;AAAA\x1b\\b", ["ab"]),
        ("a\x1bP1$r0m\x1b\\b", ["ab"]),
        ("a\x1b]7501;state=idle\x07b", ["ab"]),
        ("a\x1b[!pb", ["ab"]),
        ("a\x1b[4:3mb\x1b[58:2::1:2:3mc\x1b[0m", ["abc"]),
        ("\x1b[3g\x1b[5G\x1bH\ra\tb", ["a   b"]),
        ("a\x1b[?6nb\x1b[?996nc", ["abc"]),
    ],
)
def test_what_is_shown(engine: GhosttyEngine, fed: str, shown: list[str]) -> None:
    engine.feed(fed.encode())
    assert lines(engine)[: len(shown)] == shown


def test_a_character_may_arrive_in_parts(engine: GhosttyEngine) -> None:
    for byte in "漢👍🏽\x1b[31mé".encode():
        engine.feed(bytes([byte]))
    assert lines(engine)[0] == "漢👍🏽é"


@pytest.mark.parametrize(
    ("fed", "style"),
    [
        ("\x1b[1mA", CellStyle(bold=True)),
        ("\x1b[2mA", CellStyle(dim=True)),
        ("\x1b[3mA", CellStyle(italic=True)),
        ("\x1b[4mA", CellStyle(underline=Underline.SINGLE)),
        ("\x1b[21mA", CellStyle(underline=Underline.DOUBLE)),
        ("\x1b[4:3mA", CellStyle(underline=Underline.SINGLE)),
        ("\x1b[5mA", CellStyle(blink=True)),
        ("\x1b[7mA", CellStyle(reverse=True)),
        ("\x1b[8mA", CellStyle(hidden=True)),
        ("\x1b[9mA", CellStyle(strike=True)),
        ("\x1b[53mA", CellStyle(overline=True)),
        ("\x1b[31;102mA", CellStyle(fg=1, bg=10)),
        ("\x1b[38;5;200mA", CellStyle(fg=200)),
        ("\x1b[38;2;1;2;3mA", CellStyle(fg=RGB | 0x010203)),
        ("\x1b[38:2::1:2:3mA", CellStyle(fg=RGB | 0x010203)),
        ("\x1b[48;2;255;254;253mA", CellStyle(bg=RGB | 0xFFFEFD)),
        ("\x1b[1m\x1b[0mA", PLAIN),
    ],
)
def test_how_it_looks(engine: GhosttyEngine, fed: str, style: CellStyle) -> None:
    engine.feed(fed.encode() + b"\x1b[0m.")
    assert styles(engine, "A") == style


@pytest.mark.parametrize("colour", ["44", "48;2;1;2;3"])
def test_a_background_alone_fills_the_line(engine: GhosttyEngine, colour: str) -> None:
    engine.feed(f"x\x1b[{colour}m\x1b[K".encode())
    engine.take_dirty()
    ((_, runs),) = engine.rows({0})
    assert [len(text) for text, _ in runs] == [1, COLUMNS - 1]
    assert runs[1][1].bg in (4, RGB | 0x010203)


def test_links_are_told_apart_and_cannot_end_the_sequence_they_are_written_in(
    engine: GhosttyEngine,
) -> None:
    link = "\x1b]8;;{}\x1b\\{}"
    engine.feed((link.format("http://a.b", "A") + link.format("http://c.d", "B")).encode())
    engine.feed((link.format("", "") + "n" + link.format("http://\u00e9", "E")).encode())
    assert [styles(engine, name).link for name in "ABnE"] == [
        "http://a.b",
        "http://c.d",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("a", 1, "a"),
        ("\u202e", 1, " "),
        ("a\u202e", 1, "a"),
        ("\u00ad", 1, " "),
        ("漢", 2, "漢"),
        ("漢", 1, "\ufffd"),
        ("a", 2, "\ufffd "),
        ("\ue0b0", 1, "\ue0b0"),
        ("\u2028", 1, " "),
    ],
)
def test_a_cell_is_harmless_and_as_wide_as_it_should_be(text: str, width: int, shown: str) -> None:
    assert shown_as(text, width) == shown
    assert cell_len(shown_as(text, width)) == width


def test_cells_do_not_melt_together() -> None:
    assert joined(["a", "漢", "é"]) == "a漢é"
    halves = ["👩\u200d", "👩", "x"]
    assert cell_len(joined(halves)) == sum(map(cell_len, halves))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("\x1b[c", "\x1b[?62;22c"),
        ("\x1b[>c", "\x1b[>1;0;0c"),
        ("\x1b[5n", "\x1b[0n"),
        ("\x1b[3;4H\x1b[6n", "\x1b[3;4R"),
        ("\x1b[>0q", "\x1bP>|sbgw-tui\x1b\\"),
        ("\x1b[?2026$p", "\x1b[?2026;2$y"),
        ("\x1b[?2027$p", "\x1b[?2027;1$y"),
        ("\x1bc\x1b[?2027$p", "\x1b[?2027;1$y"),
        ("\x1b[?u", "\x1b[?0u"),
        ("\x1b[>5u\x1b[?u", "\x1b[?5u"),
        ("\x1b]10;?\x07", "\x1b]10;rgb:d5d5/dbdb/e6e6\x07"),
        ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0d0d/1111/1717\x1b\\"),
        ("\x1b]4;1;?\x07", "\x1b]4;1;rgb:ffff/0000/0000\x07"),
        ("\x1b[18t", f"\x1b[8;{ROWS};{COLUMNS}t"),
        ("\x1b[?996n", "\x1b[?997;1n"),
    ],
)
def test_what_it_answers(engine: GhosttyEngine, asked: str, answer: str) -> None:
    engine.feed(asked.encode())
    assert engine.take_replies() == answer.encode()
    assert engine.take_replies() == b""


def test_it_tells_title_state_and_bell(engine: GhosttyEngine) -> None:
    assert (engine.title, engine.status, engine.bells) == ("", "", 0)
    engine.feed(b"\x1b]0;a title\x07\x1b]7501;v=1;state=working\x07\x07\x07")
    assert (engine.title, engine.status, engine.bells) == ("a title", "working", 2)


def test_a_clipboard_is_neither_read_nor_answered(engine: GhosttyEngine) -> None:
    engine.feed(b"\x1b]52;c;?\x07\x1b]52;c;aGVsbG8=\x07")
    assert engine.take_replies() == b""


def test_only_what_changed_is_told(engine: GhosttyEngine) -> None:
    assert set(engine.take_dirty()) == set(range(ROWS))
    assert not list(engine.take_dirty())
    engine.feed(b"\x1b[3;1Hx")
    assert 2 in engine.take_dirty()
    assert list(engine.rows(())) == []


def test_the_cursor(engine: GhosttyEngine) -> None:
    engine.feed(b"ab")
    engine.take_dirty()
    assert engine.cursor() == Cursor(2, 0, CursorShape.BLOCK)
    engine.feed(b"\x1b[5 q\x1b[2;1H")
    engine.take_dirty()
    assert engine.cursor() == Cursor(0, 1, CursorShape.BAR)
    engine.feed(b"\x1b[?25l")
    engine.take_dirty()
    assert engine.cursor() is None


def test_a_new_size_breaks_lines_anew(engine: GhosttyEngine) -> None:
    engine.feed(b"abcdefghij" * 2)
    engine.resize(10, 4)
    assert engine.size == (10, 4)
    assert lines(engine)[:2] == ["abcdefghij", "abcdefghij"]
    engine.resize(30, 4)
    assert lines(engine)[0] == "abcdefghij" * 2
    engine.feed(b"\x1b[18t")
    assert engine.take_replies() == b"\x1b[8;4;30t"


def test_the_history_can_be_scrolled(engine: GhosttyEngine) -> None:
    engine.feed(b"\r\n".join(b"line %d" % n for n in range(30)))
    assert (lines(engine)[0], engine.scrolled_back()) == ("line 25", 0)
    engine.scroll(-10)
    assert (lines(engine)[0], engine.scrolled_back()) == ("line 15", 10)
    assert engine.cursor() is None
    engine.scroll(-1000)
    assert lines(engine)[0] == "line 0"
    engine.scroll_to_end()
    assert (lines(engine)[0], engine.scrolled_back()) == ("line 25", 0)
    engine.feed(b"\x1b[?1049h")
    assert engine.is_alternate()
    assert engine.scrolled_back() == 0


KEYS = [
    (KeyPress("KeyA", 0, "a", "a"), b"a", b"a"),
    (KeyPress("KeyC", CTRL, "c", "c"), b"\x03", b"\x1b[99;5u"),
    (KeyPress("KeyB", ALT, "b", "b"), b"\x1bb", b"\x1b[98;3u"),
    (KeyPress("Enter", 0, "\r", "\r"), b"\r", b"\r"),
    (KeyPress("Tab", 0, "\t", "\t"), b"\t", b"\t"),
    (KeyPress("Backspace", 0, "\x7f", "\x7f"), b"\x7f", b"\x7f"),
    (KeyPress("Tab", SHIFT, "\t", "\t"), b"\x1b[Z", b"\x1b[9;2u"),
    (KeyPress("Enter", SHIFT, "\r", "\r"), b"\x1b[27;2;13~", b"\x1b[13;2u"),
    (KeyPress("Enter", ALT, "\r", "\r"), b"\x1b\r", b"\x1b[13;3u"),
    (KeyPress("Escape"), b"\x1b", b"\x1b[27u"),
    (KeyPress("ArrowUp"), b"\x1b[A", b"\x1b[1;1:1A"),
    (KeyPress("ArrowUp", SHIFT), b"\x1b[1;2A", b"\x1b[1;2:1A"),
    (KeyPress("ArrowLeft", CTRL), b"\x1b[1;5D", b"\x1b[1;5:1D"),
    (KeyPress("F1"), b"\x1bOP", b"\x1b[1;1:1P"),
    (KeyPress("Space", CTRL, " ", " "), b"\x00", b"\x1b[32;5u"),
    (KeyPress("Unidentified", CTRL, "_", "_"), b"\x1f", b"\x1b[95;5u"),
    (KeyPress("", 0, "é"), "é".encode(), "é".encode()),
    (KeyPress("", 0, "👍🏽"), "👍🏽".encode(), "👍🏽".encode()),
]


@pytest.mark.parametrize(("key", "legacy", "kitty"), KEYS, ids=lambda value: repr(value)[:40])
def test_what_keys_send(engine: GhosttyEngine, key: KeyPress, legacy: bytes, kitty: bytes) -> None:
    assert engine.encode_key(key) == legacy
    engine.feed(b"\x1b[>7u")
    assert engine.encode_key(key) == kitty


def test_arrows_follow_the_cursor_mode(engine: GhosttyEngine) -> None:
    engine.feed(b"\x1b[?1h")
    assert engine.encode_key(KeyPress("ArrowUp")) == b"\x1bOA"


def test_the_mouse_is_sent_where_it_is_wanted(engine: GhosttyEngine) -> None:
    press = MousePress(MouseDeed.PRESS, 1, 3, 2, is_held=True)
    assert engine.encode_mouse(press) == b""
    engine.feed(b"\x1b[?1000h\x1b[?1006h")
    assert engine.mode(1000)
    assert engine.encode_mouse(press) == b"\x1b[<0;4;3M"
    assert engine.encode_mouse(MousePress(MouseDeed.RELEASE, 1, 3, 2)) == b"\x1b[<0;4;3m"
    assert engine.encode_mouse(MousePress(MouseDeed.PRESS, 4, 0, 0)) == b"\x1b[<64;1;1M"
    assert engine.encode_mouse(MousePress(MouseDeed.PRESS, 3, 19, 4, CTRL)) == b"\x1b[<18;20;5M"
    assert engine.encode_mouse(MousePress(MouseDeed.MOVE, 0, 5, 1)) == b""
    engine.feed(b"\x1b[?1003h")
    moves = [MousePress(MouseDeed.MOVE, 0, x, 1) for x in (5, 5, 6)]
    assert [engine.encode_mouse(move) for move in moves] == [
        b"\x1b[<35;6;2M",
        b"",
        b"\x1b[<35;7;2M",
    ]


def test_any_bytes_leave_rows_as_wide_as_the_screen() -> None:
    chance = random.Random(7)
    pieces = [
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b";",
        b"m",
        b"H",
        b"\x1b[?1049h",
        "漢👨\u200d👩".encode(),
    ]
    engine = GhosttyEngine(37, 11)
    for turn in range(150):
        noise = [
            chance.choice(pieces) if chance.random() < 0.3 else chance.randbytes(9)
            for _ in range(200)
        ]
        engine.feed(b"".join(noise))
        engine.take_replies()
        if turn % 10 == 0:
            engine.resize(*chance.choice([(37, 11), (120, 40), (20, 5)]))
        engine.take_dirty()
        columns, rows = engine.size
        widths = [sum(cell_len(text) for text, _ in runs) for _, runs in engine.rows(range(rows))]
        assert widths == [columns] * rows
        assert engine.cursor() is None or engine.cursor().x < columns  # type: ignore[union-attr]
    engine.close()
    engine.close()


def test_an_engine_that_cannot_be_loaded_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    require_engine()
    ghostty_library.library.cache_clear()
    monkeypatch.setitem(sys.modules, "pyghostty", None)
    with pytest.raises(EngineMissing, match="not installed"):
        require_engine()
    monkeypatch.undo()
    monkeypatch.setattr("pyghostty.__version__", "9.9")
    with pytest.raises(EngineMissing, match=r"pyghostty 9\.9 is unknown here"):
        require_engine()
    monkeypatch.undo()
    require_engine()
