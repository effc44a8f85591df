"""Who may in, whose credential goes up, who pays."""

from __future__ import annotations

import pytest

from providers.types import Headers, Payer
from server.credentials import (
    Access,
    AuthFailed,
    Credential,
    KeyRing,
    authenticate,
    choose,
)

RING = KeyRing("gw-key")
OWN: Headers = [(b"x-api-key", b"sk-ant-api-ours")]
LOGIN = (b"Authorization", b"Bearer sk-ant-oat01-secret")
CLIENT = (b"X-Api-Key", b"sk-ant-api-theirs")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", b"gw-key")],
        [(b"Authorization", b"Bearer gw-key")],
        [(b"authorization", b"bearer  gw-key")],
        [(b"X-API-KEY", b"gw-key"), (b"authorization", b"Bearer gw-key")],
        [(b"x-sbgw-key", b"gw-key")],
        [(b"x-sbgw-key", b"gw-key"), LOGIN],
    ],
)
def test_the_key_is_accepted_in_every_documented_place(headers: Headers) -> None:
    authenticate(headers, None, RING)


@pytest.mark.parametrize(
    ("headers", "token", "reason"),
    [
        ([], None, "missing_key"),
        ([(b"x-api-key", b"")], None, "missing_key"),
        ([(b"x-api-key", b" "), (b"authorization", b"Bearer ")], None, "missing_key"),
        ([(b"x-api-key", b"gw-keyx")], None, "wrong_key"),
        ([(b"x-api-key", b"GW-KEY")], None, "wrong_key"),
        ([(b"x-api-key", b"gw-key"), (b"authorization", b"Bearer other")], None, "wrong_key"),
        ([(b"x-api-key", b"other"), (b"authorization", b"Bearer gw-key")], None, "wrong_key"),
        ([(b"x-api-key", b"gw-key"), (b"x-api-key", b"other")], None, "wrong_key"),
        ([(b"x-sbgw-key", b"other"), (b"x-api-key", b"gw-key")], None, "wrong_key"),
        ([(b"x-sbgw-key", b"gw-key"), (b"x-sbgw-key", b"other")], None, "wrong_key"),
        ([(b"x-api-key", b"gw-key")], b"other", "wrong_key"),
        ([(b"x-api-key", b"' OR 1=1 --")], None, "wrong_key"),
        ([(b"x-api-key", b"k" * 10_000)], None, "wrong_key"),
    ],
)
def test_anything_else_is_refused_without_echoing_it(
    headers: Headers, token: bytes | None, reason: str
) -> None:
    with pytest.raises(AuthFailed) as caught:
        authenticate(headers, token, RING)
    assert caught.value.reason == reason
    assert "gw-key" not in str(caught.value)
    assert "OR 1=1" not in str(caught.value)


def test_beside_a_dedicated_key_the_other_fields_are_the_clients_own() -> None:
    access = authenticate([(b"x-sbgw-key", b"gw-key"), LOGIN], None, RING)
    assert access.client_credential == [LOGIN]
    assert authenticate([CLIENT], b"gw-key", RING).client_credential == [CLIENT]


def test_a_field_that_equals_the_gateway_key_is_never_a_credential() -> None:
    headers = [(b"x-sbgw-key", b"gw-key"), (b"authorization", b"Bearer gw-key"), CLIENT]
    assert authenticate(headers, None, RING).client_credential == [CLIENT]
    assert authenticate([(b"x-api-key", b"gw-key")], None, RING).client_credential == []


@pytest.mark.parametrize(
    ("credential", "mode", "own", "payer", "sent"),
    [
        ([LOGIN], "auto", OWN, Payer.LOGIN, [LOGIN]),
        ([CLIENT], "auto", OWN, Payer.CLIENT_KEY, [CLIENT]),
        ([LOGIN, CLIENT], "auto", OWN, Payer.CLIENT_KEY, [LOGIN, CLIENT]),
        ([], "auto", OWN, Payer.GATEWAY_KEY, OWN),
        ([LOGIN], "key", OWN, Payer.GATEWAY_KEY, OWN),
        ([LOGIN], "client", OWN, Payer.LOGIN, [LOGIN]),
    ],
)
def test_who_pays(
    credential: Headers, mode: str, own: Headers, payer: Payer, sent: Headers
) -> None:
    chosen = choose(Access(credential), [], mode=mode, own=own)
    assert chosen is not None
    assert chosen.payer is payer
    assert chosen.headers == sent


@pytest.mark.parametrize(
    ("credential", "mode", "own"),
    [([], "auto", None), ([], "client", OWN), ([LOGIN], "key", None)],
)
def test_no_usable_credential_is_said_not_guessed(
    credential: Headers, mode: str, own: Headers | None
) -> None:
    assert choose(Access(credential), [], mode=mode, own=own) is None


def test_an_unknown_bearer_with_the_login_beta_is_a_login() -> None:
    headers = [(b"anthropic-beta", b"claude-code-20250219,oauth-2025-04-20")]
    access = Access([(b"authorization", b"Bearer opaque")])
    chosen = choose(access, headers, mode="auto", own=None)
    assert chosen is not None
    assert chosen.payer is Payer.LOGIN
    chosen = choose(access, [], mode="auto", own=None)
    assert chosen is not None
    assert chosen.payer is Payer.CLIENT_KEY


JWT = b"eyJhbGciOiJSUzI1NiJ9.eyJlIjoxfQ.c2ln"


@pytest.mark.parametrize(
    ("token", "more", "payer"),
    [
        (b"Bearer " + JWT, [(b"ChatGPT-Account-ID", b"acct")], Payer.LOGIN),
        (b"Bearer " + JWT, [], Payer.LOGIN),
        (b"AgentAssertion opaque", [(b"chatgpt-account-id", b"acct")], Payer.LOGIN),
        (b"Bearer sk-proj-1", [(b"chatgpt-account-id", b"acct")], Payer.CLIENT_KEY),
        (b"Bearer opaque", [], Payer.CLIENT_KEY),
        # A company's own sign-in before Anthropic is not a ChatGPT login.
        (b"Bearer " + JWT, [(b"anthropic-version", b"2023-06-01")], Payer.CLIENT_KEY),
    ],
)
def test_a_chatgpt_login_is_told_from_a_key(token: bytes, more: Headers, payer: Payer) -> None:
    access = Access([(b"authorization", token)])
    chosen = choose(access, more, mode="auto", own=None)
    assert chosen is not None
    assert chosen.payer is payer


def test_the_account_of_a_login_goes_only_with_the_login() -> None:
    account = (b"ChatGPT-Account-ID", b"acct")
    sent = [(b"a", b"1"), account, (b"X-OpenAI-Fedramp", b"true"), LOGIN]
    assert Credential(Payer.LOGIN, [LOGIN]).dress(sent) == sent
    assert Credential(Payer.GATEWAY_KEY, OWN).dress(sent) == [(b"a", b"1"), *OWN]
