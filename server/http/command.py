"""``POST /command``: what a front end on the other side of HTTP may ask of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from quart import Quart, Response, request
from quart.typing import ResponseReturnValue

from server.engine import CommandResult
from server.http.errors import HttpError

SOURCE = "an attached screen"
"""Who changed something, for everybody who watches."""


class Commanded(Protocol):
    """What runs the commands of ``server.engine``."""

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """See ``server.engine``."""


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """The body: a command of ``server.engine`` and its arguments by name."""

    name: str
    arguments: dict[str, Any] = {}


def command_routes(app: Quart, engine: Commanded) -> None:
    """Add the route; the answer is ``{"ok", "message", "data"}``, also of a refused command."""

    @app.post("/command")
    async def command() -> ResponseReturnValue:
        data = await request.get_data(cache=False)
        try:
            asked = msgspec.json.decode(data, type=Command)
        except msgspec.DecodeError as error:
            text = f"the body is not right: {error}"
            raise HttpError(400, "invalid_request_error", text) from error
        done = await engine.command(asked.name, **_signed(asked.name, asked.arguments))
        body = {"ok": done.ok, "message": done.message, "data": done.data}
        return Response(msgspec.json.encode(body), content_type="application/json")


def _signed(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with the source where the command has one: a client cannot claim another."""
    if name == "request":
        # Whoever has the gateway key is not yet who may read the prompts.
        return {**arguments, "is_remote": True}
    return {**arguments, "source": SOURCE} if "source" in arguments else dict(arguments)
