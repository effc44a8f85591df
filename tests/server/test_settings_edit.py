"""Changing settings in memory, and in a file that stays the user's own."""

from __future__ import annotations

import json
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from settings_home import SettingsHome

from server import private_files, settings_edit
from server.config import Settings
from server.settings_edit import changed, persist, set_values
from server.settings_errors import SettingsError
from server.settings_file import Flags
from server.trust import TrustStore

# A busy machine must not fail a property that holds.
UNHURRIED = effort(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = """\
# My settings.
[server]
port = 9000  # not the default

# How I route.
[routing]
shadow = true

[routing.routes]
# Cheap first.
summary = [
  "cerebras",  # fast
  "groq",
]

[providers.groq]
limits = { requests_per_day = 5 }
"""


@pytest.fixture
def home(tmp_path: Path) -> SettingsHome:
    return SettingsHome(tmp_path)


class TestChanged:
    def test_a_new_value_makes_new_settings(self) -> None:
        before = Settings()
        after = changed(before, {"routing.shadow": False, "routing.kinds.title": ["groq"]})

        assert after.routing.shadow is False
        assert list(map(str, after.routing.kinds["title"])) == ["groq"]
        assert before.routing.shadow is True

    def test_none_is_the_default_again(self) -> None:
        before = changed(Settings(), {"routing.routes.summary": ["groq"], "server.port": 1})

        assert changed(before, {"routing.routes": None, "server.port": None}) == Settings()

    def test_everything_wrong_is_told(self) -> None:
        with pytest.raises(SettingsError) as caught:
            changed(Settings(), {"routing.shadow": "no", "routing.routes.sumary": ["groq"]})

        assert {problem.key for problem in caught.value.problems} == {
            "routing.shadow",
            "routing.routes.sumary",
        }
        assert caught.value.file == "request"

    def test_what_is_no_key_is_an_error_too(self) -> None:
        with pytest.raises(ValueError, match="not a key"):
            changed(Settings(), {"a..b": 1})

    def test_an_unchanged_key_survives_whatever_it_holds(self, home: SettingsHome) -> None:
        home.config(
            '[providers.box]\nkind = "openai-chat"\nbase_url = "http://127.0.0.1:1/v1"\n'
            '[prices."box/m"]\nin = 0.1\nout = 1\nfrom = 2026-01-31\n'
            '[routing.modes]\ntitle = "live"\n[keys]\n"live.open" = "o"\n'
        )
        before = home.load().settings

        assert changed(before, {"ui.ascii": False}) == before


class TestSetValues:
    def test_comments_and_order_stay(self, home: SettingsHome) -> None:
        file = home.config(TEXT)

        assert set_values(file, {"routing.shadow": False, "server.port": 9001}) is None
        assert file.read_text() == TEXT.replace("shadow = true", "shadow = false").replace(
            "9000", "9001"
        )

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"ui.ascii": True}, {"ui": {"ascii": True}}),
            ({"routing.kinds.title": ["groq", "cerebras/m"]}, None),
            ({"routing.modes.title": "live", "routing.modes.default": "observe"}, None),
            ({"providers.groq.limits.tokens_per_day": 7}, None),
            ({'keys."live.open"': "o"}, {"keys": {"live.open": "o"}}),
            ({"server.drain_s": 1.5}, None),
            ({"routing.routes.summary": ("groq",)}, None),
        ],
    )
    def test_new_tables_and_keys(
        self, home: SettingsHome, changes: dict[str, Any], expected: dict[str, Any] | None
    ) -> None:
        file = home.config(TEXT)

        assert set_values(file, changes) is None
        loaded = home.load()
        assert loaded.settings == changed(_settings_of(TEXT), changes)
        if expected is not None:
            assert tomllib.loads(file.read_text()).items() >= expected.items()
        assert "# fast" in file.read_text() or "routing.routes.summary" in changes

    def test_none_takes_a_key_out(self, home: SettingsHome) -> None:
        file = home.config(TEXT)

        assert set_values(file, {"server.port": None, "ui.ascii": None}) is None
        assert home.load().settings.server.port == 8787
        assert "ui" not in tomllib.loads(file.read_text())

    def test_a_missing_file_is_made_for_this_user_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "new" / "config.toml"

        assert set_values(file, {"routing.shadow": False}) is None
        assert tomllib.loads(file.read_text()) == {"routing": {"shadow": False}}
        if sys.platform != "win32":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    def test_what_would_not_load_again_is_not_written(self, home: SettingsHome) -> None:
        file = home.config(TEXT)
        reason = set_values(file, {"routing.routes.summary": ["nowhere"], "ui.ascii": True})

        assert reason is not None
        assert "nowhere" in reason
        assert file.read_text() == TEXT

    def test_windows_line_ends_stay(self, home: SettingsHome) -> None:
        home.config_file.write_bytes(b"[server]\r\nport = 1\r\n# end\r\n")

        assert set_values(home.config_file, {"server.port": 2}) is None
        assert home.config_file.read_bytes() == b"[server]\r\nport = 2\r\n# end\r\n"

    def test_tables_out_of_order_are_changed_rightly_or_not_at_all(
        self, home: SettingsHome
    ) -> None:
        text = (
            "[routing.routes]\nsummary = ['groq']\n[server]\nport = 1\n"
            "[routing]\nshadow = true\n[routing.modes]\napp = 'live'\n"
        )
        file = home.config(text)
        reason = set_values(file, {"routing.shadow": False, "routing.modes.title": "live"})

        if reason is None:
            assert home.load().settings.routing.shadow is False
            assert home.load().settings.routing.modes.mode_of("", "title") == "live"
        else:
            assert file.read_text() == text


