"""Where Redis is, read from a URL without ever repeating its credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ezaigent.core.errors import UsageError

_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")
_SWITCH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Everything that a connection needs.

    ``redis://user:password@host:6379/0`` and ``rediss://…`` (TLS), ``unix:///path?db=0``,
    ``redis+sentinel://user:password@host1:26379,host2:26379/service/0`` and ``rediss+sentinel://…``.
    Options in the query: ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` (paths of PEM files),
    ``ssl_check_hostname`` (true, false), ``ssl_cert_reqs`` (required, optional, none), ``sentinel_username``,
    ``sentinel_password``, ``prefix`` (before every key and channel; default ``ezaigent``), ``db`` (with ``unix``).
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    """Redis itself, or its Sentinels."""
    path: str | None = None
    """The Unix socket."""
    service: str | None = None
    """Name of the master that the Sentinels watch."""
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    tls: dict[str, Any] | None = None
    """TLS options by the driver's names; None: no TLS."""
    prefix: str = "ezaigent"

    def __str__(self) -> str:
        """Return the address without credentials and options."""
        if self.path is not None:
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        service = f"/{self.service}" if self.service else ""
        return f"{self.scheme}://{hosts}{service}/{self.database}"

    def scrub(self, text: str) -> str:
        """Return ``text`` on one line, cut to 200 characters, without any of the address's secrets."""
        for secret in (self.password, self.sentinel_password, self.username, self.sentinel_username):
            if secret:
                text = text.replace(secret, "***")
        return " ".join(text.split())[:200]


def _refuse(why: str) -> NoReturn:
    raise UsageError(f"the Redis URL {why}; write it like redis://user:password@host:6379/0")


def parse_address(url: str) -> RedisAddress:
    """Read a URL; raises ``UsageError`` with what is wrong, never with the URL itself."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        _refuse("cannot be read: a character in it must be percent-encoded")
    if parts.scheme not in _SCHEMES:
        _refuse(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    login, _, place = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    secure = parts.scheme.startswith("rediss")
    service, database = _service_and_database(parts, options)
    address = RedisAddress(
        scheme=parts.scheme,
        hosts=() if parts.scheme == "unix" else _hosts(place, 26379 if service else 6379),
        path=unquote(parts.path) if parts.scheme == "unix" else None,
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.pop("sentinel_username", None) if service else None,
        sentinel_password=options.pop("sentinel_password", None) if service else None,
        tls=_tls(options) if secure else None,
        prefix=options.pop("prefix", "ezaigent"),
    )
    if options:
        _refuse(f"has an unknown option {min(options)!r}")
    return address


def _hosts(place: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts: list[tuple[str, int]] = []
    for part in place.split(","):
        found = _HOST.fullmatch(part)
        port = int(found["port"] or default_port) if found else 0
        if found is None or not 0 < port < 65536:  # noqa: PLR2004 - ports have 16 bits
            _refuse(f"names no valid host and port in {part!r}" if part else "names no host")
        hosts.append((found["v6"] or unquote(found["name"]), port))
    return tuple(hosts)


def _service_and_database(parts: SplitResult, options: dict[str, str]) -> tuple[str | None, int]:
    if parts.scheme == "unix":
        if not parts.path:
            _refuse("names no socket")
        pieces = [options.pop("db", "")]
    else:
        pieces = [unquote(piece) for piece in parts.path.split("/")[1:]]
    service = None
    if parts.scheme.endswith("+sentinel"):
        service = pieces.pop(0) if pieces else ""
        if not service:
            _refuse("names no service after the Sentinels, such as …:26379/mymaster/0")
    number = pieces.pop(0) if pieces else ""
    if pieces or not (number.isdecimal() or not number):
        _refuse("must end with the number of the database, such as /0")
    return service, int(number or 0)


def _tls(options: dict[str, str]) -> dict[str, Any]:
    tls: dict[str, Any] = {}
    for name in _FILES:
        if (path := options.pop(name, None)) is not None:
            if not Path(path).is_file():
                _refuse(f"names a file that is not there: {name}={path!r}")
            tls[name] = path
    if (check := options.pop("ssl_check_hostname", None)) is not None:
        if check.lower() not in _SWITCH:
            _refuse(f"has ssl_check_hostname={check!r}, which is neither true nor false")
        tls["ssl_check_hostname"] = _SWITCH[check.lower()]
    if (level := options.pop("ssl_cert_reqs", None)) is not None:
        if level not in {"required", "optional", "none"}:
            _refuse(f"has ssl_cert_reqs={level!r}, which is none of required, optional, none")
        tls["ssl_cert_reqs"] = level
        if level == "none":
            tls.setdefault("ssl_check_hostname", False)
    return tls
