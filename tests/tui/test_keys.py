from __future__ import annotations

import string

import pytest
from textual.keys import _character_to_key

from tui import keys
from tui.key_names import problem
from tui.keys import Facts, Key

PLACES = (keys.LIVE, keys.DETAIL, keys.HELP, keys.CONFIRM)


def test_ids_are_unique_and_every_key_says_what_it_does() -> None:
    assert len({key.id for key in keys.TABLE}) == len(keys.TABLE)
    for key in keys.TABLE:
        assert key.help.endswith(".")
        assert key.contexts
        assert key.short or not key.footer


def test_the_table_itself_has_no_clash() -> None:
    assert keys.resolve({}) == keys.TABLE


def test_no_key_that_old_terminals_confuse() -> None:
    confused = {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+[", "ctrl+s", "ctrl+z"}
    used = {name for key in keys.TABLE for name in key.keys.split(",")}
    assert not used & confused
    assert not [name for name in used if name.startswith("alt+")]


@pytest.mark.parametrize("place", PLACES)
def test_a_footer_shows_at_most_eight_keys(place: str) -> None:
    assert len([key for key in keys.active_in(place, keys.TABLE) if key.footer]) <= 8


def test_keys_of_a_question_hide_all_others() -> None:
    assert {key.id for key in keys.active_in(keys.CONFIRM, keys.TABLE)} == {
        "confirm.yes",
        "confirm.no",
    }


def test_a_key_can_be_changed_by_id() -> None:
    table = keys.resolve({"live.freeze": "z", "help": "?, h"})
    changed = {key.id: key.keys for key in table}
    assert (changed["live.freeze"], changed["help"]) == ("z", "question_mark,h")
    assert changed["live.open"] == "enter"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'live.freez'.*nearest is 'live.freeze'"):
        keys.resolve({"live.freez": "z"})


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="names no key"):
        keys.resolve({"live.freeze": "z,,"})


@pytest.mark.parametrize(
    "keymap", [{"live.freeze": "f"}, {"live.open": "question_mark"}, {"quit.now": "j"}]
)
def test_a_key_cannot_do_two_things_in_one_place(keymap: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is both"):
        keys.resolve(keymap)


def test_swapping_two_keys_is_no_clash() -> None:
    table = keys.resolve({"live.freeze": "f", "live.follow": "space"})
    assert {key.id: key.keys for key in table}["live.follow"] == "space"


def test_the_same_key_may_do_other_things_elsewhere() -> None:
    table = (
        Key("one", "a", "one", "One.", (keys.LIVE,)),
        Key("two", "a", "two", "Two.", (keys.DETAIL,)),
    )
    assert keys.resolve({}, table) == table


def test_disabled_keys_have_a_reason() -> None:
    empty = Facts(has_rows=False, can_copy=False)
    reasons = {
        key.id: keys.why_not(key, keys.LIVE, empty) for key in keys.active_in(keys.LIVE, keys.TABLE)
    }
    assert reasons["live.open"] == "no turns yet"
    assert reasons["move.down"] == "no turns yet"
    assert reasons["copy"] == "nothing to copy yet"
    assert reasons["screen.live"] == "already here"
    assert reasons["help"] is None
    quit_key = next(key for key in keys.TABLE if key.id == "quit")
    assert keys.why_not(quit_key, keys.LIVE, Facts(is_draining=True)) == "already draining"
    full = Facts(has_rows=True)
    open_key = next(key for key in keys.TABLE if key.id == "live.open")
    assert keys.why_not(open_key, keys.LIVE, full) is None


def test_names_as_readers_know_them() -> None:
    assert keys.shown("question_mark,f1") == "? f1"
    assert keys.first("escape,q") == "esc"
    assert keys.shown("") == ""


def test_the_documentation_lists_every_key() -> None:
    text = keys.as_markdown()
    for key in keys.TABLE:
        assert key.help in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("entr", "nearest is 'enter'"),
        ("ctrl+", "no such key"),
        ("hyper x", "no such key"),
        ("ctrl+i", "cannot tell it from tab"),
        ("ctrl+[", "cannot tell it from escape"),
        ("f25", "no such key"),
    ],
)
def test_a_key_that_cannot_be_pressed_is_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"'live\.freeze'") as refused:
        keys.resolve({"live.freeze": name})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "name", ["Z", "ctrl+z", "f12", "shift+f3", "alt+x", "é", "tilde", "~", "-"]
)
def test_a_key_that_can_be_pressed_is_taken(name: str) -> None:
    table = keys.resolve({"live.freeze": name})
    assert {key.id: key.keys for key in table}["live.freeze"] == name


def test_the_toolkit_knows_every_name_by_which_a_sign_can_be_given() -> None:
    for sign in string.punctuation:
        assert problem(_character_to_key(sign)) is None, sign


def test_the_key_that_always_quits_cannot_answer_a_question() -> None:
    with pytest.raises(ValueError, match=r"'y' is both 'confirm.yes' and 'quit.now'"):
        keys.resolve({"quit.now": "y", "copy": "ctrl+y", "request.copy": "ctrl+y"})
