"""The control endpoints, for tests whose server runs in another process.

``GET /control/health`` · ``GET|DELETE /control/requests`` (``?after=N``) · ``GET /control/repeated`` ·
``GET|POST|DELETE /control/faults`` · ``POST /control/release`` · ``POST /control/limits`` · ``POST /control/settings``
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp import web

from ezaigent.core.errors import UsageError
from ezaigent.testing.faults import Fault
from ezaigent.testing.limits import Limits

if TYPE_CHECKING:
    from ezaigent.testing.server import ModelServer


async def answer(server: ModelServer, request: web.BaseRequest) -> web.Response:
    """Answer one control request; what is wrong with it is told as 400."""
    body = await request.content.read()
    try:
        data: object = orjson.loads(body) if body else None
        result = _act(server, request.method, request.path.removeprefix("/control/"), request, data)
    except (UsageError, orjson.JSONDecodeError, TypeError, ValueError) as error:
        return _json({"error": str(error)}, 400)
    if result is None:
        return _json({"error": f"no such control: {request.method} {request.path}"}, 404)
    return _json(result)


def _act(server: ModelServer, method: str, name: str, request: web.BaseRequest, data: object) -> dict[str, Any] | None:
    match method, name:
        case "GET", "health":
            return {"ok": True, "salt": server.ledger.salt, "requests": len(server.requests)}
        case "GET", "requests":
            after = int(request.query.get("after", "0"))
            return {"items": [{**asdict(record), "complete": record.complete} for record in server.requests[after:]]}
        case "DELETE", "requests":
            server.requests.clear()
            return {"ok": True}
        case "GET", "repeated":
            return {"items": {key: [record.number for record in found] for key, found in server.repeated().items()}}
        case "GET", "faults":
            return {"items": [asdict(fault) for fault in server.faults]}
        case "POST", "faults":
            server.fail(
                *(Fault.from_json(item) for item in (cast("list[object]", data) if isinstance(data, list) else [data]))
            )
            return {"ok": True, "planned": len(server.faults)}
        case "DELETE", "faults":
            server.clear_faults()
            return {"ok": True}
        case "POST", "release":
            server.release()
            return {"ok": True}
        case "POST", "limits":
            _limit(server, _object(data))
            return {"ok": True}
        case "POST", "settings":
            settings = _object(data)
            server.latency = float(settings.get("latency", server.latency))
            server.chunk_delay = float(settings.get("chunk_delay", server.chunk_delay))
            return {"ok": True, "latency": server.latency, "chunk_delay": server.chunk_delay}
        case _:
            return None


def _limit(server: ModelServer, data: dict[str, Any]) -> None:
    provider, model = str(data.pop("provider", "*")), str(data.pop("model", "*"))
    server.limit(Limits(**data), provider=provider, model=model)


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UsageError("an object is needed")
    return cast("dict[str, Any]", data)


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(data), content_type="application/json")
