"""The columns of the live list: which fit a width, and what each says about a turn.

Columns are taken by priority until the width is used; what is left over goes to the model and
the project. Numbers are right-aligned in a fixed width, so nothing jitters when they change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len

from tui import format as fmt
from tui import saving_text
from tui.format import Align
from tui.lines import Line, Span
from tui.rows import Shown, TurnRow

_READABLE = {"model": 18, "kind": 12}
"""What these columns get before any other grows, in this order."""
GUTTER = 2
"""Cells left of the first column, for the selection mark."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is told: glyph, word and role, in that order of importance."""

    glyph: str
    word: str
    role: str


LOOKS = {
    Shown.WAITING: Look("◌", "waiting", "accent"),
    Shown.STREAMING: Look("▶", "streaming", "live"),
    Shown.OK: Look("●", "ok", "good"),
    Shown.ERROR: Look("▲", "error", "bad"),
    Shown.FAILED: Look("✕", "failed", "bad"),
    Shown.PARTIAL: Look("◐", "partial", "warn"),
    Shown.CANCELLED: Look("⊘", "cancelled", "muted"),
    Shown.REJECTED: Look("⊗", "rejected", "warn"),
    Shown.INTERRUPTED: Look("◇", "interrupted", "warn"),
    Shown.UNKNOWN: Look("?", "unknown", "warn"),
}

STATE_HELP = {
    Shown.WAITING: "sent to the provider, no answer yet",
    Shown.STREAMING: "the answer is arriving",
    Shown.OK: "answered in full",
    Shown.ERROR: "the provider answered with an error, which the client got",
    Shown.FAILED: "no provider answered; the client got an error of the gateway",
    Shown.PARTIAL: "the answer broke off in the middle",
    Shown.CANCELLED: "the client went away",
    Shown.REJECTED: "refused before anything was sent",
    Shown.INTERRUPTED: "the gateway was killed while it ran",
}

PAYER_MARKS = {"login": "L", "client key": "C", "gateway key": "G"}
PAYER_HELP = {
    "L": "login: list-price equivalent, not billed per token",
    "C": "client's own key",
    "G": "gateway's key",
}


def state_text(row: TurnRow) -> str:
    """Glyph and word, with the HTTP status of an error and the attempts when there were more."""
    look = LOOKS[row.shown]
    word = look.word if row.shown is not Shown.UNKNOWN else fmt.neutralise(row.status) or look.word
    if row.shown is Shown.ERROR and row.http_status:
        word = f"{word} {row.http_status}"
    return f"{look.glyph} {word}" + (f" ×{row.attempts}" if row.attempts > 1 else "")


def cost_text(row: TurnRow) -> str:
    """The cost with its marks: ``≈`` an estimate, and whose account it is (``L C G``).

    Unknown is ``?``, never zero; a turn in flight has no cost yet, a refused one has none.
    """
    if row.cost_usd is not None:
        amount = fmt.money(row.cost_usd)
        amount = fmt.estimated(amount) if row.cost_is_estimate else amount
    elif row.is_open:
        amount = fmt.PENDING
    elif not row.is_unpriced:
        return fmt.NOTHING + " "  # nothing to pay, so nobody who pays
    else:
        amount = fmt.UNKNOWN
    return amount + payer_mark(row)


def age_text(row: TurnRow, now: float) -> str:
    """The only text of a row that depends on the time."""
    return fmt.age(now - row.at)


def payer_mark(row: TurnRow) -> str:
    """One letter for who pays; a space while that is not known."""
    if row.list_price:
        return "L"
    return PAYER_MARKS.get(row.payer or "", " ")


