from __future__ import annotations

from tui.terminal import pacing


def test_a_reading_ends_by_time_or_by_bytes() -> None:
    assert not pacing.must_rest(0.0, 0)
    assert pacing.must_rest(pacing.FEED_S, 1)
    assert pacing.must_rest(0.0, pacing.FEED_BYTES)


def test_a_frame_is_bounded_and_the_cursor_comes_first() -> None:
    chosen, after = pacing.rows_of_frame(range(46), 40, 0, 16)
    assert chosen == [40, *range(15)]
    assert after == 15


def test_every_row_has_its_turn_while_all_of_them_change_all_the_time() -> None:
    start, seen = 0, set()
    for _ in range(4):
        chosen, start = pacing.rows_of_frame(range(46), 45, start, 16)
        assert len(chosen) == 16
        seen.update(chosen)
    assert seen == set(range(46))


def test_what_fits_is_drawn_at_once() -> None:
    assert pacing.rows_of_frame({3, 1}, 9, 2, 16) == ([3, 1], 0)
    assert pacing.rows_of_frame((), None, 7, 16) == ([], 0)


def test_frames_that_take_long_get_smaller_and_grow_again() -> None:
    assert pacing.adapted(16, 0.02) == 12
    assert pacing.adapted(4, 1.0) == pacing.LEAST_ROWS
    assert pacing.adapted(12, pacing.DRAW_S * 0.75) == 12
    assert pacing.adapted(12, 0.001) == 13
    assert pacing.adapted(16, 0.001) == pacing.MOST_ROWS


def test_a_held_frame_is_not_waited_for_for_ever() -> None:
    hold = pacing.Hold()
    assert not hold.is_on(False, 10.0)
    assert hold.is_on(True, 10.0)
    assert hold.is_on(True, 10.1)
    assert not hold.is_on(True, 10.0 + pacing.HOLD_S)
    assert not hold.is_on(False, 10.3)
    assert hold.is_on(True, 10.4)
