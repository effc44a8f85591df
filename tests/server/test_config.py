"""The models: defaults, what is refused, and the views other parts are built from."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from providers.types import Protocol
from server.config import Settings
from server.settings_types import KINDS, NEVER_MOVED, ROUTE_CLASSES, RouteEntry, parse_entry


def settings(**tables: Any) -> Settings:
    return Settings.model_validate(tables)


def fault(**tables: Any) -> dict[str, Any]:
    """The one error that ``tables`` give."""
    with pytest.raises(ValidationError) as caught:
        settings(**tables)
    (error,) = caught.value.errors()
    return dict(error)


class TestDefaults:
    def test_nothing_leaves_and_nobody_can_reach_us(self) -> None:
        made = Settings()

        assert made.server.host == "127.0.0.1"
        assert made.server.port == 8787
        assert made.server.key_env == "STACKBILT_GATEWAY_KEY"
        assert made.routing.shadow is True
        assert made.routing.cross_vendor_failover is False
        assert made.routing.patience_s == 0
        assert made.network.proxy == "env"
        assert made.ledger.durability == "normal"
        assert made.ledger.required is False

    def test_routes_and_baselines(self) -> None:
        routing = Settings().routing

        assert {name: list(map(str, entries)) for name, entries in routing.routes} == {
            "tool_loop": ["baseline"],
            "long_context": ["baseline"],
            "planning": ["groq", "cerebras"],
            "code_draft": ["groq", "cerebras"],
            "summary": ["cerebras", "groq"],
            "fallback_safe": ["baseline"],
        }
        assert list(map(str, routing.baseline_of(Protocol.MESSAGES))) == ["anthropic"]
        assert list(map(str, routing.baseline_of(Protocol.RESPONSES))) == ["openai", "anthropic"]
        assert list(map(str, routing.baseline_of(Protocol.CHAT))) == ["openai", "anthropic"]

    def test_there_are_six_classes_and_the_kinds_are_distinct_from_them(self) -> None:
        assert len(ROUTE_CLASSES) == 6
        assert len(KINDS) == len(set(KINDS)) == 28
        assert not set(KINDS) & set(ROUTE_CLASSES)
        assert set(KINDS) > NEVER_MOVED

    def test_a_dump_is_read_back_as_the_same(self) -> None:
        made = settings(
            routing={"kinds": {"title": ["groq/openai/gpt-oss-120b"]}, "modes": {"title": "live"}},
            prices={"m": {"in": 0.1, "out": 2, "from": date(2026, 1, 1)}},
            keys={"live.open": "o"},
        )

        assert Settings.model_validate(made.model_dump(by_alias=True)) == made


class TestFrozen:
    def test_fields_and_tables_cannot_be_changed(self) -> None:
        made = settings(keys={"a": "b"})

        with pytest.raises(ValidationError):
            made.server.port = 1
        with pytest.raises(TypeError):
            made.providers["x"] = made.providers["groq"]  # type: ignore[index]
        with pytest.raises(TypeError):
            made.keys["a"] = "c"  # type: ignore[index]


class TestEntries:
    @pytest.mark.parametrize(
        ("text", "entry"),
        [
            ("baseline", RouteEntry("baseline")),
            ("groq", RouteEntry("groq")),
            ("groq/openai/gpt-oss-120b", RouteEntry("groq", "openai/gpt-oss-120b")),
            (
                "cloudflare/@cf/zai-org/glm-4.7-flash",
                RouteEntry("cloudflare", "@cf/zai-org/glm-4.7-flash"),
            ),
            ("anthropic/claude-haiku-5-5", RouteEntry("anthropic", "claude-haiku-5-5")),
            ("my-box_2/qwen3:32b", RouteEntry("my-box_2", "qwen3:32b")),
        ],
    )
    def test_an_entry_and_its_text(self, text: str, entry: RouteEntry) -> None:
        assert parse_entry(text) == entry
        assert str(entry) == text
        assert entry.is_baseline == (text == "baseline")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "/m",
            "Groq",
            "groq/",
            "groq//m",
            "groq/a/../b",
            "groq/a?b",
            "groq/a#b",
            "groq/a b",
            "groq/a\n",
            "groq/é",
            "baseline/m",
            "groq/" + "m" * 201,
        ],
    )
    def test_what_is_no_entry(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_entry(text)

    def test_a_provider_that_is_not_there_is_named_with_its_nearest(self) -> None:
        error = fault(routing={"routes": {"planning": ["groq", "cerebra"]}})

        assert error["loc"] == ("routing", "routes", "planning", 1)
        assert error["ctx"]["reason"] == 'there is no provider "cerebra"'
        assert error["ctx"]["hint"] == 'did you mean "cerebras"?'

    @pytest.mark.parametrize(
        "routing",
        [
            {"kinds": {"title": ["nowhere"]}},
            {"baseline": {"chat": ["nowhere"]}},
            {"baseline": {"messages": ["baseline"]}},
            {"routes": {"summary": []}},
            {"routes": {"summary": "groq"}},
            {"routes": {"summary": [1]}},
            {"kinds": {"titel": ["groq"]}},
            {"routes": {"sumary": ["groq"]}},
        ],
    )
    def test_lists_that_are_refused(self, routing: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            settings(routing=routing)

    def test_an_entry_may_name_a_provider_of_the_user(self) -> None:
        made = settings(
            providers={"ollama": {"kind": "openai-chat", "base_url": "http://127.0.0.1:11434/v1"}},
            routing={"routes": {"summary": ["ollama/qwen3:32b"]}},
        )

        assert made.routing.routes.summary == (RouteEntry("ollama", "qwen3:32b"),)

    def test_a_kind_wins_over_its_class(self) -> None:
        routing = settings(routing={"kinds": {"title": ["groq"]}}).routing

        assert routing.entries_of("summary", "title") == (RouteEntry("groq"),)
        assert routing.entries_of("summary", "recap") == routing.routes.summary


class TestModes:
    def test_shadow_overrides_every_mode(self) -> None:
        routing = settings(routing={"modes": {"default": "live", "title": "live"}}).routing

        assert routing.mode_of("summary", "title") == "observe"

    def test_kind_then_class_then_default(self) -> None:
        modes = {"default": "verify", "summary": "canary", "title": "live"}
        routing = settings(routing={"shadow": False, "modes": modes}).routing

        assert routing.mode_of("summary", "title") == "live"
        assert routing.mode_of("summary", "recap") == "canary"
        assert routing.mode_of("planning", "user_turn") == "verify"

    def test_other_programs_are_only_observed_unless_that_is_set(self) -> None:
        still = settings(routing={"shadow": False, "modes": {"summary": "live"}}).routing
        moved = settings(routing={"shadow": False, "modes": {"app": "live"}}).routing

        assert still.mode_of("summary", "app") == "observe"
        assert moved.mode_of("summary", "app") == "live"

    @pytest.mark.parametrize(
        "modes", [{"titel": "live"}, {"title": "on"}, {"canary_percent": 101}, {"default": True}]
    )
    def test_what_is_refused(self, modes: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            settings(routing={"modes": modes})


class TestStrictness:
    @pytest.mark.parametrize(
        "tables",
        [
            {"server": {"port": "8787"}},
            {"server": {"port": True}},
            {"server": {"port": 65536}},
            {"server": {"port": -1}},
            {"server": {"drain_s": "60"}},
            {"server": {"drain_s": True}},
            {"server": {"drain_s": float("nan")}},
            {"server": {"drain_s": float("inf")}},
            {"server": {"keepalive_s": 0}},
            {"server": {"host": ""}},
            {"server": {"host": "a b"}},
            {"server": {"key_env": "not a name"}},
            {"server": {"log_level": "loud"}},
            {"server": {"max_body_mb": 0}},
            {"routing": {"shadow": "false"}},
            {"routing": {"shadow": 0}},
            {"network": {"ca_bundle": "relative/path.pem"}},
            {"network": {"proxy": "socks5://127.0.0.1:1"}},
            {"ledger": {"durability": "strict"}},
            {"keys": {"live.open": 1}},
            {"keys": {"live.open": ""}},
            {"prices": {"m": {"in": 1}}},
            {"prices": {"m": {"in": -1, "out": 1}}},
            {"prices": {"m": {"in": "1", "out": 1}}},
            {"prices": {"m": {"in": True, "out": 1}}},
            {"prices": {"m": {"in": float("inf"), "out": 1}}},
            {"prices": {"m": []}},
            {"prices": {"m m": {"in": 1, "out": 1}}},
            {"providers": {"groq": {"limits": {"tokens_per_day": 0}}}},
            {"providers": {"groq": {"api_key_env": "sk-ant-123"}}},
            {"providers": {"groq": {"model": "a b"}}},
            {"providers": {"groq": 1}},
            {"providers": []},
            {"server": []},
            {"unknown": {}},
        ],
    )
    def test_a_wrong_value_is_refused(self, tables: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Settings.model_validate(tables)

    def test_a_whole_number_is_a_number(self) -> None:
        assert settings(server={"drain_s": 5}).server.drain_s == 5.0


class TestProviders:
    def test_a_key_that_is_left_out_comes_from_the_profile(self) -> None:
        provider = settings(providers={"groq": {"model": "other"}}).provider("groq")

        assert provider.model == "other"
        assert provider.base_url == "https://api.groq.com/openai/v1"
        assert provider.api_key_env == "GROQ_API_KEY"
        assert provider.auth == "bearer"
        assert provider.protocol is Protocol.CHAT

    def test_a_server_of_the_user(self) -> None:
        table = {"kind": "openai-chat", "base_url": "http://127.0.0.1:11434/v1/", "model": "q"}
        provider = settings(providers={"ollama": table}).provider("ollama")

        assert provider.base_url == "http://127.0.0.1:11434/v1"
        assert provider.api_key_env is None
        assert provider.auth == "bearer"
        assert provider.protocols == (Protocol.CHAT,)
        assert not provider.is_builtin
        assert not provider.takes_client_credential

    def test_built_in_providers_come_first(self) -> None:
        table = {"kind": "openai-chat", "base_url": "http://127.0.0.1:1/v1"}
        names = list(settings(providers={"a-box": table}).providers)

        assert names == ["anthropic", "openai", "groq", "cerebras", "cloudflare", "a-box"]

    def test_an_unknown_provider_is_a_key_error(self) -> None:
        with pytest.raises(KeyError):
            Settings().provider("nowhere")

    def test_the_proxy_is_the_networks_unless_it_has_its_own(self) -> None:
        made = settings(
            network={"proxy": "http://10.0.0.1:3128"}, providers={"groq": {"proxy": "none"}}
        )

        assert made.provider("groq").proxy == "none"
        assert made.provider("cerebras").proxy == "http://10.0.0.1:3128"

    def test_a_login_goes_to_the_vendors_own_backend_only(self) -> None:
        own = settings().provider("openai")
        moved = settings(providers={"openai": {"base_url": "https://x.example/v1"}})

        assert own.login_base_url == "https://chatgpt.com/backend-api/codex"
        assert moved.provider("openai").login_base_url is None

    @pytest.mark.parametrize(
        "base_url", ["https://api.openai.com/v1/", "https://eu.api.openai.com/v1"]
    )
    def test_a_login_never_goes_to_the_vendors_api(self, base_url: str) -> None:
        made = settings(providers={"openai": {"base_url": base_url}})

        assert made.provider("openai").login_base_url == "https://chatgpt.com/backend-api/codex"

    def test_the_address_of_logins_can_be_moved_too(self) -> None:
        table = {"login_base_url": "https://proxy.example/codex/"}
        made = settings(providers={"openai": table})

        assert made.provider("openai").login_base_url == "https://proxy.example/codex"

    @pytest.mark.parametrize(
        ("name", "address", "reason"),
        [
            ("anthropic", "https://x.example", "is for openai only"),
            ("openai", "http://x.example", "plain http is only for this machine"),
            ("openai", "http://127.0.0.1:8787/v1", "points at this gateway itself"),
        ],
    )
    def test_an_address_of_logins_that_cannot_be(
        self, name: str, address: str, reason: str
    ) -> None:
        with pytest.raises(ValidationError, match=reason):
            settings(providers={name: {"login_base_url": address}})

    def test_a_vendor_may_be_narrowed_to_one_of_its_protocols(self) -> None:
        made = settings(providers={"openai": {"kind": "openai-chat"}})

        assert made.provider("openai").protocols == (Protocol.CHAT,)

    @pytest.mark.parametrize(
        ("name", "table", "key", "reason"),
        [
            ("box", {"base_url": "https://x.example"}, "kind", "is required"),
            ("box", {"kind": "openai-chat"}, "base_url", "is required"),
            ("groq", {"kind": "anthropic-messages"}, "kind", "Groq speaks"),
            ("groq", {"credentials": "client"}, "credentials", "its own vendor only"),
            ("groq", {"base_url": "http://x.example/v1"}, "base_url", "plain http"),
            ("groq", {"base_url": "https://u:p@x.example"}, "base_url", "user name"),
            ("groq", {"base_url": "https://x.example/{account_id}"}, "base_url", "account_id_env"),
            ("anthropic", {"base_url": "http://127.0.0.1:8787"}, "base_url", "gateway itself"),
            ("anthropic", {"base_url": "http://localhost:8787/x"}, "base_url", "gateway itself"),
        ],
    )
    def test_rules_between_keys(
        self, name: str, table: dict[str, Any], key: str, reason: str
    ) -> None:
        error = fault(providers={name: table})

        assert error["loc"] == ("providers", name, key)
        assert reason in error["ctx"]["reason"]

    def test_every_broken_rule_is_reported_at_once(self) -> None:
        with pytest.raises(ValidationError) as caught:
            settings(
                providers={"box": {}, "groq": {"credentials": "client"}},
                routing={"routes": {"summary": ["nowhere"]}},
            )

        assert {error["loc"] for error in caught.value.errors()} == {
            ("providers", "box", "kind"),
            ("providers", "box", "base_url"),
            ("providers", "groq", "credentials"),
            ("routing", "routes", "summary", 0),
        }

    def test_plain_http_on_another_machine_can_be_allowed(self) -> None:
        table = {"base_url": "http://10.0.0.5:8000/v1", "allow_http": True}

        assert settings(providers={"groq": table}).provider("groq").base_url == table["base_url"]

    def test_a_gateway_on_another_port_is_no_loop(self) -> None:
        table = {"base_url": "http://127.0.0.1:9999"}
        made = settings(providers={"anthropic": table})

        assert made.provider("anthropic").base_url == table["base_url"]

    @pytest.mark.parametrize("name", ["Groq", "a b", "1x", "baseline", "", "a" * 33])
    def test_names_that_are_refused(self, name: str) -> None:
        table = {"kind": "openai-chat", "base_url": "https://x.example/v1"}

        with pytest.raises(ValidationError):
            settings(providers={name: table})


class TestPrices:
    def test_one_table_or_several_dates(self) -> None:
        later = {"from": date(2026, 6, 1), "in": 2, "out": 4}
        made = settings(prices={"m": {"in": 0.1, "out": 0.3}, "n": [later, {"in": 1, "out": 2}]})

        assert made.prices["m"][0].input == Decimal("0.1")
        assert made.prices["m"][0].cache_read is None
        assert [price.since for price in made.prices["n"]] == [None, date(2026, 6, 1)]

    def test_two_tables_of_the_same_day_contradict_each_other(self) -> None:
        error = fault(prices={"m": [{"in": 1, "out": 2}, {"in": 1, "out": 3}]})

        assert "same day" in error["ctx"]["reason"]

    def test_as_the_price_list_takes_them(self) -> None:
        made = settings(prices={"groq/openai/gpt-oss-120b": {"in": 0.1, "out": 0.5}})
        overrides = made.price_overrides()

        assert [(o.provider, o.model) for o in overrides] == [
            ("groq", "openai/gpt-oss-120b"),
            (None, "groq/openai/gpt-oss-120b"),
        ]
        assert overrides[0].input == Decimal("0.1")
        assert overrides[0].output == Decimal("0.5")

    def test_a_model_that_belongs_to_no_provider(self) -> None:
        overrides = settings(prices={"zai/glm": {"in": 1, "out": 2}}).price_overrides()

        assert [(o.provider, o.model) for o in overrides] == [(None, "zai/glm")]


def test_loading_the_models_loads_neither_the_server_nor_the_prices() -> None:
    code = (
        "import sys, server.settings_file, server.settings_show\n"
        "heavy = {'quart', 'hypercorn', 'httpx', 'textual', 'rich', 'genai_prices', 'tomlkit'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
