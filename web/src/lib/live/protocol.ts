import type { FleetEvent } from '$lib/api/types';

/** What a tab says to the hub. `after`: the last event that the tab has, or null for "from now on". */
export type ToHub =
  | { type: 'hello'; after: number | null }
  | { type: 'bye'; signedOut: boolean }
  /** Whether this tab wants to hear what models say while they say it, which costs them more. */
  | { type: 'hear'; wanted: boolean };

/** A piece of what a model says. `start`: characters said before; `broken`: forget it, the next attempt says it anew. */
export interface Speech {
  task_id: string;
  run_id: string;
  agent: string;
  step: number;
  attempt: number;
  start: number;
  text: string;
  end?: 'whole' | 'broken' | null;
}

export type Connection = 'connecting' | 'live' | 'lost' | 'signed-out';

/** What the hub says to its tabs. `heard`: when the server last said anything, milliseconds since 1970. */
export type FromHub =
  | { type: 'state'; state: Connection; heard: number | null; opened: number; tabs: number }
  | { type: 'events'; events: FleetEvent[]; heard: number }
  | { type: 'speech'; pieces: Speech[] }
  | { type: 'resync' };

/** Milliseconds between two deliveries to the tabs, and so between two paints. */
export const PAINT_EVERY = 100;
