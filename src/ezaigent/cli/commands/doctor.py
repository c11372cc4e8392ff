"""``ezaigent doctor``: what is missing, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import EXIT_UNAVAILABLE, app, run, settings
from ezaigent.cli.output import out, print_json, safe

if TYPE_CHECKING:
    from ezaigent.wiring import Finding

_SIGN = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "missing": "[bold red]✗[/]"}


@app.command(rich_help_panel="Run")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine has and what is missing."""
    findings = run(_examine(quiet=as_json))
    if as_json:
        print_json({"items": [finding.model_dump(mode="json") for finding in findings]})
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(EXIT_UNAVAILABLE)


async def _examine(*, quiet: bool) -> list[Finding]:
    from ezaigent.wiring import examine

    findings: list[Finding] = []
    async for finding in examine(settings()):
        findings.append(finding)
        if not quiet:
            advice = f"  [dim]→ {safe(finding.advice)}[/]" if finding.advice else ""
            out.print(f"{_SIGN[finding.status]} {finding.name:<14} {safe(finding.detail)}{advice}", soft_wrap=True)
    return findings
