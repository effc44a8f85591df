"""Settings and side processes of ``--demo``: a throw-away home, simulated vendors, traffic."""

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

[routing.kinds]
# A cheaper model of the same vendor for sub-agents: nothing leaves the company.
subagent = ["anthropic/claude-haiku-5-5"]
# No key for this one is set, to show what is said then.
edited_files = ["mistral/mistral-small-latest"]
output_digest = ["cloudflare"]

[capture]
# The prompts here are made up, and go with this home.
enabled = true

[providers.anthropic]
base_url = "{url}"

[providers.groq]
base_url = "{url}/groq/v1"

[providers.groq.limits]
requests_per_minute = 30
tokens_per_minute = 30_000

[providers.cerebras]
base_url = "{url}/cerebras/v1"

[providers.cloudflare]
base_url = "{url}/cloudflare/v1"

[providers.mistral]
kind = "openai-chat"
base_url = "{url}/mistral/v1"
api_key_env = "MISTRAL_API_KEY"
model = "mistral-small-latest"
"""

_KEYS = {
    "ANTHROPIC_API_KEY": "demo-key",
    "GROQ_API_KEY": "demo-key-groq",
    "CEREBRAS_API_KEY": "demo-key-cerebras",
    "CLOUDFLARE_API_TOKEN": "demo-key-cloudflare",
    "CLOUDFLARE_ACCOUNT_ID": "demo",
}
"""Taken by the simulated vendors, and by nobody else."""


@asynccontextmanager
async def demo_home(flags: Flags, clock: Clock | None = None) -> AsyncIterator[Loaded]:
    """A home of its own whose only vendors are the simulated ones; gone afterwards."""
    upstream = SimulatedUpstream(clock or SystemClock())
    await upstream.start()
    try:
        with tempfile.TemporaryDirectory(prefix="sbgw-demo-") as folder:
            home = Path(folder)
            (home / "config.toml").write_text(_SETTINGS.format(url=upstream.base_url))
            env: Mapping[str, str] = {"SBGW_HOME": folder} | _KEYS
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
