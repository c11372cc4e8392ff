"""Serves the built dashboard: one page, its scripts and styles. It brings no data; those come with a credential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header
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
_TWINS: Final = (("br", ".br"), ("gzip", ".gz"))
"""What the build compresses a text with, best first, and how the compressed twin beside it is called."""
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""Not left to the tables of the system, which differ; a browser runs no script of another type."""
_NAME: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$"
Takes = Annotated[str, Header(alias="Accept-Encoding", include_in_schema=False)]


def accepts(takes: str, coding: str) -> bool:
    """Whether an ``Accept-Encoding`` names the coding and does not refuse it with ``q=0``."""
    for one in takes.split(","):
        name, _, weight = one.strip().lower().partition(";")
        if name.strip() == coding:
            return set(weight.partition("=")[2].strip()) - set("0.") != set() or "=" not in weight
    return False


def built(static: Path = STATIC) -> bool:
    """Whether there is a dashboard to serve."""
    return (static / "index.html").is_file()


@router.get("/", openapi_extra=needs(None))
async def dashboard(takes: Takes = "") -> Response:
    """Return the dashboard's page; without a build, a page that says how to make it."""
    if not built():
        return HTMLResponse(_MISSING, headers={"Cache-Control": "no-store"})
    return _file(STATIC / "index.html", _HEADERS, takes)


@router.get("/assets/{name}", openapi_extra=needs(None))
async def asset(name: Annotated[str, PathParameter(pattern=_NAME)], takes: Takes = "") -> Response:
    """Return a script or a style sheet. Scripts of workers get the page's policy."""
    return _file(STATIC / "assets" / name, {**_HEADERS, **_FOR_GOOD}, takes)


@router.get("/favicon.svg", openapi_extra=needs(None))
async def icon(takes: Takes = "") -> Response:
    """Return the icon."""
    return _file(STATIC / "favicon.svg", _HEADERS, takes)


@router.get("/icons/{name}", openapi_extra=needs(None))
async def drawn(name: Annotated[str, PathParameter(pattern=_NAME)]) -> Response:
    """Return the icon in pixels, as systems want it that install the dashboard."""
    return _file(STATIC / "icons" / name, _HEADERS, "")


@router.get("/manifest.webmanifest", openapi_extra=needs(None))
async def manifest(takes: Takes = "") -> Response:
    """Return what makes the dashboard installable."""
    return _file(STATIC / "manifest.webmanifest", _HEADERS, takes)


@router.get("/sw.js", openapi_extra=needs(None))
async def worker(takes: Takes = "") -> Response:
    """Return the service worker. Its own policy lets it ask this server and nobody else."""
    return _file(STATIC / "sw.js", _HEADERS, takes)


def _file(path: Path, headers: dict[str, str], takes: str) -> Response:
    if not path.is_file():
        raise NotFoundError(f"there is no {path.name!r} here; reload the page, the dashboard may be a newer one")
    media_type = _TYPES.get(path.suffix)
    headers = {**headers, "Vary": "Accept-Encoding"}
    for coding, ending in _TWINS:
        twin = path.with_name(path.name + ending)
        if accepts(takes, coding) and twin.is_file():
            return FileResponse(twin, headers={**headers, "Content-Encoding": coding}, media_type=media_type)
    return FileResponse(path, headers=headers, media_type=media_type)