def model_text(row: TurnRow, width: int) -> str:
    """The model asked for, and the one that served when it is another one.

    Both names stay recognisable: when they do not fit, vendor prefixes go first, then each
    keeps its share of the width.
    """
    asked, served = row.model_asked or fmt.NOTHING, row.model_served
    if served is None or is_same_model(asked, served):
        return fmt.neutralise(asked, width)
    both = fmt.neutralise(asked), fmt.neutralise(served)
    if cell_len(both[0]) + cell_len(both[1]) + 3 <= width:
        return f"{both[0]} → {both[1]}"
    first, second = (name.rpartition("/")[2].removeprefix("claude-") for name in both)
    room = width - 1
    first = fmt.neutralise(first, max(room - cell_len(second), room // 2))
    return f"{first}→{fmt.neutralise(second, room - cell_len(first))}"


def is_same_model(asked: str, served: str) -> bool:
    """Whether ``served`` is ``asked`` itself or a dated version of it (``asked-20260101``)."""
    dated = served.removeprefix(asked + "-")
    return asked == served or (dated != served and dated.isdigit() and len(dated) == 8)


def place_text(row: TurnRow) -> str:
    """The project's folder name, else the label, else the start of the session id."""
    if row.project:
        return row.project.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or row.project
    return row.label or (row.session or fmt.NOTHING)[:8]


def _output(row: TurnRow) -> str:
    if row.output_tokens is not None and not row.is_open:
        return fmt.tokens(row.output_tokens)
    if row.output_estimate:
        return "~" + fmt.tokens(row.output_estimate)
    return _tokens(row, None)


def _tokens(row: TurnRow, count: int | None) -> str:
    if count is None and row.is_open:
        return fmt.PENDING
    if count is None and (row.attempts == 0 or _is_free(row)):
        return fmt.NOTHING
    return fmt.tokens(count)


def _is_free(row: TurnRow) -> bool:
    """Whether it is known that nothing was charged, as for an error or a token count."""
    return not row.is_unpriced and not row.cost_usd


def _elapsed(row: TurnRow, now: float) -> str:
    if row.is_open:
        return age_text(row, now)
    return fmt.NOTHING if row.duration_s is None else fmt.duration(row.duration_s)


def _ttft(row: TurnRow) -> str:
    if row.ttft_s is None:
        return fmt.PENDING if row.is_open else fmt.NOTHING
    return fmt.duration(row.ttft_s)


# -- cells: (row, wall time, width) -> (text, role) --------------------------------------------

Cell = Callable[[TurnRow, float, int], Span]
_PLACEHOLDERS = frozenset({fmt.NOTHING, fmt.PENDING, fmt.UNKNOWN, "0"})


def _state(row: TurnRow, _now: float, _width: int) -> Span:
    return state_text(row), LOOKS[row.shown].role


def _age(row: TurnRow, now: float, _width: int) -> Span:
    return age_text(row, now), "muted"


def _model(row: TurnRow, _now: float, width: int) -> Span:
    asked, served = row.model_asked, row.model_served
    rerouted = asked is not None and served is not None and not is_same_model(asked, served)
    return model_text(row, width), "accent" if rerouted else "text"


def _cost(row: TurnRow, _now: float, _width: int) -> Span:
    if row.cost_usd is None:
        role = "muted" if row.is_open or row.shown is Shown.REJECTED else "warn"
    else:
        role = "muted" if row.list_price else "text"
    return cost_text(row), role


def _cache(row: TurnRow, _now: float, _width: int) -> Span:
    """What it read from the cache; a word where the cache should have been warm and was not."""
    if row.cold is not None:
        return "cold", "warn"
    return _tokens(row, row.cache_read_tokens), "text"


def _saved(row: TurnRow, _now: float, _width: int) -> Span:
    return saving_text.cell(row)


def _would(row: TurnRow, _now: float, width: int) -> Span:
    found = row.projected
    if found is None:
        return "", "muted"
    role = {"moved": "accent", "would_move": "text"}.get(found.state, "muted")
    same = found.model is not None and found.provider == row.provider
    shown = found.model if same and found.model else found.target
    return f"→ {fmt.neutralise(shown, width - 2)}", role


def _time(row: TurnRow, now: float, _width: int) -> Span:
    return _elapsed(row, now), "live" if row.is_open else "text"


def _plain(value: Callable[[TurnRow], str | None], role: str = "text") -> Cell:
    return lambda row, _now, _width: (value(row) or fmt.NOTHING, role)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list."""

    id: str
    title: str
    width: int
    priority: int
    """0 is never left out; the highest goes first, so that a wider screen never shows less."""
    cell: Cell
    align: Align = "left"
    most: int = 0
    """The width it may grow to; 0 means fixed."""
    share: int = 0
    """Its part of the room that is left over."""
    tail: int = 0
    """So many characters at its end are marks, drawn quietly."""


COLUMNS = (
    Column("state", "STATE", 11, 0, _state, most=13),
    Column("age", "AGE", fmt.AGE_WIDTH, 0, _age, "right"),
    Column("client", "CLIENT", 11, 9, _plain(lambda r: r.client)),
    Column("kind", "KIND", 9, 2, _plain(lambda r: r.kind), most=16, share=1),
    Column("model", "MODEL", 15, 0, _model, most=44, share=3),
    Column("in", "IN", 5, 5, _plain(lambda r: _tokens(r, r.input_tokens)), "right"),
    Column("cache", "CACHE", 5, 4, _cache, "right"),
    Column("out", "OUT", 6, 1, _plain(_output), "right"),
    Column("cost", "COST", fmt.COST_WIDTH, 0, _cost, "right", tail=1),
    Column("saved", "SAVED", saving_text.GAIN_WIDTH, 3, _saved, "right"),
    Column("would", "WOULD GO TO", 19, 10, _would, most=28, share=2),
    Column("ttft", "TTFT", fmt.DURATION_WIDTH, 6, _plain(_ttft), "right"),
    Column("time", "TIME", fmt.DURATION_WIDTH, 1, _time, "right"),
    Column("route", "ROUTE", 10, 8, _plain(lambda r: r.route, "muted"), most=13),
    Column("via", "VIA", 9, 11, _plain(lambda r: r.provider, "muted"), most=12),
    Column("place", "PROJECT", 8, 7, _plain(place_text, "muted"), most=30, share=1),
)

_MINIMAL = frozenset({"state", "age", "model", "out", "cost", "time"})
_MEDIUM = _MINIMAL | {"kind", "saved", "cache", "in", "place", "ttft", "route"}
_WIDE = _MEDIUM | {"client"}

Layout = tuple[tuple[Column, int], ...]


@lru_cache(maxsize=64)
def layout(width: int) -> Layout:
    """The columns that fit ``width`` cells, and the width of each.

    A screen of 120 columns shows all but the client, where a turn would go and who served it,
    which follow as it grows; one of 80 the kind and the saving; below that there are only state,
    age, model, tokens out, cost and time.
    """
    allowed = _MINIMAL if width < 78 else _MEDIUM if width < 117 else _WIDE
    if width >= 150:
        allowed = allowed | {"would"}
    if width >= 170:
        allowed = allowed | {"via"}
    taken: list[Column] = []
    room = width - GUTTER
    for column in sorted(COLUMNS, key=lambda c: c.priority):
        if column.id not in allowed:
            continue
        if column.priority and column.width + 1 > room:
            break
        taken.append(column)
        room -= column.width + 1
    return _grown([column for column in COLUMNS if column in taken], max(0, room))


def _grown(taken: list[Column], room: int) -> Layout:
    """Give the room that is left: first model and kind a readable width, then the others."""
    widths = {column.id: column.width for column in taken}

    def give(column: Column, cells: int) -> int:
        widths[column.id] += cells
        return room - cells

    known = {column.id: column for column in taken}
    for name, wanted in _READABLE.items():
        if name in known:
            room = give(known[name], min(room, wanted - known[name].width))
    for column in taken:
        if column.most and not column.share:
            room = give(column, min(room, column.most - column.width))
    spare, shares = room, sum(column.share for column in taken)
    for column in taken:
        if column.share:
            most = column.most - widths[column.id]
            room = give(column, max(0, min(room, spare * column.share // shares, most)))
    give(known["model"], min(room, 60))
    return tuple((column, widths[column.id]) for column in taken)


def titles(columns: Layout, sorted_by: str = "age") -> Line:
    """The line of column titles, an arrow at the one that the list is sorted by."""
    spans: list[Span] = [(" " * GUTTER, "title")]
    for column, width in columns:
        is_marked = column.id == sorted_by and column.id != "age"
        title = f"{column.title}↓" if is_marked else column.title
        spans.append(
            (fmt.fit(title, width, column.align) + " ", "accent" if is_marked else "title")
        )
    return tuple(spans)


def row_line(
    row: TurnRow, columns: Layout, now: float, *, selected: bool = False, marked: bool = False
) -> Line:
    """A turn as one line of the list at wall time ``now``.

    The first mark shows the selection, the second one that it is of the pane that is chosen.
    """
    spans: list[Span] = [(("▌" if selected else " ") + ("•" if marked else " "), "accent")]

    def add(text: str, role: str) -> None:
        if spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + text, role)
        elif text:
            spans.append((text, role))

    for column, width in columns:
        text, role = column.cell(row, now, width)
        shown = fmt.fit(text, width, column.align)
        if role == "text" and text in _PLACEHOLDERS:
            role = "muted"
        if column.tail:
            add(shown[: -column.tail], role)
            add(shown[-column.tail :] + " ", "muted")
        else:
            add(shown + " ", role)
    return tuple(spans)
