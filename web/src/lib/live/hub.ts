import type { FleetEvent } from '$lib/api/types';
import { PAINT_EVERY, type Connection, type FromHub, type ToHub } from './protocol';
import { messages } from './sse';

const QUIET = 2_500; // milliseconds without a byte after which the server is asked whether it is there
const PROBE = 1_500; // milliseconds that its answer may take: together a loss is told within 5 s
const LONGEST_WAIT = 5_000;
const CLOSE_AFTER = 5_000; // milliseconds without a tab before the stream is closed

/** The one connection of a browser: reads the event stream and hands it to every tab, at most ten times a second. */
export class Hub {
  #tabs = new Set<MessagePort>();
  #state: Connection = 'connecting';
  #heard: number | null = null;
  #last: number | null = null;
  #opened = 0;
  #pending: FleetEvent[] = [];
  #flush: ReturnType<typeof setTimeout> | undefined;
  #stop: AbortController | undefined;
  #closing: ReturnType<typeof setTimeout> | undefined;

  attach(port: MessagePort): void {
    port.onmessage = (message: MessageEvent<ToHub>) => {
      if (message.data.type === 'bye') this.#leave(port);
      else this.#join(port, message.data.after);
    };
    port.start();
  }

  #join(port: MessagePort, after: number | null): void {
    clearTimeout(this.#closing);
    this.#tabs.add(port);
    this.#last ??= after;
    if (this.#stop === undefined) void this.#run();
    else if (after !== null && this.#last !== null && after < this.#last) this.#tell(port, { type: 'resync' });
    this.#tell(port, this.#status());
  }

  #leave(port: MessagePort): void {
    this.#tabs.delete(port);
    if (this.#tabs.size > 0) return;
    this.#closing = setTimeout(() => {
      this.#stop?.abort();
      this.#last = null;
    }, CLOSE_AFTER);
  }

  async #run(): Promise<void> {
    const stop = new AbortController();
    this.#stop = stop;
    let wait = 250;
    while (!stop.signal.aborted) {
      const began = Date.now();
      try {
        await this.#read(stop.signal);
      } catch (error) {
        if (error instanceof SignedOut) {
          this.#become('signed-out');
          break;
        }
      }
      if (stop.signal.aborted) break;
      this.#become('lost');
      wait = Date.now() - began > 10_000 ? 250 : Math.min(LONGEST_WAIT, wait * 2);
      await new Promise((resume) => setTimeout(resume, wait * (0.5 + Math.random() / 2)));
    }
    if (this.#stop === stop) this.#stop = undefined;
  }

  /** Read the stream until it ends. Throws when it cannot be opened, breaks, or falls silent. */
  async #read(stopped: AbortSignal): Promise<void> {
    const silent = new AbortController();
    const signal = AbortSignal.any([stopped, silent.signal]);
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.#last !== null) headers['Last-Event-ID'] = String(this.#last);
    const opening = setTimeout(() => silent.abort(), QUIET + PROBE);
    const answer = await fetch('/api/v1/events', { headers, signal, cache: 'no-store' });
    clearTimeout(opening);
    if (answer.status === 401 || answer.status === 403) throw new SignedOut();
    if (!answer.ok || answer.body === null) throw new Error(`the event stream answered ${answer.status}`);
    this.#opened += 1;
    this.#hear();
    this.#become('live');
    const watch = setInterval(() => void this.#probe(silent), 500);
    try {
      for await (const message of messages(answer.body, () => this.#hear()))
        this.#take(message.event, message.id, message.data);
    } finally {
      clearInterval(watch);
      silent.abort();
    }
  }

  #probing = false;

  async #probe(silent: AbortController): Promise<void> {
    if (this.#probing || Date.now() - (this.#heard ?? 0) < QUIET) return;
    this.#probing = true;
    try {
      const answer = await fetch('/healthz', { signal: AbortSignal.timeout(PROBE), cache: 'no-store' });
      if (answer.ok) this.#hear();
    } catch {
      silent.abort();
    } finally {
      this.#probing = false;
    }
  }

  #hear(): void {
    this.#heard = Date.now();
  }

  #take(event: string, id: string, data: string): void {
    if (id !== '' && /^\d+$/.test(id)) this.#last = Number(id);
    if (event === 'resync') {
      const head = headOf(data);
      if (head !== null && this.#last !== null && head < this.#last) this.#last = head; // another database
      this.#send({ type: 'resync' });
      return;
    }
    const parsed = readEvent(data);
    if (parsed === null) return;
    this.#pending.push(parsed);
    this.#flush ??= setTimeout(() => {
      const events = this.#pending;
      this.#pending = [];
      this.#flush = undefined;
      this.#send({ type: 'events', events, heard: this.#heard ?? Date.now() });
    }, PAINT_EVERY);
  }

  #become(state: Connection): void {
    this.#state = state;
    this.#send(this.#status());
  }

  #status(): FromHub {
    return { type: 'state', state: this.#state, heard: this.#heard, opened: this.#opened, tabs: this.#tabs.size };
  }

  #send(message: FromHub): void {
    for (const port of this.#tabs) this.#tell(port, message);
  }

  #tell(port: MessagePort, message: FromHub): void {
    port.postMessage(message);
  }
}

class SignedOut extends Error {}

function headOf(data: string): number | null {
  try {
    const mark = JSON.parse(data) as { head?: unknown };
    return typeof mark.head === 'number' ? mark.head : null;
  } catch {
    return null;
  }
}

function readEvent(data: string): FleetEvent | null {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null && 'seq' in value && 'kind' in value
      ? (value as FleetEvent)
      : null;
  } catch {
    return null;
  }
}
