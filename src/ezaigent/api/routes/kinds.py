"""``/api/v1/profiles`` and ``/api/v1/providers``: the kinds of agents and what they need, as configured; no secret."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter

from ezaigent.agents import keys_present, load_profiles, variables_of
from ezaigent.api.access import Access
from ezaigent.api.backstage import On
from ezaigent.api.gate import needs
from ezaigent.api.models import Listing, Shown

router = APIRouter(tags=["settings"])


class ProfileView(Shown):
    """A kind of agent, as it is configured."""

    name: str
    model: str | None
    """``provider:name``; null where no model is behind it."""
    fallbacks: list[str]
    """Models to go on with, in order."""
    specialties: list[str]
    max_steps: int
    general: bool
    """Whether its agents also take tasks that name no profile."""


class ProfileList(Listing[ProfileView]):
    """All kinds of agents."""


class ProviderView(Shown):
    """A model provider, without its key."""

    name: str
    key: bool
    """Whether a key is there. The key itself is never shown."""
    variables: list[str]
    """Names of the variables that it is usually read from."""
    base_url: str | None
    """Where its API is, if that was set, without credentials and query."""


class ProviderList(Listing[ProviderView]):
    """The providers that profiles use or settings name."""


@router.get("/profiles", operation_id="list_profiles", openapi_extra=needs(Access.READ))
async def list_profiles(on: On) -> ProfileList:
    """List the kinds of agents."""
    return ProfileList(
        items=[
            ProfileView(
                name=one.name,
                model=one.model or None,
                fallbacks=[*one.fallbacks],
                specialties=[*one.specialties],
                max_steps=one.max_steps,
                general=one.general,
            )
            for one in load_profiles(on.settings).values()
        ]
    )


@router.get("/providers", operation_id="list_providers", openapi_extra=needs(Access.READ))
async def list_providers(on: On) -> ProviderList:
    """List the model providers, and whether a key is there for each."""
    given = on.settings.providers
    return ProviderList(
        items=[
            ProviderView(
                name=name,
                key=present,
                variables=[*variables_of(name)],
                base_url=_bare(given[name].base_url) if name in given else None,
            )
            for name, present in sorted(keys_present(on.settings).items())
        ]
    )


def _bare(url: str | None) -> str | None:
    """Return the address without what may be secret in it."""
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
