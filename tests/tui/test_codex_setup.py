from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.codex_setup import (
    KEY_VARIABLE,
    CodexLaunch,
    CodexSetup,
    codex_home,
    codex_launch,
    read_codex_setup,
)
from tui.launch_env import GatewayTarget, Labels, LaunchRefused

URL = "http://127.0.0.1:8787"
VENDOR = "https://api.openai.com/v1"
LABELS = Labels(project="~/src/app", branch="main")
USER = {"HOME": "/home/u", "PATH": "/usr/bin", "GITHUB_TOKEN": "gh"}


def target(**changes: Any) -> GatewayTarget:
    values: dict[str, Any] = {
        "url": URL,
        "key": "gw-key",
        "upstream_base_url": VENDOR,
        "has_own_key": True,
    }
    return GatewayTarget(**values | changes)


def launch(
    env: dict[str, str] | None = None,
    setup: CodexSetup | None = None,
    labels: Labels = LABELS,
    **changes: Any,
) -> CodexLaunch:
    return codex_launch(
        USER if env is None else env, setup or CodexSetup(), target(**changes), labels
    )


def overrides(found: CodexLaunch) -> dict[str, Any]:
    """What Codex makes of the arguments: dotted keys over TOML values."""
    flags, values = found.arguments[::2], found.arguments[1::2]
    assert set(flags) == {"-c"}
    assert all(value.partition("=")[2] for value in values)
    return tomllib.loads("\n".join(values))


def refusal(setup: CodexSetup, **changes: Any) -> str:
    with pytest.raises(LaunchRefused) as caught:
        launch(setup=setup, **changes)
    return str(caught.value)


def home(tmp_path: Path, config: str = "", auth: object = None) -> dict[str, str]:
    (tmp_path / "config.toml").write_text(config)
    if auth is not None:
        (tmp_path / "auth.json").write_text(json.dumps(auth))
    return {"CODEX_HOME": str(tmp_path)}


# ------------------------------------------------------------------------- what it is given


def test_codex_gets_a_provider_of_its_own_that_leads_here() -> None:
    assert overrides(launch()) == {
        "model_provider": "sbgw",
        "model_providers": {
            "sbgw": {
                "name": "sbgw-tui",
                "base_url": f"{URL}/v1",
                "wire_api": "responses",
                "env_http_headers": {"x-sbgw-key": KEY_VARIABLE},
                "http_headers": {"x-sbgw-project": "~/src/app", "x-sbgw-branch": "main"},
            }
        },
    }


def test_the_key_is_in_the_environment_and_not_on_the_command_line() -> None:
    found = launch(key="s3cret-key")
    assert "s3cret-key" not in " ".join(found.arguments)
    assert found.env == USER | {KEY_VARIABLE: "s3cret-key"}


def test_the_users_own_environment_is_otherwise_unchanged() -> None:
    env = USER | {"OPENAI_API_KEY": "sk-own", "OPENAI_BASE_URL": "https://x.example"}
    assert launch(env).env == env | {KEY_VARIABLE: "gw-key"}


def test_a_proxy_does_not_catch_the_gateway() -> None:
    env = USER | {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "corp"}
    assert launch(env).env["no_proxy"] == "corp,127.0.0.1,localhost"


def test_a_key_that_no_header_carries_is_refused() -> None:
    with pytest.raises(LaunchRefused, match="printable ASCII"):
        launch(key="a\nb")


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_the_project_is_called_the_overrides_stay_toml(project: str, branch: str) -> None:
    found = overrides(launch(labels=Labels(project, branch, None)))
    headers = found["model_providers"]["sbgw"]["http_headers"]
    assert set(headers) <= {"x-sbgw-project", "x-sbgw-branch"}
    assert all(text.isascii() and text.isprintable() for text in headers.values())


# --------------------------------------------------------------------------------- who pays


def credential(found: CodexLaunch) -> dict[str, Any]:
    provider = overrides(found)["model_providers"]["sbgw"]
    return {k: v for k, v in provider.items() if k in ("requires_openai_auth", "env_key")}


