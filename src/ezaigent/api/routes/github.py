"""``/api/v1/webhooks/github``: what GitHub sends. Its credential is the signature of the body."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Request

from ezaigent.api.backstage import On
from ezaigent.api.gate import needs
from ezaigent.api.models import Shown
from ezaigent.api.problems import METHOD, UNAUTHENTICATED, Refusal, documented

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], responses=documented())

_BODY: Final = {
    "requestBody": {
        "description": "An event, as GitHub signs and sends it.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class Receipt(Shown):
    """What was done with a message; the work itself comes later."""

    result: Literal["taken", "known", "ignored"]
    """``known``: it was taken before. ``ignored``: it asks for nothing."""


@router.post("/github", operation_id="github_event", status_code=202, openapi_extra={**needs(None), **_BODY})
async def github_event(
    request: Request,
    on: On,
    x_hub_signature_256: Annotated[str, Header(max_length=200)] = "",
    x_github_event: Annotated[str, Header(max_length=100)] = "",
    x_github_delivery: Annotated[str, Header(max_length=100)] = "",
) -> Receipt:
    """Take an event of GitHub: an issue labelled for the fleet becomes a task."""
    if not on.intake.open or not x_hub_signature_256:
        raise Refusal(UNAUTHENTICATED, "send X-Hub-Signature-256; the secret is set in [github]")
    body = await request.body()
    if not on.intake.genuine(body, x_hub_signature_256):
        raise Refusal(UNAUTHENTICATED, "the signature does not fit: enter the secret of [github] at GitHub")
    return Receipt(result=await on.intake.take(event=x_github_event, delivery=x_github_delivery, body=body))


@router.api_route("/github", methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def nothing_else() -> None:
    """Say that GitHub's word is no webhook's id."""
    raise Refusal(METHOD, "GitHub's events are posted here", {"Allow": "POST"})
