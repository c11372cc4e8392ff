"""Errors as RFC 9457 problems: the one place that knows which error of the product is which HTTP status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from ezaigent.api.models import Problem
from ezaigent.core.errors import (
    ConflictError,
    ControlSignal,
    EzAigentError,
    NotFoundError,
    RunError,
    SandboxUnavailable,
    StoreUnavailable,
    UnavailableError,
    UsageError,
)

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem."""

    status: int
    slug: str
    title: str


UNAUTHENTICATED: Final = Kind(401, "unauthenticated", "Sign in first")
FORBIDDEN: Final = Kind(403, "forbidden", "Not allowed")
NOT_FOUND: Final = Kind(404, "not-found", "No such thing")
METHOD: Final = Kind(405, "method-not-allowed", "Not possible here")
CONFLICT: Final = Kind(409, "conflict", "Contradicts the present state")
STALE: Final = Kind(412, "precondition-failed", "Changed meanwhile")
TOO_LARGE: Final = Kind(413, "too-large", "Too large")
MISDIRECTED: Final = Kind(421, "wrong-host", "Wrong host")
INVALID: Final = Kind(422, "invalid", "Not usable")
UNREACHABLE: Final = Kind(424, "unreachable", "Something needed cannot be reached")
NO_PRECONDITION: Final = Kind(428, "precondition-required", "If-Match is needed")
TOO_MANY: Final = Kind(429, "too-many-requests", "Too many requests")
HEADERS: Final = Kind(431, "headers-too-large", "Headers too large")
BROKEN: Final = Kind(500, "internal", "Something broke here")
UNAVAILABLE: Final = Kind(503, "unavailable", "Not available now")

ERRORS: Final[Sequence[tuple[type[Exception], Kind]]] = (
    (NotFoundError, NOT_FOUND),
    (ConflictError, CONFLICT),
    (UsageError, INVALID),
    (StoreUnavailable, UNAVAILABLE),
    (SandboxUnavailable, UNAVAILABLE),
    (UnavailableError, UNREACHABLE),
    (RunError, CONFLICT),
    (ControlSignal, CONFLICT),
    (EzAigentError, BROKEN),
)
"""The error tree, most special first; the first that fits counts."""

_BY_STATUS: Final[dict[int, Kind]] = {
    kind.status: kind for kind in (UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, METHOD, TOO_LARGE, INVALID)
}
_BY_STATUS[400] = INVALID  # a body that cannot be read is one that cannot be used


_BROKEN: Final = "the server could not do this; its log has the reason under this request's id"


class Refusal(Exception):
    """A problem raised in the API itself."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with ``kind``; ``detail`` is one line."""
        super().__init__(detail)
        self.kind = kind
        self.headers = dict(headers or {})


def kind_of(error: Exception) -> Kind:
    """Return the kind of problem that an error is."""
    return next((kind for base, kind in ERRORS if isinstance(error, base)), BROKEN)


def problem(
    kind: Kind,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> Response:
    """Return the answer for a problem."""
    body = Problem(
        type=f"urn:ezaigent:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=" ".join(detail.split()),
        request=request_id,
        errors=errors,
    )
    given = dict(headers or {})
    if kind.status == UNAVAILABLE.status:
        given.setdefault("Retry-After", "2")
    return Response(body.model_dump_json(exclude_none=True), kind.status, given, MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return problem(error.kind, str(error), request_id(request.scope), headers=error.headers)

    async def expected(request: Request, error: Exception) -> Response:
        assert isinstance(error, EzAigentError)
        kind = kind_of(error)
        if kind is BROKEN:
            log.error("an error without a status", error=str(error))
        return problem(kind, str(error), request_id(request.scope))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [
            {"where": [str(part) for part in one["loc"]], "what": str(one["msg"])}
            for one in error.errors()  # never the input: it may be a password
        ]
        where = ".".join(found[0]["where"]) if found else "request"
        detail = f"{where}: {found[0]['what']}" if found else "the request cannot be read"
        return problem(INVALID, detail, request_id(request.scope), errors=found[:20])

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, Refusal):  # raised while the body was read
            return await refused(request, error.__cause__)
        kind = _BY_STATUS.get(error.status_code) or Kind(error.status_code, "http", "Not possible")
        return problem(kind, str(error.detail), request_id(request.scope), headers=error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        del error  # it goes on to whoever logs it
        return problem(BROKEN, _BROKEN, request_id(request.scope))

    app.add_exception_handler(Exception, broken)
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(EzAigentError, expected)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def request_id(scope: Any) -> str:
    """Return the id that the outermost layer gave the request."""
    return str(scope.get("state", {}).get("request_id", ""))


_DOCUMENTED: Final = (UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, CONFLICT, INVALID, TOO_MANY, UNAVAILABLE)


def documented(*more: Kind, without: Sequence[Kind] = ()) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route for its OpenAPI description."""
    kinds = [kind for kind in (*_DOCUMENTED, MISDIRECTED, TOO_LARGE, HEADERS, *more) if kind not in without]
    return {
        kind.status: {
            "description": kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for kind in kinds
    }
