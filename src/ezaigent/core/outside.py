"""Which addresses lie outside: what a person far away names must not lead this machine to its own network.

A name says nothing before it is resolved, so this is asked twice: of the URL when it is given, and of the very address
that a connection is about to be made to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ezaigent.core.errors import UsageError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FROM_AFAR: ContextVar[bool] = ContextVar("from_afar", default=False)
"""Whether what runs now was asked for by somebody who may not be on this machine."""

_INSIDE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        # IANA's special-purpose registries for IPv4 and IPv6
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
        "168.63.129.16/32",  # a public address at which Azure's machines find their host
    )
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is routed in the internet."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_NUMBER: Final = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
_LONGEST: Final = 2048
"""Characters of the longest URL."""


def is_outside(address: Address) -> bool:
    """Tell whether an address is one of the public internet: not private, loopback, link-local, reserved, multicast.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) is judged as that one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        meant = _meant(address)
        if meant is not address:
            return is_outside(meant)
        if address not in _UNICAST:
            return False
    return not any(address.version == network.version and address in network for network in _INSIDE)


def _meant(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


@dataclass(frozen=True)
class Inside:
    """What may be used although it does not lie outside: host names, addresses and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def read(cls, entries: Sequence[str]) -> Inside:
        """Understand the setting. Raises ``UsageError`` for an entry that is neither."""
        names: set[str] = set()
        networks: list[_Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if not _HOST.fullmatch(entry) or _is_number(entry):
                    raise UsageError(f"[server] internal: {entry!r} is neither a host name nor a network") from None
                names.add(_plain(entry))
        return cls(frozenset(names), tuple(networks))

    def admits(self, address: Address, host: str = "") -> bool:
        """Tell whether a connection to ``address``, under the name ``host``, may be made."""
        if _plain(host) in self.names or is_outside(address):
            return True
        meant = _meant(address)
        return any(
            one.version == network.version and one in network for one in (address, meant) for network in self.networks
        )

    def admitted(self, text: str, host: str = "") -> bool:
        """Tell the same of an address as text; what is no address is not admitted."""
        try:
            return self.admits(ipaddress.ip_address(text), host)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was looked at: where it leads is known by name or by address."""

    url: str
    host: str
    """In lower case, without brackets."""
    port: int
    address: Address | None
    """Where the host is an address."""


def read_target(url: str, inside: Inside) -> Target:
    """Understand an http or https URL that somebody far away gave, without resolving its name.

    Raises ``UsageError`` for another scheme, a login in it, a host written as a number, an address that lies inside.
    """
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise UsageError(f"{_shown(url)} is no usable URL: at most {_LONGEST} plain characters, no spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"{_shown(url)} is no usable URL: write https://host/path") from None
    if parts.scheme not in {"http", "https"}:
        raise UsageError(f"the scheme {parts.scheme[:40]!r} cannot be used here: write https://host/path")
    if "@" in parts.netloc:
        raise UsageError(f"the URL of {host[:100]!r} holds a login: leave it out")
    if parts.fragment:
        raise UsageError(f"the URL of {host[:100]!r} has a part behind '#', which is never sent: leave it out")
    address = host_address(host, inside)
    if "[" in parts.netloc and not isinstance(address, ipaddress.IPv6Address):
        raise UsageError(f"{host[:100]!r} stands in brackets and is no IPv6 address")
    return Target(url, host, port or (443 if parts.scheme == "https" else 80), address)


def host_address(host: str, inside: Inside) -> Address | None:
    """Return the address that a host is written as; None for a name.

    Raises ``UsageError`` for what is neither, a number in another form (decimal, octal, hexadecimal, short), and an
    address that lies inside.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None:
        if not _HOST.fullmatch(host) or _is_number(host):
            raise UsageError(f"{host[:100]!r} is no host name: give a name, or an address in its usual form") from None
        return None
    if not inside.admits(address, host):
        raise UsageError(refused(host))
    return address


def refused(host: str) -> str:
    """Say that a host may not be used."""
    return f"{host[:100]!r} is not on the public internet; if it is meant, list it in [server] internal"


def _is_number(host: str) -> bool:
    """Whether resolvers would read it as an address in one of the old forms."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


def _shown(url: str) -> str:
    return repr(url.partition("@")[2][:80] if "@" in url else url[:80])
