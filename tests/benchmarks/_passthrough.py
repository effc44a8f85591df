"""The least a pass-through on Quart, Hypercorn and httpx can do, as a yardstick.

``python _passthrough.py PORT UPSTREAM_URL``: forwards ``POST /v1/messages`` and streams the answer
back. It understands, records and guards nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import httpx
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request
from werkzeug.datastructures import Headers

_DROPPED_UP = frozenset({"host", "content-length", "connection", "accept-encoding", "x-sbgw-key"})
_DROPPED_DOWN = frozenset({"content-length", "transfer-encoding", "connection"})


def make_app(upstream: str) -> Quart:
    """The application; ``upstream`` is the vendor's base URL."""
    app = Quart(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024 * 1024
    app.config["BODY_TIMEOUT"] = app.config["RESPONSE_TIMEOUT"] = None
    client = httpx.AsyncClient(
        timeout=None, trust_env=False, limits=httpx.Limits(max_connections=None)
    )

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.post("/v1/messages")
    async def messages() -> Response:
        headers = [(k, v) for k, v in request.headers if k.lower() not in _DROPPED_UP]
        body = await request.get_data()
        outgoing = client.build_request(
            "POST", f"{upstream}/v1/messages", headers=headers, content=body
        )
        answer = await client.send(outgoing, stream=True)

        async def parts() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            finally:
                await answer.aclose()

        kept = Headers([(k, v) for k, v in answer.headers.items() if k not in _DROPPED_DOWN])
        response = Response(parts(), answer.status_code, kept)
        response.timeout = None
        return response

    return app


def main() -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{int(sys.argv[1])}"]
    config.backlog = 2048
    config.keep_alive_timeout = 120
    config.keep_alive_max_requests = 10_000_000
    config.accesslog = config.errorlog = None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(make_app(sys.argv[2]), config))


if __name__ == "__main__":
    main()
