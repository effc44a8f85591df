"""Variables that override settings, the private ``.env``, and the secrets."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from settings_home import SettingsHome, codes, keys_and_reasons

from server.settings_env import (
    EnvFile,
    Secrets,
    convert,
    environment_leaves,
    read_env_file,
    secret_names,
    variable_of,
)
from server.settings_file import Flags
from server.settings_keys import ANY_NAME, all_keys


@pytest.fixture
def home(tmp_path: Path) -> SettingsHome:
    return SettingsHome(tmp_path)


class TestOverrides:
    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("SBGW_SERVER__PORT", "9000", ("server", "port", 9000)),
            ("SBGW_SERVER__HOST", "localhost", ("server", "host", "localhost")),
            ("SBGW_SERVER__DRAIN_S", "1.5", ("server", "drain_s", 1.5)),
            ("SBGW_ROUTING__SHADOW", "false", ("routing", "shadow", False)),
            ("SBGW_ROUTING__SHADOW", "ON", ("routing", "shadow", True)),
            ("SBGW_ROUTING__SHADOW", "0", ("routing", "shadow", False)),
            ("SBGW_LEDGER__DURABILITY", "full", ("ledger", "durability", "full")),
            ("SBGW_NETWORK__PROXY", "none", ("network", "proxy", "none")),
        ],
    )
    def test_a_value_takes_the_type_of_its_key(
        self, home: SettingsHome, name: str, text: str, expected: tuple[str, str, Any]
    ) -> None:
        table, key, value = expected
        loaded = home.load(None, **{name: text})

        assert getattr(getattr(loaded.settings, table), key) == value
        assert loaded.provenance[f"{table}.{key}"].key == name

    @pytest.mark.parametrize(
        "text", ["groq,cerebras/m", " groq , cerebras/m ", '["groq", "cerebras/m"]']
    )
    def test_lists(self, home: SettingsHome, text: str) -> None:
        settings = home.load(SBGW_ROUTING__ROUTES__PLANNING=text).settings

        assert list(map(str, settings.routing.routes.planning)) == ["groq", "cerebras/m"]

    def test_tables_with_free_names(self, home: SettingsHome) -> None:
        settings = home.load(
            SBGW_PROVIDERS__BOX__KIND="openai-chat",
            SBGW_PROVIDERS__BOX__BASE_URL="http://127.0.0.1:1/v1",
            SBGW_PROVIDERS__BOX__LIMITS__MAX_IN_FLIGHT="2",
            SBGW_ROUTING__KINDS__TITLE="box/m",
            SBGW_ROUTING__MODES__TITLE="canary",
            SBGW_KEYS__QUIT="Q",
        ).settings

        assert settings.provider("box").base_url == "http://127.0.0.1:1/v1"
        assert settings.providers["box"].limits.max_in_flight == 2
        assert list(map(str, settings.routing.kinds["title"])) == ["box/m"]
        assert settings.routing.modes.mode_of("summary", "title") == "canary"
        assert settings.keys["quit"] == "Q"

    def test_every_key_with_a_fixed_name_has_a_variable(self, home: SettingsHome) -> None:
        paths = [key.path for key in all_keys() if ANY_NAME not in key.path]
        names = {variable_of(path): "?" for path in paths}
        error = home.fails(None, **names)

        # "?" is a wrong value for every key but a few texts; none of them is an unknown name.
        assert "names no setting" not in {problem.reason for problem in error.problems}
        assert len(paths) > 20

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("SBGW_SERVER_PORT", "did you mean SBGW_SERVER__PORT?"),
            ("SBGW_SERVER__PROT", "did you mean SBGW_SERVER__PORT?"),
            ("SBGW_SHADOW", "did you mean SBGW_"),
            ("SBGW_PROVIDERS__GROQ__MODELL", "did you mean SBGW_PROVIDERS__GROQ__MODEL?"),
            ("SBGW_HOMEE", "did you mean SBGW_HOME?"),
            ("SBGW_ZZZZZZZZZZZZ", "settings are SBGW_SECTION__KEY"),
            ("SBGW_", ""),
            ("SBGW___", ""),
        ],
    )
    def test_an_unknown_name_is_an_error(self, home: SettingsHome, name: str, hint: str) -> None:
        error = home.fails(None, **{name: "1"})

        assert keys_and_reasons(error) == {name: "names no setting"}
        assert error.file == "environment"
        assert error.hint.startswith(hint)

    @pytest.mark.parametrize("name", ["SBGW_SERVER", "SBGW_PROVIDERS__GROQ", "SBGW_PRICES__M__IN"])
    def test_a_table_is_no_value(self, home: SettingsHome, name: str) -> None:
        assert "config.toml" in home.fails(None, **{name: "1"}).reason

    @pytest.mark.parametrize(
        ("name", "text", "reason"),
        [
            ("SBGW_SERVER__PORT", "many", 'expected a whole number, not "many"'),
            ("SBGW_SERVER__DRAIN_S", "nan", "expected a finite number, not nan"),
            ("SBGW_ROUTING__SHADOW", "maybe", 'expected true or false, not "maybe"'),
            ("SBGW_ROUTING__ROUTES__SUMMARY", "[1", "expected a list"),
            ("STACKBILT_GATEWAY_PORT", "99999", "must be 65535 or less"),
        ],
    )
    def test_a_wrong_value_names_its_variable(
        self, home: SettingsHome, name: str, text: str, reason: str
    ) -> None:
        error = home.fails(None, **{name: text})

        assert error.file == "environment"
        assert error.key == name
        assert error.reason.startswith(reason)

    def test_an_empty_variable_is_not_set(self, home: SettingsHome) -> None:
        loaded = home.load(SBGW_SERVER__PORT="", STACKBILT_GATEWAY_PORT="")

        assert loaded.settings.server.port == 8787

    def test_the_home_cannot_be_moved_from_within(self) -> None:
        file = EnvFile(Path("/home/.env"), {"SBGW_HOME": "/elsewhere"}, was_read=True)
        leaves, (problem,) = environment_leaves({}, file)

        assert leaves == []
        assert (problem.file, problem.key) == ("/home/.env", "SBGW_HOME")

    @pytest.mark.parametrize(
        "root", ["https://cf.example/client/v4", "https://cf.example/client/v4/"]
    )
    def test_the_seeds_cloudflare_root(self, home: SettingsHome, root: str) -> None:
        provider = home.load(CLOUDFLARE_API_BASE_URL=root).settings.provider("cloudflare")

        assert provider.url("abc") == "https://cf.example/client/v4/accounts/abc/ai/v1"

    def test_our_own_name_wins_over_the_seeds_wherever_it_stands(self, home: SettingsHome) -> None:
        home.dotenv("SBGW_SERVER__PORT=1001\n")

        assert home.load(STACKBILT_GATEWAY_PORT="1002").settings.server.port == 1001

    def test_other_names_are_none_of_our_business(self, home: SettingsHome) -> None:
        assert home.load(SBGWX="1", sbgw_server__port="1", PATH="x").warnings == ()


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("yes", bool, True),
        ("off", bool, False),
        ("2", bool, "2"),
        ("1e3", float, 1000.0),
        ("1.0", int, "1.0"),
        ("x", str, "x"),
        ("a", tuple[str, ...], ["a"]),
        ("[]", tuple[str, ...], []),
        ("[1", tuple[str, ...], "[1"),
    ],
)
def test_conversion_leaves_what_it_does_not_understand(
    text: str, annotation: Any, value: Any
) -> None:
    assert convert(text, annotation) == value


class TestEnvFile:
    def test_what_it_may_hold(self, home: SettingsHome) -> None:
        file = home.dotenv(
            "\ufeff# comment\n"
            "PLAIN=value\n"
            "export EXPORTED=value two # comment\n"
            'QUOTED="a # b"\n'
            "SINGLE='$HOME ${PATH}'\n"
            "DOLLAR=$HOME/${PATH}\n"
            "EMPTY=\n"
            "NOTHING\n"
            "TWICE=1\nTWICE=2\n"
        )
        read = read_env_file(file)

        assert read.warnings == ()
        assert read.values == {
            "PLAIN": "value",
            "EXPORTED": "value two",
            "QUOTED": "a # b",
            "SINGLE": "$HOME ${PATH}",
            "DOLLAR": "$HOME/${PATH}",
            "EMPTY": "",
            "TWICE": "2",
        }

    def test_a_line_that_makes_no_sense_is_named_but_not_shown(self, home: SettingsHome) -> None:
        file = home.dotenv('A=1\nB="sk-unclosed\nC=3\n')
        read = read_env_file(file)

        assert read.values["A"] == "1"
        assert [warning.code for warning in read.warnings] == ["env-file-line"]
        assert f"{file}:2" in read.warnings[0].message
        assert "sk-unclosed" not in str(read.warnings)

    @pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
    def test_one_that_others_can_read_is_not_used(self, home: SettingsHome, mode: int) -> None:
        file = home.dotenv("GROQ_API_KEY=open-to-everybody\nSBGW_SERVER__PORT=1\n", mode)
        loaded = home.load()

        assert loaded.secrets.get("GROQ_API_KEY") is None
        assert loaded.settings.server.port == 8787
        (warning,) = loaded.warnings
        assert (warning.level, warning.code) == ("error", "env-file-unsafe")
        assert warning.hint == f"chmod 600 {file}"

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"A=\x80"])
    def test_one_that_is_not_text(self, home: SettingsHome, content: bytes) -> None:
        file = home.dotenv("")
        file.write_bytes(content)

        assert codes(home.load()) == ["env-file-unreadable"]

    def test_a_folder_in_its_place(self, home: SettingsHome) -> None:
        (home.home / ".env").mkdir()

        assert home.load().warnings[0].level == "error"

    def test_its_values_do_not_show_in_a_repr(self, home: SettingsHome) -> None:
        read = read_env_file(home.dotenv("GROQ_API_KEY=very-secret-value\n"))

        assert "very-secret-value" not in repr(read)


class TestSecrets:
    def secrets(self, env: dict[str, str], **dotenv: str) -> Secrets:
        return Secrets(env, EnvFile(Path("/home/.env"), dotenv, was_read=True), ["A_KEY", "B_KEY"])

    def test_the_environment_wins_over_the_file(self) -> None:
        secrets = self.secrets({"A_KEY": "from-env"}, A_KEY="from-file", B_KEY="b")

        assert secrets.reveal("A_KEY") == "from-env"
        assert secrets.source("A_KEY") == "environment"
        assert secrets.reveal("B_KEY") == "b"
        assert secrets.source("B_KEY") == "/home/.env"
        assert secrets.from_dotenv == {"B_KEY"}

    def test_an_empty_variable_switches_the_files_off(self) -> None:
        secrets = self.secrets({"A_KEY": ""}, A_KEY="from-file")

        assert secrets.get("A_KEY") is None
        assert secrets.source("A_KEY") is None
        assert secrets.is_present("A_KEY")
        assert not secrets.is_present("C_KEY")

    def test_a_secret_hides_itself(self) -> None:
        secrets = self.secrets({"A_KEY": "very-secret-value"})
        secret = secrets.get("A_KEY")

        assert secret is not None
        assert secret.get_secret_value() == "very-secret-value"
        assert "very" not in f"{secret} {secret!r} {secrets} {secrets!r}"

    def test_space_around_a_pasted_key_is_cut(self) -> None:
        assert self.secrets({"A_KEY": " key\n"}).reveal("A_KEY") == "key"

    def test_everything_that_must_not_be_shown(self) -> None:
        secrets = self.secrets(
            {"A_KEY": "abc/def+ghi", "ANTHROPIC_AUTH_TOKEN": "client-token", "OTHER": "o" * 20},
            B_KEY="short",
            MY_TOKEN="token-of-mine",
            CLOUDFLARE_ACCOUNT_ID="account-id-1",
        )
        hidden = secrets.values()

        assert {"abc/def+ghi", "abc%2Fdef%2Bghi", "client-token", "token-of-mine"} <= hidden
        assert base64.b64encode(b"abc/def+ghi").decode().rstrip("=") in hidden
        assert not hidden & {"short", "o" * 20, "account-id-1"}

    def test_secrets_that_stand_elsewhere_are_hidden_too(self, home: SettingsHome) -> None:
        home.config(
            '[network]\nproxy = "http://me:first%2Fpass@127.0.0.1:1"\n'
            '[providers.groq]\nproxy = "http://me:second-pass@127.0.0.1:1"\n'
        )
        file = home.seed({"auth": {"keys": ["key-of-the-seed"]}}, "mine.json")
        loaded = home.load(
            Flags(config=file),
            https_proxy="http://me:third-pass@127.0.0.1:1",
            HTTP_PROXY="http://[x",
        )

        assert {"first/pass", "first%2Fpass", "second-pass", "third-pass", "key-of-the-seed"} <= (
            loaded.secrets.values()
        )

    def test_the_public_default_key_is_no_secret(self, home: SettingsHome) -> None:
        file = home.seed({"auth": {"keys": ["local-dev-key"]}}, "mine.json")

        assert home.load(Flags(config=file)).secrets.values() == frozenset()

    def test_the_settings_say_which_variables_hold_secrets(self, home: SettingsHome) -> None:
        home.config('[server]\nkey_env = "MINE"\n[providers.groq]\napi_key_env = "MY_GROQ"\n')

        assert secret_names(home.load(MINE="x").settings) == [
            "MINE",
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "MY_GROQ",
            "CEREBRAS_API_KEY",
            "CLOUDFLARE_API_TOKEN",
        ]
