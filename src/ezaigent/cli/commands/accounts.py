"""``ezaigent user`` and ``ezaigent token``: who may use the HTTP API."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.output import ago, note, out, print_json, safe, table
from ezaigent.cli.person import person
from ezaigent.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ezaigent.api import Accounts

token = typer.Typer(no_args_is_help=True, help="Tokens with which programs use the API.")
user = typer.Typer(no_args_is_help=True, help="People who may sign in.")
app.add_typer(token, name="token", rich_help_panel="Access")
app.add_typer(user, name="user", rich_help_panel="Access")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HERE = "this machine"


class ScopeName(StrEnum):
    """What a token may do."""

    read = "read"
    operate = "operate"
    admin = "admin"


class RoleName(StrEnum):
    """What a person may do."""

    viewer = "viewer"
    operator = "operator"
    admin = "admin"


def _with_accounts(act: Callable[[Accounts], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        from ezaigent.wiring import Fleet, accounts

        async with Fleet.connect(settings=settings()) as fleet:
            return await act(accounts(fleet))

    return run(work())


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for, such as ci.")],
    scope: Annotated[ScopeName, typer.Option(help="What it may do.")] = ScopeName.read,
    days: Annotated[float | None, typer.Option(help="Days until it ends; default: when it is revoked.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token; it is shown this once."""
    wanted: Literal["read", "operate", "admin"] = scope.value
    view, text = _with_accounts(
        lambda accounts: accounts.create_token(name, wanted, owner=None, days=days, by=person(), address=_HERE)
    )
    if as_json:
        print_json({**view.model_dump(mode="json"), "token": text})
    else:
        out.print(text, soft_wrap=True)
        note("keep it now: it is not shown again; send it as Authorization: Bearer TOKEN")


@token.command("list")
def list_tokens(as_json: Json = False) -> None:
    """List tokens, without their secrets."""
    views = _with_accounts(lambda accounts: accounts.tokens())
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views]})
    elif not views:
        note("no tokens; make one with: ezaigent token create NAME")
    else:
        rows = [(one.id, one.name, one.scope, one.owner or "", ago(one.created_at), ago(one.used_at)) for one in views]
        out.print(table(("id", "name", "scope", "owner", "made", "used"), rows))


@token.command("revoke")
def revoke_token(key: Annotated[str, typer.Argument(help="Id or name of the token.", metavar="TOKEN")]) -> None:
    """Revoke a token at once."""
    _with_accounts(lambda accounts: accounts.revoke(key, owner=None, by=person(), address=_HERE))
    out.print(f"{safe(key)} is revoked")


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Name to sign in with.")],
    role: Annotated[RoleName, typer.Option(help="What the person may do.")] = RoleName.admin,
    from_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, not from the terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a person in."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise UsageError("no terminal to ask for the password; give it with --password-stdin")
    wanted: Literal["viewer", "operator", "admin"] = role.value
    view = _with_accounts(lambda accounts: accounts.add_user(name, password, wanted, by=person(), address=_HERE))
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        out.print(f"{safe(view.name)} may sign in as {view.role}")


@user.command("list")
def list_users(as_json: Json = False) -> None:
    """List the people who may sign in."""
    views = _with_accounts(lambda accounts: accounts.users())
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views]})
    elif not views:
        note("no users; make one with: ezaigent user add NAME")
    else:
        out.print(table(("name", "role", "made"), [(one.name, one.role, ago(one.created_at)) for one in views]))


@user.command("remove")
def remove_user(name: Annotated[str, typer.Argument(help="Name of the person.")]) -> None:
    """Remove a person, with every session and token."""
    _with_accounts(lambda accounts: accounts.remove_user(name, by=person(), address=_HERE, keep_admin=False))
    out.print(f"{safe(name)} is removed")
