"""``/api/v1/webhooks``: other programs that are told what happens."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field

from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import Given, Listing, Shown, Text
from ezaigent.api.problems import NO_PRECONDITION, STALE, Refusal, documented
from ezaigent.hooks import Delivery, DeliveryState, Trial, Webhook

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], responses=documented())

_ID = "^[0-9a-z]{16}$"
Key = Annotated[str, Path(description="Id of the webhook.", pattern=_ID)]
Url = Annotated[Text, Field(min_length=1, max_length=2048)]
Kinds = Annotated[list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=100)]

IfMatch = Annotated[str | None, Header(description="The ETag that the change was made for; * for any.")]

_ADMIN = needs(Access.ADMIN)
_ETAG: dict[str, Any] = {
    "ETag": {"description": "Version of what can be changed: url, kinds, enabled.", "schema": {"type": "string"}}
}


class NewWebhook(Given):
    """A target to be told what happens from now on."""

    url: Url
    """http or https, on the public internet unless ``[server] internal`` lists it; without a login."""
    kinds: Kinds = Field(default=[])
    """Kinds of events, or beginnings that end in a dot (``task.``); empty: all but ``audit.``."""
    enabled: bool = True


class WebhookChange(Given):
    """What to change; what is left out stays."""

    url: Url | None = None
    kinds: Kinds | None = None
    enabled: bool | None = None
    """What happens while it is off is not sent later."""


class WebhookList(Listing[Webhook]):
    """All targets."""


class CreatedWebhook(Webhook):
    """A target with its secret, shown this once."""

    secret: str
    """Verifies the signatures, as the Standard Webhooks specification describes."""


class DeliveryList(Listing[Delivery]):
    """Deliveries of one target, newest event first."""

    next: int | None = None
    """Give it as ``before`` to go on; null at the end."""


class Again(Given):
    """What to send again."""

    delivery: Annotated[str, Field(pattern=_ID)] | None = None
    """One delivery, in whatever state; left out: all that failed."""


class Resent(Shown):
    """What is sent again."""

    deliveries: int


@router.get("", operation_id="list_webhooks", openapi_extra=_ADMIN)
async def list_webhooks(on: On) -> WebhookList:
    """List the targets, with how many deliveries wait and how many were given up."""
    return WebhookList(items=await on.webhooks.all())


@router.post(
    "",
    operation_id="add_webhook",
    status_code=201,
    openapi_extra=_ADMIN,
    responses={
        201: {
            "description": "Added.",
            "headers": {"Location": {"description": "Where it is.", "schema": {"type": "string"}}, **_ETAG},
        }
    },
)
async def add_webhook(given: NewWebhook, on: On, caller: Caller, response: Response) -> CreatedWebhook:
    """Add a target; its secret is shown this once."""
    made, secret = await on.webhooks.add(given.url, kinds=given.kinds, enabled=given.enabled, by=caller.name)
    response.headers["Location"] = f"/api/v1/webhooks/{made.id}"
    return CreatedWebhook(**_shown(made, response).model_dump(), secret=secret)


@router.get(
    "/{key}",
    operation_id="get_webhook",
    openapi_extra=_ADMIN,
    responses={200: {"description": "The target.", "headers": _ETAG}},
)
async def get_webhook(key: Key, on: On, response: Response) -> Webhook:
    """Return a target."""
    return _shown(await on.webhooks.get(key), response)


@router.patch(
    "/{key}",
    operation_id="change_webhook",
    openapi_extra=_ADMIN,
    responses={**documented(STALE, NO_PRECONDITION), 200: {"description": "The target.", "headers": _ETAG}},
)
async def change_webhook(  # noqa: PLR0917 - FastAPI reads parameters as they are
    key: Key, given: WebhookChange, on: On, caller: Caller, response: Response, if_match: IfMatch = None
) -> Webhook:
    """Change a target, or switch it on or off."""
    if if_match is None:
        raise Refusal(NO_PRECONDITION, "send If-Match with the ETag of the webhook that you have seen")
    seen = None
    if if_match.strip() != "*":
        seen = await on.webhooks.get(key)
        if _etag(seen) not in if_match:
            raise Refusal(STALE, f"webhook {seen.id} has changed meanwhile; get it again")
    changed = await on.webhooks.change(
        key, url=given.url, kinds=given.kinds, enabled=given.enabled, by=caller.name, seen=seen
    )
    return _shown(changed, response)


@router.delete("/{key}", operation_id="remove_webhook", status_code=204, openapi_extra=_ADMIN)
async def remove_webhook(key: Key, on: On, caller: Caller) -> None:
    """Remove a target; what was still to be sent to it is dropped."""
    await on.webhooks.remove(key, by=caller.name)


@router.post("/{key}/test", operation_id="test_webhook", openapi_extra=_ADMIN)
async def try_webhook(key: Key, on: On) -> Trial:
    """Send a test message now and say how it was taken."""
    return await on.webhooks.trial(key)


@router.get("/{key}/deliveries", operation_id="list_deliveries", openapi_extra=_ADMIN)
async def list_deliveries(
    key: Key,
    on: On,
    state: Annotated[DeliveryState | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="``next`` of the page before.")] = None,
) -> DeliveryList:
    """List what was sent, what waits for its next attempt, and what was given up."""
    found = await on.webhooks.deliveries(key, state=state, before=before, limit=limit)
    return DeliveryList(items=found, next=found[-1].seq if len(found) == limit else None)


@router.post("/{key}/retry", operation_id="retry_deliveries", openapi_extra=_ADMIN)
async def retry_deliveries(key: Key, given: Again, on: On) -> Resent:
    """Send again what failed, from now on with fresh attempts."""
    return Resent(deliveries=await on.webhooks.retry(key, given.delivery))


def _etag(target: Webhook) -> str:
    return f'"{hashlib.sha256(repr(target.chosen).encode()).hexdigest()[:20]}"'


def _shown(target: Webhook, response: Response) -> Webhook:
    response.headers["ETag"] = _etag(target)
    return target
