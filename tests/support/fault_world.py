"""The real program in front of vendors that misbehave, and what must hold after every case.

A ``World`` is one gateway process with scripted vendors. A ``Lane`` is one way through it: the
protocol of the client, and that of the provider which serves it. ``Lane.run`` plays one case, which
is data: what the vendor does, and what client, ledger and breaker must say::

    await lane.run(Case(respond(503), Seen(503, "failed", ("http_503", "http_503"), failures=2)))

Whatever the case, ``World.settle`` checks the same at its end: one terminal row for each accepted
request, one terminal on the wire, no connection, descriptor or task left over, and no key in
anything that was written or said.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import case_drivers
import pytest
from gateway_process import Call as RawCall
from gateway_process import GatewayHome, GatewayProcess, until
from scripted_upstream import Request, Script, ScriptedUpstream, in_turn, respond
from sdk_drivers import DRIVERS
from vendor_replies import ENDPOINTS, Reply, answering
from wire_readers import Told, faults_of, read_stream, read_whole

from providers.types import Protocol

Json = dict[str, Any]
M, R, C = Protocol.MESSAGES, Protocol.RESPONSES, Protocol.CHAT
TARGETS = {M: "/v1/messages", R: "/v1/responses", C: "/v1/chat/completions"}
HELLO = Reply("Hello there, my friend.")
GATEWAY_KEY = "canary-gateway-key-0123456789"
VENDORS = ("anthropic", "openai", "groq", "vendor")
VENDOR_KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-canary-anthropic-0123456789",
    "OPENAI_API_KEY": "sk-canary-openai-0123456789",
    "GROQ_API_KEY": "gsk_canary_groq_0123456789",
    "VENDOR_API_KEY": "canary-vendor-0123456789",
}
SECRETS = [GATEWAY_KEY, *VENDOR_KEYS.values()]
PROMPT = "canary-prompt"
"""Stands in every question; what a conversation says is kept nowhere."""
IN_WORDS = {M: "messages", R: "responses", C: "chat"}

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Seen:
    """What everybody must have seen of one case; ``None`` where it does not matter."""

    status: int = 200
    turn: str = "completed"
    """The state of the row."""
    outcomes: tuple[str, ...] = ("success",)
    """Of the attempts, in order."""
    failures: int = 0
    """How many the provider's breaker counts in a row afterwards."""
    words: str = ""
    """What the error must say."""
    kind: str | None = None
    """The type of the error, or its code where the protocol has one."""
    text: str | None = None
    """What the client has of the answer."""
    stop: str | None = None
    """How the answer ends, as ``wire_readers`` has it; ``None`` with ``text``: by an error."""
    calls: tuple[tuple[str, Any], ...] = ()
    """Tool calls that a client would run."""


GOOD = Seen(text=HELLO.text, stop="end")


@dataclass(frozen=True, slots=True)
class Case:
    """What the vendor does, request after request, and what must be seen."""

    scripts: Script | Sequence[Script]
    seen: Seen = GOOD
    retries: int = 0
    """How many attempts are second ones; they must be affordable."""
    relayed: bool = False
    """The vendor's own faulty stream is the client's to read: its grammar is not judged."""
    headers: tuple[str, ...] = ()
    ask: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request's body."""
    body: bytes | None = None
    """The request's whole body."""
    away: bool = False
    """Nobody listens at the vendor's address."""
    fresh: bool = False
    """No connection to the vendor is kept from before."""
    unseen: int = 0
    """Requests that the gateway's own connections repeat, and nobody counts."""


