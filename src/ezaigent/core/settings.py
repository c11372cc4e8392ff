"""The settings as types: one model, each field with its meaning. Reading them is wiring's job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ezaigent.core.described import described
from ezaigent.core.launchers import LauncherKind
from ezaigent.core.scaling import ScalingSettings

Role: TypeAlias = Literal["viewer", "operator", "admin"]
"""What a person may: look; also submit and steer; also manage who gets in."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=described)


class KeySettings(_Section):
    """One of several keys of a provider: ``[[providers.openai.keys]]``. Each is an account with limits of its own."""

    api_key: SecretStr
    """The key. It is never shown: events name it by a few letters and digits that say nothing about it."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its share of the calls, beside the weights of the provider's other keys."""
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    """Requests that the account may make, for each model; left out: learned."""
    tokens_per_minute: Annotated[int, Field(gt=0)] | None = None
    """Tokens that the account may use, for each model; left out: learned."""


class ProviderSettings(_Section):
    """One model provider: ``[providers.openai]``."""

    base_url: str | None = None
    """Where the provider's API is; set it for a gateway, OpenRouter, Ollama, vLLM or a test server."""
    api_key: SecretStr | None = None
    """The key; usually left to the provider's own variable, such as ``OPENAI_API_KEY``."""
    api: Literal["chat", "responses"] | None = None
    """Which API a compatible server speaks; left out: ``responses`` at OpenAI itself, ``chat`` elsewhere."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that one model request may take, retries not counted."""
    keys: list[KeySettings] = []
    """Several keys, used by their weights in place of ``api_key``; one that is out of quota is left out."""
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    """Requests that each key may make, for each model; left out: learned from the answers."""
    tokens_per_minute: Annotated[int, Field(gt=0)] | None = None
    """Tokens that each key may use, for each model; left out: learned from the answers."""


class ProfileSettings(_Section):
    """A kind of agent: ``[profiles.claude]``. Fields left out keep the built-in profile's value."""

    model: str | None = None
    """Model as ``provider:name``, for example ``anthropic:claude-sonnet-4-5``."""
    fallbacks: list[str] | None = None
    """Models to go on with, in order, when the first is overloaded, out of quota or unpaid."""
    specialties: list[str] | None = None
    """What this profile is good at; shown, and told to the model."""
    instructions: str | None = None
    """Added to the agent's instructions."""
    max_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps (model requests and tool calls) before a run is stopped as stuck."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Output tokens that one model call may produce."""
    context_window: Annotated[int, Field(gt=0)] | None = None
    """Tokens that the model can hold, where the price table does not know it."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature; default: the provider's."""


class QueueSettings(_Section):
    """How tasks are claimed and tried again: ``[queue]``."""

    lease: Annotated[float, Field(ge=2)] = 30.0
    """Seconds after the last heartbeat before another worker may claim a running task."""
    poll: Annotated[float, Field(gt=0)] = 0.25
    """Seconds between looks at the store when no doorbell rings."""
    overlap: Literal["wait", "allow"] = "wait"
    """Whether a task that names nothing else waits for one of its repository and base that changes the same files.

    It is known by the scopes, or else guessed from the prompt. Read at the submit.
    """
    max_attempts: Annotated[int, Field(gt=0)] = 3
    """Attempts before a failing task becomes a dead letter."""
    backoff: Annotated[float, Field(ge=0)] = 2.0
    """Seconds before the second attempt; doubles each time, with jitter."""
    backoff_cap: Annotated[float, Field(ge=0)] = 300.0
    """Longest wait between attempts, in seconds."""
    max_crashes: Annotated[int, Field(gt=0)] = 2
    """Workers that may die under a task in a row, without a new step, before it runs in a process of its own.

    Where that dies, too, the task is poison and becomes a dead letter."""


