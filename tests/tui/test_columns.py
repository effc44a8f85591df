from __future__ import annotations

from typing import Any

import pytest
from hostile_text import HOSTILE, assert_safe
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from server.record import Status
from tui import columns
from tui import format as fmt
from tui.lines import plain, width_of
from tui.rows import Shown, TurnRow, row_from

WIDTHS = (59, 79, 119, 159)
"""Those of the list at 60, 80, 120 and 160 columns: the scrollbar takes one."""


def row(**fields: Any) -> TurnRow:
    made = row_from(
        {
            "id": "gw_1",
            "at": 1000.0,
            "status": "completed",
            "phase": "done",
            "client": "claude-code",
            "kind": "tool_step",
            "route": "tool_loop",
            "model_asked": "claude-opus-5-5",
            "model_served": "claude-opus-5-5",
            "provider": "anthropic",
            "project": "/home/user/src/shop",
            "payer": "gateway key",
            "attempts": 1,
            "http_status": 200,
            "ttft_s": 0.8,
            "duration_s": 2.5,
            "input_tokens": 1204,
            "output_tokens": 640,
            "cache_read_tokens": 81_200,
            "cost_usd": 0.0754,
            **fields,
        },
        1,
    )
    assert made is not None
    return made


def text(made: TurnRow, width: int = 158, now: float = 1010.0) -> str:
    return plain(columns.row_line(made, columns.layout(width), now))


def every_state() -> list[TurnRow]:
    statuses = [row(status=status.value) for status in Status if status is not Status.OPEN]
    opened = [row(status="open", phase=phase) for phase in ("waiting", "streaming")]
    return [*statuses, *opened, row(status="paused")]


def test_states_are_told_apart_without_colour() -> None:
    texts = [columns.state_text(made) for made in every_state()]
    glyphs = [shown[0] for shown in texts]
    assert len(set(texts)) == len(texts)
    assert len(set(glyphs)) == len(glyphs)
    plain_glyphs = [fmt.to_ascii(shown)[0] for shown in texts]
    assert len(set(plain_glyphs)) == len(plain_glyphs)
    assert all(fmt.to_ascii(shown).isascii() for shown in texts)


def test_every_state_has_a_look_and_an_explanation() -> None:
    assert set(columns.LOOKS) == set(Shown)
    assert set(columns.STATE_HELP) == set(Shown) - {Shown.UNKNOWN}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "● ok"),
        ({"status": "error", "http_status": 529}, "▲ error 529"),
        ({"attempts": 2}, "● ok ×2"),
        ({"status": "paused"}, "? paused"),
    ],
)
def test_state_text(fields: dict[str, Any], shown: str) -> None:
    assert columns.state_text(row(**fields)) == shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "$0.0754G"),
        ({"cost_usd": None}, "?G"),
        ({"cost_usd": 0.0}, "$0.0000G"),
        ({"cost_is_estimate": True}, "≈$0.0754G"),
        ({"cost_is_estimate": True, "cost_usd": None}, "?G"),
        ({"payer": "login", "list_price_equivalent": True}, "$0.0754L"),
        ({"payer": "login", "list_price_equivalent": True, "cost_usd": None}, "?L"),
        ({"payer": "client key"}, "$0.0754C"),
        ({"payer": None}, "$0.0754 "),
        ({"status": "open", "cost_usd": None}, "·G"),
        ({"status": "rejected", "cost_usd": None, "unpriced": False}, "– "),
        ({"status": "error", "cost_usd": None, "unpriced": True}, "?G"),
        ({"status": "cancelled", "cost_usd": None}, "?G"),
    ],
)
def test_cost_is_never_invented(fields: dict[str, Any], shown: str) -> None:
    assert columns.cost_text(row(**fields)) == shown


def test_every_row_names_its_payer_at_every_width() -> None:
    for width in WIDTHS:
        for payer, mark in columns.PAYER_MARKS.items():
            assert f"$0.0754{mark} " in text(row(payer=payer), width)


