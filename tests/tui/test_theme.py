from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import Theme

from tui.theme import DARK, LIGHT


def luminance(color: Color) -> float:
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted(
        (luminance(Color.parse(first)), luminance(Color.parse(second))), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    "role", ["foreground", "primary", "secondary", "accent", "success", "warning", "error"]
)
def test_text_can_be_read_on_both_backgrounds(theme: Theme, role: str) -> None:
    color = getattr(theme, role)
    assert contrast(color, theme.background or "") >= 4.5
    assert contrast(color, theme.panel or "") >= 4.5


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_text_can_be_read_on_the_selected_row(theme: Theme) -> None:
    selected = theme.to_color_system().generate()["primary-muted"]
    for role in ("foreground", "accent", "success", "warning", "error", "primary"):
        assert contrast(getattr(theme, role), selected) >= 3.0, role


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_good_and_bad_are_blue_and_orange(theme: Theme) -> None:
    good, bad = Color.parse(theme.success or ""), Color.parse(theme.error or "")
    assert good.b > good.r
    assert bad.r > bad.b
    assert bad.g > bad.b