def test_a_stored_login_stays_in_use() -> None:
    env = USER | {"CODEX_API_KEY": "sk-c", "OPENAI_API_KEY": "sk-o"}
    assert credential(launch(env, CodexSetup(has_login=True))) == {"requires_openai_auth": True}


def test_a_key_that_codex_itself_would_take_stays_in_use() -> None:
    assert credential(launch(USER | {"CODEX_API_KEY": "sk-c"})) == {"env_key": "CODEX_API_KEY"}


def test_without_a_credential_the_gateway_pays() -> None:
    assert credential(launch()) == {}
    assert credential(launch(USER | {"OPENAI_API_KEY": "sk-o"})) == {}


def test_a_key_in_the_environment_helps_a_gateway_that_has_none() -> None:
    found = launch(USER | {"OPENAI_API_KEY": "sk-o"}, has_own_key=False)
    assert credential(found) == {"env_key": "OPENAI_API_KEY"}


# ------------------------------------------------------------------------- what it is set to


def test_another_provider_is_not_led_astray() -> None:
    said = refusal(CodexSetup("/h/config.toml", provider="azure", provider_url="https://a.example"))
    assert "/h/config.toml sets model_provider to 'azure'" in said


@pytest.mark.parametrize(
    "setup",
    [
        CodexSetup(provider="openai"),
        CodexSetup(provider="sbgw"),
        CodexSetup(provider="gw", provider_url=f"{URL}/v1"),
        CodexSetup(base_url=VENDOR + "/"),
        CodexSetup(base_url="http://localhost:8787/v1"),
    ],
)
def test_what_leads_to_the_same_place_is_fine(setup: CodexSetup) -> None:
    assert overrides(launch(setup=setup))["model_provider"] == "sbgw"


def test_another_address_of_the_vendor_is_named_without_its_password() -> None:
    said = refusal(CodexSetup(base_url="https://me:pw@proxy.example/v1"))
    assert 'providers.openai.base_url = "https://' in said
    assert "proxy.example" in said
    assert "pw" not in said


def test_hostile_names_are_harmless_in_messages() -> None:
    said = refusal(CodexSetup("/h/\x1b[31mx", provider="a\x1b]0;t\x07"))
    assert all(char.isprintable() or char == "\n" for char in said)


# ------------------------------------------------------------------------------ reading files


def test_settings_and_login_are_read_where_codex_keeps_them(tmp_path: Path) -> None:
    config = 'model_provider = "azure"\nopenai_base_url = "https://o.example/v1"\n'
    config += '[model_providers.azure]\nbase_url = "https://a.example"\n'
    env = home(tmp_path, config, {"OPENAI_API_KEY": None, "tokens": {"access_token": "x"}})
    assert read_codex_setup(env) == CodexSetup(
        source=str(tmp_path / "config.toml"),
        provider="azure",
        provider_url="https://a.example",
        base_url="https://o.example/v1",
        has_login=True,
    )


def test_the_folder_is_the_one_codex_uses() -> None:
    assert codex_home({"HOME": "/home/u"}) == Path("/home/u/.codex")
    assert codex_home({"HOME": "/home/u", "CODEX_HOME": "/c"}) == Path("/c")
    assert codex_home({}) is None
    assert read_codex_setup({}) == CodexSetup()


@pytest.mark.parametrize(
    "auth", [None, {}, [], "x", {"OPENAI_API_KEY": None, "tokens": None}, {"OPENAI_API_KEY": ""}]
)
def test_no_login_is_seen_where_there_is_none(tmp_path: Path, auth: object) -> None:
    assert not read_codex_setup(home(tmp_path, auth=auth)).has_login


@pytest.mark.parametrize("store", ["keyring", "auto"])
def test_a_login_that_cannot_be_seen_counts_as_one(tmp_path: Path, store: str) -> None:
    env = home(tmp_path, f'cli_auth_credentials_store = "{store}"')
    assert read_codex_setup(env).has_login


@pytest.mark.parametrize(
    "config", ["= broken", "model_provider = 3", "model_providers = 1", "\x00"]
)
def test_a_broken_file_counts_as_empty(tmp_path: Path, config: str) -> None:
    found = read_codex_setup(home(tmp_path, config))
    assert (found.provider, found.provider_url, found.base_url) == (None, None, None)
