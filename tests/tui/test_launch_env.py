from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.claude_setup import ClaudeSetup, SettingsLayer
from tui.launch_env import (
    CREDENTIALS,
    HEADERS,
    MAX_NESTED,
    MODES,
    PROXIES,
    ChildEnvironment,
    GatewayTarget,
    Labels,
    LaunchRefused,
    claude_environment,
    header_safe,
    nested_depth,
)

URL = "http://127.0.0.1:8787"
VENDOR = "https://api.anthropic.com"
LABELS = Labels(project="~/src/app", branch="main")
USER = {
    "HOME": "/home/u",
    "PATH": "/usr/bin",
    "GITHUB_TOKEN": "gh",
    "GROQ_API_KEY": "groq",
    "SBGW_HOME": "/x",
    "EMPTY": "",
    "ÜMLAUT": "\udcff",
}


def target(**changes: Any) -> GatewayTarget:
    values: dict[str, Any] = {
        "url": URL,
        "key": "gw-key",
        "upstream_base_url": VENDOR,
        "has_own_key": True,
    }
    return GatewayTarget(**values | changes)


def files(*envs: dict[str, str], login: bool = False) -> ClaudeSetup:
    """Settings files ``file0`` (the weakest), ``file1`` ... with these env blocks."""
    layers = [SettingsLayer(f"file{number}", env) for number, env in enumerate(envs)]
    return ClaudeSetup(tuple(layers), has_login=login)


LOGIN = files(login=True)


def build(
    env: dict[str, str] | None = None,
    setup: ClaudeSetup = LOGIN,
    labels: Labels = LABELS,
    **changes: Any,
) -> ChildEnvironment:
    return claude_environment(USER if env is None else env, setup, target(**changes), labels)


def refusal(env: dict[str, str], setup: ClaudeSetup = LOGIN, **changes: Any) -> str:
    with pytest.raises(LaunchRefused) as caught:
        build(env, setup, **changes)
    return str(caught.value)


def header_lines(child: ChildEnvironment) -> list[str]:
    return child.env[HEADERS].split("\n")


# ------------------------------------------------------------------ nothing else changes


def test_a_logged_in_client_gets_two_variables_and_keeps_the_rest() -> None:
    child = build()

    assert dict(child.env) == USER | {
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_CUSTOM_HEADERS": (
            "x-sbgw-key: gw-key\nx-sbgw-project: ~/src/app\nx-sbgw-branch: main\nx-sbgw-nested: 1"
        ),
    }
    assert child.notes == ()


def test_the_given_environment_is_not_touched() -> None:
    env = dict(USER)
    build(env, files())
    assert env == USER


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="=\0"), min_size=1).filter(
            lambda name: (
                not name.startswith(("ANTHROPIC_", "CLAUDE_")) and name.upper() not in PROXIES
            )
        ),
        st.text(st.characters(exclude_characters="\0")),
    )
)
def test_every_other_variable_passes_as_it_is(env: dict[str, str]) -> None:
    child = build(env)
    assert {name: child.env[name] for name in env} == env
    assert child.env.keys() - env.keys() == {"ANTHROPIC_BASE_URL", HEADERS}


# ------------------------------------------------------------------------------- headers


@pytest.mark.parametrize("existing", ["X-Mine: 1", "X-Mine: 1\nX-Other: a: b", "  odd  ", ":", "é"])
def test_the_users_headers_stay_in_front(existing: str) -> None:
    child = build({HEADERS: existing})
    assert child.env[HEADERS].startswith(existing + "\nx-sbgw-key: gw-key\n")


def test_no_empty_line_is_made() -> None:
    assert build({HEADERS: ""}).env[HEADERS].startswith("x-sbgw-key")
    assert build({HEADERS: "A: 1\n"}).env[HEADERS].startswith("A: 1\nx-sbgw-key")


