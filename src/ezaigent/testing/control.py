"""The control endpoints, for tests whose server runs in another process.

``GET /control/health`` · ``GET|DELETE /control/requests`` (``?after=N``) · ``GET /control/repeated`` ·
``GET|POST|DELETE /control/faults`` · ``POST /control/release`` · ``POST /control/limits`` · ``POST /control/settings``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

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
    action = _ACTIONS.get(f"{request.method} {request.path.removeprefix('/control/')}")
    if action is None:
        return _json({"error": f"no such control: {request.method} {request.path}"}, 404)
    try:
        return _json(action(server, request.query, orjson.loads(body) if body else None))
    except (UsageError, orjson.JSONDecodeError, TypeError, ValueError) as error:
        return _json({"error": str(error)}, 400)


def _health(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    return {"ok": True, "salt": server.ledger.salt, "requests": len(server.requests)}


def _requests(server: ModelServer, query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    after = int(query.get("after", "0"))
    return {"items": [{**asdict(record), "complete": record.complete} for record in server.requests[after:]]}


def _forget(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    server.requests.clear()
    return {"ok": True}


def _repeated(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    return {"items": {key: [record.number for record in found] for key, found in server.repeated().items()}}


def _faults(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    return {"items": [asdict(fault) for fault in server.faults]}


def _plan(server: ModelServer, _query: Mapping[str, str], data: Any) -> dict[str, Any]:
    given = cast("list[object]", data) if isinstance(data, list) else [data]
    server.fail(*(Fault.from_json(item) for item in given))
    return {"ok": True, "planned": len(server.faults)}


def _clear(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    server.clear_faults()
    return {"ok": True}


def _release(server: ModelServer, _query: Mapping[str, str], _data: Any) -> dict[str, Any]:
    server.release()
    return {"ok": True}


def _limit(server: ModelServer, _query: Mapping[str, str], data: Any) -> dict[str, Any]:
    given = _object(data)
    provider, model = str(given.pop("provider", "*")), str(given.pop("model", "*"))
    server.limit(Limits(**given), provider=provider, model=model)
    return {"ok": True}


def _settings(server: ModelServer, _query: Mapping[str, str], data: Any) -> dict[str, Any]:
    given = _object(data)
    server.latency = float(given.get("latency", server.latency))
    server.chunk_delay = float(given.get("chunk_delay", server.chunk_delay))
    return {"ok": True, "latency": server.latency, "chunk_delay": server.chunk_delay}


_ACTIONS: Final[dict[str, Callable[[ModelServer, Mapping[str, str], Any], dict[str, Any]]]] = {
    "GET health": _health,
    "GET requests": _requests,
    "DELETE requests": _forget,
    "GET repeated": _repeated,
    "GET faults": _faults,
    "POST faults": _plan,
    "DELETE faults": _clear,
    "POST release": _release,
    "POST limits": _limit,
    "POST settings": _settings,
}


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UsageError("an object is needed")
    return cast("dict[str, Any]", data)


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(data), content_type="application/json")
