"""``POST /doctor/replay``: see ``server.doctor.replay``."""

from __future__ import annotations

from typing import Any, cast

from quart import Quart, Response, request
from quart.typing import ResponseReturnValue

from server.doctor.replay import Replays


def doctor_routes(app: Quart, replays: Replays) -> None:
    """Add the route."""

    @app.post("/doctor/replay")
    async def replay() -> ResponseReturnValue:
        scope = cast(dict[str, Any], request.scope)
        peer, own = (str((scope.get(side) or ("",))[0]) for side in ("client", "server"))
        data = cast(bytes, await request.get_data(cache=False))
        return Response(await replays.run(data, peer, own), content_type="application/json")
