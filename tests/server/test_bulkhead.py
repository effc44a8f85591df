"""Places, queues and bytes: who is let in, who waits, who is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_clock import FakeClock

from providers.types import Headers
from server import bulkhead
from server.bulkhead import Bulkhead, background_limit, counted
from server.config import ServerSettings
from server.http.errors import HttpError
from server.tasks import spawn

LENGTH = (b"Content-Length", b"5")


class World:
    """A bulkhead and those who hold its places."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.settings = ServerSettings(**settings)
        self.bulkhead = Bulkhead(lambda: self.settings, self.clock)
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def come(self, name: str, *, is_background: bool = False, at: str = "") -> None:
        """Ask for a place and keep it until ``end``."""
        ended = self.ends[name] = asyncio.Event()
        scope = (
            self.bulkhead.place_at(at, 2, is_background=is_background)
            if at
            else self.bulkhead.place(is_background=is_background)
        )

        async def hold() -> None:
            async with scope:
                self.order.append(name)
                await ended.wait()

        self.tasks[name] = asyncio.ensure_future(hold())
        await self.settle()

    async def end(self, *names: str) -> None:
        """Give places back."""
        for name in names:
            self.ends[name].set()
        await self.settle()

    async def refused(self, name: str) -> HttpError:
        """The refusal that ``name`` has got."""
        assert self.tasks[name].done(), f"{name} was not refused"
        with pytest.raises(HttpError) as caught:
            await self.tasks[name]
        return caught.value

    async def close(self) -> None:
        for event in self.ends.values():
            event.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert self.bulkhead.as_json()["in_flight"] == 0
        assert self.bulkhead.as_json()["waiting"] == 0

    @staticmethod
    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_who_finds_no_place_waits_and_goes_on_in_turn() -> None:
    world = World(max_in_flight=2)
    for name in "abcd":
        await world.come(name)
    assert world.order == ["a", "b"]
    assert (world.bulkhead.as_json()["in_flight"], world.bulkhead.as_json()["waiting"]) == (2, 2)
    await world.end("b")
    assert world.order == ["a", "b", "c"]
    await world.end("a", "c")
    assert world.order == ["a", "b", "c", "d"]
    await world.close()


async def test_who_waits_too_long_is_refused() -> None:
    world = World(max_in_flight=1, max_wait_s=2.0)
    await world.come("a")
    await world.come("b")
    await world.clock.advance(1.9)
    assert not world.tasks["b"].done()
    await world.clock.advance(0.2)
    error = await world.refused("b")
    assert (error.status, error.error_type) == (503, "api_error")
    assert "1 requests are under way" in error.message
    headers = dict(error.headers)
    assert headers[b"x-should-retry"] == b"true"
    assert 1 <= int(headers[b"retry-after"]) <= 5
    await world.close()


async def test_a_full_queue_refuses_at_once() -> None:
    world = World(max_in_flight=1, max_waiting=1)
    for name in "abc":
        await world.come(name)
    await world.refused("c")
    assert world.bulkhead.as_json()["shed"] == {"foreground": 1, "background": 0, "memory": 0}
    await world.close()
    no_queue = World(max_in_flight=1, max_wait_s=0.0)
    await no_queue.come("a")
    await no_queue.come("b")
    await no_queue.refused("b")
    await no_queue.close()


async def test_background_leaves_places_free() -> None:
    world = World(max_in_flight=5, max_waiting=8)
    for number in range(6):
        await world.come(f"bg{number}", is_background=True)
    assert world.order == ["bg0", "bg1", "bg2", "bg3"]
    await world.come("user")
    assert world.order[-1] == "user"
    await world.close()


async def test_the_user_goes_before_background() -> None:
    world = World(max_in_flight=2, max_waiting=8)
    await world.come("a")
    await world.come("b")
    await world.come("bg", is_background=True)
    await world.come("c")
    await world.end("a")
    assert world.order == ["a", "b", "c"]
    await world.end("b", "c")
    assert world.order == ["a", "b", "c", "bg"]
    await world.close()


async def test_a_waiting_background_call_makes_room_for_the_user() -> None:
    world = World(max_in_flight=1, max_waiting=2)
    await world.come("a")
    await world.come("bg1", is_background=True)
    await world.come("bg2", is_background=True)
    await world.come("bg3", is_background=True)
    await world.refused("bg3")
    await world.come("b")
    await world.refused("bg2")
    await world.end("a")
    assert world.order == ["a", "b"]
    assert world.bulkhead.as_json()["shed"] == {"foreground": 0, "background": 2, "memory": 0}
    await world.close()


