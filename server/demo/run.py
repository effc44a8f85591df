"""Settings and side processes of ``--demo``: a throw-away home, a simulated vendor, traffic."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from server.clock import Clock, SystemClock
from server.demo.traffic import Traffic
from server.demo.upstream import SimulatedUpstream
from server.gateway import Gateway
from server.settings_file import Flags, Loaded, load

_SETTINGS = """\
[server]
port = 0

[network]
proxy = "none"

[providers.anthropic]
base_url = "{base_url}"
credentials = "key"
"""


@asynccontextmanager
async def demo_home(flags: Flags, clock: Clock | None = None) -> AsyncIterator[Loaded]:
    """A home of its own whose only vendor is the simulated one; gone afterwards."""
    upstream = SimulatedUpstream(clock or SystemClock())
    await upstream.start()
    try:
        with tempfile.TemporaryDirectory(prefix="sbgw-demo-") as folder:
            home = Path(folder)
            (home / "config.toml").write_text(_SETTINGS.format(base_url=upstream.base_url))
            env: Mapping[str, str] = {"SBGW_HOME": folder, "ANTHROPIC_API_KEY": "demo-key"}
            yield load(flags=flags, env=env, cwd=home)
    finally:
        await upstream.stop()


@asynccontextmanager
async def traffic(gateway: Gateway) -> AsyncIterator[None]:
    """Scripted sessions against ``gateway`` while the context lasts."""
    key = gateway.loaded.gateway_key.get_secret_value()
    player = Traffic(gateway.url, key, gateway.clock)
    player.start()
    try:
        yield
    finally:
        await player.stop()
