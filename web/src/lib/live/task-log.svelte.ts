import { body, http } from '$lib/api/client';
import type { FleetEvent, LogPage } from '$lib/api/types';
import { live } from './live.svelte';

/** What happened to one task, oldest first: read once, then followed. */
export class TaskLog {
  events = $state.raw<readonly FleetEvent[]>([]);
  error = $state<string | null>(null);
  ready = $state(false);
  #id: string;
  #reading: Promise<void> | null = null;

  constructor(id: string) {
    this.#id = id;
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
      // From the start the first time; later from the last event that was read, for what came while nobody listened.
      let after: number | null = this.ready ? (this.events.at(-1)?.seq ?? 0) : 0;
      while (after !== null) {
        const path = { task_id: this.#id };
        const page: LogPage = await body(
          http.GET('/api/v1/tasks/{task_id}/logs', { params: { path, query: { after, limit: 1000 } } }),
        );
        this.#add(page.items);
        after = page.next ?? null;
      }
      this.ready = true;
      this.error = null;
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    }
  }
}