async def test_a_client_that_leaves_the_queue_leaves_nothing_behind() -> None:
    world = World(max_in_flight=1)
    await world.come("a")
    await world.come("b")
    await world.come("c")
    world.tasks["b"].cancel()
    await world.settle()
    assert world.bulkhead.as_json()["waiting"] == 1
    # Given a place and cancelled in the same moment.
    world.ends["a"].set()
    await asyncio.sleep(0)
    world.tasks["c"].cancel()
    await world.settle()
    await world.come("d")
    assert world.order[-1] == "d"
    await world.close()


async def test_each_provider_has_places_of_its_own() -> None:
    world = World()
    for name in "abc":
        await world.come(name, at="groq")
    assert world.order == ["a", "b"]
    assert world.bulkhead.at_json("groq") == {"in_flight": 2, "waiting": 1}
    assert not world.bulkhead.has_room_at("groq", 2)
    assert world.bulkhead.has_room_at("groq", 4) is False
    assert world.bulkhead.has_room_at("cerebras", 1)
    await world.come("d", at="cerebras")
    assert world.order == ["a", "b", "d"]
    await world.close()
    assert world.bulkhead.has_room_at("groq", 2)


async def test_without_a_limit_a_provider_takes_all() -> None:
    world = World()
    async with (
        world.bulkhead.place_at("anthropic", None, is_background=False),
        world.bulkhead.place_at("anthropic", None, is_background=True),
    ):
        assert world.bulkhead.at_json("anthropic")["in_flight"] == 2
    assert world.bulkhead.at_json("anthropic")["in_flight"] == 0


def test_few_files_are_fewer_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "_file_limit", lambda: 256)
    assert World().bulkhead.limit == (256 - bulkhead.FILES_KEPT) // 2
    monkeypatch.setattr(bulkhead, "_file_limit", lambda: 8)
    assert World().bulkhead.limit == 1
    monkeypatch.setattr(bulkhead, "_file_limit", lambda: 1_000_000)
    assert World(max_in_flight=7).bulkhead.limit == 7


@pytest.mark.parametrize(("limit", "places"), [(1, 1), (2, 1), (5, 4), (1000, 800)])
def test_a_share_is_kept_from_background(limit: int, places: int) -> None:
    assert background_limit(limit) == places


class TestMemory:
    def test_one_body_alone_always_fits(self) -> None:
        world = World(max_buffered_mb=1)
        with world.bulkhead.holding() as held:
            held.more(30 * 2**20)
            assert world.bulkhead.as_json()["buffered_bytes"] == 30 * 2**20
        assert world.bulkhead.as_json()["buffered_bytes"] == 0
        assert world.bulkhead.as_json()["most_buffered_bytes"] == 30 * 2**20

    def test_more_than_the_limit_is_refused(self) -> None:
        world = World(max_buffered_mb=1)
        with world.bulkhead.holding() as first, world.bulkhead.holding() as second:
            first.more(2**19)
            second.more(2**19)
            with pytest.raises(HttpError, match="MiB of requests"):
                second.more(1)
            assert world.bulkhead.as_json()["shed"]["memory"] == 1
        assert world.bulkhead.as_json()["buffered_bytes"] == 0

    @pytest.mark.parametrize(("fields", "sizes"), [([LENGTH], [5, 5]), ([], [3, 5])])
    async def test_a_declared_length_counts_before_its_bytes(
        self, fields: Headers, sizes: list[int]
    ) -> None:
        world = World()
        chunks = [{"body": b"abc", "more_body": True}, {"body": b"de"}]
        before: list[int] = []

        async def receive() -> Any:
            before.append(held.size)
            return chunks.pop(0)

        with world.bulkhead.holding() as held:
            ask = counted(fields, receive, held)
            await ask()
            assert held.size == sizes[0]
            await ask()
            assert held.size == sizes[1]
        assert before[0] == (5 if fields else 0)


async def test_the_log_says_so_but_not_each_time(caplog: pytest.LogCaptureFixture) -> None:
    world = World(max_in_flight=1, max_waiting=0)
    await world.come("a")
    for number in range(5):
        await world.come(f"x{number}")
    assert len([r for r in caplog.records if "are refused" in r.message]) == 1
    await world.clock.advance(11)
    await world.come("y")
    assert "6 so far" in caplog.records[-1].getMessage()
    await world.close()


async def test_no_task_is_left() -> None:
    world = World(max_in_flight=1)
    await world.come("a")
    await world.come("b")
    await world.close()
    await spawn("last", asyncio.sleep(0))
    assert [t for t in asyncio.all_tasks() if t.get_name() == "place"] == []
