import type { FleetEvent } from '$lib/api/types';
import { live } from './live.svelte';
import type { Speech } from './protocol';

/** What a model is saying right now, until the step that holds the whole of it is in the log. */
export class Saying {
  text = $state('');
  agent = $state('');
  #mine: (one: { task_id?: string | null; agent?: string | null }) => boolean;
  #key = '';
  #at = 0;

  /** `mine`: whether a piece, or an event, is of whom this listens to. */
  constructor(mine: (one: { task_id?: string | null; agent?: string | null }) => boolean) {
    this.#mine = mine;
  }

  attach(): () => void {
    const stops = [
      live.hear((pieces) => pieces.filter(this.#mine).forEach((piece) => this.#take(piece))),
      live.listen((events) => this.#settle(events)),
    ];
    return () => {
      stops.forEach((stop) => stop());
      this.#clear();
    };
  }

  #take(piece: Speech): void {
    const key = `${piece.run_id} ${piece.step} ${piece.attempt}`;
    if (key !== this.#key) {
      this.#key = key;
      this.#at = 0;
      this.text = '';
    }
    if (piece.end === 'broken') {
      this.#clear();
      return;
    }
    this.agent = piece.agent;
    this.text += (piece.start > this.#at ? ' … ' : '') + piece.text; // pieces may be lost; the log has the whole
    this.#at = piece.start + [...piece.text].length; // the server counts characters, not their halves
  }

  #settle(events: readonly FleetEvent[]): void {
    const over = events.some(
      (event) =>
        this.#mine(event) &&
        (event.kind === 'run.step' ? event.data?.['what'] === 'model' : /^task\.(?!submitted)/.test(event.kind)),
    );
    if (over) this.#clear();
  }

  #clear(): void {
    this.text = '';
    this.#at = 0;
    this.#key = '';
  }
}
