"""Who tries the contract for the doctor: the gateway that runs, or one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from live_gateway import LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond

from server.clock import SystemClock
from server.doctor.contract import Fate
from server.doctor.facts import Client, Facts
from server.http import routes
from server.instance import InstanceLock
from server.settings_file import Loaded, load
from tui.doctor_contract import with_contract

FACTS = Facts(clients=(Client("claude", "/bin/claude", has_credential=True),))


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[LiveGateway, Loaded]]:
    """A gateway that other programs of its home can find, and what they read there."""
    async with ScriptedUpstream(respond(500)) as upstream:
        async with live_gateway(home, upstream.base_url) as live:
            loaded = live.gateway.loaded
            loaded.paths.instance_secret_file.write_bytes(b"s" * 32)
            loaded.paths.instance_secret_file.chmod(0o600)
            with InstanceLock(loaded.paths, SystemClock()) as lock:
                lock.publish("127.0.0.1", live.gateway.port)
                yield live, loaded
        assert upstream.requests == []


async def test_the_gateway_that_runs_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as (live, loaded):
        # What only the running one knows: on disk the messages still go to Anthropic.
        await live.gateway.command(
            "change_routing", change={"baseline": {"messages": ["groq"]}}, remember=False
        )
        facts = await with_contract(FACTS, loaded)
        assert (facts.tried_at, facts.replay_problem) == (live.url, "")
        assert await live.gateway.recent(100) == []
    assert facts.outcomes is not None
    search = next(o for o in facts.outcomes if o.feature.id == "web-search")
    assert search.fate is not Fate.PASSED


async def test_without_a_gateway_the_doctor_makes_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    loaded = load(env={"SBGW_HOME": str(home)}, cwd=home)
    facts = await with_contract(FACTS, loaded)
    assert (facts.tried_at, facts.replay_problem) == ("", "")
    assert facts.outcomes is not None
    assert {o.fate for o in facts.outcomes if o.feature.client == "claude"} == {Fate.PASSED}
    assert list(home.iterdir()) == []


async def test_another_key_in_this_shell_is_told(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as (_, loaded):
        home = str(loaded.paths.settings_dir)
        env = {"SBGW_HOME": home, "STACKBILT_GATEWAY_KEY": "another-key-than-its"}
        facts = await with_contract(FACTS, load(env=env, cwd=tmp_path))
    assert facts.replay_problem.startswith("HTTP 401, ")
    assert facts.tried_at == ""
    assert facts.outcomes is not None


@pytest.mark.faults
async def test_a_gateway_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "home") as (_, loaded):
        monkeypatch.delitem(routes._TABLE, b"/doctor/replay")
        facts = await with_contract(FACTS, loaded)
    assert facts.replay_problem == "it is of a version that cannot"
    assert facts.outcomes


@pytest.mark.faults
async def test_one_that_drains_is_left_alone(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as (live, loaded):
        live.gateway.refuse_new()
        facts = await with_contract(replace(FACTS, clients=()), loaded)
    assert (facts.tried_at, facts.replay_problem) == ("", "")
