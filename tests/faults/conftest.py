"""The processes of the fault matrix, shared by its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from fault_world import Lane, Worlds


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    """The three processes, started when a test first needs them."""
    async with AsyncExitStack() as stack:
        yield Worlds(tmp_path_factory.mktemp("worlds"), stack)


@pytest_asyncio.fixture(loop_scope="session")
async def lane(request: pytest.FixtureRequest, worlds: Worlds) -> Lane:
    """One way through a gateway, as the test's parametrization says."""
    return await worlds.lane(*request.param)
