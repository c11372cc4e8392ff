"""Users, sessions, tokens and the set-up link on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.conftest import PASSWORD

from ezaigent.api import Accounts
from ezaigent.api.access import Access
from ezaigent.api.throttle import Buckets, SignIns
from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.store import Database, EventLog, Sql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres_database"))
    opened = await Database.open(url)
    yield opened
    await opened.close()


HERE = {"by": "test", "address": "here"}


async def test_a_person_comes_in_and_goes(db: Database) -> None:
    accounts = Accounts(db)
    assert not await accounts.any_credential()
    made = await accounts.add_user("anna", PASSWORD, "operator", **HERE)
    assert [made] == await accounts.users()
    with pytest.raises(ConflictError, match="user 'anna' already"):
        await accounts.add_user("anna", PASSWORD, "viewer", **HERE)
    for name, password in (("An na", PASSWORD), ("ben", "short"), ("ben", "x" * 1025)):
        with pytest.raises(UsageError):
            await accounts.add_user(name, password, "viewer", **HERE)
    assert await accounts.sign_in("anna", "wrong password", hours=1, address="here") is None
    assert await accounts.sign_in("nobody", PASSWORD, hours=1, address="here") is None
    assert await accounts.sign_in("anna", "x" * 2000, hours=1, address="here") is None
    secret = await accounts.sign_in("anna", PASSWORD, hours=1, address="here")
    assert secret is not None
    caller = await accounts.by_session(secret)
    assert caller is not None
    assert (caller.name, caller.access) == ("anna", Access.OPERATE)
    await accounts.sign_out(caller.key)
    assert await accounts.by_session(secret) is None
    old = await accounts.sign_in("anna", PASSWORD, hours=-1, address="here")
    assert old is not None
    assert await accounts.by_session(old) is None
    kinds = [event.kind for event in await EventLog(db).read(0)]
    assert kinds == ["audit.credential", *["audit.login_failed"] * 3, *["audit.login"] * 2]


async def test_the_last_administrator_stays(db: Database) -> None:
    accounts = Accounts(db)
    await accounts.add_user("anna", PASSWORD, "admin", **HERE)
    await accounts.add_user("ben", PASSWORD, "viewer", **HERE)
    with pytest.raises(ConflictError, match="last administrator"):
        await accounts.remove_user("anna", by="test", address="here")
    with pytest.raises(NotFoundError):
        await accounts.remove_user("nobody", by="test", address="here")
    await accounts.remove_user("ben", by="test", address="here")
    await accounts.remove_user("anna", by="test", address="here", keep_admin=False)
    assert await accounts.users() == []


async def test_tokens(db: Database) -> None:
    accounts = Accounts(db)
    await accounts.add_user("anna", PASSWORD, "operator", **HERE)
    mine, text = await accounts.create_token("mine", "admin", owner="anna", days=1, **HERE)
    _, other = await accounts.create_token("other", "admin", owner=None, days=None, **HERE)
    caller = await accounts.by_token(text)
    assert caller is not None
    assert (caller.access, caller.user) == (Access.OPERATE, "anna")  # not more than its owner
    await accounts.settled()
    listed = {view.name: view for view in await accounts.tokens()}
    assert listed["mine"].used_at is not None
    assert listed["other"].used_at is None
    assert [view.id for view in await accounts.tokens("anna")] == [mine.id]
    assert await accounts.by_token(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert await accounts.by_token("eza_short") is None
    await db.write(lambda conn: Sql("UPDATE tokens SET expires_at = 1 WHERE id = $1").run(conn, mine.id))
    assert await accounts.by_token(text) is None
    with pytest.raises(NotFoundError):
        await accounts.revoke("other", owner="anna", **HERE)
    await accounts.create_token("other", "read", owner=None, days=None, **HERE)
    with pytest.raises(ConflictError, match="2 tokens are named"):
        await accounts.revoke("other", owner=None, **HERE)
    await accounts.remove_user("anna", by="test", address="here")
    assert {view.name for view in await accounts.tokens()} == {"other"}
    assert (await accounts.by_token(other)) is not None
    with pytest.raises(UsageError):
        await accounts.create_token("never", "read", owner=None, days=0, **HERE)


async def test_tokens_of_one_name_are_callers_of_their_own_for_each_person(db: Database) -> None:
    accounts = Accounts(db)
    names: list[str] = []
    for owner in ("anna", "ben", None):
        if owner is not None:
            await accounts.add_user(owner, PASSWORD, "operator", **HERE)
        _, text = await accounts.create_token("ci", "operate", owner=owner, days=None, **HERE)
        caller = await accounts.by_token(text)
        assert caller is not None
        names.append(caller.name)
    assert names == ["token ci of anna", "token ci of ben", "token ci"]


async def test_the_set_up_link_works_once_and_only_the_newest(db: Database) -> None:
    accounts = Accounts(db)
    first = await accounts.setup_secret()
    second = await accounts.setup_secret()
    assert first is not None
    assert second is not None
    assert await accounts.by_token(second) is None  # it opens nothing but the set-up
    assert await accounts.set_up(first, "eve", PASSWORD, hours=1, address="here") is None
    assert await accounts.set_up("nonsense", "eve", PASSWORD, hours=1, address="here") is None
    with pytest.raises(UsageError):
        await accounts.set_up(second, "anna", "short", hours=1, address="here")
    secret = await accounts.set_up(second, "anna", PASSWORD, hours=1, address="here")
    assert secret is not None
    assert await accounts.set_up(second, "eve", PASSWORD, hours=1, address="here") is None
    assert await accounts.setup_secret() is None
    assert [user.name for user in await accounts.users()] == ["anna"]


def test_buckets_fill_again_and_forget_the_oldest() -> None:
    clock = [0.0]
    buckets = Buckets(2.0, 4.0, lambda: clock[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    clock[0] = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(0.5)
    for number in range(20_000):
        buckets.take(str(number))
    assert buckets.take("a") == 0  # forgotten: full again


def test_wrong_passwords_wait_twice_as_long_each_time() -> None:
    clock = [0.0]
    tries = SignIns(lambda: clock[0])
    for _ in range(5):
        assert tries.wait("there", "anna") == 0
        tries.failed("there", "anna")
    waits: list[float] = []
    for _ in range(4):
        waits.append(tries.wait("there", "anna"))
        tries.failed("there", "anna")
    assert waits == [1, 2, 4, 8]
    assert tries.wait("elsewhere", "anna") == 0
    assert tries.wait("there", "ben") == 0
    for number in range(50):
        tries.failed("there", str(number))
    assert tries.wait("there", "yet another") > 0
    clock[0] = 10_000
    assert tries.wait("there", "anna") == 0
    tries.failed("there", "anna")
    assert tries.wait("there", "anna") == 0


def test_guesses_out_of_one_ipv6_network_are_counted_as_those_of_one() -> None:
    """Whoever has a machine with IPv6 has 2**64 addresses."""
    tries = SignIns(lambda: 0.0)
    for number in range(5):
        tries.failed(f"2001:db8::{number:x}:1", "anna")
    assert tries.wait("2001:db8::ffff", "anna") == 1
    assert tries.wait("2001:db8:0:1::1", "anna") == 0
    for number in range(5):
        tries.failed("::ffff:203.0.113.7" if number % 2 else "203.0.113.7", "anna")
    assert tries.wait("203.0.113.7", "anna") == 1
    assert tries.wait("::ffff:203.0.113.8", "anna") == 0
    assert tries.wait("fe80::1%eth0", "anna") == tries.wait("unknown", "anna") == 0


def test_good_passwords_never_make_an_address_wait() -> None:
    """Seven people behind one address, as behind a proxy or at an office: each try is counted before it is known."""
    clock = [0.0]
    tries = SignIns(lambda: clock[0])
    tries.failed("there", "mistyped")
    for number in range(60):
        clock[0] += 60
        assert tries.wait("there", f"person {number % 7}") == 0
        tried = tries.failed("there", f"person {number % 7}")
        tries.succeeded("there", f"person {number % 7}", tried)
    clock[0] = 3601  # an hour after the one wrong try, which the good ones have not kept fresh
    for number in range(50):
        assert tries.wait("there", f"stranger {number}") == 0
        tries.failed("there", f"stranger {number}")
    assert tries.wait("there", "one more") == 1


def test_a_good_password_takes_back_no_guess_at_those_of_others() -> None:
    clock = [0.0]
    tries = SignIns(lambda: clock[0])
    waits: list[float] = []
    for number in range(70):
        tries.failed("there", f"victim {number}")
        clock[0] += (waited := tries.wait("there", "attacker"))
        waits.append(waited)
        tries.succeeded("there", "attacker", tries.failed("there", "attacker"))
    assert waits == [0] * 49 + [min(900, 2**number) for number in range(21)]


def test_many_passwords_at_once_are_counted_before_they_are_known() -> None:
    tries = SignIns(lambda: 0.0)
    begun = [tries.failed("there", str(number)) for number in range(50)]
    assert tries.wait("there", "one more") == 1
    for number, tried in enumerate(begun[:2]):
        tries.succeeded("there", str(number), tried)
    assert tries.wait("there", "one more") == 0
