"""The processes of the fault matrix, shared by its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from fault_world import GATEWAY_KEY, Lane, M, Worlds
from front_client import Wire
from front_lane import recount


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    """The three processes, started when a test first needs them."""
    async with AsyncExitStack() as stack:
        yield Worlds(tmp_path_factory.mktemp("worlds"), stack)


@pytest_asyncio.fixture(loop_scope="session")
async def lane(request: pytest.FixtureRequest, worlds: Worlds) -> Lane:
    """One way through a gateway, as the test's parametrization says.

    Without any: Claude Code's to Anthropic, where everybody is well and nothing is owed.
    """
    chosen = getattr(request, "param", None)
    if chosen is not None:
        lane = await worlds.lane(*chosen)
        lane.is_driven = request.node.get_closest_marker("faults") is not None
        return lane
    found = await worlds.lane("native", M)
    await recount(found)
    await found.world.anew(found.name)
    return found


@pytest.fixture
def wire(lane: Lane) -> Wire:
    """Writes requests for the gateway of ``lane`` by hand."""
    return Wire(lane.world.gateway.port, GATEWAY_KEY)
