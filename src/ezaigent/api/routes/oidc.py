"""``/api/v1/session/oidc``: people leave for the provider, and come back with its word. Pages, since browsers come."""

from __future__ import annotations

import html
import re
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from ezaigent.api.backstage import Address, On, Stage
from ezaigent.api.credentials import new_secret, same
from ezaigent.api.gate import needs
from ezaigent.api.models import Ways
from ezaigent.api.oidc.journey import COOKIE, PATH, SECONDS, Journey, departure
from ezaigent.api.oidc.people import name_of, role_of
from ezaigent.api.oidc.provider import Provider
from ezaigent.api.oidc.tokens import key_id, read
from ezaigent.api.page import page
from ezaigent.api.problems import FORBIDDEN, NOT_FOUND, UNAUTHENTICATED, Refusal, documented, kind_of
from ezaigent.api.routes.session import signed_in
from ezaigent.core.errors import EzAigentError, UsageError

router = APIRouter(prefix="/api/v1/session", tags=["session"], responses=documented())

_ERROR: Final = re.compile(r"[a-z_]{1,60}")
Word = Annotated[str, Query(max_length=4096)]


@router.get("/ways", operation_id="ways_in", openapi_extra=needs(None))
async def ways_in(on: On) -> Ways:
    """Tell how people can sign in."""
    oidc = on.settings.oidc
    return Ways(oidc=oidc.name if oidc.issuer is not None else None)


@router.get("/oidc/start", include_in_schema=False, openapi_extra=needs(None))
async def leave(on: On, request: Request) -> Response:
    """Send the person to the provider."""
    try:
        provider = _provider(on, request)
        secret = new_secret()
        journey = Journey.of(secret)
        callback = _callback(on, request)
        endpoint = (await provider.metadata()).authorization_endpoint
        await on.accounts.expect(journey.state, seconds=SECONDS)
    except (Refusal, EzAigentError) as error:
        return _told(error)
    answer = RedirectResponse(departure(endpoint, on.settings.oidc, journey, callback), 303)
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=int(SECONDS),
        path=PATH,
        secure=callback.startswith("https:"),
        httponly=True,
        samesite="lax",  # the provider's page leads back here
    )
    return answer


@router.get("/oidc/callback", include_in_schema=False, openapi_extra=needs(None))
async def come_back(  # noqa: PLR0917 - FastAPI reads parameters as they are
    on: On, request: Request, address: Address, state: Word = "", code: Word = "", iss: Word = "", error: Word = ""
) -> Response:
    """Let the person in, if the provider's word and the settings say so."""
    answer: Response
    try:
        secret = await _arrived(on, request, address, _Answer(state, code, iss, error))
        answer = RedirectResponse("/", 303)
        await signed_in(on, request, answer, secret)
    except (Refusal, EzAigentError) as wrong:
        answer = _told(wrong)
        if isinstance(wrong, UsageError) or (isinstance(wrong, Refusal) and wrong.kind is UNAUTHENTICATED):
            await on.accounts.refused_elsewhere(str(wrong), address=address)
    answer.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="lax")
    return answer


class _Answer(NamedTuple):
    """What the provider lets the browser carry back."""

    state: str
    code: str
    iss: str
    error: str


async def _arrived(on: Stage, request: Request, address: str, given: _Answer) -> str:
    """Return the secret of a new session. Raises ``Refusal`` with one line, or what the provider's failure is."""
    provider = _provider(on, request)
    journey = await _expected(on, request, given.state)
    if given.error:
        told = given.error if _ERROR.fullmatch(given.error) else "something that is no error code"
        raise Refusal(UNAUTHENTICATED, f"the provider let nobody in: it said {told}")
    metadata = await provider.metadata()
    if given.iss != metadata.issuer and (given.iss or metadata.authorization_response_iss_parameter_supported):
        raise Refusal(UNAUTHENTICATED, f"the answer came from another issuer than {metadata.issuer!r}")
    token = await provider.redeem(given.code, journey.verifier, _callback(on, request))
    claims = read(token, await provider.keys(key_id(token)), on.settings.oidc, journey.nonce)
    name = name_of(claims)
    secret = await on.accounts.sign_in_elsewhere(
        f"{metadata.issuer} {claims.sub}",
        name,
        role_of(claims, on.settings.oidc),
        hours=on.settings.server.session_hours,
        address=address,
    )
    if secret is None:
        raise Refusal(FORBIDDEN, f"{name!r} has no role here; an administrator gives one in [oidc] emails or roles")
    return secret


async def _expected(on: Stage, request: Request, state: str) -> Journey:
    """Return the sign-in that this browser began, and end it: its state counts once."""
    secret = request.cookies.get(COOKIE, "")
    journey = Journey.of(secret)
    if not secret or not same(state, journey.state):
        raise Refusal(UNAUTHENTICATED, "this sign-in was not begun in this browser; begin it here")
    if not await on.accounts.arrive(state):
        raise Refusal(UNAUTHENTICATED, f"this sign-in was used already, or is older than {SECONDS / 60:.0f} minutes")
    return journey


def _provider(on: Stage, request: Request) -> Provider:
    if on.settings.oidc.issuer is None:
        raise Refusal(NOT_FOUND, "there is no provider to sign in with; set [oidc] issuer")
    provider = request.app.state.provider
    assert isinstance(provider, Provider)
    return provider


def _callback(on: Stage, request: Request) -> str:
    return on.settings.oidc.callback or f"{request.url.scheme}://{request.headers['host']}{PATH}/callback"


def _told(error: Refusal | EzAigentError) -> Response:
    kind = error.kind if isinstance(error, Refusal) else kind_of(error)
    line = html.escape(" ".join(str(error).split()))
    return page(f"<h1>Ez Aigent</h1><p role=alert><strong>{line}</strong></p><p><a href=/>Back</a></p>", kind.status)