@dataclass(slots=True)
class Got:
    """One answer as a client got it."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    told: Told

    @property
    def error(self) -> Json:
        """The error object."""
        found: Json = json.loads(self.body)["error"]
        return found


@dataclass(slots=True)
class World:
    """One process and its vendors."""

    home: GatewayHome
    gateway: GatewayProcess
    upstreams: dict[str, ScriptedUpstream]
    asked: int = 0
    """Requests that were accepted since the start, each of which owes one row."""
    rows_before: int = 0
    sockets: int = 0
    """Open at rest, apart from connections kept for reuse."""
    tasks: int = 0

    async def call(
        self, path: str, body: bytes | None = None, headers: Sequence[str] = ()
    ) -> RawCall:
        """One request with the gateway key."""
        self.asked += path in TARGETS.values()
        call = RawCall(self.gateway.port, body, path, key=GATEWAY_KEY, fields=headers)
        return await call.run()

    async def json(self, path: str, body: bytes | None = None) -> Any:
        """What an endpoint of our own says."""
        call = await self.call(path, body)
        assert call.status == 200, (path, call.status, bytes(call.body))
        return json.loads(bytes(call.body))

    async def provider(self, name: str) -> Json:
        """Health and figures of one provider."""
        found = (await self.json("/providers"))["providers"]
        return next(p for p in found if p["name"] == name)

    async def anew(self, *providers: str) -> None:
        """As if nothing had happened: these are healthy, and what is there counts as before."""
        for name in providers:
            await self.json(f"/providers/{name}/reset", b"{}")
        await self.recorded()
        self.rows_before = self.asked

    async def recorded(self) -> None:
        """Wait until every request has its row and none is open."""
        await until(self._all_recorded, "a request has no terminal row")

    def _all_recorded(self) -> bool:
        found = self.home.rows("SELECT count(*), sum(status = 'open') FROM turns")
        return found[0][0] >= self.asked and not found[0][1]

    def turns(self) -> list[Json]:
        """The rows since ``anew``, oldest first, each with its attempts."""
        names = "id, status, http_status, error_type, error_message, attempt_count, usage_source"
        names += ", input_tokens, output_tokens, delivery, stop_reason, tool_calls, provider"
        found = []
        query = f"SELECT {names} FROM turns ORDER BY seq LIMIT -1 OFFSET ?"
        for row in self.home.rows(query, self.rows_before):
            turn = dict(zip(names.split(", "), row, strict=True))
            query = "SELECT provider, outcome, status FROM attempts WHERE turn_id = ?"
            turn["attempts"] = self.home.rows(query + " ORDER BY number", turn["id"])
            found.append(turn)
        return found

    async def settle(self, accepted: int) -> list[Json]:
        """What must hold after every case; the turns of the case."""
        await self.recorded()
        turns = self.turns()
        assert len(turns) == accepted, turns
        await until(self._nobody_works, "an upstream still serves a request that is over")
        await until(self._no_socket_leaks, f"sockets are left over: {self._open_sockets()}")
        await self._no_task_leaks()
        assert self.secrets_found() == []
        return turns

    def secrets_found(self) -> list[str]:
        """Files of the home, and the process's own output, that hold a key or a prompt."""
        needles = [text.encode() for text in (*SECRETS, PROMPT)]
        found = []
        for folder in (self.home.state_dir, self.home.work_dir):
            for path in folder.rglob("*"):
                data = path.read_bytes() if path.is_file() else b""
                found += [f"{path.name}: {n.decode()}" for n in needles if n in data]
        return found

    def _nobody_works(self) -> bool:
        return not any(upstream.busy for upstream in self.upstreams.values())

    def _open_sockets(self) -> int:
        folder = Path(f"/proc/{self.gateway.pid}/fd")
        return sum(_target(path).startswith("socket:") for path in folder.iterdir())

    def _kept(self) -> int:
        return sum(upstream.connected for upstream in self.upstreams.values())

    def _no_socket_leaks(self) -> bool:
        return self._open_sockets() <= self.sockets + self._kept()

    async def _no_task_leaks(self) -> None:
        """At rest the loop has as many tasks as at the start."""
        async with asyncio.timeout(30):
            while (found := await self.count_tasks()) > self.tasks:
                await asyncio.sleep(0.02)
        assert found <= self.tasks

    async def count_tasks(self) -> int:
        """Tasks of the gateway's loop, including those of this question."""
        call = await self.call("/metrics", headers=("Accept: text/plain",))
        found = re.search(rb"^sbgw_tasks (\d+)", bytes(call.body), re.M)
        assert found, bytes(call.body)[:500]
        return int(found[1])

    async def rest(self) -> None:
        """Take down what is open when nothing goes on."""
        for _ in range(3):
            await self.count_tasks()
        self.tasks = await self.count_tasks()
        await asyncio.sleep(0.05)
        self.sockets = self._open_sockets() - self._kept()


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


