"""A real gateway in this process, on a real socket, in front of an upstream of the test's choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers.transport import Origin, Transport, UpstreamResponse
from providers.types import Headers
from server.clock import Clock
from server.gateway import Gateway
from server.listen import bind
from server.settings_file import load

KEY = "local-dev-key"
VENDOR_KEY = "sk-ant-api03-vendor"
HELLO: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 64,
    "stream": True,
    "messages": [{"role": "user", "content": "hello"}],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer as a client got it."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first field of that name, in any case."""
        wanted = name.lower().encode()
        return next((v.decode() for n, v in self.headers if n.lower() == wanted), None)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class LiveGateway:
    """The gateway and a client for it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.transport = Transport()
        self.origin, _ = Origin.parse(gateway.url)

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return self.gateway.url

    async def open(
        self,
        method: str = "POST",
        target: str = "/v1/messages",
        *,
        body: bytes | dict[str, Any] = HELLO,
        headers: Headers | None = None,
        key: str | None = KEY,
    ) -> UpstreamResponse:
        """Send a request; the answer's body is still to be read."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = list(headers or [])
        if key is not None:
            fields.append((b"x-api-key", key.encode()))
        if method in ("POST", "PUT") and not any(n.lower() == b"content-type" for n, _ in fields):
            fields.append((b"content-type", b"application/json"))
        payload = data if method in ("POST", "PUT") else b""
        return await self.transport.request(
            self.origin, method.encode(), target.encode(), fields, payload
        )

    async def ask(self, *args: Any, **kwargs: Any) -> Answer:
        """Send a request and read the whole answer."""
        response = await self.open(*args, **kwargs)
        try:
            return Answer(response.status, response.headers, await response.read_all(2**30))
        finally:
            await response.aclose()

    async def get(self, target: str, **kwargs: Any) -> Answer:
        """``GET target`` with the gateway key."""
        return await self.ask("GET", target, **kwargs)

    async def raw(self, data: bytes) -> bytes:
        """Write ``data`` on a fresh connection and read until the gateway closes it."""
        reader, writer = await asyncio.open_connection(self.origin.host, self.origin.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def turns(self, count: int = 1) -> list[dict[str, Any]]:
        """All recorded turns in full, oldest first, once ``count`` of them are terminal."""
        while True:
            await asyncio.to_thread(self.gateway.services.ledger.flush, 5.0)
            rows = [r for r in await self.gateway.recent(1000) if r["status"] != "open"]
            if len(rows) >= count and not self.gateway.services.active:
                found = [await self.gateway.turn(row["id"]) for row in reversed(rows)]
                return [turn for turn in found if turn is not None]
            await asyncio.sleep(0.005)

    async def turn(self) -> dict[str, Any]:
        """The only turn."""
        turns = await self.turns()
        assert len(turns) == 1
        return turns[0]


@asynccontextmanager
async def live_gateway(
    home: Path,
    base_url: str,
    *,
    clock: Clock | None = None,
    env: Mapping[str, str] | None = None,
    settings: str = "",
    instance: str = "test",
) -> AsyncIterator[LiveGateway]:
    """Start a gateway whose Anthropic upstream is ``base_url``; ``settings`` is more TOML.

    A second gateway on the same home that is another ``instance`` takes the first one for dead.
    """
    _write_settings(home, base_url, settings)
    environment = {"SBGW_HOME": str(home), "ANTHROPIC_API_KEY": VENDOR_KEY} | dict(env or {})
    environment = {name: value for name, value in environment.items() if value}
    loaded = load(env=environment, cwd=home)
    gateway = Gateway(loaded, env=environment, secret=b"s" * 32, instance=instance, clock=clock)
    await gateway.start(bind(loaded.settings.server.host, 0))
    live = LiveGateway(gateway)
    try:
        yield live
    finally:
        await live.transport.aclose()
        await gateway.stop()


def _write_settings(home: Path, base_url: str, more: str) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    config = home / "config.toml"
    config.write_text(f'[server]\nport = 0\n[providers.anthropic]\nbase_url = "{base_url}"\n{more}')
    config.chmod(0o600)
