"""Loading: which source wins, where each value came from, and what stops the start."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from settings_home import SettingsHome, codes, keys_and_reasons

from server.config import Settings
from server.settings_errors import SourceKind
from server.settings_file import Flags, load
from server.trust import TrustStore


@pytest.fixture
def home(tmp_path: Path) -> SettingsHome:
    return SettingsHome(tmp_path)


class TestOrder:
    def test_nothing_at_all_is_fine(self, home: SettingsHome) -> None:
        loaded = home.load()

        assert loaded.settings == Settings()
        assert loaded.warnings == ()
        assert loaded.files == ()
        assert loaded.config_file == home.config_file
        assert {origin.kind for origin in loaded.provenance.values()} == {SourceKind.DEFAULT}

    def test_a_home_that_does_not_exist_is_fine_and_is_not_made(self, tmp_path: Path) -> None:
        load(env={"SBGW_HOME": str(tmp_path / "none")}, cwd=tmp_path)

        assert list(tmp_path.iterdir()) == []

    def test_each_source_wins_over_the_one_before(self, home: SettingsHome) -> None:
        assert home.load().settings.server.port == 8787

        home.config("[server]\nport = 1001\n")
        assert home.load().settings.server.port == 1001

        home.dotenv("STACKBILT_GATEWAY_PORT=1002\n")
        assert home.load().settings.server.port == 1002
        assert home.load(STACKBILT_GATEWAY_PORT="1003").settings.server.port == 1003
        assert home.load(SBGW_SERVER__PORT="1004").settings.server.port == 1004
        assert (
            home.load(
                Flags(port=1005), SBGW_SERVER__PORT="1004", STACKBILT_GATEWAY_PORT="1003"
            ).settings.server.port
            == 1005
        )

    def test_a_trusted_project_file_stands_between_file_and_environment(
        self, home: SettingsHome
    ) -> None:
        home.config('[routing.routes]\nsummary = ["groq"]\nplanning = ["groq"]\n')
        file = home.seed({"routing": {"routes": {"summary": ["cerebras"]}}})
        TrustStore(home.load().paths.trust_file).trust(file)

        assert str(home.load().settings.routing.routes.summary[0]) == "cerebras"
        assert str(home.load().settings.routing.routes.planning[0]) == "groq"
        overridden = home.load(SBGW_ROUTING__ROUTES__SUMMARY="cloudflare")
        assert str(overridden.settings.routing.routes.summary[0]) == "cloudflare"

    def test_tables_merge_and_lists_replace(self, home: SettingsHome) -> None:
        home.config(
            "[routing.routes]\n"
            'summary = ["groq"]\n'
            "[providers.groq]\n"
            'model = "m"\n'
            "limits = { requests_per_day = 5 }\n"
        )
        settings = home.load(SBGW_PROVIDERS__GROQ__LIMITS__TOKENS_PER_DAY="9").settings

        assert len(settings.routing.routes.summary) == 1
        assert len(settings.routing.routes.planning) == 2
        assert settings.providers["groq"].limits.requests_per_day == 5
        assert settings.providers["groq"].limits.tokens_per_day == 9

    def test_flags(self, home: SettingsHome) -> None:
        server = home.load(Flags(host="::1", port=0, log_level="debug")).settings.server

        assert (server.host, server.port, server.log_level) == ("::1", 0, "debug")

    def test_a_byte_order_mark_and_windows_lines_are_read(self, home: SettingsHome) -> None:
        home.config_file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 9\r\n")

        assert home.load().settings.server.port == 9


class TestProvenance:
    def test_every_value_says_where_it_is_from(self, home: SettingsHome) -> None:
        home.config('# mine\n[server]\nport = 1001\n\n[routing.kinds]\ntitle = ["groq"]\n')
        loaded = home.load(Flags(log_level="debug"), SBGW_ROUTING__SHADOW="false")
        origins = {key: str(origin) for key, origin in loaded.provenance.items()}

        assert origins["server.host"] == "default"
        assert origins["server.port"] == f"{home.config_file}:3"
        assert origins["server.log_level"] == "--log-level"
        assert origins["routing.shadow"] == "environment SBGW_ROUTING__SHADOW"
        assert origins["routing.kinds.title"] == f"{home.config_file}:6"
        assert origins["providers.groq.base_url"] == "default"

    def test_there_is_one_for_each_value_in_force(self, home: SettingsHome) -> None:
        home.config('[prices."a.b/c"]\nin = 1\nout = 2\n[providers.groq]\n')
        loaded = home.load()

        assert loaded.provenance['prices."a.b/c"'].line == 2
        assert loaded.provenance["providers.groq.model"].kind is SourceKind.DEFAULT
        assert "ui.ascii" in loaded.provenance

    def test_the_env_file_is_named_as_itself(self, home: SettingsHome) -> None:
        file = home.dotenv("SBGW_UI__ASCII=yes\n")
        loaded = home.load()

        assert loaded.settings.ui.ascii is True
        assert str(loaded.provenance["ui.ascii"]) == f"{file} SBGW_UI__ASCII"
        assert loaded.files == (file,)


class TestNamedFile:
    def test_it_takes_the_place_of_the_users_file(self, home: SettingsHome) -> None:
        home.config('[server]\nport = 1001\nlog_level = "debug"\n')
        (home.cwd / "other.toml").write_text("[server]\nport = 1002\n")
        loaded = home.load(Flags(config=Path("other.toml")))

        assert loaded.settings.server.port == 1002
        assert loaded.settings.server.log_level == "info"
        assert loaded.config_file == home.cwd / "other.toml"

    def test_a_missing_one_is_an_error(self, home: SettingsHome) -> None:
        error = home.fails(Flags(config=Path("none.toml")))

        assert error.file == str(home.cwd / "none.toml")
        assert error.reason == "No such file or directory"


class TestBrokenFile:
    @pytest.mark.parametrize(
        ("content", "line", "reason"),
        [
            (b"[server]\nport = = 1\n", 2, "is not TOML: Invalid value"),
            (b"[server]\nport = 1\nport = 2\n", 3, "is not TOML: Cannot overwrite a value"),
            (b"a = 'x\n", 1, "is not TOML"),
            (b'[server]\nhost = "\xff"\n', 2, "is not UTF-8"),
            (b"a = " + b"[" * 5000, None, "is nested too deeply"),
        ],
    )
    def test_file_line_and_reason(
        self, home: SettingsHome, content: bytes, line: int | None, reason: str
    ) -> None:
        home.config_file.write_bytes(content)
        problem = home.fails().problems[0]

        assert problem.file == str(home.config_file)
        assert problem.line == line
        assert problem.reason.startswith(reason)

    def test_a_folder_or_a_dead_link_in_its_place(self, home: SettingsHome) -> None:
        home.config_file.symlink_to(home.home / "nowhere.toml")
        assert home.fails().reason == "No such file or directory"

        home.config_file.unlink()
        home.config_file.mkdir()
        assert home.fails().file == str(home.config_file)

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
    def test_a_pipe_does_not_hang_the_start(self, home: SettingsHome) -> None:
        os.mkfifo(home.config_file)

        assert home.fails().reason == "is not a regular file"

    def test_one_problem_is_one_line(self, home: SettingsHome) -> None:
        home.config("[server]\nprot = 1\n")
        error = home.fails()

        assert str(error) == (
            f'{home.config_file}:2: server.prot: unknown key (did you mean "port"?)'
        )
        assert (error.key, error.hint) == ("server.prot", 'did you mean "port"?')

    def test_all_problems_of_all_sources_are_told_at_once(self, home: SettingsHome) -> None:
        home.config(
            "[server]\n"
            'port = "x"\n'
            "prot = 1\n"
            "[routing.routes]\n"
            'summary = ["grok"]\n'
            "[providers.box]\n"
            'base_url = "http://10.0.0.1/v1"\n'
        )
        error = home.fails(Flags(log_level="loud"), SBGW_UI__ASCI="1", SBGW_LEDGER__REQUIRED="x")

        assert keys_and_reasons(error) == {
            "server.port": 'expected a whole number, not "x"',
            "server.prot": "unknown key",
            "routing.routes.summary[0]": 'there is no provider "grok"',
            "providers.box.kind": "is required: this is not a built-in provider",
            "providers.box.base_url": (
                "plain http is only for this machine; use https, or set allow_http = true"
            ),
            "--log-level": "must be 'debug', 'info', 'warning' or 'error', not \"loud\"",
            "SBGW_UI__ASCI": "names no setting",
            "SBGW_LEDGER__REQUIRED": 'expected true or false, not "x"',
        }
        assert {problem.file for problem in error.problems} == {
            str(home.config_file),
            "environment",
            "--log-level",
        }
        assert len(str(error).splitlines()) == len(error.problems) + 1

    def test_a_problem_with_a_missing_key_points_at_its_table(self, home: SettingsHome) -> None:
        home.config("[ledger]\nrequired = true\n[providers.box]\n")
        error = home.fails()

        assert {problem.line for problem in error.problems} == {3}
        assert {problem.key for problem in error.problems} == {
            "providers.box.kind",
            "providers.box.base_url",
        }


class TestGatewayKey:
    def test_the_default(self, home: SettingsHome) -> None:
        loaded = home.load()

        assert loaded.gateway_key.get_secret_value() == "local-dev-key"
        assert loaded.has_default_key
        assert loaded.key_hint == "local-dev-key"
        assert loaded.key.source == "default"

    def test_one_from_the_environment_is_never_hinted_at(self, home: SettingsHome) -> None:
        loaded = home.load(STACKBILT_GATEWAY_KEY="a-very-private-key")

        assert loaded.gateway_key.get_secret_value() == "a-very-private-key"
        assert not loaded.has_default_key
        assert loaded.key_hint is None
        assert loaded.key.source == "environment"
        assert "a-very-private-key" not in repr(loaded)

    def test_one_from_the_env_file(self, home: SettingsHome) -> None:
        file = home.dotenv("STACKBILT_GATEWAY_KEY='from-dot-env'\n")
        loaded = home.load()

        assert loaded.gateway_key.get_secret_value() == "from-dot-env"
        assert loaded.key.source == str(file)

    def test_the_variable_can_have_another_name(self, home: SettingsHome) -> None:
        home.config('[server]\nkey_env = "MY_KEY"\n')

        assert home.load(MY_KEY="mine").gateway_key.get_secret_value() == "mine"

    def test_a_named_variable_that_is_not_set_does_not_open_the_gateway(
        self, home: SettingsHome
    ) -> None:
        home.config('[server]\nkey_env = "MY_KEY"\n')
        error = home.fails()

        assert error.key == "MY_KEY"
        assert "not set" in error.reason

    @pytest.mark.parametrize("key", ["", "  ", "a b", "schlüssel", "a\nb"])
    def test_a_key_no_client_could_send_is_refused(self, home: SettingsHome, key: str) -> None:
        error = home.fails(STACKBILT_GATEWAY_KEY=key)

        assert error.key == "STACKBILT_GATEWAY_KEY"
        assert "gateway key" in error.reason


class TestExposure:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "box.local"])
    def test_the_default_key_stays_on_this_machine(self, home: SettingsHome, host: str) -> None:
        home.config(f'[server]\nhost = "{host}"\n')
        error = home.fails()

        assert error.key == "server.host"
        assert error.problems[0].line == 2
        assert host in error.reason
        assert "STACKBILT_GATEWAY_KEY" in error.hint

    def test_to_set_the_default_by_hand_changes_nothing(self, home: SettingsHome) -> None:
        error = home.fails(Flags(host="0.0.0.0"), STACKBILT_GATEWAY_KEY="local-dev-key")

        assert error.file == "--host"

    def test_with_a_key_of_its_own_it_may_leave_but_says_so(self, home: SettingsHome) -> None:
        loaded = home.load(Flags(host="0.0.0.0"), STACKBILT_GATEWAY_KEY="a-very-private-key")

        assert codes(loaded) == ["exposed"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_loopback_needs_no_key(self, home: SettingsHome, host: str) -> None:
        assert home.load(Flags(host=host)).settings.server.host == host

    def test_a_base_url_that_leads_back_here_is_found_whatever_set_the_port(
        self, home: SettingsHome
    ) -> None:
        home.config('[providers.anthropic]\nbase_url = "http://localhost:9000"\n')

        assert home.load().settings.server.port == 8787
        assert "this gateway itself" in home.fails(Flags(port=9000)).reason


class TestNotes:
    def test_an_env_file_in_the_project_is_not_read(self, home: SettingsHome) -> None:
        (home.cwd / ".env").write_text("GROQ_API_KEY=from-the-project\nSBGW_SERVER__PORT=1\n")
        loaded = home.load()

        assert codes(loaded) == ["stray-env-file"]
        assert loaded.settings.server.port == 8787
        assert loaded.secrets.get("GROQ_API_KEY") is None

    def test_started_in_its_own_folder_the_env_file_is_no_stray(self, home: SettingsHome) -> None:
        home.dotenv("GROQ_API_KEY=mine-mine-mine\n")

        assert load(env=home.env, cwd=home.home).warnings == ()

    @pytest.mark.parametrize("name", ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"])
    def test_addresses_meant_for_clients_are_ignored(self, home: SettingsHome, name: str) -> None:
        loaded = home.load(None, **{name: "https://elsewhere.example"})

        assert loaded.settings == Settings()
        assert codes(loaded) == ["client-url"]
        assert home.load(None, **{name: "http://localhost:8787/v1"}).warnings == ()
        assert codes(home.load(None, **{name: "http://[bad"})) == ["client-url"]

    def test_kinds_that_never_move(self, home: SettingsHome) -> None:
        home.config('[routing.kinds]\npermission_check = ["groq"]\ncompaction = ["baseline"]\n')

        (warning,) = home.load().warnings
        assert warning.code == "never-moved"
        assert "permission_check" in warning.message

    def test_a_server_without_a_model_or_a_path(self, home: SettingsHome) -> None:
        home.config(
            '[providers.box]\nkind = "openai-chat"\nbase_url = "http://127.0.0.1:11434"\n'
            '[routing.routes]\nsummary = ["box"]\nplanning = ["box/m"]\n'
        )

        assert codes(home.load()) == ["no-model", "no-path"]

    def test_a_retired_model_names_its_successor(self, home: SettingsHome) -> None:
        home.config('[providers.groq]\nmodel = "llama-3.3-70b-versatile"\n')

        (warning,) = home.load().warnings
        assert warning.code == "retired-model"
        assert "openai/gpt-oss-120b" in warning.hint

    @pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
    def test_a_settings_file_others_can_change(self, home: SettingsHome) -> None:
        home.config("").chmod(0o666)

        assert codes(home.load()) == ["config-writable"]
        assert stat.S_IMODE(home.config_file.stat().st_mode) == 0o666

    def test_a_key_that_cannot_be_one(self, home: SettingsHome) -> None:
        loaded = home.load(GROQ_API_KEY="paste gone wrong")

        assert codes(loaded) == ["bad-key"]
        assert "paste" not in str(loaded.warnings)


class TestSurroundings:
    def test_certificates_that_are_not_there(self, home: SettingsHome) -> None:
        home.config('[network]\nca_bundle = "/nowhere/ca.pem"\n')

        assert home.fails().key == "network.ca_bundle"

    def test_certificates_that_are(self, home: SettingsHome) -> None:
        bundle = home.home / "ca.pem"
        bundle.touch()
        home.config(f'[network]\nca_bundle = "{bundle}"\n')

        assert home.load().settings.network.ca_bundle == str(bundle)

    def test_an_account_id_that_would_change_the_address(self, home: SettingsHome) -> None:
        error = home.fails(CLOUDFLARE_ACCOUNT_ID="../../other")

        assert error.key == "CLOUDFLARE_ACCOUNT_ID"
        assert "other" not in str(error)


def test_loading_reads_no_other_environment_than_the_one_passed_in(
    home: SettingsHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBGW_SERVER__PORT", "1")
    monkeypatch.setenv("STACKBILT_GATEWAY_KEY", "not-this-one")

    loaded = home.load()
    assert loaded.settings.server.port == 8787
    assert loaded.has_default_key
