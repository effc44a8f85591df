"""Sends the recorded contract through a gateway with the user's settings and simulated vendors.

The gateway is one of our own, in a throw-away home: every provider's address is replaced by one on
this machine and every secret by a made-up one, so that it costs nothing and nothing leaves.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from providers.errors import UpstreamError
from providers.transport import Origin, Transport
from providers.types import Headers, Protocol
from server.config import Settings
from server.doctor.contract import Answer, Feature, Outcome, judge
from server.doctor.loopback import ANSWERS, Loopback, loopback
from server.gateway import Gateway
from server.listen import bind
from server.paths import Paths
from server.settings_env import EnvFile, Secrets, secret_names
from server.settings_file import Loaded
from server.settings_notes import GatewayKey
from server.settings_providers import ProviderTable

LIMIT_S = 10.0
"""How long one request may take."""

_MAX_ANSWER = 1024 * 1024
_ACCOUNT = "doctor"
_CLIENT_CREDENTIAL = "sk-client-doctor-made-up"


async def try_contract(
    loaded: Loaded, features: Sequence[Feature], with_credential: Collection[str]
) -> list[Outcome]:
    """What becomes of each of ``features``.

    ``with_credential`` are the clients that send a credential of their own. Raises ``OSError`` or
    ``ValueError`` when no gateway can be started with these settings.
    """
    with tempfile.TemporaryDirectory(prefix="sbgw-doctor-") as folder:
        async with loopback() as vendor:
            stand_in = _stand_in(
                loaded, vendor.url, Paths(loaded.paths.settings_dir, Path(folder) / "state")
            )
            stand_in.paths.make_state_dir()
            gateway = Gateway(
                stand_in, env={}, secret=secrets.token_bytes(32), instance=secrets.token_hex(8)
            )
            await gateway.start(bind("127.0.0.1", 0))
            client = _Client(gateway, stand_in.gateway_key.get_secret_value(), vendor)
            try:
                return [await client.run(f, f.client in with_credential) for f in features]
            finally:
                await client.transport.aclose()
                await gateway.stop()


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
    return table.model_copy(update={"base_url": url + end, "allow_http": True, "proxy": "none"})


class _Client:
    def __init__(self, gateway: Gateway, key: str, vendor: Loopback) -> None:
        self.transport = Transport()
        self._origin, _ = Origin.parse(gateway.url)
        self._key = key
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
            answer = Answer(0, b'{"error":{"message":"%s"}}' % text.encode())
        reply = ANSWERS[feature.reply][1] if feature.reply else b""
        return judge(feature, answer, vendor.seen[0] if vendor.seen else None, reply)

    async def _ask(self, feature: Feature, has_credential: bool) -> Answer:
        fields: Headers = [(n.encode(), v.encode()) for n, v in feature.headers.items()]
        if feature.with_key:
            fields.append((b"x-sbgw-key", self._key.encode()))
            if has_credential:
                fields.append((b"authorization", b"Bearer " + _CLIENT_CREDENTIAL.encode()))
        if feature.client == "claude":
            fields.append((b"anthropic-version", b"2023-06-01"))
        if feature.betas:
            fields.append((b"anthropic-beta", ",".join(feature.betas).encode()))
        if feature.payload:
            fields.append((b"content-type", b"application/json"))
        response = await self.transport.request(
            self._origin,
            feature.method.encode(),
            feature.path.encode(),
            fields,
            feature.payload,
        )
        async with response:
            return Answer(response.status, await response.read_all(_MAX_ANSWER))
