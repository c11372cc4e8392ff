"""Reading Redis URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezaigent.core.errors import UsageError
from ezaigent.live import open_bus
from ezaigent.live.address import parse_address

SECRET = "s3cr3t-p%40ss"


def test_a_plain_address() -> None:
    address = parse_address("redis://cache")
    assert (address.hosts, address.database, address.username, address.password) == ((("cache", 6379),), 0, None, None)
    assert (address.tls, address.service, address.prefix) == (None, None, "ezaigent")


def test_user_password_database_and_prefix() -> None:
    address = parse_address("redis://fl%65et:p%40ss%3Aword@[::1]:7000/3?prefix=team")
    assert (address.username, address.password) == ("fleet", "p@ss:word")
    assert (address.hosts, address.database, address.prefix) == ((("::1", 7000),), 3, "team")
    assert str(address) == "redis://[::1]:7000/3"


def test_a_password_without_a_user() -> None:
    assert parse_address("redis://:word@host").password == "word"
    assert parse_address("redis://:word@host").username is None


def test_tls_options(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.touch()
    address = parse_address(f"rediss://host/0?ssl_ca_certs={authority}&ssl_check_hostname=false")
    assert address.tls == {"ssl_ca_certs": str(authority), "ssl_check_hostname": False}
    assert parse_address("rediss://host?ssl_cert_reqs=none").tls == {
        "ssl_cert_reqs": "none",
        "ssl_check_hostname": False,
    }


def test_sentinels() -> None:
    address = parse_address("redis+sentinel://u:p@a:1,b/mymaster/2?sentinel_username=su&sentinel_password=sp")
    assert (address.hosts, address.service, address.database) == ((("a", 1), ("b", 26379)), "mymaster", 2)
    assert (address.sentinel_username, address.sentinel_password) == ("su", "sp")
    assert str(address) == "redis+sentinel://a:1,b:26379/mymaster/2"
    assert parse_address("rediss+sentinel://a/m").tls == {}


def test_a_socket() -> None:
    address = parse_address("unix:///run/redis.sock?db=4")
    assert (address.path, address.database, address.hosts) == ("/run/redis.sock", 4, ())
    assert str(address) == "unix:///run/redis.sock"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://u:{}@host", "must begin with"),
        ("{}", "must begin with"),
        ("redis://u:{}@host:99999", "host and port"),
        ("redis://u:{}@host:port", "host and port"),
        ("redis://u:{}@", "names no host"),
        ("redis://u:{}@host/zero", "number of the database"),
        ("redis://u:{}@host/0/1", "number of the database"),
        ("redis://u:{}@[::1", "cannot be read"),
        ("redis://u:{}@host?x", "cannot be read"),
        ("redis://u:{}@host?colour=red", "unknown option 'colour'"),
        ("redis://u:{}@host?sentinel_password=x", "unknown option"),
        ("redis+sentinel://u:{}@host", "names no service"),
        ("redis+sentinel://u:{}@host/", "names no service"),
        ("rediss://u:{}@host?ssl_ca_certs=/nowhere.crt", "/nowhere.crt"),
        ("rediss://u:{}@host?ssl_check_hostname=maybe", "ssl_check_hostname='maybe'"),
        ("rediss://u:{}@host?ssl_cert_reqs=some", "ssl_cert_reqs='some'"),
        ("redis://u:{}@host?ssl_ca_certs=/x", "unknown option"),
        ("unix://", "names no socket"),
    ],
)
async def test_what_cannot_be_right_is_refused_without_its_secrets(url: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        await open_bus(url.format(SECRET))
    assert why in str(caught.value)
    for error in (caught.value, caught.value.__cause__):
        assert SECRET not in str(error)
        assert "s3cr3t" not in str(error)


def test_secrets_are_in_no_text_of_an_address() -> None:
    url = f"redis+sentinel://user-x:{SECRET}@host/m/0?sentinel_username=user-y&sentinel_password=other-s3cr3t"
    address = parse_address(url)
    for text in (repr(address), str(address), address.scrub("login\n user-x s3cr3t-p@ss user-y other-s3cr3t")):
        assert not any(secret in text for secret in ("s3cr3t", "user-x", "user-y")), text
