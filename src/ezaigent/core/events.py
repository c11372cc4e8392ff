"""Event kinds: append-only facts. Each one is listed here with what its ``data`` holds; a test keeps the list true."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

KINDS: Final[dict[str, str]] = {
    "task.submitted": "A task was accepted; data: state, title, profile, priority, needs, by (null: not said); "
    "draft with an idempotency key (digest that tells the same request again from another one).",
    "task.queued": "A task became claimable (needs met, time come, or sent back); data: reason, pool.",
    "task.waiting": "A task waits again: for its needs, its time, or a task that changes the same files; data: reason.",
    "task.edited": "A person changed a task that no agent works on; data: by, fields.",
    "task.claimed": "An agent took the task; "
    "data: agent, worker, fence, attempt, resumed, waited (seconds since it was claimable).",
    "task.review": "A change is ready; data: commit, branch, files, insertions, deletions.",
    "task.done": "A person or the merge accepted the change; data: by, commit.",
    "task.blocked": "A person must answer or approve; data: question.",
    "task.retrying": "An attempt failed and another one will follow; data: reason, not_before, attempt.",
    "task.failed": "Dead letter: no further attempt; data: reason, attempts.",
    "task.cancel_requested": "A person asked a running task to stop; data: by.",
    "task.cancelled": "The task was cancelled; data: by, reason.",
    "task.requeued": "A worker gave the task back unfinished (drain, shutdown); data: reason, pool.",
    "task.lease_expired": "A run lost its lease and the task was claimed again; data: agent, worker, fence.",
    "recovery.acted": "What was wrong was put right, or ended; data: what, reason, action, worker.",
    "run.started": "A run opened its workspace; data: base, sandbox, resumed_steps.",
    "run.step": "A step finished and is journaled; data: step, what, name, ms, files_changed, of a tool call also "
    "call (its command, pattern or path in one line, what looks like a secret left out), of a model call also "
    "input_tokens, output_tokens, text (what it said, its first 10,000 characters).",
    "run.restarted": "The journal was written by another version: the conversation begins anew on the tree as it is.",
    "run.checked": "The checks ran; data: ok, checks.",
    "run.message": "A person's message reached the agent; data: message_id.",
    "run.failover": "The run went on with another model; data: from, to, reason.",
    "run.provider_error": "A model call failed; "
    "data: kind, provider, model, status, message, retry_after, attempt, wait.",
    "run.budget": "A run met its cap; data: limit_usd, spent_usd, needed_usd.",
    "model.waiting": "A call waits for the quota that the whole fleet shares; "
    "data: provider, model, account, reason, seconds.",
    "model.limits": "A provider told other limits than before; "
    "data: provider, model, account, limits (by meter: units, and the seconds in which they come back).",
    "model.slowed": "A 429 slowed the whole fleet: a pause, then a lower rate; "
    "data: provider, model, account, seconds, requests_per_minute.",
    "model.parked": "A quota or a purse is empty: nobody asks before the time given; "
    "data: provider, model, account, kind, reason, until.",
    "model.still_parked": "A parked model was asked again and is as it was: nobody asks before the new time; "
    "data: provider, model, account, kind, reason, until.",
    "model.unparked": "A parked model answers again; data: provider, model, account.",
    "model.tripped": "A model failed again and again and is left alone for a while; "
    "data: provider, model, failures, seconds, reason.",
    "model.recovered": "A model that was left alone answers again; data: provider, model.",
    "agent.paused": "Agents take no task and make no further step; data: target (an agent, a pool or *), by.",
    "agent.resumed": "Agents go on; data: target (an agent, a pool or *), by.",
    "agent.message": "A person wrote to an agent; data: message_id, by.",
    "agent.ordered": "An agent shall exist; data: profile, pinned.",
    "agent.ready": "An agent can claim; data: profile, worker, seconds (since it was ordered).",
    "agent.leaving": "An agent takes no further task and goes when it has none; data: profile, reason, recallable.",
    "agent.recalled": "An agent that was leaving stays; data: profile.",
    "agent.left": "An agent is gone; data: profile, worker, reason.",
    "agent.unhosted": "An agent lost its worker and waits for another one; data: profile, worker, reason.",
    "worker.started": "A worker process is ready; data: worker, host, pid, version, sandbox, agents.",
    "worker.stopped": "A worker process ended in order; data: worker, reason.",
    "worker.lost": "A worker died and its tasks were taken from it before their leases ended; "
    "data: worker, host, pid, reason, by, silent (seconds since its last heartbeat), tasks.",
    "worker.back": "A worker that had been counted as lost goes on; data: worker, host, pid.",
    "chat.message": "A message was kept in a conversation; data: id, conversation, role, author.",
    "audit.change": "A user or program asked for a change over HTTP, before it was made; "
    "data: by, via, access, address, action, target, request.",
    "audit.refused": "A user or program asked for a change that it may not make; "
    "data: by, via, access, address, action, target, request.",
    "audit.login": "A person signed in; data: by, address.",
    "audit.login_failed": "Somebody tried to sign in and was refused; data: by, address, reason.",
    "audit.credential": "A user or a token was made, changed or removed; data: what, name, done, by, address.",
    "leader.elected": "A process took over an office that one holds at a time; data: office, holder, fence.",
    "scaler.decided": "The autoscaler changed a pool's size, or was refused to; "
    "data: pool, policy, before, target, binding, reason, dry_run.",
    "scaler.configured": "A person changed the autoscaler's settings; data: by, changes.",
    "scaler.started": "A person let the autoscaler go on; data: by.",
    "scaler.stopped": "A person stopped the autoscaler: all pools stay as they are; data: by.",
    "launcher.started": "A launcher started a worker; data: launcher, name, room.",
    "launcher.stopped": "A launcher asked a worker to end; data: launcher, name, reason.",
    "launcher.failed": "A worker ended by itself, did not get ready, or could not be started; "
    "data: launcher, name, reason, ready (whether it had been), failures, wait (seconds before the next start).",
    "launcher.scaled": "A launcher set the number of replicas; data: launcher, name, before, after.",
    "webhook.added": "Somebody added a target for events; data: webhook, url (scheme and host alone), kinds, by.",
    "webhook.changed": "Somebody changed a target for events; "
    "data: webhook, url (scheme and host alone), kinds, enabled, by.",
    "webhook.removed": "Somebody removed a target for events; data: webhook, url (scheme and host alone), by.",
    "webhook.dead": "An event could not be delivered to a target and is not tried again by itself; "
    "data: webhook, delivery, seq, kind, attempts, reason.",
    "issue.received": "A person labelled an issue for the fleet; data: repository, number, by.",
    "issue.refused": "A labelled issue does not become a task; data: repository, number, by, reason.",
    "issue.accepted": "A labelled issue became a task; data: repository, number, by.",
    "issue.reported": "The issue was told what became of its task; data: repository, number, by, url.",
    "issue.failed": "A labelled issue could not become a task, or not be told about it; "
    "data: repository, number, by, reason.",
    "live.lost": "The live bus cannot be reached; work goes on by polling; data: reason.",
    "live.restored": "The live bus is back; data: reason.",
}


class Event(BaseModel):
    """One fact of the event log."""

    model_config = ConfigDict(frozen=True)

    seq: int
    """Position in the log; grows, may have gaps, is never reused."""
    at: float
    """Seconds since 1970, database time."""
    kind: str
    task_id: str | None = None
    run_id: str | None = None
    agent: str | None = None
    data: dict[str, Any] = {}
