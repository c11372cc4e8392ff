"""``ezaigent chat``: say something to the fleet or to one agent, once or in a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import EXIT_USAGE, app, run, settings
from ezaigent.cli.output import note, out, print_line, safe
from ezaigent.cli.person import person

if TYPE_CHECKING:
    from ezaigent.chat import Chat, ChatMessage, Reply


@app.command(rich_help_panel="Work")
def chat(
    message: Annotated[
        str | None, typer.Argument(help="What to say; left out: a conversation.", metavar="[MESSAGE]")
    ] = None,
    to: Annotated[str, typer.Option(help="An agent, or all for the fleet.", metavar="AGENT|all")] = "all",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do at once what would be asked for.")] = False,
    wait: Annotated[
        float | None, typer.Option(help="Seconds to wait for the agent's own answer.", metavar="SECONDS", min=0)
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="Only show the newest messages.", metavar="N", min=1, max=1000)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Talk to the fleet: /help lists the commands, or say it in a sentence."""
    from ezaigent.cli.conversation import converse

    if history is not None:
        run(_history(to, history, as_json=as_json))
    elif message is not None:
        reply = run(_once(message, to, yes=yes, wait=wait, as_json=as_json))
        if not reply.ok:
            raise typer.Exit(EXIT_USAGE)
    else:
        converse(to, as_json=as_json)


async def _history(to: str, count: int, *, as_json: bool) -> None:
    from ezaigent.wiring import Fleet, open_chat

    async with Fleet.connect(settings=settings()) as fleet:
        for one in await open_chat(fleet.services).history(to, limit=count):
            print_message(one, as_json=as_json)


async def _once(message: str, to: str, *, yes: bool, wait: float | None, as_json: bool) -> Reply:
    from ezaigent.wiring import Fleet, open_chat

    async with Fleet.connect(settings=settings()) as fleet:
        talk = open_chat(fleet.services, folder=Path.cwd())
        reply = await talk.say(message, by=person(), to=to, repo=repository_here())
        print_reply(reply, as_json=as_json)
        if reply.confirmation is not None and yes:
            reply = await talk.say(f"yes {reply.confirmation.token}", by=person(), to=to)
            print_reply(reply, as_json=as_json)
        if wait and reply.ok:
            await _answer(talk, reply, wait, as_json=as_json)
        return reply


async def _answer(talk: Chat, reply: Reply, seconds: float, *, as_json: bool) -> None:
    """Print what agents answer, until one has or the time is over."""
    import asyncio

    try:
        async with asyncio.timeout(seconds):
            while True:
                for one in await talk.history(reply.conversation, after=reply.id):
                    if one.role == "agent":
                        print_message(one, as_json=as_json)
                        return
                await asyncio.sleep(0.2)
    except TimeoutError:
        note(f"no answer within {seconds:.0f} s; it will be in: ezaigent chat --to {reply.conversation} --history 10")


def repository_here() -> str | None:
    """Return the repository that the current folder is in; None where it is in none."""
    here = Path.cwd()
    return next((str(folder) for folder in (here, *here.parents) if (folder / ".git").exists()), None)


def print_reply(reply: Reply, *, as_json: bool) -> None:
    """Print an answer of the fleet."""
    if as_json:
        print_line(reply.model_dump(mode="json"))
    else:
        out.print(safe(reply.text), style=None if reply.ok else "yellow", soft_wrap=True)


def print_message(message: ChatMessage, *, as_json: bool) -> None:
    """Print a message of a conversation."""
    if as_json:
        print_line(message.model_dump(mode="json"))
    else:
        style = {"person": "bold", "agent": "cyan", "fleet": "dim"}[message.role]
        out.print(f"[{style}]{safe(message.author)}[/]: {safe(message.text)}", soft_wrap=True)