@dataclass(slots=True)
class Lane:
    """One client protocol, served by one provider of a world."""

    world: World
    client: Protocol
    provider: Protocol
    name: str
    is_driven: bool = False
    """Whether ``run`` also plays a case with an SDK and within an agent's session."""
    _before: int = 0

    @property
    def upstream(self) -> ScriptedUpstream:
        """The vendor."""
        return self.world.upstreams[self.name]

    @property
    def is_native(self) -> bool:
        """Whether both sides speak the same."""
        return self.client is self.provider

    @property
    def id(self) -> str:
        """For test ids."""
        return f"{IN_WORDS[self.client]}-{IN_WORDS[self.provider]}"

    def either(self, native: str, translated: str) -> str:
        """What is called differently where answers are read to be translated."""
        return native if self.is_native else translated

    def tools(self, *names: str) -> list[Json]:
        """Tools in the client's protocol."""
        return DRIVERS[self.client](None).tools(*names)

    def body(self, *, streamed: bool, **more: Any) -> bytes:
        """A small request that nobody has sent before."""
        words = f"{PROMPT} {next(_numbers)}"
        bodies: dict[Protocol, Json] = {
            M: {"max_tokens": 50, "messages": [{"role": "user", "content": words}]},
            C: {"messages": [{"role": "user", "content": words}]},
            R: {"input": words, "store": False},
        }
        model = DRIVERS[self.client].model
        return json.dumps(
            bodies[self.client] | {"model": model, "stream": streamed} | more
        ).encode()

    def play(self, *scripts: Script) -> None:
        """What the vendor answers from now on, request after request; then it is well again."""
        route = in_turn(*scripts, self.well)
        endpoint = ENDPOINTS[self.provider]

        def routed(request: Request) -> Script:
            if request.target.partition(b"?")[0] != endpoint:
                return respond(404, [], b"wrong path: " + request.target)
            return route(request)

        self.upstream.route = routed

    async def well(self, peer: Any) -> None:
        """A good answer in the form that was asked for."""
        streamed = bool(json.loads(self.upstream.requests[-1].body).get("stream"))
        await answering(self.provider, HELLO, streamed=streamed)(peer)

    async def ask(
        self,
        *,
        streamed: bool = True,
        body: bytes | None = None,
        headers: Sequence[str] = (),
        **more: Any,
    ) -> Got:
        """One request and its answer."""
        sent = self.body(streamed=streamed, **more) if body is None else body
        call = await self.world.call(TARGETS[self.client], sent, headers)
        return self.got(call)

    def got(self, call: RawCall) -> Got:
        """An answer, read as its client would."""
        body = bytes(call.body)
        kind = call.headers.get("content-type", "")
        if call.status is None or (not call.is_whole and not body):
            told = Told(error="cut")
        elif kind.startswith("text/event-stream"):
            told = read_stream(self.client, body)
        else:
            told = read_whole(self.client, json.loads(body))
        return Got(call.status or 0, call.headers, body, call.is_whole, told)

    async def refill(self, retries: int) -> None:
        """Earn so many second attempts by good requests, so that no case depends on another."""
        self.play(self.well)
        for _ in range(5 * retries):
            got = await self.ask(streamed=False)
            assert got.status == 200, got.body

    async def run(self, case: Case, *, streamed: bool = True) -> Got:
        """Play one case with every driver that can, raw HTTP the last, and check everything."""
        outcome = None
        if self.is_driven and case.body is None and not case.unseen:
            outcome = await self._run_by_sdk(case, streamed=streamed)
            if streamed or self.client is not R:
                await self._run_in_session(case, streamed=streamed)
        await self._prepare(case)
        async with self._faulty(case):
            got = await self.ask(
                streamed=streamed, headers=case.headers, body=case.body, **dict(case.ask)
            )
        await self._judge(case)
        self.check(case, got, streamed=streamed)
        if outcome is not None:
            case_drivers.check_outcome(outcome, case, got)
        return got

    async def _run_by_sdk(self, case: Case, *, streamed: bool) -> case_drivers.Outcome:
        """The case with the official SDK as the client."""
        await self._prepare(case)
        async with self._faulty(case):
            outcome = await case_drivers.by_sdk(
                self, case, streamed=streamed, key=GATEWAY_KEY, prompt=PROMPT
            )
        await self._judge(case)
        assert not [s for s in SECRETS if s in outcome.error], "a key in the exception"
        return outcome

    async def _run_in_session(self, case: Case, *, streamed: bool) -> None:
        """The case in the middle of an agent's session, which then goes on."""
        await self._prepare(case)
        session = case_drivers.session_of(self, PROMPT)
        await session.begin(case.ask, streamed=streamed)
        await self.world.settle(session.asked)
        await self.world.anew()
        if case.fresh:
            await self.upstream.drop_all()
        async with self._faulty(case):
            got = await session.meet(case.headers)
        await self._judge(case)
        self.check(case, got, streamed=streamed)
        await self.world.anew(self.name)
        await session.repeat()
        await self.world.settle(1)

    async def _prepare(self, case: Case) -> None:
        """Nothing has happened yet, and what the case needs is affordable."""
        await self.world.anew(self.name)
        if case.retries:
            await self.refill(case.retries)
            await self.world.anew()
        if case.fresh:
            await self.upstream.drop_all()

    @asynccontextmanager
    async def _faulty(self, case: Case) -> AsyncIterator[None]:
        """The vendor behaves as the case says; the requests that it gets must be on record."""
        self._before = len(self.upstream.requests)
        scripts = case.scripts if isinstance(case.scripts, Sequence) else [case.scripts] * 9
        self.play(*scripts)
        async with self.upstream.away() if case.away else nullcontext():
            yield

    async def _judge(self, case: Case) -> None:
        """What must be on record of the one request that met the case."""
        world, seen = self.world, case.seen
        (turn,) = await world.settle(1)
        assert (turn["status"], turn["http_status"]) == (seen.turn, seen.status), turn
        assert tuple(outcome for _, outcome, _ in turn["attempts"]) == seen.outcomes, turn
        used = [a for a in turn["attempts"] if a[0] == self.name and a[1] not in _NOT_SENT]
        sent = len(self.upstream.requests) - self._before
        assert sent == len(used) + case.unseen, "requests nobody recorded"
        health = await world.provider(self.name)
        assert (health["failures"], health["breaker"]) == (seen.failures, "closed"), health

    def check(self, case: Case, got: Got, *, streamed: bool) -> None:
        """What the client saw."""
        seen = case.seen
        assert got.status == seen.status, got.body
        assert not [s for s in SECRETS if s.encode() in got.body], "a key in the answer"
        assert got.whole, "the answer was cut"
        if seen.words:
            assert seen.words in (got.told.error or ""), got.body
        if seen.kind is not None:
            assert seen.kind in (got.error.get("type"), got.error.get("code")), got.error
        if seen.status == 200 and streamed and not case.relayed:
            assert faults_of(self.client, got.body) == [], got.body
        if seen.text is not None:
            assert (got.told.text, got.told.stop) == (seen.text, seen.stop), got.body
            assert tuple(got.told.arguments) == seen.calls
            assert bool(got.told.error) == (seen.stop is None)


