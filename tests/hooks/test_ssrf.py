"""Nobody far away leads this machine into its own network: by address, name, redirect, or a name that changes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from tests.api.conftest import Inside as Served
from tests.api.conftest import inside, settings_for
from tests.hooks.conftest import happen, sending, states
from tests.hooks.targets import Receiver
from tests.services.conditions import until

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.outside import Inside, host_address, is_outside, read_target
from ezaigent.hooks import Webhooks
from ezaigent.hooks.posting import Post
from ezaigent.store import Database, EventLog
from ezaigent.workspaces import check_repository

NOTHING = Inside()

INNER = [
    # this machine and this network
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3",  # noqa: S104
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "169.254.1.1", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1", "192.0.2.1", "203.0.113.9",
    "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]", "[3fff::1]",
    # metadata services: AWS, GCP, Azure, Oracle, Alibaba, AWS on IPv6, Azure's host
    "169.254.169.254", "169.254.170.2", "192.0.0.192", "100.100.100.200", "[fd00:ec2::254]", "168.63.129.16",
    # the same in IPv6: mapped, compatible, NAT64, 6to4, Teredo, ISATAP's place
    "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::ffff:10.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
    "[2001::1]", "[fe80::1%25eth0]", "[fe80::5efe:7f00:1]",
]  # fmt: skip
ODD = [
    # numbers that resolvers read as addresses
    "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0", "0x", "1.2.3",
    "127.0.0.01", "127.0.0.1.", "256.0.0.1", "2852039166", "0xa9fea9fe", "1.1.1.1.1", "host.0x7f",
    # no host at all, or none that can be one
    "", "-x.example", "exa mple", "a..b", "%31%32%37.0.0.1", "[::1", "[v1.x]", "*", "ex_ample-.com",
]  # fmt: skip
URLS = [
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "//example.com/",
    "example.com", "http:example.com", "http:///path", "https://user@example.com/", "https://user:pw@example.com/",
    "https://example.com@127.0.0.1/", "https://@example.com/", "https://example.com:99999/", "https://example.com:x/",
    "https://example.com/#part", "https://exam\nple.com/", "https://example.com/\r\nHost: x", "https://example.com\\@x/",
    "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "http://[::ffff:127.0.0.1%25x]/",
    "https://example.com/" + "x" * 2100,
]  # fmt: skip
OUTER = ["1.1.1.1", "8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]", "[2002:808:808::1]"]


@pytest.mark.parametrize("host", INNER + ODD, ids=repr)
def test_a_target_inside_is_refused(host: str) -> None:
    for scheme in ("http", "https"):
        for port in ("", ":8080"):
            with pytest.raises(UsageError):
                read_target(f"{scheme}://{host}{port}/latest/meta-data", NOTHING)


@pytest.mark.parametrize("url", URLS, ids=lambda url: repr(url[:40]))
def test_a_url_that_is_none_or_holds_a_login_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_target(url, NOTHING)
    assert "pw" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", [*OUTER, "example.com", "hooks.example.co.uk", "xn--bcher-kva.example", "a_b.example"])
def test_a_target_outside_may_be_used(host: str) -> None:
    target = read_target(f"https://{host}/hook?x=1", NOTHING)
    assert target.port == 443
    assert read_target(f"http://{host}:8080/", NOTHING).port == 8080


def test_what_is_listed_may_be_used_and_nothing_beside_it() -> None:
    listed = Inside.read(["10.1.0.0/16", "hooks.corp.example", "[fd00::5]"])
    assert read_target("http://10.1.2.3/", listed).address == ip_address("10.1.2.3")
    assert read_target("http://[::ffff:10.1.2.3]/", listed).host == "::ffff:10.1.2.3"
    assert read_target("http://[fd00::5]/", listed).port == 80
    for other in ("10.2.0.1", "127.0.0.1", "[fd00::6]", "[::1]"):
        with pytest.raises(UsageError):
            read_target(f"http://{other}/", listed)
    assert listed.admitted("10.9.9.9", "hooks.corp.example")
    assert listed.admitted("10.9.9.9", "HOOKS.corp.example.")
    assert not listed.admitted("10.9.9.9", "other.corp.example")
    assert not listed.admitted("no address", "other.corp.example")
    for wrong in ("10.0.0.0/99", "2130706433", "http://x", ""):
        with pytest.raises(UsageError, match="internal"):
            Inside.read([wrong])


def test_every_address_of_the_special_registries_lies_inside() -> None:
    assert is_outside(ip_address("9.255.255.255"))
    assert not is_outside(ip_address("10.0.0.0"))
    assert is_outside(ip_address("11.0.0.0"))
    assert not is_outside(ip_address("4000::1"))
    assert host_address("example.com", NOTHING) is None


class Changing(AbstractResolver):
    """Names that lead elsewhere each time they are asked for."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host, host=one, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
            )
            for one in found
        ]  # fmt: skip

    async def close(self) -> None:
        return


def _port(receiver: Receiver) -> str:
    return receiver.url.rpartition(":")[2].partition("/")[0]


