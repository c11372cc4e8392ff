"""The page behind the setup link: a form and nothing else, so that no script is needed to get in."""

from __future__ import annotations

import html
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from ezaigent.api.backstage import Address, On
from ezaigent.api.gate import needs
from ezaigent.api.models import Setup
from ezaigent.api.problems import Refusal
from ezaigent.api.routes.session import set_up
from ezaigent.core.errors import UsageError

router = APIRouter(include_in_schema=False)

_STYLE: Final = "body{font:16px system-ui;max-width:28rem;margin:4rem auto;padding:0 1rem}input{display:block;width:100%;margin:.25rem 0 1rem;padding:.5rem;box-sizing:border-box}button{padding:.5rem 1rem}"  # noqa: E501
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
}


@router.get("/setup", openapi_extra=needs(None))
async def setup_form(token: str = "") -> HTMLResponse:
    """Show the form that makes the first administrator; the dashboard has one of its own."""
    return _form(token, "")


@router.post("/setup", openapi_extra=needs(None))
async def setup_done(request: Request, on: On, address: Address) -> Response:
    """Make the first administrator."""
    fields = {name: values[0] for name, values in parse_qs((await request.body()).decode(errors="replace")).items()}
    token = fields.get("token", "")
    answer = page(
        "<h1>Ez Aigent</h1><p>You are signed in. <a href=/>Go on to the dashboard</a>. "
        "The API is under <code>/api/v1</code>.</p>"
    )
    try:
        given = Setup(token=token, name=fields.get("name", ""), password=fields.get("password", ""))
        await set_up(given, on, request, answer, address)
    except ValidationError:
        return _form(token, "Fill in every field.", 422)
    except UsageError as error:
        return _form(token, str(error), 422)
    except Refusal as refusal:
        return _form("", str(refusal), refusal.kind.status)
    return answer


def _form(token: str, wrong: str, status: int = 200) -> HTMLResponse:
    note = f"<p role=alert><strong>{html.escape(wrong)}</strong></p>" if wrong else ""
    return page(
        f"<h1>Ez Aigent</h1><p>Make the first administrator.</p>{note}<form method=post action=/setup>"
        f'<input type=hidden name=token value="{html.escape(token[:200])}">'
        "<label>Name<input name=name autocomplete=username required autofocus></label>"
        "<label>Password, 10 characters or more"
        "<input name=password type=password autocomplete=new-password minlength=10 required></label>"
        "<button>Create</button></form>",
        status,
    )


def page(body: str, status: int = 200) -> HTMLResponse:
    """Return a page of few words that needs no script; ``body`` is HTML."""
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Ez Aigent</title><style>{_STYLE}</style>{body}</html>"
    )
    return HTMLResponse(text, status, _HEADERS)
