"""Comparisons through the whole gateway: only with consent, only afterwards, within their bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_bodies import main_turn, user
from failover_world import AGENT, World, failover_world, title
from fake_clock import FakeClock
from live_gateway import Answer, live_gateway
from scripted_upstream import Script, ScriptedUpstream, pause, respond, sse, steps
from vendor_replies import Call, Reply, answering, stream, whole

from providers.types import Protocol

REAL = Reply("Fix the parser")
GOOD = Reply("Parser fix")
CANARY = "zebra-7361-quince"
"""Turns up in no table, file or log line."""

LIST = '[routing.kinds]\ntitle = ["groq"]\n'
SHADOW = f"[routing]\nshadow = true\n{LIST}"
LIVE = f"[routing]\nshadow = false\n{LIST}"
CONSENT = "[verification]\nconsent = true\n"


def home(reply: Reply = REAL) -> Script:
    return sse([stream(Protocol.MESSAGES, reply, size=999)])


def moved(reply: Reply = GOOD) -> Script:
    return sse([stream(Protocol.CHAT, reply, size=999)])


def cheap(reply: Reply = GOOD) -> Script:
    return answering(Protocol.CHAT, reply, streamed=False)


async def until(world: World, holds: Callable[[], Any]) -> None:
    """Until ``holds``; the test's own time limit ends a wait in vain."""
    while not holds():
        await asyncio.sleep(0.002)
    await asyncio.to_thread(world.gateway.gateway.services.ledger.flush, 5.0)


async def quiet(world: World) -> None:
    """Until nothing is left to do in the background."""
    verifier = world.gateway.gateway.verifier
    await until(world, lambda: not verifier.as_json()["waiting"])


def entries(world: World) -> list[dict[str, Any]]:
    return world.gateway.gateway.ladder.as_json()


def skipped(world: World) -> dict[str, int]:
    return dict(world.gateway.gateway.verifier.as_json()["skipped"])


async def ladder(world: World) -> Any:
    return (await world.gateway.get("/verification")).json


async def put(world: World, path: str, **body: Any) -> Answer:
    return await world.gateway.ask("PUT", path, body=body)


def files_with(folder: Path, text: str) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite3" or "ledger" in path.name for path in found)
    return [path for path in found if text.encode() in path.read_bytes()]


# ---------------------------------------------------------------------- who is asked, and when


async def test_without_consent_nobody_else_is_asked(tmp_path: Path) -> None:
    settings = SHADOW + "[verification]\nsample_percent = 100\n"
    async with failover_world(tmp_path, settings) as world:
        world.play(anthropic=home())
        for _ in range(5):
            assert (await world.ask()).status == 200
        await quiet(world)
        assert world.seen("groq") == 0
        assert entries(world) == []


async def test_the_candidate_is_asked_after_the_last_byte_of_the_real_answer(
    tmp_path: Path,
) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        events = stream(Protocol.MESSAGES, REAL)
        cut = events.rindex(b"event: message_stop")
        held = asyncio.Event()
        end = b"%x\r\n%s\r\n0\r\n\r\n" % (len(events) - cut, events[cut:])

        async def rest(peer: Any) -> None:
            await held.wait()
            await peer.send(end)

        world.play(anthropic=steps(sse([events[:cut]], end=False), rest), groq=cheap())
        response = await world.gateway.open(body=title(), headers=AGENT)
        got = b""
        while b"message_delta" not in got:
            got += await response.read()
        await asyncio.sleep(0.02)
        assert world.seen("groq") == 0

        held.set()
        while data := await response.read():
            got += data
        await response.aclose()
        assert got == events, "the answer is the vendor's, byte for byte"
        await until(world, lambda: entries(world))
        assert world.seen("groq") == 1
        (entry,) = entries(world)
        assert (entry["samples"], entry["passed"], entry["rung"]) == (1, 1, "verify")