@pytest.mark.parametrize(
    ("asked", "served", "width", "shown"),
    [
        ("claude-opus-5-5", None, 20, "claude-opus-5-5"),
        ("claude-opus-5-5", "claude-opus-5-5", 20, "claude-opus-5-5"),
        ("claude-haiku-5-5", "claude-haiku-5-5-20260801", 20, "claude-haiku-5-5"),
        (
            "claude-haiku-5-5",
            "claude-haiku-5-5-fast",
            50,
            "claude-haiku-5-5 → claude-haiku-5-5-fast",
        ),
        ("claude-haiku-5-5", "openai/gpt-oss-120b", 22, "haiku-5-5→gpt-oss-120b"),
        ("claude-haiku-5-5", "openai/gpt-oss-120b", 15, "haiku-…→gpt-os…"),
        (None, "gpt", 15, "– → gpt"),
    ],
)
def test_model_text(asked: str | None, served: str | None, width: int, shown: str) -> None:
    made = row(model_asked=asked, model_served=served)
    assert columns.model_text(made, width) == shown


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.integers(15, 60))
@settings(max_examples=30, deadline=None)
def test_another_model_is_never_hidden(asked: str, served: str, width: int) -> None:
    made = row(model_asked=asked, model_served=served)
    shown = columns.model_text(made, width)
    assert cell_len(shown) <= width
    assert ("→" in shown) or columns.is_same_model(asked, served) or "→" in asked + served


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "shop"),
        ({"project": "C:\\src\\shop\\"}, "shop"),
        ({"project": None, "label": "nightly"}, "nightly"),
        ({"project": None, "session": "5e55-1234-5678"}, "5e55-123"),
        ({"project": None}, "–"),
        ({"project": "/"}, "/"),
    ],
)
def test_place(fields: dict[str, Any], shown: str) -> None:
    assert columns.place_text(row(**fields)) == shown


def test_an_open_turn_shows_what_is_known_so_far() -> None:
    made = row(
        status="open", phase="streaming", cost_usd=None, input_tokens=None, output_tokens=None,
        cache_read_tokens=None, output_estimate=312, duration_s=None,
    )  # fmt: skip
    shown = text(made, 158, 1012.9)
    assert "▶ streaming" in shown
    assert "~312" in shown
    assert " 12s " in shown
    assert "?" not in shown


def test_unknown_usage_of_an_ended_turn_is_unknown_not_zero() -> None:
    made = row(input_tokens=None, output_tokens=None, cache_read_tokens=None, cost_usd=None)
    assert text(made).count("?") == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "error", "http_status": 529, "cost_usd": None, "unpriced": False},
        {"status": "failed", "cost_usd": None, "unpriced": False},
        {"kind": "count_tokens", "cost_usd": 0.0, "unpriced": False},
    ],
    ids=["error", "failed", "token count"],
)
def test_a_turn_that_is_known_to_be_free_has_no_unknown_tokens(fields: dict[str, Any]) -> None:
    made = row(input_tokens=None, output_tokens=None, cache_read_tokens=None, **fields)
    assert "?" not in text(made)


# -- what live mode would have done -----------------------------------------------------------


def proposed(moves: str = "would_move", **saving: Any) -> TurnRow:
    known = {"state": "settled", "usd": 0.0012, "low_usd": 0.0009, "high_usd": 0.0014, **saving}
    proposal = {"provider": "groq", "model": "openai/gpt-oss-120b", "state": moves}
    return row(proposal=proposal, saving=known)


@pytest.mark.parametrize(
    ("made", "shown", "role"),
    [
        (row(), "–", "muted"),
        (proposed(), "+$0.0012", "muted"),
        (proposed("moved"), "+$0.0012", "good"),
        (proposed(usd=-0.0116), "-$0.0116", "bad"),
        (proposed("moved", usd=-0.0116), "-$0.0116", "bad"),
        (proposed(state="open"), "~+$0.0012", "muted"),
        (proposed(state="open", usd=-0.00001), "~-<$.0001", "muted"),
        (proposed("moved", usd=-0.00001), "-<$0.0001", "bad"),
        (proposed(usd=None), "?", "warn"),
        (proposed("needs_key"), "key", "muted"),
        (proposed("needs_key", usd=5.0), "key", "muted"),
        (row(status="open", proposal={"provider": "groq"}), "·", "muted"),
        (row(status="failed", proposal={"provider": "groq"}), "–", "muted"),
    ],
)
def test_a_saving_is_never_more_than_it_is(made: TurnRow, shown: str, role: str) -> None:
    column = next(column for column in columns.COLUMNS if column.id == "saved")
    assert column.cell(made, 1010.0, column.width) == (shown, role)
    assert f" {shown}" in text(made, 79)


