"""The profiles are complete, and a resolved provider cannot be led astray by an account id."""

from __future__ import annotations

import re

import pytest

from providers.profiles import ACCOUNT_PLACEHOLDER, default_auth, profiles
from providers.types import Protocol
from server.config import Settings


def test_the_built_in_providers_are_there_in_order() -> None:
    assert list(profiles()) == ["anthropic", "openai", "groq", "cerebras", "cloudflare"]


@pytest.mark.parametrize("name", list(profiles()))
def test_every_profile_is_complete(name: str) -> None:
    profile = profiles()[name]

    assert profile.name == name
    assert profile.title
    assert profile.protocols
    assert profile.protocol is profile.protocols[0]
    assert re.fullmatch(r"https://[a-z0-9./{}_-]+[^/]", profile.base_url)
    assert re.fullmatch(r"[A-Z_]+_(KEY|TOKEN)", profile.api_key_env)
    assert (ACCOUNT_PLACEHOLDER in profile.base_url) == (profile.account_id_env is not None)
    assert set(profile.retired).isdisjoint(profile.retired.values())
    assert profile.model not in profile.retired


def test_only_vendors_of_clients_take_a_client_credential() -> None:
    takers = {name for name, profile in profiles().items() if profile.takes_client_credential}

    assert takers == {"anthropic", "openai"}


def test_default_models_are_the_ones_that_exist() -> None:
    assert {name: profile.model for name, profile in profiles().items()} == {
        "anthropic": None,
        "openai": None,
        "groq": "openai/gpt-oss-120b",
        "cerebras": "gpt-oss-120b",
        "cloudflare": "@cf/zai-org/glm-4.7-flash",
    }


def test_the_profiles_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        profiles()["x"] = profiles()["groq"]  # type: ignore[index]


def test_anthropic_wants_its_version_header_and_the_others_do_not() -> None:
    settings = Settings()

    assert dict(settings.provider("anthropic").headers_if_missing) == {
        "anthropic-version": "2023-06-01"
    }
    assert dict(settings.provider("groq").headers_if_missing) == {}


def test_the_key_travels_as_the_protocol_has_it() -> None:
    assert default_auth(Protocol.MESSAGES) == "x-api-key"
    assert default_auth(Protocol.CHAT) == "bearer"


class TestUrl:
    def test_the_account_id_goes_into_its_place(self) -> None:
        provider = Settings().provider("cloudflare")

        assert provider.url("ab12-cd") == (
            "https://api.cloudflare.com/client/v4/accounts/ab12-cd/ai/v1"
        )

    def test_an_address_without_a_place_takes_no_account(self) -> None:
        assert Settings().provider("groq").url() == "https://api.groq.com/openai/v1"

    @pytest.mark.parametrize("account", [None, "", "a/b", "..", "a?b", "a@evil", "é", "a" * 65])
    def test_anything_that_is_no_account_id_is_refused(self, account: str | None) -> None:
        with pytest.raises(ValueError, match="CLOUDFLARE_ACCOUNT_ID"):
            Settings().provider("cloudflare").url(account)