class RecoverySettings(_Section):
    """When something counts as standing still: ``[recovery]``. What is done then is told by ``recovery.acted``."""

    step: Annotated[float, Field(gt=0)] = 900.0
    """Seconds without a finished step before a run is ended; a command's own time limit is added to it.

    Its task is resumed, then resumed on another worker, then by the profile's next model, then a dead letter.
    """
    model_call: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a model call may take with its retries, waits for quota and fallbacks, before the same is done."""
    look: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that a worker's look at the queue may take before it is given up and begun anew."""
    idle: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that a worker may claim nothing while a task waits that one of its idle agents could take.

    Then it begins to claim anew, three times at most; after that it ends, and its agents are left to other workers."""


class SandboxSettings(_Section):
    """Limits of every command of an agent and of every check: ``[sandbox]``."""

    level: Literal["auto", "bubblewrap", "landlock", "off"] = "auto"
    """``auto`` takes the strongest that works here and refuses to run without one; ``off`` is the operator's word."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds of wall time for one command."""
    memory: Annotated[int, Field(gt=0)] = 2 * 1024**3
    """Bytes of address space for each process of a command."""
    processes: Annotated[int, Field(gt=0)] = 256
    """Processes and threads that one command may have at a time."""
    file_size: Annotated[int, Field(gt=0)] = 512 * 1024**2
    """Bytes of the largest file that a command may write."""
    output: Annotated[int, Field(gt=0)] = 1024**2
    """Bytes of output kept from one command; the rest is dropped and said so."""
    readable: list[Path] = []
    """Further folders that commands may read, such as a shared toolchain."""
    network: bool = False
    """Whether commands may use the network. A model key is never inside either way."""


class WorkspaceSettings(_Section):
    """Where repositories and worktrees live: ``[workspaces]``."""

    max_disk: Annotated[int, Field(gt=0)] = 20 * 1024**3
    """Bytes that mirrors and worktrees may take together; a new worktree is refused above it."""
    keep_age: Annotated[float, Field(ge=0)] = 7 * 86400.0
    """Seconds that an ended task's worktree and hidden refs are kept."""
    keep_count: Annotated[int, Field(ge=0)] = 50
    """Worktrees of ended tasks kept at most."""
    publish: bool = True
    """Whether the finished branch is handed back to the repository it came from."""


class FleetSettings(_Section):
    """How many agents of which kind: ``[fleet]``."""

    pools: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Agents by profile, for example ``{claude = 2, mechanic = 1}``; empty: what the keys at hand allow."""
    drain: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that running tasks may go on after a stop was asked for; then they are checkpointed and requeued."""
    check_rounds: Annotated[int, Field(ge=0)] = 3
    """Times that failing checks go back to the agent before the attempt fails."""


class LauncherSettings(_Section):
    """Where the workers run that host the agents: ``[launcher]``."""

    kind: LauncherKind = "inline"
    """``inline``: in this process. ``process``: child processes of it. The others need PostgreSQL."""
    room: Annotated[int, Field(gt=0)] = 50
    """Agents that one worker hosts at most; not for ``inline``."""
    max_workers: Annotated[int, Field(gt=0)] = 100
    """Workers that are started at most."""
    startup: Annotated[float, Field(gt=0)] = 15.0
    """Seconds that the start of a worker usually takes, until some were measured; after three times that a worker
    that is not ready is replaced."""
    idle: Annotated[float, Field(ge=0)] = 60.0
    """Seconds before a worker without agents is stopped."""
    docker_url: str = "unix:///var/run/docker.sock"
    """Where the Docker Engine answers: ``unix:///path`` or ``http://host:port``."""
    image: str = "ezaigent:latest"
    """Image of the containers; ``ezaigent`` is its entry point (``docker``)."""
    network: str | None = None
    """Network of the containers, on which they reach the database; left out: Docker's default."""
    volumes: list[str] = []
    """Folders for the containers, as ``/here:/there``; repositories given by path must be in one."""
    environment: dict[str, SecretStr] = {}
    """Variables for the containers, beside this process's ``EZAIGENT_`` variables and provider keys (``docker``)."""
    kubernetes_url: str | None = None
    """Where the Kubernetes API answers; left out: the cluster that this process runs in."""
    kubernetes_token: SecretStr | None = None
    """Token for it; left out: the token of the pod's service account, read anew for each call."""
    kubernetes_ca: Path | None = None
    """File of the certificate authority of the API; left out: that of the pod's service account."""
    namespace: str | None = None
    """Namespace of the Deployment; left out: the pod's own."""
    deployment: str = "ezaigent-worker"
    """Deployment whose replicas are workers (``kubernetes``)."""