def test_labels_that_are_missing_make_no_header() -> None:
    assert header_lines(build(labels=Labels())) == ["x-sbgw-key: gw-key", "x-sbgw-nested: 1"]
    assert header_lines(build(labels=Labels(branch="  ", label="night run")))[1:] == [
        "x-sbgw-label: night run",
        "x-sbgw-nested: 1",
    ]


def test_a_nested_launch_replaces_the_outer_ones_headers() -> None:
    outer = build({HEADERS: "X-Mine: 1"}, labels=Labels("outer", "old", "label"))

    inner = build(dict(outer.env), labels=Labels("inner"))

    assert header_lines(inner) == [
        "X-Mine: 1",
        "x-sbgw-key: gw-key",
        "x-sbgw-project: inner",
        "x-sbgw-nested: 2",
    ]


def test_a_launcher_that_starts_itself_for_ever_is_stopped() -> None:
    env = dict(USER)
    for depth in range(MAX_NESTED):
        assert nested_depth(env) == depth
        env = dict(build(env).env)

    assert "started itself" in refusal(env)


@pytest.mark.parametrize("value", ["", "x", "-1", "²", "1e9", "9" * 5000])
def test_a_strange_depth_does_no_harm(value: str) -> None:
    assert 0 <= nested_depth({HEADERS: f"x-sbgw-nested: {value}"}) <= MAX_NESTED


@given(st.text())
def test_label_values_are_always_headers(text: str) -> None:
    value = header_safe(text)
    assert value.isascii()
    assert value.isprintable() or not value
    assert value == value.strip()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_label_values_can_be_read_back(text: str) -> None:
    assert unquote(header_safe(text)) == text.strip()


def test_labels_stay_readable() -> None:
    assert header_safe("~/src/my app: v2 (new)") == "~/src/my app: v2 (new)"
    assert header_safe("100%") == "100%25"
    assert header_safe("größe") == "gr%C3%B6%C3%9Fe"
    assert header_safe("a\r\nx-evil: 1") == "a%0D%0Ax-evil: 1"
    assert header_safe("/bad\udcffname") == "/bad?name"
    assert len(header_safe("x" * 9999)) == 1000


@pytest.mark.parametrize("key", ["a b", "é", "a\nb", "a\tb", "\x7f"])
def test_a_key_no_header_can_carry_is_refused(key: str) -> None:
    message = refusal({}, key=key)
    assert "gateway key" in message
    assert key not in message


def test_headers_from_a_settings_file_move_the_key_into_the_path() -> None:
    child = build(USER, files({HEADERS: "X-File: 1"}, login=True), key="k/ey+1")

    assert child.env["ANTHROPIC_BASE_URL"] == f"{URL}/k/k%2Fey%2B1"
    (note,) = child.notes
    assert "file0" in note
    assert HEADERS in note
    assert "k/ey" not in note


# --------------------------------------------------------------------------------- token


def test_a_client_without_any_credential_gets_the_gateways() -> None:
    assert build(USER, files()).env["ANTHROPIC_AUTH_TOKEN"] == "gw-key"
    assert build({"ANTHROPIC_AUTH_TOKEN": ""}, files()).env["ANTHROPIC_AUTH_TOKEN"] == "gw-key"


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_in_the_environment_stays_alone(name: str) -> None:
    env = {name: "own"}
    child = build(env, files())
    assert child.env.keys() - env.keys() == {"ANTHROPIC_BASE_URL", HEADERS}
    assert child.env[name] == "own"


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_in_a_settings_file_counts(name: str) -> None:
    assert "ANTHROPIC_AUTH_TOKEN" not in build(USER, files({name: "own"})).env
    assert "ANTHROPIC_AUTH_TOKEN" in build(USER, files({name: "own"}, {name: ""})).env


@pytest.mark.parametrize("key", ["apiKeyHelper", "forceLoginMethod", "forceLoginOrgUUID"])
def test_settings_that_bring_or_demand_a_credential_count(key: str) -> None:
    setup = ClaudeSetup((SettingsLayer("file", keys=frozenset({key, "model"})),))
    assert "ANTHROPIC_AUTH_TOKEN" not in build(USER, setup).env


