"""``/api/v1/push``: notifications for the browsers of the person who is signed in, and of nobody else."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from ezaigent.api.access import Access, Principal
from ezaigent.api.backstage import Caller, On
from ezaigent.api.gate import needs
from ezaigent.api.models import Given, Listing, Text
from ezaigent.api.problems import FORBIDDEN, Refusal, documented
from ezaigent.push import NoteKind, Outcome, Subscription

router = APIRouter(prefix="/api/v1/push", tags=["notifications"], responses=documented())

Key = Annotated[str, Path(description="Id of the browser.", pattern="^[0-9a-f]{32}$")]
Kinds = Annotated[list[NoteKind], Field(max_length=10)]


class BrowserKeys(Given):
    """What a notification is encrypted with, as the browser's subscription tells it."""

    p256dh: Annotated[Text, Field(max_length=200)]
    auth: Annotated[Text, Field(max_length=100)]


class NewSubscription(Given):
    """A browser that wants to be notified."""

    endpoint: Annotated[Text, Field(min_length=1, max_length=2048)]
    """https, at a push service on the public internet unless ``[server] internal`` lists it."""
    keys: BrowserKeys
    kinds: Kinds
    label: Annotated[Text, Field(max_length=100)] = ""
    """What to call the browser in the list."""


class SubscriptionChange(Given):
    """What the browser is told from now on."""

    kinds: Kinds


class SubscriptionList(Listing[Subscription]):
    """The caller's browsers."""

    public_key: str
    """What a browser subscribes with, as ``applicationServerKey``."""


@router.get("", operation_id="list_subscriptions", openapi_extra=needs(Access.READ))
async def list_subscriptions(on: On, caller: Caller) -> SubscriptionList:
    """List the browsers of the caller that are notified."""
    user = _person(caller)
    return SubscriptionList(items=await on.push.of(user), public_key=await on.push.public_key())


@router.post("", operation_id="subscribe", status_code=201, openapi_extra=needs(Access.READ))
async def subscribe(given: NewSubscription, on: On, caller: Caller) -> Subscription:
    """Notify a browser of the caller from now on."""
    return await on.push.add(
        _person(caller),
        endpoint=given.endpoint,
        p256dh=given.keys.p256dh,
        auth=given.keys.auth,
        kinds=given.kinds,
        label=given.label,
    )


@router.patch("/{key}", operation_id="choose_notifications", openapi_extra=needs(Access.READ))
async def choose_notifications(key: Key, change: SubscriptionChange, on: On, caller: Caller) -> Subscription:
    """Change what a browser of the caller is told."""
    return await on.push.choose(_person(caller), key, change.kinds)


@router.delete("/{key}", operation_id="unsubscribe", status_code=204, openapi_extra=needs(Access.READ))
async def unsubscribe(key: Key, on: On, caller: Caller) -> None:
    """Notify a browser of the caller no longer."""
    await on.push.remove(_person(caller), key)


@router.post("/{key}/trial", operation_id="try_notification", openapi_extra=needs(Access.READ))
async def try_notification(key: Key, on: On, caller: Caller) -> Outcome:
    """Notify a browser of the caller now, to see whether it works."""
    return await on.push.trial(_person(caller), key)


def _person(caller: Principal) -> str:
    """Return the person who is signed in: a program has no browser."""
    if caller.via != "session" or caller.user is None:
        raise Refusal(FORBIDDEN, "notifications are for browsers of people: sign in")
    return caller.user
