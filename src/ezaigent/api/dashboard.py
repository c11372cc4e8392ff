"""Serves the built dashboard: one page, its scripts and styles. It brings no data; those come with a credential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, Response

from ezaigent.api.gate import needs
from ezaigent.core.errors import NotFoundError

STATIC: Final = Path(__file__).parent / "static"
"""Where the build puts the dashboard: ``make ui``, or the wheel's build."""

router = APIRouter(include_in_schema=False)

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
_FOR_GOOD: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
"""For files whose names change with their content."""
_MISSING: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Ez Aigent</title><h1>Ez Aigent</h1>"
    "<p>The dashboard is not built here: run <code>make ui</code>. The API is under <code>/api/v1</code>.</p></html>"
)
_NAME: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$"


def built(static: Path = STATIC) -> bool:
    """Whether there is a dashboard to serve."""
    return (static / "index.html").is_file()


@router.get("/", openapi_extra=needs(None))
async def dashboard() -> Response:
    """Return the dashboard's page; without a build, a page that says how to make it."""
    if not built():
        return HTMLResponse(_MISSING, headers={"Cache-Control": "no-store"})
    return FileResponse(STATIC / "index.html", headers=_HEADERS)


@router.get("/assets/{name}", openapi_extra=needs(None))
async def asset(name: Annotated[str, PathParameter(pattern=_NAME)]) -> Response:
    """Return a script or a style sheet. Scripts of workers get the page's policy."""
    return _file(STATIC / "assets" / name, {**_HEADERS, **_FOR_GOOD})


@router.get("/favicon.svg", openapi_extra=needs(None))
async def icon() -> Response:
    """Return the icon."""
    return _file(STATIC / "favicon.svg", _HEADERS)


@router.get("/icons/{name}", openapi_extra=needs(None))
async def drawn(name: Annotated[str, PathParameter(pattern=_NAME)]) -> Response:
    """Return the icon in pixels, as systems want it that install the dashboard."""
    return _file(STATIC / "icons" / name, _HEADERS)


@router.get("/manifest.webmanifest", openapi_extra=needs(None))
async def manifest() -> Response:
    """Return what makes the dashboard installable."""
    return _file(STATIC / "manifest.webmanifest", _HEADERS, "application/manifest+json")


@router.get("/sw.js", openapi_extra=needs(None))
async def worker() -> Response:
    """Return the service worker. Its own policy lets it ask this server and nobody else."""
    return _file(STATIC / "sw.js", _HEADERS, "text/javascript")


def _file(path: Path, headers: dict[str, str], media_type: str | None = None) -> Response:
    if not path.is_file():
        raise NotFoundError(f"there is no {path.name!r} here; reload the page, the dashboard may be a newer one")
    return FileResponse(path, headers=headers, media_type=media_type)
