"""``ezaigent webhook``: other programs that are told what happens."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaigent.cli.app import EXIT_FAILED, app, run, settings
from ezaigent.cli.output import ago, duration, note, out, print_json, safe, table
from ezaigent.cli.person import person

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ezaigent.hooks import Webhooks

webhook = typer.Typer(no_args_is_help=True, help="Programs that are told what happens, by signed HTTP requests.")
app.add_typer(webhook, name="webhook", rich_help_panel="Access")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[str, typer.Argument(help="Id of the webhook, or a unique beginning of it.", metavar="WEBHOOK")]


class StateName(StrEnum):
    """Where a delivery is."""

    pending = "pending"
    sent = "sent"
    dead = "dead"


def _with_webhooks(act: Callable[[Webhooks], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        from ezaigent.wiring import Fleet, webhooks

        async with Fleet.connect(settings=settings()) as fleet:
            return await act(webhooks(fleet.services))

    return run(work())


@webhook.command("add")
def add_webhook(
    url: Annotated[str, typer.Argument(help="Where to send to: http or https.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="Kind of events, such as task.review, or task. for all; repeatable.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Do not send yet; switch it on with: webhook on.")] = False,
    as_json: Json = False,
) -> None:
    """Add a target for what happens from now on; its secret is shown this once."""
    made, secret = _with_webhooks(lambda hooks: hooks.add(url, kinds=kind or [], enabled=not off, by=person()))
    if as_json:
        print_json({**made.model_dump(mode="json"), "secret": secret})
    else:
        out.print(secret, soft_wrap=True)
        note(f"keep it now: it is not shown again; webhook {made.id} sends while ezaigent up runs")


@webhook.command("list")
def list_webhooks(as_json: Json = False) -> None:
    """List the targets, without their secrets."""
    views = _with_webhooks(lambda hooks: hooks.all())
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views]})
    elif not views:
        note("no webhooks; add one with: ezaigent webhook add URL")
    else:
        rows = [
            (one.id, "on" if one.enabled else "off", one.pending, one.dead, ", ".join(one.kinds) or "all", one.url)
            for one in views
        ]
        out.print(table(("id", "", "#waiting", "#dead", "kinds", "title"), rows))
        for one in views:
            if one.error:
                note(f"{one.id}: {one.error}")


@webhook.command("remove")
def remove_webhook(key: Key) -> None:
    """Remove a target; what was still to be sent to it is dropped."""
    removed = _with_webhooks(lambda hooks: hooks.remove(key, by=person()))
    out.print(f"{safe(removed.id)} is removed")


@webhook.command("on")
def switch_on(key: Key) -> None:
    """Send again, what happens from now on."""
    view = _with_webhooks(lambda hooks: hooks.change(key, enabled=True, by=person()))
    out.print(f"{safe(view.id)} is on")


@webhook.command("off")
def switch_off(key: Key) -> None:
    """Send nothing; what happens meanwhile is not sent later."""
    view = _with_webhooks(lambda hooks: hooks.change(key, enabled=False, by=person()))
    out.print(f"{safe(view.id)} is off")


@webhook.command("test")
def try_webhook(key: Key, as_json: Json = False) -> None:
    """Send a test message now and say how it was taken."""
    trial = _with_webhooks(lambda hooks: hooks.trial(key))
    if as_json:
        print_json(trial.model_dump(mode="json"))
    elif trial.ok:
        out.print(f"taken with {trial.status} after {duration(trial.seconds)}")
    else:
        out.print(f"not taken: {safe(trial.error)}")
    if not trial.ok:
        raise typer.Exit(EXIT_FAILED)


@webhook.command("deliveries")
def list_deliveries(
    key: Key,
    state: Annotated[StateName | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List what was sent, what waits for its next attempt, and what was given up (dead)."""
    wanted = None if state is None else state.value
    found = _with_webhooks(lambda hooks: hooks.deliveries(key, state=wanted, limit=limit))
    if as_json:
        print_json({"items": [one.model_dump(mode="json") for one in found]})
    elif not found:
        note("no deliveries")
    else:
        rows = [
            (one.id, one.seq, one.kind, one.state, one.attempts, one.status or "", ago(one.updated_at), one.error)
            for one in found
        ]
        out.print(table(("id", "#event", "kind", "state", "#tries", "status", "last", "title"), rows))


@webhook.command("retry")
def retry_deliveries(
    key: Key,
    delivery: Annotated[str | None, typer.Argument(help="Id of one delivery; default: all that failed.")] = None,
) -> None:
    """Send again what failed, with fresh attempts."""
    count = _with_webhooks(lambda hooks: hooks.retry(key, delivery))
    out.print(f"{count} {'delivery is' if count == 1 else 'deliveries are'} sent again")
