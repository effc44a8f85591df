"""``/verification``: comparisons, the ladder of evidence, and what may go live for a while."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec
from quart import Quart, Response, request
from quart.typing import ResponseReturnValue

from server.engine import CommandResult
from server.http.errors import HttpError

_T = TypeVar("_T")


class Commanded(Protocol):
    """What runs the commands of ``server.engine``."""

    async def command(self, name: str, /, **arguments: Any) -> CommandResult:
        """See ``server.engine``."""


class Consent(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PUT /verification``."""

    consent: bool
    remember: bool = True
    """Keep it over a restart; taking consent back is always kept."""


class Rung(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PUT /verification/{kind}``."""

    rung: str
    for_s: float | None = None
    """With ``live``: seconds after which it comes back by itself."""


def verification_routes(app: Quart, engine: Commanded) -> None:
    """Add the routes."""

    @app.get("/verification")
    async def ladder() -> ResponseReturnValue:
        return _answer(await engine.command("ladder"))

    @app.put("/verification")
    async def consent() -> ResponseReturnValue:
        asked = await _read(Consent)
        return _answer(
            await engine.command(
                "set_consent", consent=asked.consent, remember=asked.remember, source="HTTP"
            )
        )

    @app.put("/verification/<kind>")
    async def rung(kind: str) -> ResponseReturnValue:
        asked = await _read(Rung)
        return _answer(
            await engine.command(
                "set_rung", name=kind, rung=asked.rung, for_s=asked.for_s, source="HTTP"
            )
        )


async def _read(kind: type[_T]) -> _T:
    data = await request.get_data(cache=False)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        text = f"the body is not right: {error}"
        raise HttpError(400, "invalid_request_error", text) from error


def _answer(done: CommandResult) -> Response:
    if not done.ok:
        raise HttpError(400, "invalid_request_error", done.message)
    body = {"message": done.message, **done.data} if done.message else done.data
    return Response(msgspec.json.encode(body), content_type="application/json")