def test_the_target_is_named_where_there_is_room() -> None:
    assert "→ groq/gpt-oss-120b" in text(proposed(), 159)
    assert "→" not in text(proposed(), 119)
    haiku = {"provider": "anthropic", "model": "claude-haiku-5-5", "state": "would_move"}
    assert "→ claude-haiku-5-5 " in text(row(proposal=haiku), 159), "the vendor stays the same"


# -- widths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (59, {"state", "age", "model", "out", "cost", "time"}),
        (79, {"state", "age", "kind", "model", "out", "cost", "saved", "time"}),
        (119, {"saved", "cache", "in", "ttft", "route", "place"}),
        (159, {column.id for column in columns.COLUMNS} - {"via"}),
        (179, {column.id for column in columns.COLUMNS}),
    ],
)
def test_columns_by_width(width: int, expected: set[str]) -> None:
    shown = {column.id for column, _ in columns.layout(width)}
    assert shown >= expected
    if width < 119:
        assert shown == expected


@pytest.mark.parametrize("width", range(56, 260))
def test_columns_fill_the_width_and_never_exceed_it(width: int) -> None:
    layout = columns.layout(width)
    assert width_of(columns.titles(layout)) <= width
    assert width_of(columns.row_line(row(), layout, 1010.0)) == width_of(columns.titles(layout))
    assert all(cells >= column.width for column, cells in layout)


def test_a_wider_screen_never_shows_less() -> None:
    before: set[str] = set()
    for width in range(56, 200):
        shown = {column.id for column, _ in columns.layout(width)}
        assert before <= shown, width
        before = shown


fields = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([*[status.value for status in Status], "odd"]),
        "phase": st.sampled_from(["waiting", "streaming", "done", None]),
        "cost_usd": st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5)),
        "input_tokens": st.one_of(st.none(), st.integers(), st.floats()),
        "output_tokens": st.one_of(st.none(), st.integers()),
        "cache_read_tokens": st.one_of(st.none(), st.integers()),
        "output_estimate": st.one_of(st.none(), st.integers()),
        "ttft_s": st.one_of(st.none(), st.floats()),
        "duration_s": st.one_of(st.none(), st.floats(), st.integers()),
        "at": st.one_of(st.none(), st.floats(), st.integers()),
        "attempts": st.one_of(st.none(), st.integers()),
        "http_status": st.one_of(st.none(), st.integers()),
        "payer": st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["login"])),
        "cost_is_estimate": st.booleans(),
        "proposal": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"provider": st.sampled_from([*HOSTILE, "groq"])},
                optional={
                    "model": st.one_of(st.none(), st.sampled_from(HOSTILE), st.integers()),
                    "state": st.one_of(st.none(), st.sampled_from(["moved", "needs_key", "odd"])),
                },
            ),
        ),
        "saving": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"usd": st.one_of(st.none(), st.floats(), st.floats(-0.001, 0.001))},
                optional={"state": st.sampled_from(["open", "settled", "unpriced", "odd"])},
            ),
        ),
    },
)


@settings(max_examples=40, deadline=None)
@given(fields, st.sampled_from(WIDTHS), st.sampled_from(HOSTILE))
def test_no_value_breaks_a_row(values: dict[str, Any], width: int, hostile: str) -> None:
    names = ("client", "kind", "route", "model_asked", "model_served", "provider", "project")
    made = row(**{**dict.fromkeys(names, hostile), **values})
    layout = columns.layout(width)
    line = columns.row_line(made, layout, 1010.0, selected=True)
    assert width_of(line) == width_of(columns.titles(layout))
    assert_safe(plain(line))


@settings(max_examples=40, deadline=None)
@given(fields)
def test_numbers_are_never_cut(values: dict[str, Any]) -> None:
    made = row(**values)
    for column, width in columns.layout(158):
        if column.align == "right":
            shown, _role = column.cell(made, 1010.0, width)
            assert cell_len(shown) <= width, column.id


def test_the_selected_row_is_marked_without_colour() -> None:
    layout = columns.layout(78)
    chosen = plain(columns.row_line(row(), layout, 1010.0, selected=True))
    other = plain(columns.row_line(row(), layout, 1010.0))
    assert chosen != other
    assert chosen[2:] == other[2:]
