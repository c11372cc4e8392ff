/** How events change what is shown, before anything is read anew. */
import type { Agent, FleetEvent, State, TaskItem } from '$lib/api/types';

const BECOMES: Record<string, State> = {
  'task.queued': 'queued',
  'task.requeued': 'queued',
  'task.waiting': 'waiting',
  'task.claimed': 'running',
  'task.review': 'review',
  'task.done': 'done',
  'task.blocked': 'blocked',
  'task.failed': 'failed',
  'task.cancelled': 'cancelled',
};
const ENDS_RUN = new Set([
  'task.review',
  'task.done',
  'task.blocked',
  'task.failed',
  'task.cancelled',
  'task.requeued',
  'task.retrying',
]);

type Live = Pick<TaskItem, 'id' | 'agent' | 'steps' | 'reason'> & { state: string };

/** Return tasks with the events applied; those that no event names stay the same objects. */
export function tasksAfter<T extends Live>(tasks: readonly T[], events: readonly FleetEvent[]): readonly T[] {
  const named = events.filter((event) => event.task_id !== null && event.task_id !== undefined);
  if (named.length === 0) return tasks;
  const places = new Map(tasks.map((task, at) => [task.id, at]));
  let changed: T[] | null = null;
  const apply = (event: FleetEvent) => {
    const at = places.get(event.task_id ?? '');
    if (at === undefined) return;
    changed ??= [...tasks];
    const task = changed[at];
    if (task !== undefined) changed[at] = taskAfter(task, event);
  };
  const newest = new Map<string, FleetEvent>(); // of the steps of a task only the last one counts
  for (const event of named) {
    if (event.kind === 'run.step') newest.set(event.task_id ?? '', event);
    else apply(event);
  }
  newest.forEach(apply);
  return changed ?? tasks;
}

export function taskAfter<T extends Live>(task: T, event: FleetEvent): T {
  const state = BECOMES[event.kind];
  if (state !== undefined) {
    const agent = text(event.data?.['agent']) ?? event.agent ?? task.agent;
    return { ...task, state, agent, reason: text(event.data?.['reason']) ?? task.reason };
  }
  const step = event.kind === 'run.step' ? event.data?.['step'] : undefined;
  return typeof step === 'number' && step > task.steps ? { ...task, steps: step } : task;
}

export function isTurn(event: FleetEvent): boolean {
  return event.kind in BECOMES || event.kind === 'task.submitted' || event.kind === 'task.retrying';
}

export function agentsAfter(agents: readonly Agent[], events: readonly FleetEvent[]): readonly Agent[] {
  const telling = events.filter(
    (event) => event.kind === 'task.claimed' || event.kind === 'run.failover' || ENDS_RUN.has(event.kind),
  );
  if (telling.length === 0) return agents;
  let changed: Agent[] | null = null;
  const places = new Map(agents.map((agent, at) => [agent.name, at]));
  const holders = new Map(agents.map((agent) => [agent.task_id, agent.name]));
  const set = (name: string | undefined, change: (agent: Agent) => Agent) => {
    const at = name === undefined ? undefined : places.get(name);
    if (at === undefined) return;
    changed ??= [...agents];
    const agent = changed[at];
    if (agent !== undefined) changed[at] = change(agent);
  };
  for (const event of telling) {
    const id = event.task_id ?? null;
    if (event.kind === 'task.claimed') {
      const name = text(event.data?.['agent']) ?? event.agent ?? undefined;
      set(name, (agent) => ({
        ...agent,
        task_id: id,
        title: null,
        model: null,
        status: agent.paused ? agent.status : 'active',
      }));
      if (name !== undefined) holders.set(id, name);
    } else if (event.kind === 'run.failover') {
      const model = text(event.data?.['to']);
      if (model !== undefined && id !== null)
        set(holders.get(id), (agent) => (agent.task_id === id ? { ...agent, model } : agent));
    } else if (id !== null) {
      set(holders.get(id), (agent) =>
        agent.task_id === id
          ? {
              ...agent,
              task_id: null,
              title: null,
              model: null,
              status: agent.status === 'active' ? 'idle' : agent.status,
            }
          : agent,
      );
      holders.delete(id);
    }
  }
  return changed ?? agents;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
