"""The official SDKs over real sockets, for each client protocol and each provider's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from pair_world import PAIRS, Pair, pair_name, pair_world
from sdk_drivers import Result, Seen
from vendor_replies import CACHED, FRESH, OUTPUT, WRITTEN, Call, Reply

from providers.types import Protocol

HELLO = Reply("Hello, wörld: 你好 \U0001f44b and good bye.")
OSLO = Call("get_weather", {"city": "Oslo"}, "call_a")
PARIS = Call("get_weather", {"city": "Paris", "note": 'a "quote"\n\ttab'}, "call_b")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=PAIRS, ids=pair_name, scope="module", loop_scope="module")
async def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with pair_world(tmp_path_factory.mktemp("pair") / "h", *request.param) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def pair(running: Pair) -> Pair:
    return await running.anew()


async def both(pair: Pair, history: list[dict[str, Any]], **more: Any) -> list[Seen]:
    """The same request whole and streamed; both answers must be the same."""
    asked = await pair.driver.ask(history, **more)
    streamed = await pair.driver.stream(history, **more)
    assert streamed.deltas == streamed.text
    for name in ("text", "calls", "stop", "prompt_tokens", "cached_tokens", "output_tokens"):
        assert getattr(streamed, name) == getattr(asked, name), name
    return [asked, streamed]


async def test_a_plain_answer(pair: Pair) -> None:
    pair.play(HELLO)
    seen, _ = await both(pair, pair.driver.user("say hello"))
    assert (seen.text, seen.calls, seen.stop) == (HELLO.text, [], "end")
    turns = await pair.turns(2)
    assert [turn["status"] for turn in turns] == ["completed"] * 2
    assert {turn["provider"] for turn in turns} == {pair.name}
    assert {turn["payer"] for turn in turns} == {"gateway key"}
    assert "say hello" in str(pair.bodies[0])


async def test_usage_is_the_vendors_with_its_cache(pair: Pair) -> None:
    pair.play(HELLO)
    seen, _ = await both(pair, pair.driver.user("say hello"))
    assert seen.prompt_tokens == FRESH + CACHED + WRITTEN
    assert (seen.cached_tokens, seen.output_tokens) == (CACHED, OUTPUT)
    for turn in await pair.turns(2):
        assert (turn["input_tokens"], turn["cache_read_tokens"]) == (FRESH, CACHED)
        assert (turn["cache_write_5m_tokens"], turn["output_tokens"]) == (WRITTEN, OUTPUT)
        assert turn["usage_source"] == "provider_final"


async def test_a_loop_of_parallel_calls(pair: Pair) -> None:
    def vendor(body: dict[str, Any]) -> Reply:
        text = str(body)
        if "rain in Oslo" in text and "sun in Paris" in text:
            return HELLO
        return Reply("Let me look.", (OSLO, PARIS))

    pair.play(vendor)
    driver = pair.driver
    history = driver.user("What is the weather?")
    tools = driver.tools("get_weather")
    asked, streamed = await both(pair, history, tools=tools)
    for seen in (asked, streamed):
        assert seen.calls == [("get_weather", OSLO.arguments), ("get_weather", PARIS.arguments)]
        assert (seen.stop, seen.text) == ("tool", "Let me look.")
        assert len(set(seen.ids)) == 2
    history += streamed.turn
    history += driver.results(streamed, Result("rain in Oslo"), Result("sun in Paris"))
    final, _ = await both(pair, history, tools=tools)
    assert (final.text, final.stop) == (HELLO.text, "end")
    turns = await pair.turns(4)
    assert [turn["tool_calls"] for turn in turns] == [2, 2, 0, 0]


async def test_ids_come_back_as_the_provider_gave_them(pair: Pair) -> None:
    pair.play(lambda body: HELLO if "rain" in str(body) else Reply(calls=(OSLO,)))
    driver = pair.driver
    history = driver.user("What is the weather?")
    tools = driver.tools("get_weather")
    seen = await driver.stream(history, tools=tools)
    await driver.stream(history + seen.turn + driver.results(seen, Result("rain")), tools=tools)
    own = "toolu_a" if pair.provider is Protocol.MESSAGES else "call_a"
    assert str(pair.bodies[1]).count(f"'{own}'") == 2


async def test_the_longest_answer_ends_at_its_limit(pair: Pair) -> None:
    pair.play(Reply("And so on and", stop="max_tokens"))
    driver = pair.driver
    seen = await driver.ask(driver.user("go on"))
    assert (seen.text, seen.stop) == ("And so on and", "max_tokens")
    if pair.client is Protocol.CHAT:
        with pytest.raises(driver.errors.LengthFinishReasonError):
            await driver.stream(driver.user("go on"))
    else:
        assert (await driver.stream(driver.user("go on"))).stop == "max_tokens"
    turns = await pair.turns(2)
    assert {turn["status"] for turn in turns} == {"completed"}


async def test_a_refusal_stays_one(pair: Pair) -> None:
    pair.play(Reply("I cannot help with that.", stop="refusal"))
    driver = pair.driver
    seen = await driver.ask(driver.user("do harm"))
    assert (seen.text, seen.stop) == ("I cannot help with that.", "refusal")
    if pair.client is Protocol.CHAT:
        with pytest.raises(driver.errors.ContentFilterFinishReasonError):
            await driver.stream(driver.user("do harm"))
    else:
        assert (await driver.stream(driver.user("do harm"))).stop == "refusal"


async def test_a_tool_that_failed_says_so(pair: Pair) -> None:
    pair.play(lambda body: HELLO if "no such city" in str(body) else Reply(calls=(OSLO,)))
    driver = pair.driver
    tools = driver.tools("get_weather")
    history = driver.user("What is the weather?")
    seen = await driver.stream(history, tools=tools)
    result = Result("no such city", is_error=True)
    history += seen.turn + driver.results(seen, result)
    assert (await driver.stream(history, tools=tools)).text == HELLO.text
    if pair.client is Protocol.MESSAGES:
        marked = str(pair.bodies[-1])
        assert ("'is_error': True" in marked) or ("[tool error] no such city" in marked)


@pytest.mark.parametrize(
    "running", [p for p in PAIRS if p[0] is not Protocol.CHAT], indirect=True, ids=pair_name
)
async def test_a_picture_in_a_result_is_carried_or_refused_by_name(pair: Pair) -> None:
    pair.play(lambda body: HELLO if "a photo" in str(body) else Reply(calls=(OSLO,)))
    driver = pair.driver
    tools = driver.tools("get_weather")
    history = driver.user("What is the weather?")
    seen = await driver.stream(history, tools=tools)
    history += seen.turn + driver.results(seen, Result("a photo", image=True))
    if pair.name in ("anthropic", "openai"):
        assert (await driver.stream(history, tools=tools)).text == HELLO.text
        assert "iVBORw0KGgo" in str(pair.bodies[-1])
        return
    with pytest.raises(driver.errors.BadRequestError, match="vision"):
        await driver.stream(history, tools=tools)
    assert len(pair.requests) == 1
    assert (await pair.turns(2))[1]["status"] == "rejected"


async def test_the_sdks_own_tool_runner(tmp_path: Path) -> None:
    @anthropic.beta_async_tool
    async def get_weather(city: str) -> str:
        """Weather of a city."""
        return f"rain in {city}"

    def vendor(body: dict[str, Any]) -> Reply:
        return HELLO if "rain in Oslo" in str(body) else Reply(calls=(OSLO,))

    for provider in Protocol:
        home = tmp_path / provider.value
        async with pair_world(home, Protocol.MESSAGES, provider, vendor) as pair:
            runner = pair.driver.client.beta.messages.tool_runner(
                model=pair.driver.model,
                max_tokens=1000,
                tools=[get_weather],
                messages=pair.driver.user("What is the weather in Oslo?"),
            )
            final = await runner.until_done()
            assert final.content[0].text == HELLO.text
            assert len(pair.requests) == 2
            # Where the vendor does not keep the conversation, the SDK learns it and sends it all.
            assert ("thread" in pair.bodies[1]) == (provider is Protocol.MESSAGES)
