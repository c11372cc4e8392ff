"""Where a repository's URL leads, looked at before git goes there, and kept to while it does.

For repositories that somebody far away named, at the submit and whenever a worker goes there: git resolves names by
itself and would follow a redirect, so it is given the addresses that were looked at, and told to follow none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.outside import Inside, host_address, refused
from ezaigent.workspaces.repository import Repository

_PATIENCE: Final = 15.0
"""Seconds to resolve a name."""
_PORTS: Final = {"http": 80, "https": 443, "ssh": 22}


@dataclass(frozen=True, slots=True)
class Pin:
    """What git is told, so that it goes nowhere else."""

    flags: tuple[str, ...] = ()
    ssh: str = ""


Guard: TypeAlias = Callable[[Repository], Awaitable[Pin]]
"""Looks where a repository is before git goes there; raises as ``pin`` does where it must not."""


async def unguarded(repository: Repository) -> Pin:
    """Let git go wherever the repository is: somebody on this machine named it."""
    del repository
    return Pin()


async def pin(repository: Repository, inside: Inside) -> Pin:
    """Look where ``repository`` is. Raises ``UsageError`` for what lies inside, ``UnavailableError`` for no host."""
    if repository.kind == "local":
        return Pin()
    scheme, host, port = _place(repository.url)
    address = host_address(host, inside)
    found = [str(address)] if address is not None else await _resolve(host, port)
    if not all(inside.admitted(one, host) for one in found):
        raise UsageError(refused(host))
    if scheme == "ssh":
        alias = host if port == _PORTS["ssh"] else f"[{host}]:{port}"
        return Pin(ssh=f" -o HostName={found[0]} -o HostKeyAlias={alias}")
    flags = ("-c", "http.followRedirects=false")
    if address is None:
        places = ",".join(f"[{one}]" if ":" in one else one for one in found)
        flags += ("-c", f"http.curloptResolve={host}:{port}:{places}")
    return Pin(flags)


def _place(url: str) -> tuple[str, str, int]:
    if "://" not in url:  # user@host:path
        return "ssh", url.partition(":")[0].rpartition("@")[2].lower(), _PORTS["ssh"]
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await loop.run_in_executor(
                None, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            )
    except (OSError, TimeoutError):
        raise UnavailableError(f"there is no host {host[:100]!r} now: check the repository's URL") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))
