"""The contract through the gateway that runs: who may ask, and that nothing of it remains."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live_gateway import KEY, Answer, LiveGateway, live_gateway
from scripted_upstream import ScriptedUpstream, respond

from server.doctor.contract import Fate, Outcome, features
from server.doctor.replay import Door, Replays, outcomes_of
from server.engine import Subscription
from server.http.errors import HttpError
from server.instance import new_nonce, permit, proof

SECRET, INSTANCE = b"s" * 32, "test"
RELAYED = [feature for feature in features() if feature.status is None]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(respond(500)) as upstream:
        yield upstream


@pytest.fixture
async def gateway(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[LiveGateway]:
    more = f'[providers.groq]\nbase_url = "{upstream.base_url}"\n'
    env = {"OPENAI_API_KEY": "sk-o", "GROQ_API_KEY": "gsk-g"}
    async with live_gateway(tmp_path / "home", upstream.base_url, env=env, settings=more) as live:
        yield live


def body(port: int, **changes: Any) -> dict[str, Any]:
    """What the owner of the gateway on ``port`` sends."""
    nonce = changes.get("nonce") or new_nonce()
    shown = changes.get("permit") or permit(SECRET, nonce, port, INSTANCE)
    return {"nonce": nonce, "permit": shown} | changes


async def replayed(gateway: LiveGateway, **changes: Any) -> Answer:
    return await gateway.ask(target="/doctor/replay", body=body(gateway.gateway.port, **changes))


def fates(answer: Answer) -> dict[str, tuple[Fate, str, str]]:
    assert answer.status == 200, answer.body
    found: list[Outcome] = outcomes_of(answer.body, features())
    return {o.feature.id: (o.fate, o.detail, o.provider) for o in found}


async def test_every_feature_passes_the_running_gateway(gateway: LiveGateway) -> None:
    vendors = {"claude": "anthropic", "codex": "openai"}
    assert fates(await replayed(gateway)) == {
        f.id: (Fate.PASSED, "", vendors[f.client] if f.status is None else "") for f in features()
    }


async def test_the_requests_come_in_on_its_own_port(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = []
    door = Door.__call__

    async def watched(self: Door, scope: Any, receive: Any, send: Any) -> None:
        passed.append((scope["server"][1], scope["raw_path"].decode()))
        await door(self, scope, receive, send)

    monkeypatch.setattr(Door, "__call__", watched)
    await replayed(gateway)
    ports, paths = zip(*passed, strict=True)
    relayed = [path[len("/doctor/replay/") + 32 :] for path in paths if path.count("/") > 2]
    assert relayed == [f.path.partition("?")[0] for f in RELAYED]
    assert ports[:2] == (gateway.gateway.port,) * 2


async def test_nothing_of_it_remains(
    gateway: LiveGateway,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    events: Subscription = gateway.gateway.subscribe()
    before = await _state_of(gateway)
    assert set(fates(await replayed(gateway)).values())
    assert await _state_of(gateway) == before
    assert before["turns"] == []
    assert before["metrics"]["rejected"] == 0
    told = [event["type"] for event in events.drain()]
    assert set(told) <= {"gateway.changed"}
    events.close()
    assert upstream.requests == []
    assert list(scratch.iterdir()) == []


async def _state_of(gateway: LiveGateway) -> dict[str, Any]:
    metrics = (await gateway.get("/metrics")).json
    snapshot = (await gateway.get("/snapshot")).json
    await asyncio.to_thread(gateway.gateway.services.ledger.flush, 5.0)
    return {
        "metrics": {k: v for k, v in metrics.items() if k != "uptimeSeconds"},
        "counters": snapshot["counters"],
        "turns": await gateway.gateway.recent(5000),
        "providers": snapshot["providers"],
        "log": snapshot["log"],
        "files": sorted(p.name for p in gateway.gateway.loaded.paths.state_dir.iterdir()),
    }


async def test_the_settings_in_force_are_tried(gateway: LiveGateway) -> None:
    done = await gateway.gateway.command(
        "change_routing", change={"baseline": {"messages": ["groq"]}}, remember=False
    )
    assert done.ok, done.message
    found = fates(await replayed(gateway))
    assert found["web-search"][0] is Fate.REFUSED
    assert found["effort"] == (Fate.TRANSLATED, "it is translated for groq", "groq")
    assert found["apply-patch"][0] is Fate.PASSED


async def test_a_client_without_a_credential_is_refused_where_no_key_is(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    env = {"ANTHROPIC_API_KEY": ""}
    async with live_gateway(tmp_path / "home", upstream.base_url, env=env) as gateway:
        refused = fates(await replayed(gateway))["web-search"]
        served = fates(await replayed(gateway, with_credential=["claude"]))["web-search"]
    assert (refused[0], served[0]) == (Fate.REFUSED, Fate.PASSED)


# ------------------------------------------------------------------------- strangers


async def test_the_gateway_key_alone_is_not_enough(gateway: LiveGateway) -> None:
    port, nonce = gateway.gateway.port, new_nonce()
    shown = (await gateway.get(f"/health?nonce={nonce}")).json["proof"]
    attempts = [
        {"permit": ""},
        {"permit": "0" * 64},
        {"nonce": nonce, "permit": shown},
        {"nonce": nonce, "permit": proof(SECRET, nonce, port)},
        {"nonce": nonce, "permit": permit(SECRET, nonce, port + 1, INSTANCE)},
        {"nonce": nonce, "permit": permit(SECRET, nonce, port, "another")},
        {"nonce": nonce, "permit": permit(b"t" * 32, nonce, port, INSTANCE)},
        {"nonce": "short", "permit": "0" * 64},
    ]
    for attempt in attempts:
        refused = await replayed(gateway, **attempt)
        assert (refused.status, refused.json["error"]["type"]) == (403, "permission_error")


async def test_a_permit_is_good_once(gateway: LiveGateway) -> None:
    nonce = new_nonce()
    first, second = [await replayed(gateway, nonce=nonce) for _ in range(2)]
    assert (first.status, second.status) == (200, 403)


async def test_without_the_key_nobody_gets_as_far(gateway: LiveGateway) -> None:
    for key in (None, "wrong"):
        asked = await gateway.ask(target="/doctor/replay", body=body(gateway.gateway.port), key=key)
        assert asked.status == 401


async def test_a_body_that_is_not_right(gateway: LiveGateway) -> None:
    for wrong in ({"nonce": 1}, {"url": "http://127.0.0.1:9"}, {"permit": None}):
        asked = body(gateway.gateway.port) | wrong
        assert (await gateway.ask(target="/doctor/replay", body=asked)).status == 400


async def test_another_machine_is_refused(gateway: LiveGateway) -> None:
    replays = Replays(gateway.gateway, SECRET, Door(_nowhere), _never)
    data = json.dumps(body(gateway.gateway.port)).encode()
    with pytest.raises(HttpError, match="programs on this machine") as caught:
        await replays.run(data, "192.0.2.7", "192.0.2.1")
    assert caught.value.status == 403


async def test_one_run_at_a_time_and_no_way_in_for_others(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run: a second one, and somebody who guesses the ticket."""
    met: list[int] = []
    door = Door.__call__

    async def watched(self: Door, scope: Any, receive: Any, send: Any) -> None:
        if not met and scope["raw_path"].endswith(b"/v1/messages"):
            met.append(0)
            met.append((await replayed(gateway)).status)
            guess = "/doctor/replay/" + "0" * 32 + "/v1/messages"
            met.append((await gateway.ask(target=guess)).status)
            ticket = scope["raw_path"].decode()
            met.append((await gateway.ask(target=ticket, key="wrong")).status)
        await door(self, scope, receive, send)

    monkeypatch.setattr(Door, "__call__", watched)
    assert (await replayed(gateway)).status == 200
    assert met == [0, 409, 404, 401]
    closed = await gateway.ask(target="/doctor/replay/" + "0" * 32 + "/v1/messages", key=KEY)
    assert closed.status == 404


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing goes this way")


def _never(loaded: Any) -> Any:
    raise AssertionError("no twin may be made")