_NOT_SENT = frozenset({"connect", "offline", "tls", "untrusted"})
"""Outcomes of attempts that never became a request."""

BASELINES: Mapping[str, Mapping[Protocol, tuple[str, Protocol]]] = {
    "native": {M: ("anthropic", M), R: ("openai", R), C: ("openai", C)},
    "crossed": {M: ("groq", C), R: ("anthropic", M), C: ("vendor", R)},
    "turned": {M: ("openai", R), R: ("groq", C), C: ("anthropic", M)},
}
"""Three processes hold all nine ways: who serves which clients, and in which protocol."""

LANES = [(world, client) for world, found in BASELINES.items() for client in found]
NATIVE = [lane for lane in LANES if lane[0] == "native"]
TRANSLATED = [lane for lane in LANES if lane[0] != "native"]


def lane_id(value: Any) -> str:
    """For ``parametrize(ids=...)``."""
    if not isinstance(value, tuple):
        return ""
    world, client = value
    return f"{IN_WORDS[client]}-{IN_WORDS[BASELINES[world][client][1]]}"


def settings_of(name: str, urls: Mapping[str, str]) -> str:
    """The settings of one of ``BASELINES``."""
    lines = ["[server]", "port = 0", "[routing.baseline]"]
    lines += [f'{IN_WORDS[client]} = ["{who}"]' for client, (who, _) in BASELINES[name].items()]
    return "\n".join([*lines, *providers_of(urls)]) + "\n"


