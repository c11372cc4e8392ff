"""What the HTTP API takes and gives. What the rooms below call their own views is given as it is."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ezaigent.core.described import described
from ezaigent.core.events import Event
from ezaigent.costs import Totals
from ezaigent.fleet import AgentView, TaskView

T = TypeVar("T")

PriorityName = Literal["critical", "high", "normal", "low"]
StateName = Literal["waiting", "queued", "running", "review", "done", "blocked", "failed", "cancelled"]


def storable(text: str) -> str:
    """Return ``text``. Raises ``ValueError`` where no database would take it."""
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("text must not contain NUL or half characters")
    return text


Text = Annotated[str, AfterValidator(storable)]
Line = Annotated[Text, Field(min_length=1, max_length=4096)]


class Given(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=described)


class Shown(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(json_schema_extra=described)


class Page(Shown, Generic[T]):
    """Part of a long list."""

    items: list[T]
    next: str | None = Field(
        None, description="Give it as `cursor` to go on; null at the end. A page may be short, even empty, before that."
    )


class Listing(Shown, Generic[T]):
    """A whole list."""

    items: list[T]


# ---------------------------------------------------------------------------------------------- tasks


class TaskDraft(Given):
    """Work to be queued."""

    prompt: Annotated[Text, Field(min_length=1, max_length=200_000)]
    """What is to be done."""
    repo: Line
    """Path on the server or URL (https, ssh, file) of the repository."""
    base: Line | None = None
    """Branch, tag or commit to start from; left out: the repository's default branch."""
    title: Annotated[Text, Field(max_length=500)] = ""
    """One line for people; left out: the start of the prompt."""
    profile: Line | None = None
    """Kind of agent that must do it; left out: any that takes general work."""
    priority: PriorityName = "normal"
    needs: Annotated[list[Line], Field(max_length=1000)] = []
    """Ids of tasks whose changes this one starts from."""
    scope: Annotated[list[Line], Field(max_length=1000)] = []
    """Globs of the files that the change may touch; empty: all."""
    checks: Annotated[list[Line], Field(max_length=100)] = []
    """Commands that must exit with 0 on the finished tree."""
    budget_usd: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    """Hard cap over all attempts; left out: the configured default."""
    not_before: Annotated[float, Field(ge=0, le=1e11)] | None = None
    """Seconds since 1970 before which no agent may start."""
    max_attempts: Annotated[int, Field(gt=0, le=1000)] | None = None


class TaskEdit(Given):
    """What to change of a task that no agent works on; what is left out stays."""

    title: Annotated[Text, Field(min_length=1, max_length=500)] | None = None
    prompt: Annotated[Text, Field(min_length=1, max_length=200_000)] | None = None
    priority: PriorityName | None = None


class LineComment(Given):
    """What a person says about one line of a change."""

    path: Line
    line: Annotated[int, Field(ge=1)]
    side: Literal["old", "new"] = "new"
    """Whether the line's number is the one before the change or after it."""
    code: Annotated[Text, Field(max_length=2000)] = ""
    """The line itself, so that the agent finds it however the numbers have moved."""
    text: Annotated[Text, Field(min_length=1, max_length=10_000)]


class Feedback(Given):
    """Comments on a change in review: all of them at once."""

    comments: Annotated[list[LineComment], Field(max_length=500)] = []
    text: Annotated[Text, Field(max_length=10_000)] = ""
    """What concerns the change as a whole."""

    @model_validator(mode="after")
    def _says_something(self) -> Feedback:
        if not self.comments and not self.text.strip():
            raise ValueError("nothing is said: give comments, or a text")
        return self

    def worded(self, by: str) -> str:
        """Return it as the agent is told it."""
        parts = [f"This is what {by} says about your change."]
        for one in self.comments:
            when = "before" if one.side == "old" else "after"
            code = one.code.strip().replace("`", "'")[:200]
            where = f"This is about `{one.path}`, line {one.line} {when} the change"
            parts += [f"{where}, `{code}`:" if code else f"{where}:", one.text.strip()]
        return "\n\n".join([*parts, *([self.text.strip()] if self.text.strip() else [])])


class TaskItem(Shown):
    """A task in a list: all but its prompt."""

    id: str
    state: StateName
    title: str
    repo: str
    base: str | None
    priority: PriorityName
    needs: tuple[str, ...]
    profile: str | None
    agent: str | None
    branch: str | None
    commit: str | None
    reason: str
    attempts: int
    steps: int
    checks_ok: int
    checks_failed: int
    tokens: int
    """In and out so far, cached ones included."""
    cost_usd: float | None
    """USD spent so far; null when the price of a call is unknown."""
    budget_usd: float | None
    created_at: float
    """This and all times: seconds since 1970."""
    started_at: float | None
    finished_at: float | None
    seconds: float | None
    """From the first claim to the end."""

    @classmethod
    def of(cls, view: TaskView) -> TaskItem:
        """Leave out what a list does not show."""
        passed = sum(check.ok for check in view.checks)
        return cls.model_construct(
            **{name: getattr(view, name) for name in cls.model_fields if name in TaskView.model_fields},
            checks_ok=passed,
            tokens=view.usage.input_tokens + view.usage.output_tokens,
            checks_failed=len(view.checks) - passed,
        )


