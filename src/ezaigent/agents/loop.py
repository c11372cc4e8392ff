"""One run, read aloud: let the agent work, check what it made, send failures back, until all is well.

What a person says about work that is well sends it back, too: the agent goes on where it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import TypeAdapter
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ContentFilterError, UnexpectedModelBehavior
from pydantic_ai.usage import UsageLimits
from pydantic_ai_harness.planning import InMemoryPlanStore
from pydantic_ai_harness.repair_tool_arguments import RepairToolArguments
from pydantic_ai_harness.repo_context import RepoContext

from ezaigent.agents.compaction import compaction
from ezaigent.agents.deps import Deps
from ezaigent.agents.durability import AGENT_NAME, JournalDurability, JournaledModel
from ezaigent.agents.files import TreeFiles
from ezaigent.agents.instructions import CONTINUED, check_feedback, instructions, opening
from ezaigent.agents.journal import Finished, RunJournal
from ezaigent.agents.models import Job, Outcome
from ezaigent.agents.planning import PLAN_GUIDE
from ezaigent.agents.steering import FEEDBACK_STEP, Steering, worded
from ezaigent.agents.toolbox import TOOLBOX
from ezaigent.core.change import CheckResult
from ezaigent.core.errors import RunError
from ezaigent.core.failpoints import reach

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import Model

CHECK_STEP: Final = "run__checks"
"""Name of the step that runs the checks."""
_GUIDE_BYTES: Final = 100_000
"""Size above which a repository's guide to agents is left out: it would be sent with every request."""
_UNLIMITED: Final = UsageLimits(request_limit=None)
_checks = TypeAdapter(tuple[CheckResult, ...])


async def work(job: Job, journal: RunJournal, model: Model, secrets: frozenset[str] = frozenset()) -> Outcome:
    """Work the task to its end; ``secrets`` are told to nobody. Raises as ``Runtime.run``, and ``JournalMismatch``."""
    task = job.claim.task
    steering = Steering(journal, job.controls, max_steps=job.profile.max_steps)
    deps = Deps(job.workspace, TreeFiles(job.workspace.path), InMemoryPlanStore(), task.scope, secrets)
    agent = _agent(job, journal, model, steering, deps)
    # The mechanic takes its task by the word; what it should know is told to models only.
    notes = [] if job.profile.offline else [*job.workspace.notes, *([CONTINUED] if journal.restarted else [])]
    prompt, history = opening(task, notes=notes), None
    rounds = 0
    while True:
        summary, history = await _converse(agent, deps, prompt, history)
        checks, outside = await _check(job, journal)
        if not outside and all(check.ok for check in checks):
            letters = await steering.mail(FEEDBACK_STEP)
            if not letters:
                return Outcome(summary=summary, checks=checks, steps=journal.steps, checkpoint=journal.checkpoint)
            rounds = 0
            prompt = "\n\n".join(letter["text"] if job.profile.offline else worded(letter) for letter in letters)
            continue
        if rounds == job.check_rounds:
            raise RunError(_gave_up(checks, outside, rounds))
        rounds += 1
        prompt = check_feedback(checks, outside, task.scope)


class _Guides(RepoContext[Deps]):
    """The repository's guides, without listening to events: a listener would make every model call a stream."""

    @property
    def has_on_event(self) -> bool:
        return False


def _agent(job: Job, journal: RunJournal, model: Model, steering: Steering, deps: Deps) -> Agent[Deps, str]:
    profile = job.profile
    summariser = None if profile.offline else JournaledModel(model, journal, job.controls)
    capabilities: list[AbstractCapability[Deps]] = [
        steering,
        RepairToolArguments(),
        compaction(profile.context_window or model.context_window, summariser=summariser),
        JournalDurability(journal, job.controls, deps),
    ]
    guides = _guides(job.workspace.path)
    if guides:
        root = job.workspace.path
        capabilities.append(_Guides(workspace_dir=root, filenames=guides, expose_inventory_tool=False))
    return Agent(
        model,
        name=AGENT_NAME,
        deps_type=Deps,
        instructions=[instructions(profile), PLAN_GUIDE],
        toolsets=[TOOLBOX],
        capabilities=capabilities,
        # Wrong arguments are common and cheap to mend; going on with them for ever is what the stuck detector ends.
        retries={"tools": 8, "output": 4},
    )


async def _converse(
    agent: Agent[Deps, str], deps: Deps, prompt: str, history: list[ModelMessage] | None
) -> tuple[str, list[ModelMessage]]:
    """Let the agent work until it answers without a tool call; return its words and the history with them."""
    try:
        result = await agent.run(prompt, deps=deps, message_history=history, usage_limits=_UNLIMITED)
    except ContentFilterError as error:
        raise RunError(f"the provider's filter blocked the answer: {error.message}; reword the task") from error
    except UnexpectedModelBehavior as error:
        raise RunError(f"the model's answers could not be used: {error.message}; try another model") from error
    return result.output.strip(), result.all_messages()


async def _check(job: Job, journal: RunJournal) -> tuple[tuple[CheckResult, ...], list[str]]:
    """Run the task's checks on the tree, once for each time the agent finished; return them and stray files."""
    task = job.claim.task
    label = task.checks[0] if task.checks else "none"
    recorded = journal.recall(CHECK_STEP, "check", label)
    if recorded is None:
        await job.controls.gate()
        started = time.monotonic()
        checkpoint = await job.workspace.checkpoint("checks")
        with job.controls.progress.doing("checks", commands=len(task.checks)):
            checks = await job.workspace.check(task.checks) if task.checks else ()
        outside = await job.workspace.violations(task.scope) if task.scope else []
        reach("check.mid")
        recorded = orjson.dumps({"checks": _checks.dump_python(checks, mode="json"), "outside": outside})
        ok = not outside and all(check.ok for check in checks)
        done = Finished(recorded, label, {"ok": ok})
        await journal.append(CHECK_STEP, "check", done, started=started, checkpoint=checkpoint)
    found: dict[str, Any] = orjson.loads(recorded)
    return _checks.validate_python(found["checks"]), found["outside"]


def _gave_up(checks: tuple[CheckResult, ...], outside: list[str], rounds: int) -> str:
    failing = [check for check in checks if not check.ok]
    if failing:
        last = failing[0]
        return f"the check {last.command!r} still fails with exit code {last.exit_code} after {rounds} more tries"
    return f"the change still touches {outside[0]!r}, outside the task's scope, after {rounds} more tries"


def _guides(root: Path) -> list[str]:
    """Return the repository's guides to agents that may be read: not through a link out of the tree, not a pipe."""
    found: list[str] = []
    files = TreeFiles(root)
    for name in ("AGENTS.md", "CLAUDE.md"):
        inside = files.locate(name)
        if inside is not None and (root / inside).is_file() and (root / inside).stat().st_size <= _GUIDE_BYTES:
            found.append(name)
    return found
