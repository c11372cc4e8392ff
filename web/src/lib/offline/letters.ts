/** What was written without the server and waits to be sent: tasks and messages to agents, nothing else. */
import { within } from './database';

export interface Letter {
  /** Also its Idempotency-Key: sent any number of times, it is done once. */
  id: string;
  /** The person who wrote it; nobody else's session sends it. */
  owner: string;
  kind: 'task' | 'message';
  /** The agent of a message. */
  to: string;
  text: string;
  body: unknown;
  /** Milliseconds since 1970. */
  at: number;
  /** Why the server would not have it; null while it waits. */
  refused: string | null;
}

const LOCK = 'ezaigent-outbox';
const CHANNEL = 'ezaigent-outbox';
/** Statuses after which it is tried again: not the letter is at fault. */
const LATER = new Set([401, 408, 425, 429]);

export async function letters(): Promise<Letter[]> {
  const all = (await within('outbox', 'readonly', (kept) => kept.getAll())) as Letter[];
  return all.sort((one, other) => one.at - other.at);
}

export async function put(letter: Letter): Promise<void> {
  await within('outbox', 'readwrite', (kept) => kept.put(letter));
  tell();
}

export async function drop(id: string): Promise<void> {
  await within('outbox', 'readwrite', (kept) => kept.delete(id));
  tell();
}

/** Call `then` when another tab or the worker changed what waits. */
export function onChange(then: () => void): void {
  new BroadcastChannel(CHANNEL).onmessage = then;
}

function tell(): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage('changed');
  channel.close();
}

/** Where a letter goes; null for what cannot be sent later: nothing is ever cancelled, merged or paused from here. */
function address(letter: Letter): string | null {
  const kind: string = letter.kind; // kept by another version, perhaps
  if (kind === 'task') return '/api/v1/tasks';
  return kind === 'message' ? `/api/v1/agents/${encodeURIComponent(letter.to)}/message` : null;
}

/**
 * Send what waits, oldest first, one tab of this browser, or its worker, at a time. Returns what the server took.
 * Stops where the server cannot be reached, has no time, or does not know the person.
 */
export async function sendAll(): Promise<Letter[]> {
  if (!('locks' in navigator)) return sendEach();
  return (
    (await navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => (lock === null ? [] : sendEach()))) ?? []
  );
}

async function sendEach(): Promise<Letter[]> {
  const sent: Letter[] = [];
  const waiting = (await letters()).filter((one) => one.refused === null);
  if (waiting.length === 0) return sent;
  const me = await whoami();
  if (me === null) return sent;
  for (const letter of waiting) {
    if (letter.owner !== me.name) continue;
    if (!(await waits(letter.id))) continue;
    const where = address(letter);
    if (where === null) {
      await put({ ...letter, refused: 'only tasks and messages are sent later; do this one now' });
      continue;
    }
    const answer = await post(where, letter, me.csrf);
    if (answer === null || answer.status >= 500 || LATER.has(answer.status)) return sent;
    if (answer.ok) {
      await drop(letter.id);
      sent.push(letter);
    } else if (await waits(letter.id)) await put({ ...letter, refused: await reason(answer) });
  }
  return sent;
}

/** Whether nobody dropped it meanwhile. */
async function waits(id: string): Promise<boolean> {
  return (await within('outbox', 'readonly', (kept) => kept.getKey(id))) !== undefined;
}

async function post(where: string, letter: Letter, csrf: string): Promise<Response | null> {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': letter.id, 'X-CSRF-Token': csrf };
  try {
    return await fetch(where, { method: 'POST', headers, body: JSON.stringify(letter.body) });
  } catch {
    return null;
  }
}

export interface Person {
  name: string;
  access: string;
  csrf: string;
}

/** Ask the server who is signed in; null when it does not answer, or nobody is. */
export async function whoami(): Promise<Person | null> {
  try {
    const answer = await fetch('/api/v1/session', { cache: 'no-store' });
    if (!answer.ok) return null;
    const me = (await answer.json()) as { name: string; access: string; csrf: string | null };
    return me.csrf === null ? null : { name: me.name, access: me.access, csrf: me.csrf };
  } catch {
    return null;
  }
}

/** Return why the server refused, in its own words. */
export async function reason(answer: Response): Promise<string> {
  try {
    const said = (await answer.json()) as { detail?: string };
    return said.detail ?? `the server answered ${answer.status}`;
  } catch {
    return `the server answered ${answer.status}`;
  }
}