async def test_a_slow_or_broken_candidate_is_never_noticed_by_the_client(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        never = asyncio.Event()
        world.play(anthropic=home(), groq=pause(never))
        for _ in range(4):
            answer = await world.ask()
            assert answer.status == 200
            assert answer.body == stream(Protocol.MESSAGES, REAL, size=999)
        turns = await world.turns(4)
        assert {turn["provider"] for turn in turns} == {"anthropic"}
        never.set()


async def test_it_asks_in_shadow_with_our_own_key_masked_text_and_the_tools(
    tmp_path: Path,
) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        world.play(anthropic=home(), groq=cheap())
        body = title()
        body["messages"][0]["content"] = "<session>\nuse sk-ant-api03-secretsecret\n</session>"
        login = [(b"x-sbgw-key", b"local-dev-key"), (b"authorization", b"Bearer sk-ant-oat01-me")]
        answer = await world.gateway.ask(headers=[*AGENT, *login], body=body, key=None)
        assert answer.status == 200
        await until(world, lambda: entries(world))
        (sent,) = world.upstreams["groq"].requests
        assert sent.header(b"authorization") == b"Bearer gsk_groq"
        assert b"secretsecret" not in sent.body
        assert b"sk-ant-oat01" not in sent.head + sent.body
        assert json.loads(sent.body).get("stream") in (None, False)
        assert (await world.turn())["payer"] == "login"


async def test_a_mode_of_observe_keeps_its_text_at_home(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        world.play(anthropic=home(), groq=cheap())
        asked = 0
        for mode in ("observe", "verify", "canary", "live", "observe"):
            assert (await world.gateway.gateway.command("set_mode", name="title", mode=mode)).ok
            assert (await world.ask()).status == 200
            await quiet(world)
            asked += mode != "observe"
            assert world.seen("groq") == asked


async def test_what_stays_at_home_in_any_case_is_not_compared(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        world.play(anthropic=home(), groq=cheap())
        step = title(
            messages=[
                {"role": "user", "content": "go"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "toolu_1", "name": "x", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}],
                },
            ]
        )
        program = [(b"User-Agent", b"curl/8")]
        assert (await world.ask(step)).status == 200
        assert (await world.ask(headers=program)).status == 200
        await quiet(world)
        assert world.seen("groq") == 0


# ---------------------------------------------------------------------- what it says


async def test_an_answer_that_would_not_have_done_counts_against_it(tmp_path: Path) -> None:
    call = Reply(calls=(Call("Bash", {"command": "ls"}),))
    page = ((b"Content-Type", b"text/html"),)
    poor = [
        (cheap(Reply("I'm sorry, but I can't name that.")), "no_refusal"),
        (cheap(Reply("Fix<|end|>")), "no_markup"),
        (cheap(Reply("A title\nand a second line")), "title"),
        (cheap(call), "answer_kind"),
        (cheap(Reply("Fix", stop="max_tokens")), "transport"),
        (respond(200, page, b"<html>"), "transport"),
    ]
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        hard = 0
        for number, (script, failed) in enumerate(poor, 1):
            before = entries(world)[0]["failed"] if number > 1 else {}
            world.play(anthropic=home(), groq=script)
            assert (await world.ask()).status == 200
            await quiet(world)
            (entry,) = entries(world)
            assert (entry["samples"], entry["passed"]) == (number, 0)
            assert entry["failed"][failed] == before.get(failed, 0) + 1
            hard += failed == "transport"
            assert entry["hard_failures"] == hard


async def test_trouble_with_a_provider_says_nothing_about_its_model(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        body = json.dumps({"error": {"message": "no", "type": "x"}}).encode()
        for number, status in enumerate((401, 402, 403, 404, 429, 500, 503), 1):
            world.play(anthropic=home(), groq=respond(status, body=body))
            assert (await world.ask()).status == 200
            await quiet(world)
            assert skipped(world) == {"it takes nothing now": number}
        assert entries(world) == []


async def test_scores_are_kept_over_a_restart_and_texts_nowhere(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        world.play(anthropic=home(Reply(f"Real {CANARY}")), groq=cheap(Reply(f"Cheap {CANARY}")))
        body = title()
        body["messages"][0]["content"] = f"<session>\n{CANARY}\n</session>"
        assert CANARY.encode() in (await world.ask(body)).body
        await until(world, lambda: entries(world))
        before = entries(world)
        spent = world.gateway.gateway.verifier.budget.spent_usd
        assert spent > 0
        said = json.dumps(await world.gateway.gateway.snapshot())
        assert CANARY not in said
    assert not files_with(tmp_path, CANARY)
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        assert entries(world) == before
        assert world.gateway.gateway.verifier.budget.spent_usd == pytest.approx(spent)


# ---------------------------------------------------------------------- its bounds


async def test_the_days_budget_stops_it(tmp_path: Path) -> None:
    settings = SHADOW + CONSENT + "daily_budget_usd = 0.0\n"
    async with failover_world(tmp_path, settings) as world:
        world.play(anthropic=home(), groq=cheap())
        assert (await world.ask()).status == 200
        await until(world, lambda: skipped(world))
        assert world.seen("groq") == 0
        assert skipped(world) == {"the day's budget is spent": 1}


@pytest.mark.parametrize(("share", "asked"), [(19, 0), (50, 2)], ids=["too little", "two"])
async def test_only_its_share_of_a_plan_is_used(tmp_path: Path, share: int, asked: int) -> None:
    plan = "[providers.groq.limits]\nrequests_per_minute = 5\n"
    settings = f"{SHADOW}{CONSENT}quota_share = {share}\n{plan}"
    async with failover_world(tmp_path, settings, clock=FakeClock()) as world:
        world.play(anthropic=home(), groq=cheap())
        for _ in range(4):
            assert (await world.ask()).status == 200
            await quiet(world)
        assert world.seen("groq") == asked
        assert skipped(world) == {"its share of the quota is used up": 4 - asked}


async def test_windows_that_real_traffic_uses_are_left_to_it(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        told = (
            (b"Content-Type", b"application/json"),
            (b"x-ratelimit-limit-requests", b"100"),
            (b"x-ratelimit-remaining-requests", b"79"),
            (b"x-ratelimit-reset-requests", b"60s"),
        )
        world.play(anthropic=home(), groq=respond(200, told, whole(Protocol.CHAT, GOOD)))
        for _ in range(3):
            assert (await world.ask()).status == 200
            await quiet(world)
        assert world.seen("groq") == 1


async def test_a_paused_provider_is_not_asked(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW + CONSENT) as world:
        world.play(anthropic=home(), groq=cheap())
        await world.gateway.gateway.command("pause", provider="groq", source="test")
        assert (await world.ask()).status == 200
        await quiet(world)
        assert world.seen("groq") == 0


async def test_consent_can_be_taken_back_over_http_at_once(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW) as world:
        world.play(anthropic=home(), groq=cheap())
        given = await put(world, "/verification", consent=True)
        assert given.json["consent"] is True
        assert given.json["persisted"] is True
        assert "groq" in given.json["targets"]
        assert (await world.ask()).status == 200
        await until(world, lambda: entries(world))
        taken = await put(world, "/verification", consent=False, remember=False)
        assert taken.json["persisted"] is True, "taking it back is always kept"
        assert (await world.ask()).status == 200
        await quiet(world)
        assert world.seen("groq") == 1
        assert "consent = false" in (tmp_path / "config.toml").read_text()


# ---------------------------------------------------------------------- the ladder


async def test_going_live_without_a_key_says_that_nothing_moves(tmp_path: Path) -> None:
    async with live_gateway(tmp_path, "http://127.0.0.1:9", settings=SHADOW) as gateway:
        for rung, for_s in (("live", None), ("live", 20), ("canary", None)):
            asked = {"rung": rung} | ({"for_s": for_s} if for_s else {})
            told = (await gateway.ask("PUT", "/verification/title", body=asked)).json
            assert told["without_key"] == told["targets"] == ["groq"]
            assert "Nothing moves until one of them has a key" in told["message"]
            assert "groq" in told["message"]
        taken = await gateway.ask("PUT", "/verification/title", body={"rung": "observe"})
        assert "key" not in taken.json["message"]
    key = {"GROQ_API_KEY": "gsk_groq"}
    async with live_gateway(tmp_path, "http://127.0.0.1:9", settings=SHADOW, env=key) as gateway:
        told = (await gateway.ask("PUT", "/verification/title", body={"rung": "live"})).json
        assert told["without_key"] == []
        assert "key" not in told["message"]


async def test_live_for_a_while_moves_one_kind_in_spite_of_shadow_and_comes_back(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with failover_world(tmp_path, SHADOW, clock=clock) as world:
        world.play(anthropic=home(), groq=moved())
        lent = await put(world, "/verification/title", rung="live", for_s=20)
        assert lent.status == 200
        assert lent.json["until"] == clock.time() + 20
        assert lent.json["persisted"] is False

        assert b"Parser fix" in (await world.ask()).body
        assert (await world.turn())["provider"] == "groq"
        found = await ladder(world)
        assert [lease["name"] for lease in found["leases"]] == ["title"]
        assert found["shadow"] is True

        await clock.advance(21)
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)
        moves = (await ladder(world))["moves"]
        await until(world, lambda: True)
        moves = (await ladder(world))["moves"]
        assert [(m["from_rung"], m["to_rung"], m["source"]) for m in moves[:2]] == [
            ("live", "observe", "time"),
            ("observe", "live", "HTTP"),
        ]
        assert (await ladder(world))["leases"] == []


async def test_back_to_shadow_ends_every_lease(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW) as world:
        world.play(anthropic=home(), groq=moved())
        assert (await put(world, "/verification/title", rung="live", for_s=600)).status == 200
        await world.gateway.ask("POST", "/shadow", body={"enabled": True})
        assert (await ladder(world))["leases"] == []
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)


async def test_live_without_an_end_is_kept_as_a_mode_and_holds_at_once(tmp_path: Path) -> None:
    async with failover_world(tmp_path, SHADOW) as world:
        world.play(anthropic=home(), groq=moved())
        done = (await put(world, "/verification/title", rung="live")).json
        assert done["persisted"] is True
        assert 'title = "live"' in (tmp_path / "config.toml").read_text()
        assert b"Parser fix" in (await world.ask()).body
        assert (await put(world, "/verification/title", rung="observe")).status == 200
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)


async def test_what_cannot_be_done_is_refused_in_words(tmp_path: Path) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("/titel", {"rung": "live"}),
        ("/title", {"rung": "lively"}),
        ("/title", {"rung": "canary", "for_s": 60}),
        ("/title", {"rung": "live", "for_s": 0}),
        ("/title", {"rung": "live", "for_s": 1e12}),
        ("/title", {"rung": "live", "for_s": True}),
        ("/title", {"rungs": "live"}),
        ("/permission_check", {"rung": "live"}),
        ("", {"consent": 1}),
    ]
    async with failover_world(tmp_path, SHADOW) as world:
        for path, body in wrong:
            refused = await put(world, f"/verification{path}", **body)
            assert refused.status == 400, path
            assert len(refused.json["error"]["message"]) > 20
        assert (await ladder(world))["leases"] == []


async def test_a_candidate_that_fails_live_is_taken_back_and_says_why(tmp_path: Path) -> None:
    async with failover_world(tmp_path, LIVE) as world:
        refused = json.dumps({"error": {"message": "no", "type": "invalid_request_error"}})
        world.play(anthropic=home(), groq=respond(400, body=refused.encode()))
        gateway = world.gateway.gateway
        for _ in range(3):
            assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)
            await quiet(world)
            gateway.health_book.reset("groq")
        (entry,) = entries(world)
        assert (entry["rung"], entry["demoted"]) == ("observe", True)
        assert "could not be used" in entry["reason"]
        asked = world.seen("groq")

        world.play(groq=moved())
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)
        assert world.seen("groq") == asked
        newest = (await gateway.recent(1))[0]
        assert newest["proposal"]["state"] == "observed"
        assert newest["proposal"]["reason"].startswith("taken back: 3 of its last 3 answers")
        await until(world, lambda: True)
        assert (await ladder(world))["moves"][0]["source"] == "evidence"

    async with failover_world(tmp_path, LIVE) as world:
        world.play(anthropic=home(), groq=moved())
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999), (
            "it outlives a restart"
        )
        assert (await put(world, "/verification/title", rung="live")).status == 200
        assert b"Parser fix" in (await world.ask()).body
        (entry,) = entries(world)
        assert (entry["rung"], entry["demoted"]) == ("live", False)