class CostSettings(_Section):
    """Limits on spending: ``[costs]``."""

    task_budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Cap in USD for a task that names none."""
    daily_budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Cap in USD for the whole fleet in one UTC day."""
    unknown_price: Literal["allow", "refuse"] = "refuse"
    """Whether a task with a budget may use a model whose price is unknown."""


class ServerSettings(_Section):
    """The HTTP API of ``ezaigent up``: ``[server]``."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own is refused until a user or a token exists."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    """Port to listen on; 0 takes a free one."""
    names: list[str] = []
    """Host names under which people reach the server, beside localhost and plain IP addresses, which always work."""
    proxies: list[str] = []
    """Addresses and networks (``172.18.0.0/16``) of proxies before the server. Only what they say of who asks, in
    ``X-Forwarded-For`` and ``X-Forwarded-Proto``, is believed, and who comes from there is never taken for somebody on
    this machine."""
    session_hours: Annotated[float, Field(gt=0)] = 168.0
    """Hours until a person must sign in again."""
    rate: Annotated[float, Field(gt=0)] = 100.0
    """Requests a second that one user or token may make, in the long run; four seconds' worth at once. Opening live
    streams is counted apart: as many a second, and ``max_streams`` at once."""
    max_body: Annotated[int, Field(gt=0)] = 2 * 1024**2
    """Bytes of the largest request body."""
    max_streams: Annotated[int, Field(gt=0)] = 2000
    """Live event streams that may be open at a time. The server raises its own limit of open files for them; where the
    system allows too few, it says so and lets fewer in."""
    push_contact: Annotated[str, Field(pattern=r"^(mailto:[^@\s]+@|https://)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")] = (
        "mailto:ezaigent@example.org"
    )
    """How the push services of browsers reach whoever runs this server: ``mailto:NAME@HOST`` or ``https://HOST``."""
    internal: list[str] = []
    """Host names, addresses and networks (``10.1.0.0/16``) that are not on the public internet, and that webhooks and
    repositories given over HTTP may use nevertheless."""

    @field_validator("proxies")
    @classmethod
    def _known(cls, proxies: list[str]) -> list[str]:
        for entry in proxies:
            _check_network(entry)
        return proxies


