import type { LineComment } from '$lib/api/types';
import { session } from '$lib/session.svelte';
import type { Line } from './parse';

export interface Draft extends LineComment {
  side: 'old' | 'new';
  code: string;
}

/** Where a comment on a line belongs; null where the line has no number, such as a note of git's. */
export function placeOf(path: string, line: Line): Omit<Draft, 'text'> | null {
  const number = line.now ?? line.old;
  return number === null
    ? null
    : { path, line: number, side: line.now === null ? 'old' : 'new', code: line.text.slice(0, 2_000) };
}

/** What a person has noted on the lines of one task's change and not sent yet; the tab keeps it over reloads. */
export class Comments {
  list = $state<Draft[]>([]);
  #key: string;

  constructor(task: string) {
    this.#key = `ezaigent.comments.${session.me?.name ?? ''}.${task}`;
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(this.#key) ?? '[]');
      if (Array.isArray(kept)) this.list = kept as Draft[];
    } catch {
      // what cannot be read is not there
    }
  }

  at(place: Omit<Draft, 'text'>): Draft | undefined {
    return this.list.find((one) => same(one, place));
  }

  /** Note a text on a line, instead of what was noted there; an empty one takes it away. */
  put(place: Omit<Draft, 'text'>, text: string): void {
    const others = this.list.filter((one) => !same(one, place));
    this.list = text.trim() ? [...others, { ...place, text: text.trim() }] : others;
    this.#keep();
  }

  clear(): void {
    this.list = [];
    this.#keep();
  }

  #keep(): void {
    try {
      if (this.list.length) sessionStorage.setItem(this.#key, JSON.stringify(this.list));
      else sessionStorage.removeItem(this.#key);
    } catch {
      // only a convenience
    }
  }
}

function same(one: Omit<Draft, 'text'>, other: Omit<Draft, 'text'>): boolean {
  return one.path === other.path && one.line === other.line && one.side === other.side;
}