async def test_bad_answers_of_a_live_candidate_count_without_anybody_being_asked(
    tmp_path: Path,
) -> None:
    async with failover_world(tmp_path, LIVE) as world:
        refusal = Reply("I'm sorry, but I can't help with that.")
        world.play(anthropic=home(), groq=sse([stream(Protocol.CHAT, refusal)]))
        for _ in range(3):
            assert (await world.ask()).status == 200
            await quiet(world)
        assert world.seen("anthropic") == 0
        assert entries(world)[0]["demoted"]
        assert (await world.ask()).body == stream(Protocol.MESSAGES, REAL, size=999)


async def test_moved_turns_are_compared_with_their_own_vendor_on_our_key(tmp_path: Path) -> None:
    settings = LIVE + CONSENT + "live_percent = 100\n"
    async with failover_world(tmp_path, settings) as world:
        vendor = answering(Protocol.MESSAGES, REAL, streamed=False)
        world.play(anthropic=vendor, groq=moved())
        assert b"Parser fix" in (await world.ask()).body
        await until(world, lambda: entries(world) and entries(world)[0]["samples"])
        (sent,) = world.upstreams["anthropic"].requests
        assert sent.header(b"x-api-key") == b"sk-ant-api03-vendor"
        assert entries(world)[0]["passed"] == 1

        login = [(b"x-sbgw-key", b"local-dev-key"), (b"authorization", b"Bearer sk-ant-oat01-me")]
        answer = await world.gateway.ask(headers=[*AGENT, *login], body=title(), key=None)
        assert b"Parser fix" in answer.body
        await quiet(world)
        assert world.seen("anthropic") == 1, "a client's login pays for nothing but its own calls"