def test_other_settings_do_not_count() -> None:
    setup = ClaudeSetup((SettingsLayer("file", keys=frozenset({"model"})),))
    assert "ANTHROPIC_AUTH_TOKEN" in build(USER, setup).env


def test_without_a_key_of_its_own_the_gateway_lets_the_client_log_in() -> None:
    assert "ANTHROPIC_AUTH_TOKEN" not in build(USER, files(), has_own_key=False).env


# ----------------------------------------------------------------------------- base URL


@pytest.mark.parametrize(
    "url",
    [
        "",
        URL,
        URL + "/",
        URL + "/k/old-key",
        "http://localhost:8787",
        "http://[::1]:8787",
        VENDOR,
        VENDOR + "/",
        f" {VENDOR} ",
    ],
)
def test_an_address_that_means_the_same_is_replaced(url: str) -> None:
    assert build({"ANTHROPIC_BASE_URL": url}).env["ANTHROPIC_BASE_URL"] == URL


@pytest.mark.parametrize(
    "url",
    [
        "https://llm.example.com/anthropic",
        "http://127.0.0.1:8788",
        "http://192.168.0.9:8787",
        "https://127.0.0.1:8787",
        "http://127.0.0.1",
        "http://127.0.0.1:port",
        "nonsense",
        "api.anthropic.com",
    ],
)
def test_somebody_elses_address_is_not_overridden(url: str) -> None:
    message = refusal({"ANTHROPIC_BASE_URL": url})
    assert url in message
    assert "in your environment" in message
    assert "env -u ANTHROPIC_BASE_URL sbgw-tui claude" in message
    assert f'providers.anthropic.base_url = "{url}"' in message


def test_the_address_that_is_our_upstream_is_replaced() -> None:
    url = "https://llm.example.com/anthropic"
    child = build({"ANTHROPIC_BASE_URL": url + "/"}, upstream_base_url=url)
    assert child.env["ANTHROPIC_BASE_URL"] == URL

    message = refusal({"ANTHROPIC_BASE_URL": VENDOR}, upstream_base_url=url)
    assert VENDOR in message
    assert url in message


def test_a_password_in_an_address_is_not_shown() -> None:
    message = refusal({"ANTHROPIC_BASE_URL": "https://user:hunter2@llm.example.com"})
    assert "hunter2" not in message
    assert "llm.example.com" in message


def test_control_characters_are_not_shown() -> None:
    message = refusal({"ANTHROPIC_BASE_URL": "https://x\x1b[31m.example"})
    assert "\x1b" not in message
    message = refusal({}, ClaudeSetup((SettingsLayer("a\x1bb", {"ANTHROPIC_BASE_URL": "x"}),)))
    assert "\x1b" not in message


@pytest.mark.parametrize("url", [VENDOR, "https://llm.example.com", "", "http://127.0.0.1:1"])
def test_an_address_in_a_settings_file_would_win_and_is_refused(url: str) -> None:
    message = refusal({"ANTHROPIC_BASE_URL": URL}, files({}, {"ANTHROPIC_BASE_URL": url}))
    assert message.startswith("file1 sets ANTHROPIC_BASE_URL")
    assert "Remove that line" in message
    assert ("providers.anthropic.base_url" in message) == (url not in (VENDOR, ""))


def test_the_strongest_settings_file_decides() -> None:
    other = {"ANTHROPIC_BASE_URL": "https://llm.example.com"}
    ours = {"ANTHROPIC_BASE_URL": URL}

    assert build(USER, files(other, ours, login=True)).env["ANTHROPIC_BASE_URL"] == URL
    assert refusal(USER, files(ours, other)).startswith("file1")


