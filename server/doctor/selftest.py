"""Sends the recorded contract through a gateway with the user's settings and simulated vendors.

The gateway is one of our own, in a throw-away home: every provider's address is replaced by one on
this machine and every secret by a made-up one, so that it costs nothing and nothing leaves.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pydantic import SecretStr

from providers.errors import UpstreamError
from providers.transport import Origin, Transport
from providers.types import Headers, Protocol
from server.config import Settings
from server.doctor.contract import Answer, Feature, Outcome, judge
from server.doctor.loopback import ANSWERS, Loopback, loopback
from server.listen import bind
from server.paths import Paths
from server.settings_env import EnvFile, Secrets, secret_names
from server.settings_file import Loaded
from server.settings_notes import GatewayKey
from server.settings_providers import ProviderTable

if TYPE_CHECKING:
    from server.gateway import Gateway

LIMIT_S = 10.0
"""How long one request may take."""

_MAX_ANSWER = 1024 * 1024
_ACCOUNT = "doctor"
_CLIENT_CREDENTIAL = "sk-client-doctor-made-up"

Maker = Callable[[Loaded], "Gateway"]
"""Makes a gateway that is not started; called on a thread, because that reads certificates."""


@dataclass(frozen=True, slots=True)
class Way:
    """How requests reach a gateway."""

    url: str
    key: str
    prefix: str = ""
    """Before every path."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How the contract's requests reach the gateway under test, by what becomes of them."""

    relayed: Way
    refused: Way
    """Those that it turns away itself; it counts them."""
    open: Way
    """Those that need no key."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A gateway in which nothing is real but the settings."""

    gateway: Gateway
    key: str
    vendor: Loopback

    @property
    def way(self) -> Way:
        """Straight to it."""
        return Way(self.gateway.url, self.key)


async def try_contract(
    loaded: Loaded, features: Sequence[Feature], with_credential: Collection[str]
) -> list[Outcome]:
    """What becomes of each of ``features`` in a gateway that is started for them.

    ``with_credential`` are the clients that send a credential of their own. Raises ``OSError`` or
    ``ValueError`` when no gateway can be started with these settings.
    """
    from server.gateway import Gateway

    def make(stand_in: Loaded) -> Gateway:
        return Gateway(
            stand_in, env={}, secret=secrets.token_bytes(32), instance=secrets.token_hex(8)
        )

    async with stand_in_gateway(loaded, make) as stand_in:
        ways = Ways(stand_in.way, stand_in.way, stand_in.way)
        return await send(features, with_credential, ways, stand_in.vendor)


@asynccontextmanager
async def stand_in_gateway(loaded: Loaded, make: Maker) -> AsyncIterator[StandIn]:
    """A gateway with the settings of ``loaded``, on a free port, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="sbgw-doctor-") as folder:
        async with loopback() as vendor:
            paths = Paths(loaded.paths.settings_dir, Path(folder) / "state")
            stand_in = _stand_in(loaded, vendor.url, paths)
            paths.make_state_dir()
            gateway = await asyncio.to_thread(make, stand_in)
            try:
                await gateway.start(bind("127.0.0.1", 0))
                yield StandIn(gateway, stand_in.gateway_key.get_secret_value(), vendor)
            finally:
                await gateway.stop()


async def send(
    features: Sequence[Feature], with_credential: Collection[str], ways: Ways, vendor: Loopback
) -> list[Outcome]:
    """One request after the other, each one judged by what ``vendor`` and the client received."""
    client = _Client(ways, vendor)
    try:
        return [await client.run(f, f.client in with_credential) for f in features]
    finally:
        await client.transport.aclose()


def _stand_in(loaded: Loaded, url: str, paths: Paths) -> Loaded:
    """``loaded`` with nothing in it that leads out of this machine, or that is secret."""
    settings = loaded.settings
    names = [*secret_names(settings), *_account_names(settings)]
    made_up = {n: f"sk-doctor-{secrets.token_hex(8)}" for n in names if loaded.secrets.get(n)}
    made_up |= {n: _ACCOUNT for n in _account_names(settings) if n in made_up}
    key = GatewayKey(SecretStr(secrets.token_hex(16)), "default")
    own = settings.server
    server = own.model_copy(update={"host": "127.0.0.1", "port": 0})
    return replace(
        loaded,
        settings=settings.model_copy(
            update={
                "server": server,
                "providers": {
                    name: _moved(table, f"{url}/p/{name}", settings.provider(name).protocol)
                    for name, table in settings.providers.items()
                },
            }
        ),
        paths=paths,
        secrets=Secrets(made_up, EnvFile(paths.env_file), names),
        key=key,
        config_file=paths.config_file,
    )


def _account_names(settings: Settings) -> list[str]:
    tables = {name: settings.provider(name) for name in settings.providers}
    return [found.account_id_env for found in tables.values() if found.account_id_env]


def _moved(table: ProviderTable, url: str, protocol: Protocol) -> ProviderTable:
    end = "" if protocol is Protocol.MESSAGES else "/v1"
    moved = {"base_url": url + end, "allow_http": True, "proxy": "none"}
    if table.login_base_url is not None:
        moved["login_base_url"] = url + end
    return table.model_copy(update=moved)


class _Client:
    def __init__(self, ways: Ways, vendor: Loopback) -> None:
        self.transport = Transport()
        self._ways = ways
        self._vendor = vendor

    async def run(self, feature: Feature, has_credential: bool) -> Outcome:
        """Send one feature's request and judge what came of it."""
        vendor = self._vendor
        vendor.seen.clear()
        vendor.reply = feature.reply
        try:
            async with asyncio.timeout(LIMIT_S):
                answer = await self._ask(feature, has_credential)
        except (UpstreamError, TimeoutError) as error:
            text = str(error) or "it is not answered in time"
            answer = Answer(0, msgspec.json.encode({"error": {"message": text}}))
        reply = ANSWERS[feature.reply][1] if feature.reply else b""
        return judge(feature, answer, vendor.seen[0] if vendor.seen else None, reply)

    def _way(self, feature: Feature) -> Way:
        if feature.status is None:
            return self._ways.relayed
        return self._ways.refused if feature.with_key else self._ways.open

    async def _ask(self, feature: Feature, has_credential: bool) -> Answer:
        way = self._way(feature)
        fields: Headers = [(n.encode(), v.encode()) for n, v in feature.headers.items()]
        if feature.with_key:
            fields.append((b"x-sbgw-key", way.key.encode()))
            if has_credential:
                fields.append((b"authorization", b"Bearer " + _CLIENT_CREDENTIAL.encode()))
        if feature.client == "claude":
            fields.append((b"anthropic-version", b"2023-06-01"))
        if feature.betas:
            fields.append((b"anthropic-beta", ",".join(feature.betas).encode()))
        if feature.payload:
            fields.append((b"content-type", b"application/json"))
        response = await self.transport.request(
            Origin.parse(way.url)[0],
            feature.method.encode(),
            (way.prefix + feature.path).encode(),
            fields,
            feature.payload,
        )
        async with response:
            return Answer(response.status, await response.read_all(_MAX_ANSWER))
