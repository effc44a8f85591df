"""Reads rows of the engine's screen as runs of text, each row exactly as wide as the screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from rich.cells import cell_len

from tui.terminal.engine import PLAIN, RGB, CellStyle, Colour, Cursor, CursorShape, Run, Underline
from tui.terminal.ghostty_library import Library

_NARROW, _WIDE, _TAIL = 0, 1, 2
_TEXT, _CLUSTER, _BACK_PALETTE = 0, 1, 2
_MOST_STYLES = 4096
_LONGEST_CLUSTER = 64
_LONGEST_LINK = 2048
_MARK = "\N{REPLACEMENT CHARACTER}"
_JOINERS = frozenset(("\N{ZERO WIDTH JOINER}", *map(chr, range(0xE0020, 0xE0080))))
_SHAPES = {0: CursorShape.BAR, 2: CursorShape.UNDERLINE}
_FLAGS = ("bold", "italic", "blink", "overline")


@lru_cache(maxsize=8192)
def shown_as(text: str, width: int) -> str:
    """A cell's text, made harmless and ``width`` cells wide.

    The engine never puts a control character into a cell; what else acts on its neighbours (marks
    of direction, invisible format characters) is taken out, and what a terminal would draw in
    another width than the engine reckons becomes a mark.
    """
    kept = "".join(char for char in text if not _acts(char))
    if cell_len(kept) == width:
        return kept
    return _MARK + " " * (width - 1) if kept.strip() else " " * width


def joined(cells: Sequence[str]) -> str:
    """The texts of neighbouring cells as one, none of them melting with the one before.

    Half an emoji that ends in a joiner, or a flag's first letter, would do that.
    """
    text = "".join(cells)
    if text.isascii() or cell_len(text) == sum(map(cell_len, cells)):
        return text
    return "".join(cell if cell.isascii() else _MARK + " " * (cell_len(cell) - 1) for cell in cells)


def _acts(char: str) -> bool:
    category = unicodedata.category(char)
    if category == "Cf":
        return char not in _JOINERS
    return category in ("Cc", "Cs", "Zl", "Zp")


class RowReader:
    """Rows and cursor of one terminal, as they were at the last ``update``."""

    def __init__(self, library: Library, terminal: Any) -> None:
        self._library = library
        self._terminal = terminal
        self._styles: dict[CellStyle, CellStyle] = {}
        ffi, lib = library.ffi, library.lib
        self._state = ffi.new("GhosttyRenderState*")
        library.check(lib.ghostty_render_state_new(ffi.NULL, self._state), "render state")
        self._rows = ffi.new("GhosttyRenderStateRowIterator*")
        library.check(lib.ghostty_render_state_row_iterator_new(ffi.NULL, self._rows), "rows")
        self._cells = ffi.new("GhosttyRenderStateRowCells*")
        library.check(lib.ghostty_render_state_row_cells_new(ffi.NULL, self._cells), "cells")
        self._view = ffi.new("GhosttyCellsView*")
        self._y = ffi.new("uint16_t*")
        self._style = library.sized("GhosttyStyle")
        self._text = ffi.new("uint8_t[]", _LONGEST_CLUSTER)
        self._buffer = ffi.new("GhosttyBuffer*")
        layout = library.layout
        self._look = layout.style.in_place | layout.link.in_place

    def close(self) -> None:
        """Give the engine's objects back."""
        lib = self._library.lib
        lib.ghostty_render_state_row_cells_free(self._cells[0])
        lib.ghostty_render_state_row_iterator_free(self._rows[0])
        lib.ghostty_render_state_free(self._state[0])

    def update(self) -> list[int]:
        """Look at the terminal again; the rows that changed since the last time."""
        lib, state = self._library.lib, self._state[0]
        self._library.check(lib.ghostty_render_state_update(state, self._terminal), "update")
        self._start()
        changed: list[int] = []
        while lib.ghostty_render_state_row_iterator_next_dirty(self._rows[0], self._y):
            changed.append(self._y[0])
        self._library.check(lib.ghostty_render_state_clean(state), "clean")
        return changed

    def _start(self) -> None:
        lib = self._library.lib
        found = lib.ghostty_render_state_get(
            self._state[0], lib.GHOSTTY_RENDER_STATE_DATA_ROW_ITERATOR, self._rows
        )
        self._library.check(found, "row iterator")

    def rows(self, wanted: Collection[int]) -> Iterator[tuple[int, Sequence[Run]]]:
        """Some rows, from the top."""
        if not wanted:
            return
        lib, rows, last = self._library.lib, self._rows[0], max(wanted)
        self._start()
        y = -1
        while y < last and lib.ghostty_render_state_row_iterator_next(rows):
            y += 1
            if y in wanted:
                yield y, self._row(y)

    def cursor(self) -> Cursor | None:
        """The cursor, when it is shown."""
        lib = self._library.lib
        found = self._library.sized("GhosttyRenderStateCursor")
        result = lib.ghostty_render_state_get(
            self._state[0], lib.GHOSTTY_RENDER_STATE_DATA_CURSOR, found
        )
        self._library.check(result, "cursor")
        if not (found.visible and found.viewport_has_value):
            return None
        x = found.viewport_x - (1 if found.wide_tail else 0)
        return Cursor(x, found.viewport_y, _SHAPES.get(found.visual_style, CursorShape.BLOCK))

    # -- one row -----------------------------------------------------------------------------

    def _row(self, y: int) -> Sequence[Run]:
        library, ffi, lib = self._library, self._library.ffi, self._library.lib
        raw = lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW
        library.check(lib.ghostty_render_state_row_get(self._rows[0], raw, self._view), "row")
        words = memoryview(ffi.buffer(self._view.ptr, self._view.len * 8)).cast("Q").tolist()
        if not any(words):
            return [(" " * len(words), PLAIN)]
        whole = lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS
        library.check(lib.ghostty_render_state_row_get(self._rows[0], whole, self._cells), "cells")
        return self._runs(y, words)

    def _runs(self, y: int, words: list[int]) -> list[Run]:
        layout = self._library.layout
        point, tail = layout.codepoint, layout.wide
        tag_mask, look_mask, link_mask = layout.tag.mask, self._look, layout.link.in_place
        tag_shift, wide_shift, wide_mask = layout.tag.shift, tail.shift, tail.mask
        looks: dict[int, CellStyle] = {0: PLAIN}
        runs: list[Run] = []
        texts: list[str] = []
        style, key = PLAIN, 0
        for x, word in enumerate(words):
            wide = (word >> wide_shift) & wide_mask
            if wide == _TAIL:
                continue
            tag = (word >> tag_shift) & tag_mask
            look = word & look_mask if tag <= _CLUSTER else word
            if look != key or word & link_mask:  # one look may stand for several links
                key = look
                found = None if word & link_mask else looks.get(look)
                found = looks[look] = self._look_at(x, y, word) if found is None else found
                if found is not style:
                    if texts:
                        runs.append((joined(texts), style))
                        texts = []
                    style = found
            texts.append(self._cell_text(x, word, tag, wide, (word >> point.shift) & point.mask))
        runs.append((joined(texts), style))
        return runs

    def _cell_text(self, x: int, word: int, tag: int, wide: int, code: int) -> str:
        if tag == _TEXT:
            if 0x20 < code < 0x7F:
                return chr(code)
            width = 2 if wide == _WIDE else 1
            return shown_as(chr(code), width) if code else " " * width
        if tag == _CLUSTER:
            return shown_as(self._cluster(x, code), 2 if wide == _WIDE else 1)
        return " "

    def _cluster(self, x: int, code: int) -> str:
        library, lib = self._library, self._library.lib
        library.check(lib.ghostty_render_state_row_cells_select(self._cells[0], x), "cell")
        self._buffer.ptr, self._buffer.cap, self._buffer.len = self._text, _LONGEST_CLUSTER, 0
        kind = lib.GHOSTTY_RENDER_STATE_ROW_CELLS_DATA_GRAPHEMES_UTF8
        if lib.ghostty_render_state_row_cells_get(self._cells[0], kind, self._buffer):
            return chr(code)  # longer than any cluster a person writes
        text: bytes = library.ffi.buffer(self._text, self._buffer.len)[:]
        return text.decode("utf-8", "replace")

    # -- looks -------------------------------------------------------------------------------

    def _look_at(self, x: int, y: int, word: int) -> CellStyle:
        layout = self._library.layout
        tag = layout.tag.of(word)
        if tag > _CLUSTER:
            back: Colour = layout.palette.of(word)
            if tag != _BACK_PALETTE:
                red, green, blue = (b.of(word) for b in (layout.red, layout.green, layout.blue))
                back = RGB | red << 16 | green << 8 | blue
            return self._known(CellStyle(bg=back))
        library, lib, style = self._library, self._library.lib, self._style
        library.check(lib.ghostty_render_state_row_cells_select(self._cells[0], x), "cell")
        kind = lib.GHOSTTY_RENDER_STATE_ROW_CELLS_DATA_STYLE
        library.check(lib.ghostty_render_state_row_cells_get(self._cells[0], kind, style), "style")
        link = self._link(x, y) if layout.link.of(word) else None
        return self._known(
            CellStyle(
                fg=_colour(style.fg_color),
                bg=_colour(style.bg_color),
                dim=style.faint,
                reverse=style.inverse,
                hidden=style.invisible,
                strike=style.strikethrough,
                underline=_underline(style.underline),
                link=link,
                **{name: getattr(style, name) for name in _FLAGS},
            )
        )

    def _known(self, style: CellStyle) -> CellStyle:
        """The one object for this look."""
        if len(self._styles) >= _MOST_STYLES:
            self._styles.clear()
        return self._styles.setdefault(style, style)

    def _link(self, x: int, y: int) -> str | None:
        library, ffi, lib = self._library, self._library.ffi, self._library.lib
        point = ffi.new(f"{library.point_type}*")
        point.tag = lib.GHOSTTY_POINT_TAG_VIEWPORT
        point.value.x, point.value.y = x, y
        ref = library.sized("GhosttyGridRef")
        if library.grid_ref(self._terminal, point[0], ref):
            return None
        text, length = ffi.new("uint8_t[]", _LONGEST_LINK), ffi.new("size_t*")
        if lib.ghostty_grid_ref_hyperlink_uri(ref, text, _LONGEST_LINK, length):
            return None
        raw: bytes = ffi.buffer(text, length[0])[:]
        uri = raw.decode("latin-1")
        # It is written into an escape sequence of ours, so nothing in it may end that.
        return uri if uri.isascii() and uri.isprintable() and uri else None


def _colour(found: Any) -> Colour:
    if found.tag == 1:
        return int(found.value.palette)
    if found.tag == 2:
        rgb = found.value.rgb
        return int(RGB | rgb.r << 16 | rgb.g << 8 | rgb.b)
    return None


def _underline(found: int) -> Underline:
    if found == Underline.DOUBLE.value:
        return Underline.DOUBLE
    return Underline.SINGLE if found else Underline.NONE