# ----------------------------------------------------------------------- other vendors


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("value", ["1", "true", "TRUE", "yes", "on", " 1 "])
def test_another_vendors_mode_is_refused(name: str, value: str) -> None:
    message = refusal({name: value})
    assert name in message
    assert MODES[name] in message
    assert "providers.anthropic.base_url" in message
    assert "your environment" in message


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off", "garbage"])
def test_a_mode_that_is_off_is_fine(value: str) -> None:
    env = {"CLAUDE_CODE_USE_BEDROCK": value}
    assert build(env).env["CLAUDE_CODE_USE_BEDROCK"] == value


def test_a_settings_file_switches_a_mode_on_and_off() -> None:
    on, off = {"CLAUDE_CODE_USE_VERTEX": "1"}, {"CLAUDE_CODE_USE_VERTEX": ""}
    assert "file0" in refusal({}, files(on))
    build(on, files(off, login=True))


# --------------------------------------------------------------------------------- proxy


def test_without_a_proxy_nothing_is_exempted() -> None:
    assert "NO_PROXY" not in build().env
    assert build({"NO_PROXY": "corp", "HTTPS_PROXY": ""}).env["NO_PROXY"] == "corp"


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "127.0.0.1,localhost"),
        ("", "127.0.0.1,localhost"),
        ("corp", "corp,127.0.0.1,localhost"),
        ("corp, ", "corp,127.0.0.1,localhost"),
        ("a b", "a b,127.0.0.1,localhost"),
        ("localhost", "localhost,127.0.0.1"),
        ("127.0.0.1 localhost", "127.0.0.1 localhost"),
        ("127.0.0.0/8", "127.0.0.0/8,127.0.0.1,localhost"),
        ("*", "*"),
    ],
)
def test_a_proxy_does_not_catch_the_gateway(proxy: str, before: str | None, after: str) -> None:
    env = {proxy: "http://proxy.example:3128"}
    if before is not None:
        env["NO_PROXY"] = before
    child = build(env)
    assert child.env["NO_PROXY"] == after
    assert child.env[proxy] == "http://proxy.example:3128"
    assert "no_proxy" not in child.env


def test_both_spellings_are_kept_in_step() -> None:
    env = {"https_proxy": "http://p:1", "no_proxy": "a", "NO_PROXY": "b"}
    child = build(env)
    assert child.env["no_proxy"] == "a,127.0.0.1,localhost"
    assert child.env["NO_PROXY"] == "b,127.0.0.1,localhost"
    child = build({"https_proxy": "http://p:1", "no_proxy": "a"})
    assert "NO_PROXY" not in child.env


def test_a_proxy_in_a_settings_file_counts() -> None:
    setup = files({"HTTPS_PROXY": "http://p:1"}, login=True)
    assert build(USER, setup).env["NO_PROXY"] == "127.0.0.1,localhost"


def test_the_other_spelling_is_used_when_a_settings_file_holds_one() -> None:
    setup = files({"NO_PROXY": "corp"}, login=True)
    child = build({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "mine"}, setup)
    assert child.env["NO_PROXY"] == "mine", "it would be replaced anyway"
    assert child.env["no_proxy"] == "127.0.0.1,localhost"


def test_two_settings_that_leave_no_way_are_refused() -> None:
    setup = files({"NO_PROXY": "corp", "no_proxy": "corp"}, login=True)
    message = refusal({"HTTPS_PROXY": "http://p:1"}, setup)
    assert "file0" in message
    assert "127.0.0.1" in message
    for entry in ("127.0.0.1", "127.0.0.0/8", "*"):
        build({"HTTPS_PROXY": "http://p:1"}, files({"NO_PROXY": entry, "no_proxy": "x"}))


def test_a_gateway_on_another_address_is_exempted_by_that_address() -> None:
    child = build({"HTTP_PROXY": "http://p:1"}, url="http://[::1]:8787")
    assert child.env["NO_PROXY"] == "::1,localhost"
    child = build({"HTTP_PROXY": "http://p:1"}, url="http://localhost:8787")
    assert child.env["NO_PROXY"] == "localhost"
