import { body, http } from '$lib/api/client';
import type { FleetEvent, LogPage } from '$lib/api/types';
import { remember, remembered } from '$lib/offline/snapshots';
import { live } from './live.svelte';

const MOST = 2_000; // events of a log that are at hand for who comes back to it

/** What happened to one task, oldest first: read once, then followed. */
export class TaskLog {
  events = $state.raw<readonly FleetEvent[]>([]);
  error = $state<string | null>(null);
  ready = $state(false);
  /** Seconds since 1970 when it was last whole, while it is what was there before; null once it is read anew. */
  recalled = $state<number | null>(null);
  #id: string;
  /** Number of the last event up to which none is missing. */
  #whole = 0;
  #reading: Promise<void> | null = null;

  constructor(id: string) {
    this.#id = id;
    const before = remembered<readonly FleetEvent[]>(this.#name);
    if (before === null) return;
    this.events = before.value;
    this.#whole = before.value.at(-1)?.seq ?? 0;
    this.ready = true;
    this.recalled = before.at;
  }

  get #name(): string {
    return `log ${this.#id}`;
  }

  attach(): () => void {
    const stops = [
      live.listen((events) => this.#add(events.filter((event) => event.task_id === this.#id))),
      live.onRefresh(() => this.#read()),
    ];
    this.#read();
    return () => stops.forEach((stop) => stop());
  }

  #add(events: readonly FleetEvent[]): void {
    const last = this.events.at(-1)?.seq ?? 0;
    const have = new Set(this.events.map((event) => event.seq));
    const fresh = events.filter((event) => !have.has(event.seq));
    if (fresh.length === 0) return;
    const all = [...this.events, ...fresh];
    this.events = fresh.every((event) => event.seq > last) ? all : all.sort((one, other) => one.seq - other.seq);
  }

  #read(): void {
    this.#reading ??= this.#pages().finally(() => (this.#reading = null));
  }

  async #pages(): Promise<void> {
    try {
      // From the start the first time; later from where it was last whole, for what came while nobody listened.
      let after: number | null = this.#whole;
      while (after !== null) {
        const path = { task_id: this.#id };
        const page: LogPage = await body(
          http.GET('/api/v1/tasks/{task_id}/logs', { params: { path, query: { after, limit: 1000 } } }),
        );
        this.#add(page.items);
        after = page.next ?? null;
      }
      this.#whole = this.events.at(-1)?.seq ?? 0;
      this.ready = true;
      this.recalled = null;
      this.error = null;
      if (this.events.length <= MOST) remember(this.#name, this.events, Date.now() / 1000);
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    }
  }
}
