import type { FleetEvent } from '$lib/api/types';
import { announcer } from '$lib/announce.svelte';
import { Link } from './link';
import type { Connection, FromHub, Speech } from './protocol';

type Listener = (events: readonly FleetEvent[]) => void;

/** The live side of a tab: the state of the connection, and events in batches, at most ten a second. */
class Live {
  state = $state<Connection>('connecting');
  /** Seconds since 1970 when the server last said anything, as of the last change of the connection or batch. */
  heard = $state<number | null>(null);
  /** Streams that the browser's hub opened so far, and tabs that share it. */
  opened = $state(0);
  tabs = $state(0);
  /** Whether the person wants nothing to move by itself. */
  held = $state(false);

  #link: Link | undefined;
  #last: number | null = null;
  #listeners = new Set<Listener>();
  #hearers = new Set<(pieces: readonly Speech[]) => void>();
  #refreshers = new Set<() => void>();
  #greeters = new Set<() => void>();
  #leavers = new Set<() => void>();

  start(): void {
    if (this.#link === undefined)
      this.#link = new Link(
        (message) => this.#receive(message),
        () => this.#last,
      );
    else this.#link.hello();
    if (this.#hearers.size > 0) this.#link.hear(true);
  }

  stop(): void {
    this.#link?.bye();
    this.#last = null;
    this.held = false;
    this.state = 'connecting';
  }

  /** Call `listener` with each batch; returns the way to end that. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Call `hearer` with what models say, while they say it; returns the way to end that. */
  hear(hearer: (pieces: readonly Speech[]) => void): () => void {
    this.#hearers.add(hearer);
    if (this.#hearers.size === 1) this.#link?.hear(true);
    return () => {
      this.#hearers.delete(hearer);
      if (this.#hearers.size === 0) this.#link?.hear(false);
    };
  }

  /** Call `then` when all that is shown must be read anew: after connecting, and when events were skipped. */
  onRefresh(then: () => void): () => void {
    this.#refreshers.add(then);
    return () => this.#refreshers.delete(then);
  }

  /** Call `then` whenever the server is there, for the first time or again. */
  onBack(then: () => void): void {
    this.#greeters.add(then);
  }

  /** Call `then` when the server gives this browser no events any more. */
  onSignedOut(then: () => void): void {
    this.#leavers.add(then);
  }

  /** Let nothing move by itself, or bring all up to date and let it flow again. */
  hold(still: boolean): void {
    this.held = still;
    if (!still) this.#refresh();
  }

  #receive(message: FromHub): void {
    if (message.type === 'events') {
      const fresh = message.events.filter((event) => this.#last === null || event.seq > this.#last);
      this.heard = message.heard / 1000;
      if (fresh.length === 0) return;
      this.#last = fresh.at(-1)?.seq ?? this.#last;
      if (!this.held) for (const listener of this.#listeners) listener(fresh);
    } else if (message.type === 'speech') {
      if (!this.held) for (const hearer of this.#hearers) hearer(message.pieces);
    } else if (message.type === 'resync') {
      this.#last = null;
      this.#refresh();
    } else {
      const before = this.state;
      this.state = message.state;
      this.heard = message.heard === null ? null : message.heard / 1000;
      this.opened = message.opened;
      this.tabs = message.tabs;
      if (message.state === before) return;
      if (message.state === 'live') {
        for (const greeter of this.#greeters) greeter();
        this.#refresh();
        if (before === 'lost') announcer.say('The connection is back.');
      } else if (message.state === 'lost') announcer.say('The connection is lost. What is shown may be out of date.');
      else if (message.state === 'signed-out') for (const leaver of this.#leavers) leaver();
    }
  }

  #refresh(): void {
    if (this.held) return;
    for (const refresh of this.#refreshers) refresh();
  }
}

export const live = new Live();
