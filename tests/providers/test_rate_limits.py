"""Rate-limit windows of all vendors, by family."""

from __future__ import annotations

from providers.rate_limits import read_rate_limits


def test_a_chatgpt_login_tells_its_windows() -> None:
    found = read_rate_limits(
        [
            (b"X-Codex-Primary-Used-Percent", b"42.5"),
            (b"x-codex-primary-window-minutes", b"300"),
            (b"x-codex-primary-reset-at", b"1779440000"),
            (b"x-codex-secondary-used-percent", b"lots"),
            (b"x-codex-credits-balance", b"5"),
            (b"x-ratelimit-remaining-tokens", b" 8 "),
        ]
    )
    assert found == {
        "codex-primary": {"utilization": "0.425", "window-minutes": "300", "reset": "1779440000"},
        "codex-secondary": {},
        "x-ratelimit-tokens": {"remaining": "8"},
    }
