"""Ends a gateway that a launcher started in the background."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path


async def stop_gateway(home: Path) -> None:
    """Ask the gateway of ``home`` to end, and wait until it has."""
    lock = home / "state" / "gateway.lock"
    if not lock.exists():
        return
    os.kill(int(json.loads(lock.read_text())["pid"]), signal.SIGTERM)
    while lock.read_text().strip():
        await asyncio.sleep(0.05)