class TaskPage(Page[TaskItem]):
    """Tasks, newest first."""


class Why(Shown):
    """What a task waits for, or what became of it."""

    why: str


class Diff(Shown):
    """A change as a patch. Text of a repository and of a model: show it, never interpret it."""

    diff: str


class LogPage(Shown):
    """Events of one task."""

    items: list[Event]
    next: int | None = None
    """Give it as ``after`` to go on; null at the end so far."""


# ---------------------------------------------------------------------------------------------- agents, costs


class AgentList(Listing[AgentView]):
    """All agents."""


class Steered(Shown):
    """The agents that a request reached."""

    agents: list[str]


class AgentMessage(Given):
    """Words for an agent, delivered before its next model request."""

    text: Annotated[Text, Field(min_length=1, max_length=20_000)]


class CostItem(Shown):
    """What some calls used and cost."""

    name: str
    """Task id, repository, agent, profile, ``provider:model``, UTC day or hour, or ``all``."""
    calls: int
    input_tokens: int
    """Cached ones included."""
    cache_read_tokens: int
    output_tokens: int
    """Reasoning included."""
    cost_usd: float
    """Sum of the known prices: a lower bound while ``unknown_calls`` is not 0."""
    unknown_calls: int
    """Calls whose price is unknown."""

    @classmethod
    def of(cls, name: str, totals: Totals) -> CostItem:
        """Name the sums."""
        return cls(
            name=name,
            calls=totals.calls,
            input_tokens=totals.input_tokens,
            cache_read_tokens=totals.cache_read_tokens,
            output_tokens=totals.output_tokens,
            cost_usd=totals.cost_nusd / 1e9,
            unknown_calls=totals.unknown_calls,
        )


class Costs(Shown):
    """Spending in a span of time."""

    total: CostItem
    items: list[CostItem]
    day_limit_usd: float | None
    """The cap for the whole fleet in one UTC day; null without one."""
    day_spent_usd: float | None = None
    """What counts as spent against it today; null without a cap, and before the first call under it."""
    day_held_usd: float | None = None
    """What is held against it for calls that are open, or were lost."""


# ---------------------------------------------------------------------------------------------- accounts


class Credentials(Given):
    """A person's name and password."""

    name: Annotated[Text, Field(min_length=1, max_length=64)]
    password: Annotated[str, Field(min_length=1, max_length=1024)]


class Setup(Credentials):
    """The first administrator."""

    token: Annotated[str, Field(min_length=1, max_length=200)]
    """From the setup link."""


class Ways(Shown):
    """How people can sign in."""

    oidc: str | None
    """What the OpenID provider is called, to which ``/api/v1/session/oidc/start`` leads; null without one."""


class Whoami(Shown):
    """The caller."""

    name: str
    access: Literal["read", "operate", "admin"]
    via: Literal["session", "token"]
    csrf: str | None
    """Send it as ``X-CSRF-Token`` with every change; null where the credential is no cookie."""


class UserView(Shown):
    """A person who may sign in."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    created_at: float


class UserList(Listing[UserView]):
    """All people who may sign in."""


class NewUser(Credentials):
    """A person to let in."""

    role: Literal["viewer", "operator", "admin"] = "viewer"


class TokenView(Shown):
    """A program's key, without its secret."""

    id: str
    name: str
    scope: Literal["read", "operate", "admin"]
    owner: str | None
    """The user who made it, and whose role bounds it; null where it was made on the machine itself."""
    created_at: float
    expires_at: float | None
    used_at: float | None
    """Last use, to the minute."""


class TokenList(Listing[TokenView]):
    """Tokens."""


class NewToken(Given):
    """A key to be made."""

    name: Annotated[Text, Field(min_length=1, max_length=64)]
    scope: Literal["read", "operate", "admin"] = "read"
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """Life; left out: until it is revoked."""


class CreatedToken(TokenView):
    """A key with its secret, shown this once."""

    token: str


class Health(Shown):
    """Whether the process lives, or can work."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, Literal["ok", "unavailable"]] = {}


class Problem(Shown):
    """An error as RFC 9457 describes it."""

    type: str
    """What kind of error, for programs: ``urn:ezaigent:problem:…``."""
    title: str
    status: int
    detail: str
    """One line: what, which value, what next."""
    request: str
    """Id of the request, also in ``X-Request-ID`` and in audit events."""
    errors: list[dict[str, Any]] | None = None
    """For a body or parameter that is wrong: where, and why."""