async def test_setting_a_mode_anywhere_forgives_as_well(tmp_path: Path) -> None:
    async with failover_world(tmp_path, LIVE) as world:
        world.play(anthropic=home(), groq=moved(Reply("I'm sorry, but I can't.")))
        ways: list[tuple[str, str, dict[str, Any]]] = [
            ("PUT", "/routing", {"modes": {"title": "live"}}),
            (
                "POST",
                "/command",
                {"name": "set_mode", "arguments": {"name": "title", "mode": "live"}},
            ),
            ("PUT", "/verification/title", {"rung": "live", "for_s": 60}),
        ]
        for method, path, body in ways:
            for _ in range(3):
                assert (await world.ask()).status == 200
                await quiet(world)
            assert entries(world)[0]["demoted"]
            dry = {"modes": {"title": "live"}}
            await world.gateway.ask("PUT", "/routing?dry_run=1", body=dry)
            assert entries(world)[0]["demoted"]
            assert (await world.gateway.ask(method, path, body=body)).status == 200
            assert not entries(world)[0]["demoted"]


async def test_answers_that_are_asked_for_again_count_against_their_candidate(
    tmp_path: Path,
) -> None:
    lists = '[routing.kinds]\nuser_turn = ["groq"]\n[routing.modes]\nuser_turn = "live"\n'
    async with failover_world(tmp_path, f"[routing]\nshadow = false\n{lists}") as world:
        world.play(anthropic=home(), groq=moved(Reply("A monad is a burrito.")))
        for number in range(4):
            body = main_turn(user("Explain what a monad is."))
            assert b"burrito" in (await world.ask(body)).body, number
            await quiet(world)
        assert entries(world)[0]["demoted"]
        assert b"Fix the parser" in (await world.ask(main_turn(user("Explain it.")))).body


