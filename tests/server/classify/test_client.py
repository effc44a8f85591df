from __future__ import annotations

import json

import pytest
from agent_bodies import steady
from hypothesis import given
from hypothesis import strategies as st

from server.classify import client_facts


def headers(**fields: str) -> list[tuple[bytes, bytes]]:
    return [(k.replace("_", "-").encode(), v.encode()) for k, v in fields.items()]


@pytest.mark.parametrize(
    ("user_agent", "client", "version", "is_agent"),
    [
        ("claude-cli/2.1.330 (external, cli)", "claude-code", "2.1.330", True),
        ("claude-code/2.1.330", "claude-code", "2.1.330", True),
        (
            "codex_exec/0.169.0 (Debian 12; x86_64) xterm (codex_exec; 0.169.0)",
            "codex",
            "0.169.0",
            True,
        ),
        ("codex-tui/0.169.0-alpha.2 (Mac OS)", "codex", "0.169.0-alpha.2", True),
        ("codex_cli_rs/0.40.0", "codex", "0.40.0", True),
        ("Anthropic/Python 2.12.0", "anthropic-sdk", "2.12.0", False),
        ("AsyncAnthropic/Python 2.12.0", "anthropic-sdk", "2.12.0", False),
        ("OpenAI/JS 5.1.0", "openai-sdk", "5.1.0", False),
        ("AsyncOpenAI/Python 3.54.0", "openai-sdk", "3.54.0", False),
        ("curl/8.5.0", "other", None, False),
        ("my-claude-cli/1.0", "other", None, False),
        ("", "other", None, False),
    ],
)
def test_the_sender_is_known_by_its_user_agent(
    user_agent: str, client: str, version: str | None, is_agent: bool
) -> None:
    facts = client_facts(headers(User_Agent=user_agent), "/v1/messages")
    assert (facts.client, facts.is_known_agent) == (client, is_agent)
    assert facts.version == version


@pytest.mark.parametrize(
    ("path", "client"), [("/v1/messages", "anthropic-sdk"), ("/v1/responses", "openai-sdk")]
)
def test_stainless_headers_betray_an_sdk(path: str, client: str) -> None:
    fields = headers(
        user_agent="app/1", x_stainless_lang="python", x_stainless_package_version="1.2.3"
    )
    facts = client_facts(fields, path)
    assert (facts.client, facts.version, facts.is_known_agent) == (client, "1.2.3", False)


def test_claude_code_names_session_agent_and_entrypoint() -> None:
    facts = client_facts(
        headers(
            User_Agent="claude-cli/2.1.330 (external, sdk-cli)",
            X_Claude_Code_Session_Id="s-1",
            x_claude_code_agent_id="a-1",
        ),
        "/v1/messages",
    )
    assert (facts.session, facts.agent_id, facts.entrypoint) == ("s-1", "a-1", "sdk-cli")


def test_codex_describes_its_turn() -> None:
    metadata = {"thread_source": "subagent", "thread_id": "t-2", "request_kind": "turn"}
    facts = client_facts(
        headers(
            user_agent="codex-tui/1.0",
            session_id="s-1",
            x_openai_subagent="review",
            x_codex_turn_metadata=json.dumps(metadata),
        ),
        "/v1/responses",
    )
    assert (facts.session, facts.agent_id, facts.subagent) == ("s-1", "t-2", "review")
    assert facts.turn_metadata == metadata


def test_the_main_thread_of_codex_is_no_agent() -> None:
    metadata = json.dumps({"thread_source": "user", "thread_id": "t-1"})
    facts = client_facts(headers(x_codex_turn_metadata=metadata), "/v1/responses")
    assert facts.agent_id is None


@pytest.mark.parametrize("value", ["x" * 500, "a\x1b[31m", "", "a\nb"])
def test_an_identifier_that_cannot_be_shown_is_dropped(value: str) -> None:
    facts = client_facts(headers(x_claude_code_session_id=value), "/")
    assert facts.session is None


@steady
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"user-agent",
                    b"X-Codex-Turn-Metadata",
                    b"x-claude-code-agent-id",
                    b"x-openai-subagent",
                    b"x-stainless-lang",
                    b"\xff\x00",
                ]
            ),
            st.binary(max_size=40)
            | st.sampled_from(
                [b"[1]", b"{", b'{"thread_source":"subagent","thread_id":[1]}', b"[" * 9000]
            ),
        ),
        max_size=6,
    ),
    st.text(max_size=10),
)
def test_garbage_is_somebody_else(fields: list[tuple[bytes, bytes]], path: str) -> None:
    facts = client_facts(fields, path)
    assert facts.is_known_agent is (facts.client in ("claude-code", "codex"))
    for shown in (facts.session, facts.agent_id, facts.subagent, facts.version):
        assert shown is None or shown.isprintable()