class OidcSettings(_Section):
    """Signing in with an OpenID Connect provider: ``[oidc]``. Only those get in whom ``emails`` or ``roles`` name."""

    issuer: str | None = None
    """The provider, exactly as it names itself, such as ``https://login.example.org``; left out: passwords only."""
    client_id: str = ""
    """What the provider calls Ez Aigent."""
    client_secret: SecretStr | None = None
    """The secret of that client; left out: a public client, which PKCE alone protects."""
    name: str = "single sign-on"
    """What the button on the sign-in page calls the provider."""
    callback: str | None = None
    """Where the provider sends people back: ``https://HOST/api/v1/session/oidc/callback``. Left out: that path at
    the address in the browser, which is right where no proxy with TLS stands in between, or ``[server] proxies`` names
    it."""
    scopes: list[str] = ["openid", "email", "profile"]
    """What is asked for."""
    emails: dict[str, Role] = {}
    """Roles by e-mail address, or by domain as ``@example.org``; only what the provider has verified counts."""
    claim: str = "groups"
    """Claim of the ID token that ``roles`` looks at: a text or a list of texts; ``a.b`` is b inside of a."""
    roles: dict[str, Role] = {}
    """Roles by a value of that claim; of several that fit, the mightiest counts."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.issuer is None:
            return self
        for what, url in (("issuer", self.issuer), ("callback", self.callback)):
            if url is not None and not _secure(url):
                raise ValueError(f"{what} must be an https URL (http on this machine only), got {url!r}")
        if not self.client_id:
            raise ValueError("client_id is missing; register Ez Aigent at the provider")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold 'openid'")
        return self


def _check_network(entry: str) -> None:
    from ipaddress import IPv6Network, ip_network

    try:
        network = ip_network(entry)
    except ValueError:
        raise ValueError(f"{entry!r} is neither an address nor a network such as '172.18.0.0/16'") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{entry!r} is IPv4 in IPv6; write the IPv4 address or network")
    if network.prefixlen == 0:
        raise ValueError(f"{entry!r} is everybody, who could then claim any address; name the proxies")


def _secure(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"})


class ChatSettings(_Section):
    """How the fleet understands people: ``[chat]``."""

    profile: str | None = None
    """Profile whose model is asked for what no template fits; left out: no model is asked, so nothing is paid."""


class GitHubRepository(_Section):
    """A repository on GitHub whose issues become tasks."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$")]
    """``owner/name`` on GitHub."""
    repo: str
    """Where its tasks are worked: a path on the workers' machine, or a URL."""
    remote: str | None = None
    """Where the branch of a pull request is pushed to; left out: ``repo`` where that is a URL, else the repository
    on github.com."""
    base: str | None = None
    """Branch that tasks start from and pull requests go to; left out: the repository's default branch."""
    profile: str | None = None
    """Kind of agent that works its tasks; left out: any that takes general work."""
    checks: list[str] = []
    """Commands that must exit with 0 on the finished tree."""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Cap in USD for each task; left out: the configured default."""


class GitHubSettings(_Section):
    """Issues that become tasks: ``[github]``."""

    secret: SecretStr | None = None
    """The webhook's secret, as entered at GitHub; without it nothing that claims to come from there is taken."""
    token: SecretStr | None = None
    """Token that may read collaborators, write issues and pull requests, and push branches."""
    api_url: str = "https://api.github.com"
    """Where the API answers; set it for GitHub Enterprise."""
    label: str = "ezaigent"
    """Label that makes a task of an issue, when a person with write permission puts it there."""
    result: Literal["pull-request", "comment"] = "pull-request"
    """What a finished change becomes; what went otherwise is always told in a comment."""
    repositories: list[GitHubRepository] = []
    """Repositories whose issues are taken: ``[[github.repositories]]``."""


class Settings(_Section):
    """Everything that can be set, from ``ezaigent.toml`` and ``EZAIGENT_*`` variables."""

    home: Path
    """Folder for the embedded database, mirrors and worktrees."""
    database_url: SecretStr | None = None
    """PostgreSQL as ``postgresql://…``; left out: one SQLite file in ``home``."""
    redis_url: SecretStr | None = None
    """Redis as ``redis://``, ``rediss://`` or ``redis+sentinel://``; left out: inside the process, so that several
    worker processes each count providers' limits for themselves alone."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """What is logged to standard error."""
    providers: dict[str, ProviderSettings] = {}
    """Providers by name: openai, anthropic, google, mistral, deepseek, or your own for a compatible server."""
    profiles: dict[str, ProfileSettings] = {}
    """Kinds of agents by name; the built-in ones are changed field by field, new names add new ones."""
    queue: QueueSettings = QueueSettings()
    """Claims, leases and attempts."""
    recovery: RecoverySettings = RecoverySettings()
    """Runs, calls and workers that stand still."""
    sandbox: SandboxSettings = SandboxSettings()
    """Limits of commands and checks."""
    workspaces: WorkspaceSettings = WorkspaceSettings()
    """Mirrors, worktrees, publishing."""
    fleet: FleetSettings = FleetSettings()
    """Agents and pools."""
    scaling: ScalingSettings = ScalingSettings()
    """How the autoscaler sizes the pools."""
    launcher: LauncherSettings = LauncherSettings()
    """Where workers run."""
    costs: CostSettings = CostSettings()
    """Spending limits."""
    server: ServerSettings = ServerSettings()
    """The HTTP API."""
    oidc: OidcSettings = OidcSettings()
    """Signing in with an OpenID Connect provider."""
    chat: ChatSettings = ChatSettings()
    """Understanding people."""
    github: GitHubSettings = GitHubSettings()
    """Issues that become tasks."""