async def test_without_a_price_nothing_is_spent(tmp_path: Path) -> None:
    lists = '[routing.kinds]\ntitle = ["groq/nobody/knows-this-1b"]\n'
    async with failover_world(tmp_path, f"[routing]\n{lists}{CONSENT}") as world:
        world.play(anthropic=home(), groq=cheap())
        assert (await world.ask()).status == 200
        await quiet(world)
        assert world.seen("groq") == 0
        assert skipped(world) == {"its price is not known": 1}


async def test_a_server_without_a_key_costs_nothing(tmp_path: Path) -> None:
    lists = '[routing.kinds]\ntitle = ["shed"]\n'
    shed = '[providers.shed]\nkind = "openai-chat"\nmodel = "own-3b"\nbase_url = "{}"\n'
    async with ScriptedUpstream(cheap()) as upstream:
        settings = f"[routing]\n{lists}{CONSENT}daily_budget_usd = 0.0\n"
        settings += shed.format(f"{upstream.base_url}/v1")
        async with failover_world(tmp_path, settings) as world:
            world.play(anthropic=home())
            assert (await world.ask()).status == 200
            await quiet(world)
            assert len(upstream.requests) == 1
            assert upstream.requests[0].header(b"authorization") is None
            assert entries(world)[0]["passed"] == 1
