from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from server.config import UiSettings
from tui.lines import ROLES
from tui.theme import ANSI, CONTRAST, DARK, LIGHT, SELECTED, THEMES, looks, theme_named

OURS = {theme.name: theme for theme in THEMES}


def luminance(color: Color) -> float:
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted(
        (luminance(Color.parse(first)), luminance(Color.parse(second))), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    "role", ["foreground", "primary", "secondary", "accent", "success", "warning", "error"]
)
def test_text_can_be_read_on_both_backgrounds(theme: Theme, role: str) -> None:
    color = getattr(theme, role)
    assert contrast(color, theme.background or "") >= 4.5
    assert contrast(color, theme.panel or "") >= 4.5


@pytest.mark.parametrize("name", [*OURS, *BUILTIN_THEMES])
def test_every_role_has_a_look_in_every_theme(name: str) -> None:
    theme = {**OURS, **BUILTIN_THEMES}[name]
    found = looks(theme.to_color_system().generate(), is_ansi=theme.ansi)
    assert set(found) == {*ROLES, SELECTED}
    for role in ("shadow-badge", "live-badge", "warn-badge"):
        assert found[role].reverse
    assert found["muted"] != found["text"]
    assert not any(style.bgcolor for role, style in found.items() if role != SELECTED)


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)
def test_muted_text_can_be_read_too(theme: Theme) -> None:
    found = looks(theme.to_color_system().generate(), is_ansi=False)
    color = found["muted"].color
    assert color is not None
    assert contrast(color.name, theme.background or "") >= 4.5
    assert contrast(color.name, theme.panel or "") >= 4.5


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)
def test_text_can_be_read_on_the_selected_row(theme: Theme) -> None:
    selected = theme.to_color_system().generate()["primary-muted"]
    for role in ("foreground", "accent", "success", "warning", "error", "primary"):
        assert contrast(getattr(theme, role), selected) >= 3.0, role


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)
def test_good_and_bad_are_blue_and_orange(theme: Theme) -> None:
    good, bad = Color.parse(theme.success or ""), Color.parse(theme.error or "")
    assert good.b > good.r
    assert bad.r > bad.b
    assert bad.g > bad.b


@pytest.mark.parametrize("role", ["foreground", "primary", "accent", "success", "warning", "error"])
def test_the_strong_theme_is_stronger(role: str) -> None:
    assert contrast(getattr(CONTRAST, role), CONTRAST.background or "") >= 9
    assert contrast(getattr(CONTRAST, role), CONTRAST.panel or "") >= 7


def test_the_terminals_own_colours_are_all_its_own() -> None:
    found = looks(ANSI.to_color_system().generate(), is_ansi=True)
    for role, style in found.items():
        assert style.color is None or style.color.is_default or style.color.number is not None, role
        assert style.color is None or style.color.triplet is None, role
    assert found["good"].color != found["bad"].color


@pytest.mark.parametrize(
    ("choice", "env", "name"),
    [
        ("auto", {}, "sbgw-dark"),
        ("auto", {"NO_COLOR": "1"}, "sbgw-ansi"),
        ("auto", {"NO_COLOR": ""}, "sbgw-dark"),
        ("light", {"NO_COLOR": "1"}, "sbgw-light"),
        ("contrast", {}, "sbgw-contrast"),
        ("ansi", {}, "sbgw-ansi"),
    ],
)
def test_the_setting_names_a_theme_of_ours(choice: str, env: dict[str, str], name: str) -> None:
    assert theme_named(choice, env) == name
    assert name in OURS


def test_every_choice_of_the_settings_is_a_theme() -> None:
    choices = get_args(get_type_hints(UiSettings)["theme"])
    assert {theme_named(choice, {}) for choice in choices} == set(OURS)
