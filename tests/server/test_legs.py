"""What is sent to each target of a plan: byte for byte, or written anew."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fake_clock import FakeClock
from turn_factory import opened

from providers.profiles import ProviderSettings
from providers.traits import Traits, traits_of
from providers.transport import Origin, Transport
from providers.types import Headers, Payer
from providers.upstream import Upstream
from server.config import Settings
from server.credentials import Credential
from server.exchange import Exchange, Inbound, Sink
from server.legs import Leg, Legs, Unserved
from server.policy import Target
from server.timers import TimerLimits, Watch

BODY: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hi"}],
}
KEY = Credential(Payer.GATEWAY_KEY, [(b"authorization", b"Bearer gsk")])


async def _unsent(message: Any) -> None:
    raise AssertionError("nothing is sent while a leg is made")


def exchange(body: bytes, *, path: bytes = b"/v1/messages", headers: Headers | None = None) -> Any:
    fields = headers or [(b"Content-Type", b"application/json"), (b"anthropic-beta", b"x")]
    turn = opened(model_asked="claude-opus-5-5", stream=False, features={})
    turn.estimates = {"turn": 5}
    inbound = Inbound("POST", path, b"beta=true", fields)
    found = Exchange(turn, inbound, Sink(_unsent, FakeClock()), Watch(TimerLimits(), 1e9))
    found.body = body
    return found


def upstream(provider: ProviderSettings) -> Upstream:
    origin, base = Origin.parse(provider.base_url)
    return Upstream(
        name=provider.name,
        protocol=provider.protocols[0],
        base_url=provider.base_url,
        origin=origin,
        base_path=base,
        transport=Transport(),
        credentials="key",
        api_key_env=None,
        own_credential=KEY.headers,
    )


async def leg_to(
    name: str,
    body: dict[str, Any] | bytes = BODY,
    *,
    model: str | None = None,
    plain: bytes | None = None,
    traits: Callable[[str, str], Traits] = traits_of,
    **more: Any,
) -> Leg:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    provider = Settings().provider(name)
    readable = data if plain is None else plain
    made = Legs(exchange(data, **more), readable, new_id=lambda: "id1", traits=traits)
    return await made.make(Target(name, model), upstream(provider), provider, KEY)


class TestNative:
    async def test_every_byte_stays(self) -> None:
        odd = b' {"model":"claude-opus-5-5","x":1e400,"messages":[]}\n'
        leg = await leg_to("anthropic", odd)
        assert (leg.body, leg.path, leg.query) == (odd, b"/v1/messages", b"beta=true")
        assert (leg.translation, leg.model) == (None, "claude-opus-5-5")
        assert (b"anthropic-beta", b"x") in leg.headers

    async def test_another_model_changes_nothing_else(self) -> None:
        odd = b' {"model" : "claude-opus-5-5","x":1e400,"messages":[{"model":"no"}]}\n'
        leg = await leg_to("anthropic", odd, model="claude-haiku-5-5")
        assert leg.body == odd.replace(b"claude-opus-5-5", b"claude-haiku-5-5")
        assert leg.model == "claude-haiku-5-5"

    async def test_another_model_in_a_compressed_body_is_sent_plain(self) -> None:
        plain = json.dumps(BODY).encode()
        fields = [(b"Content-Encoding", b"gzip"), (b"x", b"kept")]
        leg = await leg_to(
            "anthropic", gzip.compress(plain), plain=plain, model="small", headers=fields
        )
        assert json.loads(leg.body)["model"] == "small"
        assert [name for name, _ in leg.headers] == [b"x", b"authorization"]


class TestTranslated:
    async def test_the_body_and_the_fields_are_the_providers(self) -> None:
        leg = await leg_to("groq", BODY | {"system": "be brief"}, model="openai/gpt-oss-120b")
        sent = json.loads(leg.body)
        assert leg.path == b"/chat/completions"
        assert leg.query == b""
        assert [m["role"] for m in sent["messages"]] == ["system", "user"]
        assert (sent["model"], sent["max_completion_tokens"]) == ("openai/gpt-oss-120b", 50)
        names = [name for name, _ in leg.headers]
        # Nothing of the client's own fields goes to another vendor.
        assert names == [
            b"content-type",
            b"accept",
            b"accept-encoding",
            b"user-agent",
            b"authorization",
        ]
        assert leg.translation is not None
        assert leg.translation.front.input_estimate == 5

    async def test_a_stream_is_asked_for_as_one(self) -> None:
        leg = await leg_to("groq", BODY | {"stream": True}, model="m")
        assert dict(leg.headers)[b"accept"] == b"text/event-stream"
        assert json.loads(leg.body)["stream_options"] == {"include_usage": True}

    async def test_a_large_body_is_written_off_the_loop(self) -> None:
        threads: list[str] = []

        def noting(provider: str, model: str) -> Traits:
            threads.append(threading.current_thread().name)
            return traits_of(provider, model)

        large = BODY | {"messages": [{"role": "user", "content": "x" * 300_000}]}
        await leg_to("openai", large, model="m", traits=noting)
        await leg_to("openai", BODY, model="m", traits=noting)
        assert threads[0] != threading.main_thread().name
        assert threads[1] == threading.main_thread().name

    async def test_the_body_is_parsed_once_for_all_targets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = json.dumps(BODY).encode()
        made = Legs(exchange(data), data)
        parsed: list[int] = []
        plain = msgspec.json.decode

        def counting(body: bytes) -> Any:
            parsed.append(len(body))
            return plain(body)

        monkeypatch.setattr("server.legs.msgspec.json.decode", counting)
        for name in ("groq", "cerebras"):
            provider = Settings().provider(name)
            await made.make(Target(name, "m"), upstream(provider), provider, KEY)
        assert parsed == [len(data)]


class TestUnserved:
    @pytest.mark.parametrize(
        ("more", "pin", "code"),
        [
            ({"mcp_servers": []}, "native_field", None),
            ({"thread": {"type": "create"}}, "native_field", "thread_unsupported_request"),
            (
                {"thread": {"type": "continue", "previous_message_id": "msg_1"}},
                "native_field",
                "thread_not_found",
            ),
            ({"brand_new": 1}, "unknown_field", None),
            ({"stop_sequences": list("abcde")}, "stop", None),
            ({"max_tokens": 0}, "prewarm", None),
        ],
    )
    async def test_what_cannot_be_carried_is_named(
        self, more: dict[str, Any], pin: str, code: str | None
    ) -> None:
        with pytest.raises(Unserved, match="Groq cannot serve it") as caught:
            await leg_to("groq", BODY | more, model="m")
        assert (caught.value.pin, caught.value.code) == (pin, code)

    async def test_counting_tokens_is_for_the_vendor(self) -> None:
        with pytest.raises(Unserved, match="does not count tokens"):
            await leg_to("groq", BODY, model="m", path=b"/v1/messages/count_tokens")

    async def test_a_provider_needs_a_model(self) -> None:
        with pytest.raises(Unserved, match="no model is named"):
            await leg_to("openai", BODY)
