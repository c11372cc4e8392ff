"""``/api/v1/session`` and the first start: people sign in, look who they are, sign out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ezaigent.api.access import SCOPES, Access, Principal
from ezaigent.api.backstage import Address, Caller, On, Stage
from ezaigent.api.credentials import csrf_token
from ezaigent.api.gate import COOKIE, needs, session_cookie
from ezaigent.api.models import Credentials, Setup, Whoami
from ezaigent.api.problems import TOO_MANY, UNAUTHENTICATED, Refusal, documented
from ezaigent.api.throttle import SignIns

router = APIRouter(prefix="/api/v1", tags=["session"], responses=documented())


@router.post("/session", operation_id="sign_in", openapi_extra=needs(None))
async def sign_in(given: Credentials, on: On, request: Request, response: Response, address: Address) -> Whoami:
    """Sign in with name and password; the answer sets the session's cookie and tells the CSRF word."""
    throttle = _throttle(request)
    _wait(throttle, address, given.name)
    tried = throttle.failed(address, given.name)  # before it is known, so that many at once are counted
    secret = await on.accounts.sign_in(
        given.name, given.password, hours=on.settings.server.session_hours, address=address
    )
    if secret is None:
        raise Refusal(UNAUTHENTICATED, "wrong name or password", {"WWW-Authenticate": 'Bearer realm="ezaigent"'})
    throttle.succeeded(address, given.name, tried)
    return await signed_in(on, request, response, secret)


@router.post("/setup", operation_id="set_up", openapi_extra=needs(None))
async def set_up(given: Setup, on: On, request: Request, response: Response, address: Address) -> Whoami:
    """Make the first administrator with the word of the setup link, which works once, and sign in."""
    throttle = _throttle(request)
    _wait(throttle, address, "setup link")
    secret = await on.accounts.set_up(
        given.token, given.name, given.password, hours=on.settings.server.session_hours, address=address
    )
    if secret is None:
        throttle.failed(address, "setup link")
        raise Refusal(
            UNAUTHENTICATED,
            "this setup link was used or is too old; start the server again for a new one, or: ezaigent user add NAME",
            {"WWW-Authenticate": 'Bearer realm="ezaigent"'},
        )
    return await signed_in(on, request, response, secret)


@router.get("/session", operation_id="whoami", openapi_extra=needs(Access.READ))
async def whoami(caller: Caller, request: Request) -> Whoami:
    """Tell who the caller is."""
    secret = session_cookie(request.headers.get("cookie", "")) if caller.via == "session" else None
    return _who(caller, secret)


@router.delete("/session", operation_id="sign_out", status_code=204, openapi_extra=needs(Access.READ))
async def sign_out(caller: Caller, on: On, response: Response) -> None:
    """End the session; a token stays as it is."""
    if caller.via == "session":
        await on.accounts.sign_out(caller.key)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def _who(caller: Principal, secret: str | None) -> Whoami:
    return Whoami(
        name=caller.name,
        access=next(name for name, level in SCOPES.items() if level is caller.access),
        via=caller.via,
        csrf=csrf_token(secret) if secret is not None else None,
    )


async def signed_in(on: Stage, request: Request, response: Response, secret: str) -> Whoami:
    """Give the browser the session whose secret this is."""
    caller = await on.accounts.by_session(secret)
    assert caller is not None
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(on.settings.server.session_hours * 3600),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _who(caller, secret)


def _throttle(request: Request) -> SignIns:
    throttle = request.app.state.sign_ins
    assert isinstance(throttle, SignIns)
    return throttle


def _wait(throttle: SignIns, address: str, name: str) -> None:
    wait = throttle.wait(address, name)
    if wait:
        raise Refusal(TOO_MANY, f"too many wrong tries; wait {wait:.0f} s", {"Retry-After": str(int(wait) + 1)})
