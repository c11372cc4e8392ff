import type { FleetEvent } from '$lib/api/types';
import { Problem } from '$lib/api/client';
import { nextFrame } from '$lib/idle';
import { keep, kept, remembered, type Snapshot } from '$lib/offline/snapshots';
import { live } from './live.svelte';

interface Options<T> {
  /** Name under which the value is kept in this browser, and shown, dated, until it was read anew. */
  keep?: string;
  /** Bring a value up to date by events, at once. Must bear to see an event again. */
  reduce?: (value: T, events: readonly FleetEvent[]) => T;
  /** Whether an event means that the value must be read anew. */
  wants?: (event: FleetEvent) => boolean;
  /** Least milliseconds between two reads that events cause. */
  gap?: number;
  /** Milliseconds after which the value is read anew without an event; for what changes by silence. */
  every?: number;
}

const PATIENCE = 3_000; // milliseconds that the server gets before what was last seen is shown, dated

/** How old something shown is, and why it could not be read. */
export interface Freshness {
  readonly asOf: number | null;
  readonly error: Problem | null;
  /** Whether it is what was there before, and was not read anew yet. */
  readonly recalled: boolean;
}

/** Something read from the server and kept true by events: a snapshot, then deltas. */
export class Resource<T> implements Freshness {
  value = $state.raw<T | null>(null);
  /** Seconds since 1970 up to which the value was true when the connection was last there. */
  asOf = $state<number | null>(null);
  error = $state<Problem | null>(null);
  loading = $state(false);
  recalled = $state(false);

  #load: () => Promise<T>;
  #options: Options<T>;
  /** What the value becomes with the next frame: to apply events and to lay out the page are too much for one. */
  #ahead: T | null = null;
  #meanwhile: FleetEvent[] | null = null;
  #again = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #read = 0;
  #asked = false;

  constructor(load: () => Promise<T>, options: Options<T> = {}) {
    this.#load = load;
    this.#options = options;
    const before = options.keep === undefined ? null : remembered<T>(options.keep);
    if (before !== null) this.#bring(before);
  }

  /** Keep the value true until the returned function is called: `$effect(() => resource.attach())`. */
  attach(): () => void {
    const stops = [live.listen((events) => this.#take(events)), live.onRefresh(() => void this.load())];
    const poll = this.#options.every
      ? setInterval(() => {
          if (live.state === 'live' && !document.hidden) this.invalidate(true);
        }, this.#options.every)
      : undefined;
    void this.load();
    return () => {
      for (const stop of stops) stop();
      clearInterval(poll);
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Read anew soon; many calls are one read. `byItself`: not for what the person did, so not while all is held still. */
  invalidate(byItself = false): void {
    this.#asked ||= !byItself;
    const wait = Math.max(0, this.#read + (this.#options.gap ?? 1_000) - Date.now());
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const wanted = this.#asked || !live.held;
      this.#asked = false;
      if (wanted) void this.load();
    }, wait);
  }

  async load(): Promise<void> {
    if (this.#meanwhile !== null) {
      this.#again = true;
      return;
    }
    this.show();
    this.#meanwhile = [];
    this.loading = true;
    const late = setTimeout(() => void (this.value === null && this.#recall()), PATIENCE);
    try {
      do {
        this.#again = false;
        this.#meanwhile = [];
        this.#read = Date.now();
        const value = await this.#load();
        const { reduce } = this.#options;
        this.#ahead = null;
        this.value = reduce && this.#meanwhile.length > 0 ? reduce(value, this.#meanwhile) : value;
        this.recalled = false;
        this.#fresh();
        this.error = null;
      } while (this.#again);
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(-1, 'Error', String(error));
      if (problem.away && this.value === null) await this.#recall();
      this.error = problem;
    } finally {
      clearTimeout(late);
      this.#meanwhile = null;
      this.loading = false;
    }
  }

  /** Show at once what the next frame would show; for who changes the value. */
  show(): void {
    if (this.#ahead === null) return;
    this.value = this.#ahead;
    this.#ahead = null;
    if (this.asOf !== null && !this.recalled) this.#fresh();
  }

  #fresh(): void {
    this.asOf = Date.now() / 1000;
    if (this.#options.keep !== undefined) keep(this.#options.keep, this.value, this.asOf);
  }

  async #recall(): Promise<void> {
    const snapshot = this.#options.keep === undefined ? null : await kept<T>(this.#options.keep);
    if (snapshot !== null && this.value === null) this.#bring(snapshot);
  }

  #bring(snapshot: Snapshot<T>): void {
    this.value = snapshot.value;
    this.asOf = snapshot.at;
    this.recalled = true;
  }

  #take(events: readonly FleetEvent[]): void {
    this.#meanwhile?.push(...events);
    const { reduce, wants } = this.#options;
    const present = this.#ahead ?? this.value;
    const next = present !== null && reduce ? reduce(present, events) : present;
    if (next !== present) {
      if (this.#ahead === null) nextFrame(() => this.show());
      this.#ahead = next;
    } else if (present !== null && this.asOf !== null && !this.recalled) this.#fresh();
    if (wants && events.some(wants)) this.invalidate(true);
  }
}
