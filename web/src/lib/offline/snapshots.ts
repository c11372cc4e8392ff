/** What was last read from the server, so that it can be shown, dated, when the server cannot be reached. */
import { idle } from '$lib/idle';
import { within } from './database';

interface Kept {
  id: string;
  /** Seconds since 1970 up to which it was true. */
  at: number;
  owner: string;
  value: unknown;
}

export interface Snapshot<T> {
  at: number;
  value: T;
}

/** Under which name the person is kept; it goes only when they sign out. */
export const PERSON = 'session';
const MOST = 60;
const RECENT = 24; // things of which the newest value stays at hand while the page is open
const EVERY = 5_000; // milliseconds between two writings of the same thing
const LATEST = 1_000; // milliseconds after which a writing waits no longer for the browser to be idle

/** Whose they are; nobody's are neither kept nor shown. */
let owner: string | null = null;
const written = new Map<string, number>();
const atHand = new Map<string, Kept>();

/** Keep and show what this person sees, and forget what another one saw. */
export async function keepFor(name: string): Promise<void> {
  if (owner !== name) atHand.clear();
  owner = name;
  const all = (await within('kept', 'readonly', (kept) => kept.getAll())) as Kept[];
  for (const one of all) if (one.owner !== name) await within('kept', 'readwrite', (kept) => kept.delete(one.id));
}

/** Forget all: nobody is signed in any more. */
export async function forgetSnapshots(): Promise<void> {
  owner = null;
  written.clear();
  atHand.clear();
  await within('kept', 'readwrite', (kept) => kept.clear());
}

/** Have what was read at hand until the page is closed, for who comes back to it. */
export function remember(id: string, value: unknown, at: number): void {
  if (owner === null) return;
  atHand.delete(id);
  atHand.set(id, { id, at, owner, value });
  const oldest = atHand.size > RECENT ? atHand.keys().next().value : undefined;
  if (oldest !== undefined) atHand.delete(oldest);
}

/** Return what is at hand; null for nothing. */
export function remembered<T>(id: string): Snapshot<T> | null {
  const found = atHand.get(id);
  return found !== undefined && found.owner === owner ? { at: found.at, value: found.value as T } : null;
}

/** Keep what was read; a loss is no harm, so it never fails. */
export function keep(id: string, value: unknown, at: number): void {
  remember(id, value, at);
  const now = Date.now();
  if (owner === null || now - (written.get(id) ?? -Infinity) < EVERY) return;
  written.set(id, now);
  const kept: Kept = { id, at, owner, value };
  // A long list is copied as a whole; what is seen does not wait for that.
  idle(() => {
    if (kept.owner !== owner) return; // signed out meanwhile
    void within('kept', 'readwrite', (objects) => objects.put(kept))
      .then(() => (written.size > MOST ? prune() : undefined))
      .catch(() => undefined);
  }, LATEST);
}

/** Return what was kept; null for nothing. */
export async function kept<T>(id: string): Promise<Snapshot<T> | null> {
  try {
    const found = (await within('kept', 'readonly', (objects) => objects.get(id))) as Kept | undefined;
    return found !== undefined && found.owner === owner ? { at: found.at, value: found.value as T } : null;
  } catch {
    return null;
  }
}

/** Return who was signed in last and has not signed out; null for nobody. */
export async function lastOwner(): Promise<string | null> {
  try {
    const found = (await within('kept', 'readonly', (objects) => objects.get(PERSON))) as Kept | undefined;
    return found?.owner ?? null;
  } catch {
    return null;
  }
}

async function prune(): Promise<void> {
  const all = (await within('kept', 'readonly', (objects) => objects.getAll())) as Kept[];
  const old = all
    .filter((one) => one.id !== PERSON)
    .sort((one, other) => other.at - one.at)
    .slice(MOST);
  for (const one of old) {
    written.delete(one.id);
    await within('kept', 'readwrite', (objects) => objects.delete(one.id));
  }
  written.clear();
}
