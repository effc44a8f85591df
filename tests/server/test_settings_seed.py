"""The seed's JSON files: what they may say, and when they are listened to."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from settings_home import SettingsHome, codes, keys_and_reasons

from server.config import Settings
from server.settings_errors import SourceKind
from server.settings_file import Flags
from server.trust import TrustStore

SEED = {
    "port": 9100,
    "auth": {"mode": "local-key", "keys": ["key-of-the-seed", "second"]},
    "routing": {
        "default": "auto",
        "shadowMode": False,
        "routes": {"summary": ["groq", "anthropic"]},
    },
    "cache": {"enabled": True},
    "telemetry": {"enabled": False},
}


@pytest.fixture
def home(tmp_path: Path) -> SettingsHome:
    return SettingsHome(tmp_path)


def trust(home: SettingsHome, file: Path) -> None:
    TrustStore(home.home / "state" / "trusted.json").trust(file)


class TestUntrusted:
    def test_it_moves_nothing_and_says_how_to_trust_it(self, home: SettingsHome) -> None:
        file = home.seed(SEED)
        loaded = home.load()

        assert loaded.settings == Settings()
        assert loaded.has_default_key
        assert loaded.files == ()
        (warning,) = loaded.warnings
        assert warning.code == "seed-untrusted"
        assert f"sbgw-tui trust {file}" in warning.hint

    def test_a_path_with_spaces_is_quoted(self, tmp_path: Path) -> None:
        (tmp_path / "a b").mkdir()
        home = SettingsHome(tmp_path / "a b")
        file = home.seed(SEED)

        assert f"sbgw-tui trust '{file}'" in home.load().warnings[0].hint

    def test_it_may_turn_shadow_on_and_nothing_else(self, home: SettingsHome) -> None:
        home.config("[routing]\nshadow = false\n")
        home.seed({"routing": {"shadowMode": True, "routes": {"summary": ["openai"]}}})
        loaded = home.load()

        assert loaded.settings.routing.shadow is True
        assert loaded.settings.routing.routes == Settings().routing.routes
        assert loaded.provenance["routing.shadow"].kind is SourceKind.SEED
        assert "shadow on" in loaded.warnings[0].message

    def test_it_cannot_turn_shadow_off(self, home: SettingsHome) -> None:
        home.seed({"routing": {"shadowMode": False}})

        assert home.load().settings.routing.shadow is True

    def test_the_user_still_overrules_it(self, home: SettingsHome) -> None:
        home.seed({"routing": {"shadowMode": True}})

        assert home.load(SBGW_ROUTING__SHADOW="false").settings.routing.shadow is False

    @pytest.mark.parametrize(
        "content", ["{", "[]", "null", "[" * 100_000, '{"routing": 3}', "\x00", ""]
    )
    def test_a_broken_one_does_not_stop_the_start(self, home: SettingsHome, content: str) -> None:
        home.seed(content)
        loaded = home.load()

        assert loaded.settings == Settings()
        assert len(loaded.warnings) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
    def test_nor_does_a_pipe_a_folder_or_a_dead_link(self, home: SettingsHome) -> None:
        file = home.cwd / "gateway.config.json"
        os.mkfifo(file)
        assert codes(home.load()) == ["seed-unreadable"]

        file.unlink()
        file.mkdir()
        assert codes(home.load()) == ["seed-unreadable"]

        file.rmdir()
        file.symlink_to(home.cwd / "nowhere")
        assert codes(home.load()) == ["seed-unreadable"]

    def test_one_that_routes_nothing_is_not_worth_a_word(self, home: SettingsHome) -> None:
        home.seed({"port": 9100, "cache": {}})

        assert home.load().warnings == ()

    def test_a_change_after_trust_is_told_apart(self, home: SettingsHome) -> None:
        file = home.seed({"routing": {"routes": {"summary": ["groq"]}}})
        trust(home, file)
        home.seed({"routing": {"routes": {"summary": ["openai"]}}})
        loaded = home.load()

        assert loaded.settings.routing.routes == Settings().routing.routes
        assert "changed since you trusted it" in loaded.warnings[0].message


class TestTrusted:
    def test_only_its_routing_counts(self, home: SettingsHome) -> None:
        file = home.seed(SEED)
        trust(home, file)
        loaded = home.load()

        assert loaded.settings.routing.shadow is False
        assert list(map(str, loaded.settings.routing.routes.summary)) == ["groq", "anthropic"]
        assert loaded.settings.routing.routes.planning == Settings().routing.routes.planning
        assert loaded.settings.server.port == 8787
        assert loaded.has_default_key
        assert loaded.files == (file,)
        assert str(loaded.provenance["routing.routes.summary"]) == str(file)

    def test_what_means_nothing_here_is_listed(self, home: SettingsHome) -> None:
        trust(home, home.seed(SEED))
        (note,) = home.load().warnings

        assert note.level == "info"
        assert note.message.endswith(
            "port, auth.keys, cache, telemetry, routing.default, auth.mode, "
            "auth.keys after the first"
        )

    def test_the_first_name_that_exists_is_the_one(self, home: SettingsHome) -> None:
        trust(home, home.seed({"routing": {"routes": {"summary": ["groq"]}}}))
        trust(home, home.seed({"routing": {"shadowMode": False}}, "stackbilt.gateway.json"))

        assert home.load().settings.routing.shadow is True
        (home.cwd / "gateway.config.json").unlink()
        assert home.load().settings.routing.shadow is False

    @pytest.mark.parametrize(
        ("routing", "key", "reason"),
        [
            ({"shadowMode": "no"}, "routing.shadowMode", "expected true or false"),
            ({"routes": []}, "routing.routes", "expected a table"),
            ({"routes": {"sumary": ["groq"]}}, "routing.routes.sumary", "unknown key"),
            ({"routes": {"summary": ["nvidia"]}}, "routing.routes.summary[0]", "no provider"),
            ({"routes": {"summary": "groq"}}, "routing.routes.summary", "expected a list"),
        ],
    )
    def test_what_is_wrong_in_it_is_an_error(
        self, home: SettingsHome, routing: dict[str, Any], key: str, reason: str
    ) -> None:
        file = home.seed({"routing": routing})
        trust(home, file)
        error = home.fails()

        assert error.file == str(file)
        assert error.key == key
        assert reason in error.reason

    def test_broken_json_names_its_line(self, home: SettingsHome) -> None:
        file = home.seed('{\n "routing": {,}\n}')
        trust(home, file)
        problem = home.fails().problems[0]

        assert (problem.file, problem.line) == (str(file), 2)
        assert problem.reason.startswith("is not JSON")


class TestNamed:
    def test_the_users_own_choice_counts_in_full(self, home: SettingsHome) -> None:
        home.config('[server]\nport = 1\nlog_level = "debug"\n')
        file = home.seed(SEED, "mine.json")
        loaded = home.load(Flags(config=file))

        assert loaded.settings.server.port == 9100
        assert loaded.settings.server.log_level == "debug"
        assert loaded.settings.routing.shadow is False
        assert loaded.gateway_key.get_secret_value() == "key-of-the-seed"
        assert loaded.key.source == str(file)
        assert "key-of-the-seed" not in repr(loaded)
        assert loaded.config_file == home.config_file

    def test_the_environment_still_wins(self, home: SettingsHome) -> None:
        file = home.seed(SEED, "mine.json")
        env = {"STACKBILT_GATEWAY_PORT": "9200", "STACKBILT_GATEWAY_KEY": "other-key"}
        loaded = home.load(Flags(config=file), **env)

        assert loaded.settings.server.port == 9200
        assert loaded.gateway_key.get_secret_value() == "other-key"

    def test_the_projects_own_file_is_then_not_looked_at(self, home: SettingsHome) -> None:
        home.seed({"routing": {"routes": {"summary": ["openai"]}}})
        file = home.seed({"port": 9100}, "mine.json")

        assert home.load(Flags(config=file)).warnings == ()

    @pytest.mark.parametrize(
        ("data", "key"),
        [
            ({"auth": {"keys": "one"}}, "auth.keys"),
            ({"auth": {"keys": [1]}}, "auth.keys"),
            ({"auth": {"keys": [""]}}, "auth.keys"),
            ({"auth": []}, "auth"),
            ({"routing": 1}, "routing"),
            ({"port": "9100"}, "port"),
            ({"port": 70_000}, "port"),
        ],
    )
    def test_what_is_wrong_in_it(self, home: SettingsHome, data: Any, key: str) -> None:
        error = home.fails(Flags(config=home.seed(data, "mine.json")))

        assert error.key == key
        assert error.file.endswith("mine.json")

    def test_a_missing_one(self, home: SettingsHome) -> None:
        error = home.fails(Flags(config=Path("none.json")))

        assert keys_and_reasons(error) == {"": "No such file or directory"}
