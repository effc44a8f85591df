"""The doctor's trial of the gateway contract: by the gateway that runs, else by one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.doctor.facts import Facts
    from server.settings_file import Loaded
    from tui.client import Health

LIMIT_S = 40.0
"""Longer than a gateway lets it take."""

_MAX_REASON = 200


class _NotTried(Exception):
    """The running gateway did not try the contract; ``str()`` says why."""


async def with_contract(facts: Facts, loaded: Loaded) -> Facts:
    """``facts`` with what became of every feature; ``ImportError`` where a package is missing."""
    from server.doctor.contract import features
    from server.doctor.selftest import try_contract

    with_credential = {client.name for client in facts.clients if client.has_credential}
    running = await asyncio.to_thread(_running, loaded)
    if running is not None:
        try:
            return await asyncio.to_thread(_by_running, facts, loaded, running, with_credential)
        except _NotTried as error:
            facts = replace(facts, replay_problem=str(error))
    try:
        outcomes = await try_contract(loaded, features(), with_credential)
    except (OSError, ValueError) as error:
        return replace(facts, outcome_problem=str(error))
    return replace(facts, outcomes=tuple(outcomes))


def _running(loaded: Loaded) -> Health | None:
    """This home's gateway if one serves; what is wrong with another is told elsewhere."""
    from server.instance import InstanceError
    from tui.client import Health, find

    try:
        found = find(loaded.paths)
    except InstanceError:
        return None
    return found if isinstance(found, Health) and found.is_serving else None


def _by_running(
    facts: Facts, loaded: Loaded, running: Health, with_credential: Collection[str]
) -> Facts:
    from urllib.parse import urlsplit

    from server.doctor.contract import features
    from server.doctor.replay import outcomes_of
    from server.instance import load_secret, new_nonce, permit
    from tui.client import GatewayUnreachableError, call

    nonce = new_nonce()
    port, instance = urlsplit(running.url).port or 0, str(running.body.get("instance", ""))
    payload = {
        "nonce": nonce,
        "permit": permit(load_secret(loaded.paths), nonce, port, instance),
        "with_credential": sorted(with_credential),
    }
    key = loaded.gateway_key.get_secret_value()
    try:
        reply = call(running, "POST", "/doctor/replay", key=key, payload=payload, timeout_s=LIMIT_S)
        if not reply.is_ok:
            raise _NotTried(_reason(reply.status, reply.body))
        outcomes = outcomes_of(reply.body, features())
    except (GatewayUnreachableError, ValueError) as error:
        raise _NotTried(str(error)) from error
    return replace(facts, outcomes=tuple(outcomes), tried_at=running.url)


def _reason(status: int, body: bytes) -> str:
    """A refusal in words; a gateway of an earlier version does not know the path."""
    import json

    if status == 404:
        return "it is of a version that cannot"
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        text = "without a reason"
    return f"HTTP {status}, {text}"[:_MAX_REASON]
