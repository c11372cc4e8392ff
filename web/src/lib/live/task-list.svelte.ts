import { body, http } from '$lib/api/client';
import type { State, TaskItem } from '$lib/api/types';
import { isTurn, tasksAfter } from './deltas';
import { Resource } from './resource.svelte';

const PAGE = 100;

/** Which tasks, beside those of some states; left out: all. */
export interface Only {
  /** With this in title or prompt. */
  text?: string;
  profile?: string;
  repo?: string;
}

/** Tasks, newest first: the head is kept true, older ones are read when they are wanted. */
export class TaskList {
  readonly resource: Resource<readonly TaskItem[]>;
  /** Whether there are older ones that were not read yet. */
  more = $state(false);
  #states: State[];
  #only: Only;
  #cursor: string | null = null;
  #reading = false;

  constructor(states: readonly State[], only: Only = {}) {
    this.#states = [...states];
    this.#only = Object.fromEntries(Object.entries(only).filter((one) => one[1] !== ''));
    this.resource = new Resource(() => this.#head(), {
      reduce: tasksAfter,
      wants: isTurn,
      every: 15_000,
      keep: `tasks ${this.#states.join(',')} ${JSON.stringify(this.#only)}`,
    });
  }

  /** Read the next older ones. */
  async next(): Promise<void> {
    if (this.#cursor === null || this.#reading) return;
    this.#reading = true;
    try {
      const page = await this.#page(this.#cursor);
      this.resource.show();
      const have = this.resource.value ?? [];
      const known = new Set(have.map((task) => task.id));
      this.resource.value = [...have, ...page.items.filter((task) => !known.has(task.id))];
      this.#goOn(page.next ?? null);
    } finally {
      this.#reading = false;
    }
  }

  async #head(): Promise<readonly TaskItem[]> {
    const page = await this.#page(null);
    const have = this.resource.recalled ? null : this.resource.value; // older ones are read from where these end
    const oldest = page.items.at(-1)?.id;
    if (have === null || !page.next || oldest === undefined) {
      this.#goOn(page.next ?? null);
      return page.items;
    }
    return [...page.items, ...have.filter((task) => task.id < oldest)];
  }

  #goOn(cursor: string | null): void {
    this.#cursor = cursor;
    this.more = cursor !== null;
  }

  #page(cursor: string | null) {
    const query = {
      limit: PAGE,
      ...(this.#states.length ? { state: this.#states } : {}),
      ...this.#only,
      ...(cursor === null ? {} : { cursor }),
    };
    return body(http.GET('/api/v1/tasks', { params: { query } }));
  }
}
