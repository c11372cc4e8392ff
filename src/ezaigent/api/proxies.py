"""Proxies before the server: only of those that the settings name does the word on who asks, and how, count."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, TypeAlias

from starlette.types import Scope

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_SCHEMES: Final = frozenset({"http", "https"})


class Proxies:
    """The peers whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Trust these addresses and networks, which the settings have checked."""
        self._networks = tuple(ipaddress.ip_network(entry) for entry in entries)

    def trusts(self, peer: str) -> bool:
        """Tell whether a connection from ``peer`` comes from one of them."""
        address = _read(peer)
        return address is not None and self._lists(address)

    def look_behind(self, scope: Scope) -> None:
        """Put the address and the scheme that a proxy tells in the place of its own.

        What any other peer tells changes nothing. Of a chain of addresses, to which each proxy adds whom it saw, the
        last that is not itself a proxy of the settings counts: those before it are anybody's word.
        """
        client = scope.get("client")
        if not client or not self.trusts(str(client[0])):
            return
        found = _values(scope, _FOR)
        seen: _Address | None = None
        for text in reversed(",".join(found).split(",")):
            address = _read(text.strip())
            if address is None:
                break
            seen = address
            if not self._lists(address):
                break
        if seen is not None:
            scope["client"] = (str(seen), 0)
        told = _values(scope, _PROTO)
        scheme = told[-1].partition(",")[0].strip().lower() if told else ""
        if scheme in _SCHEMES:
            scope["scheme"] = scheme

    def _lists(self, address: _Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


def _read(text: str) -> _Address | None:
    """Return an address written plainly, as ``1.2.3.4:5678`` or as ``[::1]:5678``; IPv4 in IPv6 as IPv4, no zone."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