@pytest.mark.parametrize(
    "inner", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "10.0.0.1", "0.0.0.1"]
)
async def test_a_name_that_leads_inside_is_refused(receiver: Receiver, inner: str) -> None:
    url = f"http://innocent.example:{_port(receiver)}/"
    for found in ([inner], ["8.8.8.8", inner]):
        resolver = Changing(found)
        async with Post(url, NOTHING, resolver=resolver, timeout=5) as post:
            answer = await post.send(b"{}", {})
        assert (answer.status, answer.ok) == (None, False)
        assert "not on the public internet" in answer.error
        assert resolver.asked == 1
    assert receiver.got == []


async def test_a_name_that_changes_after_it_was_looked_at_is_refused(db: Database, receiver: Receiver) -> None:
    """Accepted while it led outside; at each later attempt it leads here."""
    resolver = Changing(["8.8.8.8"], ["127.0.0.1"])
    desk = Webhooks(db, EventLog(db), NOTHING, resolver=resolver)
    hook, _ = await desk.add(f"http://rebind.example:{_port(receiver)}/", kinds=["live."], by="test")
    assert resolver.asked == 1
    async with sending(db, inside=NOTHING, resolver=resolver):
        await happen(db)

        async def dead() -> bool:
            return states(await desk.deliveries(hook.id)) == ["dead"]

        await until(dead, what="it is given up")
    assert resolver.asked >= 2
    assert receiver.got == []
    assert not (await desk.trial(hook.id)).ok
    with pytest.raises(UsageError, match="public internet"):
        await desk.add(f"http://rebind.example:{_port(receiver)}/", by="test")


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(receiver: Receiver) -> None:
    """Even where the check of names says nothing, no socket is made for an address inside."""

    class Blind(Changing):
        pass

    post = Post(f"http://innocent.example:{_port(receiver)}/", NOTHING, resolver=Blind(["127.0.0.1"]), timeout=5)
    async with post:
        post._open().connector._resolver = Blind(["127.0.0.1"])  # type: ignore[union-attr]
        answer = await post.send(b"{}", {})
    assert "not on the public internet" in answer.error
    assert receiver.got == []


# ---------------------------------------------------------------------------------------------- repositories


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server in this process."""
    async with inside(settings_for(tmp_path / "home", rate=100_000)) as started:
        yield started


AFAR = {"X-Forwarded-For": "203.0.113.7"}


async def _submit(served: Served, repo: str, headers: dict[str, str]) -> Any:
    async with served.client() as client:
        return await client.post("/api/v1/tasks", json={"prompt": "x", "repo": repo}, headers=headers)


@pytest.mark.parametrize("form", ["http://{}/x.git", "https://{}:8443/x", "ssh://git@{}/x.git"])
async def test_a_repository_inside_is_refused_to_people_elsewhere(served: Served, form: str) -> None:
    for host in [*INNER, *ODD]:
        if host == "[v1.x]":
            continue  # git is given it as the name v1.x, which is looked at as such
        answer = await _submit(served, form.format(host), AFAR)
        assert answer.status_code == 422, (host, answer.text)
    assert await served.fleet.tasks() == []


async def test_who_is_on_this_machine_may_use_its_own_servers(served: Served, receiver: Receiver) -> None:
    receiver.answer = lambda _: 404
    here = receiver.url.replace("/hook", "/x.git")
    assert (await _submit(served, here, {})).status_code == 424  # it was asked, and is no repository
    assert receiver.got
    receiver.got.clear()
    for headers in (AFAR, {"Forwarded": "for=192.0.2.1"}, {"Via": "1.1 proxy"}, {"Host": "192.0.2.4"}):
        assert (await _submit(served, here, headers)).status_code == 422
    assert receiver.got == []


async def test_a_repository_s_server_cannot_send_git_elsewhere(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answer = lambda _: 404

    async def turn(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{receiver.url}{request.path_qs}"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", turn)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.2", 0).start()
    url = f"http://127.0.0.2:{runner.addresses[0][1]}/x.git"
    try:
        with pytest.raises(UnavailableError):
            await check_repository(url, inside=Inside.read(["127.0.0.2"]))
        assert receiver.got == []
        with pytest.raises(UnavailableError):
            await check_repository(url)
        assert receiver.got  # without the guard git follows
    finally:
        await runner.cleanup()


async def test_git_goes_to_the_address_that_was_looked_at(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only this process can resolve: git reaches it by the address that it is given."""
    receiver.answer = lambda _: 404
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "rebind.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = receiver.url.replace("127.0.0.1", "rebind.example").replace("/hook", "/x.git")
    with pytest.raises(UsageError, match="public internet"):
        await check_repository(url, inside=NOTHING)
    assert receiver.got == []
    with pytest.raises(UnavailableError):
        await check_repository(url, inside=Inside.read(["rebind.example"]))
    assert receiver.got[0].headers["Host"].startswith("rebind.example:")
    with pytest.raises(UnavailableError, match="no host"):
        await check_repository("https://nowhere.invalid/x.git", inside=NOTHING)


async def test_ssh_is_guarded_like_http() -> None:
    for repo in ("git@127.0.0.1:x.git", "ssh://git@[::1]/x.git", "git@localhost:x.git", "git@127.1:x"):
        with pytest.raises(UsageError, match=r"public internet|no host name"):
            await check_repository(repo, inside=NOTHING)
    with pytest.raises(UnavailableError):
        await check_repository("ssh://git@127.0.0.1:9/x.git", inside=Inside.read(["127.0.0.1"]))
