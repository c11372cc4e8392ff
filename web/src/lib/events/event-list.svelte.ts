import { body, http, Problem } from '$lib/api/client';
import type { FleetEvent } from '$lib/api/types';
import { live } from '$lib/live/live.svelte';
import type { Freshness } from '$lib/live/resource.svelte';
import { keep, kept, remembered, type Snapshot } from '$lib/offline/snapshots';

const PAGE = 200;
const LOOKS = 10; // pages without a hit that are read before the person is asked whether to go on
const FLOWING = 2_000; // newest events that stay while they flow; older ones are read again when they are wanted

/** Which events; empty texts: all. */
export interface Wanted {
  /** A whole kind, or the beginning of kinds that ends in a dot. */
  kind: string;
  task: string;
  agent: string;
  /** Who did it. */
  by: string;
}

/** The event log, newest first: new ones come on top unless it is held still, older ones are read when wanted. */
export class EventList implements Freshness {
  value = $state.raw<readonly FleetEvent[] | null>(null);
  asOf = $state<number | null>(null);
  error = $state<Problem | null>(null);
  /** Whether there is something older, up to where it was not looked yet. */
  more = $state(false);
  reading = $state(false);
  recalled = $state(false);
  held = $state(false);
  /** New ones that came while it was held still; Infinity for more than a page of them. */
  missed = $state(0);
  #wanted: Wanted;
  #top = 0; // number of the newest that is shown, or counted as missed
  #cursor: number | null = null;
  #meanwhile: FleetEvent[] | null = null;
  #again = false;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
    const before = remembered<readonly FleetEvent[]>(this.#name);
    if (before !== null) this.#bring(before);
  }

  attach(): () => void {
    const stops = [live.listen((events) => this.#take(events)), live.onRefresh(() => void this.load())];
    void this.load();
    return () => stops.forEach((stop) => stop());
  }

  /** Let nothing move, or show what came meanwhile and let it flow again. */
  hold(still: boolean): void {
    if (this.held === still) return;
    this.held = still;
    this.#top = this.value?.[0]?.seq ?? 0;
    if (!still && this.missed > 0) void this.load();
    this.missed = 0;
  }

  /** Read the newest ones; what is shown already stays where the two meet. */
  async load(): Promise<void> {
    if (this.#meanwhile !== null) {
      this.#again = true;
      return;
    }
    this.#meanwhile = [];
    this.reading = true;
    try {
      do {
        this.#again = false;
        this.#meanwhile = [];
        const page = await this.#look(null);
        const head = joined(this.#meanwhile, page.items);
        if (this.held && this.value !== null) this.#count(head, page.next !== null);
        else this.#show(head, page.next);
        this.#fresh();
      } while (this.#again);
    } catch (error) {
      await this.#failed(error);
    } finally {
      this.#meanwhile = null;
      this.reading = false;
    }
  }

  /** Read the next older ones. */
  async next(): Promise<void> {
    if (this.#cursor === null || this.reading || this.value === null) return;
    this.reading = true;
    try {
      const page = await this.#look(this.#cursor);
      this.value = joined(this.value, page.items);
      this.#goOn(page.next);
      this.error = null;
    } catch (error) {
      await this.#failed(error);
    } finally {
      this.reading = false;
    }
  }

  /** Return a page that is not empty, or the place from which to look on. */
  async #look(before: number | null): Promise<{ items: readonly FleetEvent[]; next: number | null }> {
    const { kind, task, agent, by } = this.#wanted;
    const given = {
      limit: PAGE,
      ...(kind ? { kind: [kind] } : {}),
      ...(task ? { task } : {}),
      ...(agent ? { agent } : {}),
      ...(by ? { by } : {}),
    };
    for (let looks = 1; ; looks += 1) {
      const query = { ...given, ...(before === null ? {} : { before }) };
      const page = await body(http.GET('/api/v1/events/history', { params: { query } }));
      before = page.next ?? null;
      if (page.items.length > 0 || before === null || looks === LOOKS) return { items: page.items, next: before };
    }
  }

  #show(head: readonly FleetEvent[], next: number | null): void {
    const [newest, oldest] = [head[0]?.seq ?? 0, head.at(-1)?.seq ?? Infinity];
    const have = this.value ?? [];
    const before = have[0]?.seq ?? 0; // above the newest one: another log
    if (!this.recalled && oldest <= before && before <= newest) this.value = joined(head, have);
    else {
      this.value = head;
      this.#goOn(next);
    }
    this.#top = this.value[0]?.seq ?? 0;
  }

  #take(events: readonly FleetEvent[]): void {
    const mine = events.filter((event) => this.#wants(event)).toReversed();
    this.#meanwhile?.push(...mine);
    if (this.value === null || this.recalled) return; // between those and these some may be missing
    if (this.held) this.#count(mine, false);
    else if (mine.length > 0) {
      const all = joined(mine, this.value);
      this.value = all.slice(0, FLOWING);
      if (all.length > FLOWING) this.#goOn(this.value.at(-1)?.seq ?? null);
    }
    if (this.error === null) this.#fresh();
  }

  #count(head: readonly FleetEvent[], cut: boolean): void {
    const fresh = head.filter((event) => event.seq > this.#top);
    this.missed += cut && fresh.length > 0 && fresh.length === head.length ? Infinity : fresh.length;
    this.#top = Math.max(this.#top, fresh[0]?.seq ?? 0);
  }

  #wants(event: FleetEvent): boolean {
    const { kind, task, agent, by } = this.#wanted;
    return (
      (kind === '' || event.kind === kind || (kind.endsWith('.') && event.kind.startsWith(kind))) &&
      (task === '' || event.task_id === task) &&
      (agent === '' || event.agent === agent) &&
      (by === '' || event.data?.['by'] === by)
    );
  }

  #goOn(cursor: number | null): void {
    this.#cursor = cursor;
    this.more = cursor !== null;
  }

  #fresh(): void {
    this.recalled = false;
    this.asOf = Date.now() / 1000;
    this.error = null;
    keep(this.#name, this.value?.slice(0, PAGE), this.asOf);
  }

  async #failed(error: unknown): Promise<void> {
    const problem = error instanceof Problem ? error : new Problem(-1, 'Error', String(error));
    if (problem.away && this.value === null) {
      const snapshot = await kept<readonly FleetEvent[]>(this.#name);
      if (snapshot !== null) this.#bring(snapshot);
    }
    this.error = problem;
  }

  #bring(snapshot: Snapshot<readonly FleetEvent[]>): void {
    this.value = snapshot.value;
    this.asOf = snapshot.at;
    this.recalled = true;
  }

  get #name(): string {
    const { kind, task, agent, by } = this.#wanted;
    return `events ${kind} ${task} ${agent} ${by}`;
  }
}

/** Return both, newest first, each event once. */
function joined(some: readonly FleetEvent[], others: readonly FleetEvent[]): readonly FleetEvent[] {
  const known = new Set(some.map((event) => event.seq));
  const all = [...some, ...others.filter((event) => !known.has(event.seq))];
  return all.sort((one, other) => other.seq - one.seq);
}