class TestRefusals:
    def refused(self, file: Path, words: str) -> None:
        before = file.read_bytes()
        reason = set_values(file, {"ui.ascii": True})

        assert reason is not None
        assert words in reason
        assert str(file) in reason
        assert file.read_bytes() == before

    def test_json(self, home: SettingsHome) -> None:
        self.refused(home.seed({"routing": {}}), "JSON")

    def test_a_broken_file(self, home: SettingsHome) -> None:
        self.refused(home.config("[server\n"), "is not TOML")

    def test_a_file_that_is_not_text(self, home: SettingsHome) -> None:
        home.config_file.write_bytes(b"a = '\xff'")
        self.refused(home.config_file, "UTF-8")

    @pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
    def test_a_read_only_file(self, home: SettingsHome) -> None:
        file = home.config(TEXT)
        file.chmod(0o400)
        self.refused(file, "read-only")

    def test_the_file_of_another_user(
        self, home: SettingsHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = home.config(TEXT)
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1, raising=False)
        self.refused(file, "another user")

    def test_the_link_of_another_user(
        self, home: SettingsHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = home.home / "target.toml"
        target.write_text(TEXT)
        home.config_file.symlink_to(target)
        real = private_files.is_us
        owner = target.stat().st_uid
        real_lstat = os.lstat

        def lstat(path: Any) -> os.stat_result:
            found = real_lstat(path)
            if Path(path) != home.config_file:
                return found
            return os.stat_result([*found[:4], owner + 1, *found[5:10]])

        monkeypatch.setattr(os, "lstat", lstat)
        assert real(owner)
        reason = set_values(home.config_file, {"ui.ascii": True})
        assert reason is not None
        assert "link of another user" in reason
        assert target.read_text() == TEXT

    def test_a_link_that_leads_nowhere(self, home: SettingsHome) -> None:
        home.config_file.symlink_to(home.home / "nowhere.toml")
        reason = set_values(home.config_file, {"ui.ascii": True})

        assert reason is not None
        assert "nowhere" in reason

    def test_a_link_of_ones_own_is_followed_and_stays_one(self, home: SettingsHome) -> None:
        target = home.home / "dotfiles.toml"
        target.write_text(TEXT)
        home.config_file.symlink_to(target)

        assert set_values(home.config_file, {"ui.ascii": True}) is None
        assert home.config_file.is_symlink()
        assert "ascii = true" in target.read_text()

    def test_a_full_disk(self, home: SettingsHome, monkeypatch: pytest.MonkeyPatch) -> None:
        file = home.config(TEXT)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        self.refused(file, "No space left")
        assert list(home.home.iterdir()) == [file]

    def test_an_edit_of_somebody_else_meanwhile_is_kept(
        self, home: SettingsHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = home.config(TEXT)
        real = settings_edit._edited
        others = iter([TEXT + "[ui]\nascii = true\n"])

        def edited(path: Path, before: bytes | None, changes: Any) -> bytes:
            after = real(path, before, changes)
            if (theirs := next(others, None)) is not None:
                file.write_text(theirs)
            return after

        monkeypatch.setattr(settings_edit, "_edited", edited)
        assert set_values(file, {"server.port": 9002}) is None
        settings = home.load().settings
        assert settings.ui.ascii is True
        assert settings.server.port == 9002

    def test_a_file_that_never_rests_is_left_alone(
        self, home: SettingsHome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = home.config(TEXT)
        real = settings_edit._edited

        def edited(path: Path, before: bytes | None, changes: Any) -> bytes:
            file.write_text(file.read_text() + "#\n")
            return real(path, before, changes)

        monkeypatch.setattr(settings_edit, "_edited", edited)
        reason = set_values(file, {"server.port": 9002})
        assert reason is not None
        assert "another program" in reason
        assert "9000" in file.read_text()


class TestPersist:
    def test_into_the_users_file(self, home: SettingsHome) -> None:
        home.config(TEXT)

        assert persist(home.load(), {"routing.shadow": False}) is None
        assert home.load().settings.routing.shadow is False

    def test_into_the_file_that_was_named(self, home: SettingsHome) -> None:
        home.config(TEXT)
        named = home.cwd / "other.toml"
        named.write_text("")

        assert persist(home.load(Flags(config=named)), {"ui.ascii": True}) is None
        assert "ascii = true" in named.read_text()
        assert home.config_file.read_text() == TEXT

    @pytest.mark.parametrize(
        ("key", "source"),
        [
            ("routing.shadow", "SBGW_ROUTING__SHADOW"),
            ("server.port", "--port"),
            ("routing.routes.planning", "gateway.config.json"),
        ],
    )
    def test_not_where_a_stronger_source_has_the_key(
        self, home: SettingsHome, key: str, source: str
    ) -> None:
        home.config(TEXT)
        file = home.seed(json.dumps({"routing": {"routes": {"planning": ["groq"]}}}))
        TrustStore(home.load().paths.trust_file).trust(file)
        loaded = home.load(Flags(port=1), SBGW_ROUTING__SHADOW="1")
        reason = persist(loaded, {key: None, "ui.ascii": True})

        assert reason is not None
        assert key in reason
        assert source in reason
        assert home.config_file.read_text() == TEXT


def _settings_of(text: str) -> Settings:
    return Settings.model_validate(tomllib.loads(text))


_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "routing.shadow": st.booleans(),
        "server.port": st.integers(0, 65_535),
        "server.drain_s": st.floats(0, 1000, allow_nan=False),
        "routing.routes.summary": st.lists(
            st.sampled_from(["baseline", "groq", "groq/a/b"]), min_size=1
        ),
        "routing.kinds.title": st.lists(st.just("cerebras"), min_size=1, max_size=2),
        "routing.modes.title": st.sampled_from(["observe", "live"]),
        "providers.groq.limits.requests_per_day": st.integers(1, 9) | st.none(),
        'keys."a.b c"': st.text(min_size=1, max_size=9),
        "ledger.required": st.booleans() | st.none(),
    },
)


@UNHURRIED
@given(_CHANGES)
def test_what_is_written_is_what_is_read(changes: dict[str, Any]) -> None:
    content = settings_edit._edited(Path("config.toml"), TEXT.encode(), changes)

    assert _settings_of(content.decode()) == changed(_settings_of(TEXT), changes)
