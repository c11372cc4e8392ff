import { body, http, idempotencyKey, Problem } from '$lib/api/client';
import { notices } from '$lib/announce.svelte';
import type { Task, TaskDraft } from '$lib/api/types';
import { outbox } from './outbox.svelte';

const PATIENCE = 20_000; // milliseconds that the server gets before what was written waits in the outbox

/**
 * Submit a task; where the server cannot be reached it waits in the outbox, and null is returned. `key`: a second try is
 * the same task. Throws `Problem` for what the server refuses.
 */
export async function submit(draft: TaskDraft, key: string): Promise<Task | null> {
  const params = { header: { 'idempotency-key': key } };
  const asked = () => body(http.POST('/api/v1/tasks', { params, body: draft, signal: soon() }));
  return orLater(asked, { id: key, kind: 'task', to: '', text: draft.title || draft.prompt, body: draft });
}

/** Write to an agent, now or when the server is back, and say which. */
export async function tell(name: string, text: string): Promise<void> {
  const id = idempotencyKey();
  const params = { path: { name }, header: { 'idempotency-key': id } };
  const asked = () => body(http.POST('/api/v1/agents/{name}/message', { params, body: { text }, signal: soon() }));
  try {
    const done = await orLater(asked, { id, kind: 'message', to: name, text, body: { text } });
    if (done !== null) notices.ok(`${name} gets it before its next step`);
  } catch (error) {
    notices.error(error);
  }
}

function soon(): AbortSignal {
  const late = new AbortController();
  setTimeout(() => late.abort(), PATIENCE);
  return late.signal;
}

async function orLater<T>(
  asked: () => Promise<T>,
  letter: { id: string; kind: 'task' | 'message'; to: string; text: string; body: unknown },
): Promise<T | null> {
  try {
    return await asked();
  } catch (error) {
    if (!(error instanceof Problem && error.away)) throw error;
    try {
      await outbox.keep(letter);
    } catch {
      throw error; // nothing can be kept here, so it was not sent and does not wait
    }
    notices.ok('The server cannot be reached: it waits here and is sent once when the server is back');
    return null;
  }
}
