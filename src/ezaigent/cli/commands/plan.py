"""``ezaigent plan``: a document becomes a task graph to edit; an edited one is queued all at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.output import note, out, print_json, safe, table

if TYPE_CHECKING:
    from ezaigent.chat import Draft, Plan
    from ezaigent.tasks import Task


@app.command(rich_help_panel="Work")
def plan(
    file: Annotated[Path, typer.Argument(help="Text or Markdown to read, or a plan as TOML; - reads standard input.")],
    repo: Annotated[
        str | None, typer.Option(help="Repository of the tasks, path or URL.", metavar="PATH_OR_URL")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the plan as TOML, to be edited.", metavar="FILE")
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Queue all tasks, or none where one is wrong.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Let the model of this profile read the document.", metavar="PROFILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn requirements into a task graph; look at it, edit it, queue it."""
    from ezaigent.cli.asking import absolute
    from ezaigent.cli.commands.chat import repository_here
    from ezaigent.core.errors import UsageError

    made, key, notes = _read(file, repo, model)
    if out_file is not None:
        from ezaigent.chat import write_plan

        try:
            out_file.write_text(write_plan(made, notes=notes, name=out_file.name), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{str(out_file)!r} cannot be written: {error.strerror}") from None
    queued: list[Task] = []
    if submit:
        where = repo or made.repo or repository_here()
        if where is None:
            raise UsageError("the plan names no repository; add --repo PATH_OR_URL")
        queued = run(_submit(made.model_copy(update={"repo": absolute(where)}), key))
    if as_json:
        print_json({**made.model_dump(mode="json"), "notes": notes, "queued": [task.id for task in queued]})
        return
    _show(made, queued)
    for one in notes:
        note(f"note: {one}")
    if out_file is not None:
        note(f"written to {out_file}; queue it with: ezaigent plan --submit {out_file}")
    elif not submit:
        note("nothing is queued; edit it with --out plan.toml, or queue it as it is with --submit")


def _read(file: Path, repo: str | None, model: str | None) -> tuple[Plan, str | None, tuple[str, ...]]:
    """Return the plan, its key where it is a plan's file, and what could not be read."""
    import sys

    from ezaigent.chat import read_plan
    from ezaigent.core.errors import UsageError

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{str(file)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(file)!r} is no UTF-8 text") from None
    if file.suffix == ".toml":
        return *read_plan(text), ()
    drafted = run(_draft(text, repo, model))
    return drafted.plan, None, drafted.notes


async def _draft(text: str, repo: str | None, model: str | None) -> Draft:
    from ezaigent.wiring import Fleet, draft

    if model is None:
        return await draft(text, settings(), repo=repo)
    async with Fleet.connect(settings=settings()) as fleet:  # whose budget the model draws on
        return await draft(text, fleet.settings, repo=repo, profile=model, costs=fleet.services.costs)


async def _submit(made: Plan, key: str | None) -> list[Task]:
    from ezaigent.cli.person import person
    from ezaigent.wiring import Fleet, submit_plan

    async with Fleet.connect(settings=settings()) as fleet:
        return await submit_plan(made, fleet.services, key=key, by=person())


def _show(made: Plan, queued: list[Task]) -> None:
    """Print the tasks in the order in which they can be done, each below those that it needs."""
    ids = {task.name: one.id for task, one in zip(made.tasks, queued, strict=False)}
    order = {task.name: place for place, task in enumerate(made.ordered(), 1)}
    depth: dict[str, int] = {}
    rows: list[tuple[object, ...]] = []
    for task in made.ordered():
        depth[task.name] = 1 + max((depth[need] for need in task.needs), default=-1)
        rows.append(
            (
                order[task.name],
                *((ids[task.name],) if ids else ()),
                "  " * depth[task.name] + (task.title or task.prompt.split("\n", 1)[0]),
                ", ".join(str(order[need]) for need in task.needs),
                task.profile or "any",
                task.priority,
                len(task.checks),
            )
        )
    if made.title:
        out.print(f"[bold]{safe(made.title)}[/]{f'  in {safe(made.repo)}' if made.repo else ''}")
    columns = ("#", *(("task",) if ids else ()), "title", "needs", "profile", "priority", "#checks")
    out.print(table(columns, rows))