def providers_of(urls: Mapping[str, str]) -> Iterator[str]:
    """The lines of the providers."""
    for provider, url in urls.items():
        yield f'[providers.{provider}]\nbase_url = "{url}"'
        if provider == "vendor":
            yield 'kind = "openai-responses"\nmodel = "vendor-model"'
            yield 'api_key_env = "VENDOR_API_KEY"'


@asynccontextmanager
async def fault_world(
    folder: Path,
    settings: Callable[[Mapping[str, str]], str],
    *,
    vendors: Sequence[str] = VENDORS,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Start vendors and process; ``settings`` is given the vendors' addresses."""
    async with AsyncExitStack() as stack:
        upstreams = {n: await stack.enter_async_context(ScriptedUpstream()) for n in vendors}
        home = GatewayHome(folder, "")
        home.env |= VENDOR_KEYS | {"STACKBILT_GATEWAY_KEY": GATEWAY_KEY} | dict(env or {})
        home.write_config(settings({n: u.base_url for n, u in upstreams.items()}))
        gateway = await stack.enter_async_context(home.serve())
        world = World(home, gateway, upstreams)
        await world.rest()
        yield world


class Worlds:
    """Processes that all tests of a session share; each starts when it is first asked for."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._worlds: dict[str, World] = {}

    async def world(self, name: str) -> World:
        """One of ``BASELINES``."""
        if name not in self._worlds:
            started = fault_world(self._folder / name, lambda urls: settings_of(name, urls))
            self._worlds[name] = await self._stack.enter_async_context(started)
        return self._worlds[name]

    async def lane(self, name: str, client: Protocol) -> Lane:
        """One way through one of them."""
        provider, protocol = BASELINES[name][client]
        return Lane(await self.world(name), client, protocol, provider)


@contextmanager
def counted(upstream: ScriptedUpstream) -> Iterator[Callable[[], int]]:
    """Requests that an upstream got during the block."""
    before = len(upstream.requests)
    yield lambda: len(upstream.requests) - before


def lanes(found: Sequence[tuple[str, Protocol]] = tuple(LANES)) -> pytest.MarkDecorator:
    """Run a test once for each of these lanes."""
    return pytest.mark.parametrize("lane", found, indirect=True, ids=lane_id)


forms = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
"""Run a test for an answer as a stream, and as one piece."""
