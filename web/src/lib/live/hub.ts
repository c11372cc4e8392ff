import type { FleetEvent } from '$lib/api/types';
import { PAINT_EVERY, type Connection, type FromHub, type Speech, type ToHub } from './protocol';
import { messages } from './sse';

const QUIET = 2_500; // milliseconds without a byte after which the server is asked whether it is there
const PROBE = 1_500; // milliseconds that its answer may take: together a loss is told within 5 s
const DEAD = 40_000; // milliseconds without a byte of the stream, which says something every 15 s: it is open no more
const LONGEST_WAIT = 5_000;
const DEAF_AFTER = 3_000; // milliseconds without a tab that listens before models are no longer heard
const CLOSE_AFTER = 5_000; // milliseconds without a tab before the stream is closed

/** The one connection of a browser: reads the event stream and hands it to every tab, at most ten times a second. */
export class Hub {
  #tabs = new Set<MessagePort>();
  #state: Connection = 'connecting';
  #heard: number | null = null;
  #streamed = 0; // when the stream itself last said anything
  #last: number | null = null;
  #opened = 0;
  #pending: FleetEvent[] = [];
  #flush: ReturnType<typeof setTimeout> | undefined;
  #stop: AbortController | undefined;
  #closing: ReturnType<typeof setTimeout> | undefined;
  #hearers = new Set<MessagePort>();
  #hearing = false;
  #said: Speech[] = [];
  #turn: AbortController | undefined;
  #turning: ReturnType<typeof setTimeout> | undefined;

  attach(port: MessagePort): void {
    port.onmessage = (message: MessageEvent<ToHub>) => {
      if (message.data.type === 'bye') this.#leave(port, message.data.signedOut ? 0 : CLOSE_AFTER);
      else if (message.data.type === 'hear') this.#listen(port, message.data.wanted);
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

  /** Open the stream anew, behind the last event, when the first tab listens to models or the last one has left. */
  #listen(port: MessagePort, wanted: boolean): void {
    if (wanted) this.#hearers.add(port);
    else this.#hearers.delete(port);
    clearTimeout(this.#turning);
    const any = this.#hearers.size > 0;
    if (any === this.#hearing) return;
    this.#turning = setTimeout(
      () => {
        this.#hearing = any;
        this.#turn?.abort();
      },
      any ? 0 : DEAF_AFTER,
    );
  }

  #leave(port: MessagePort, closeAfter: number): void {
    this.#listen(port, false);
    this.#tabs.delete(port);
    if (this.#tabs.size > 0) return;
    clearTimeout(this.#closing);
    this.#closing = setTimeout(() => {
      this.#stop?.abort();
      this.#stop = undefined; // who comes before it has ended opens one of its own
      this.#last = null;
    }, closeAfter);
  }

  async #run(): Promise<void> {
    const stop = new AbortController();
    this.#stop = stop;
    let wait = 250;
    while (!stop.signal.aborted) {
      const began = Date.now();
      const turn = new AbortController();
      this.#turn = turn;
      try {
        await this.#read(AbortSignal.any([stop.signal, turn.signal]));
      } catch (error) {
        if (error instanceof SignedOut) {
          this.#become('signed-out');
          break;
        }
      }
      if (stop.signal.aborted) break;
      if (turn.signal.aborted) continue;
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
    const answer = await fetch(`/api/v1/events${this.#hearing ? '?speech=true' : ''}`, {
      headers,
      signal,
      cache: 'no-store',
    });
    clearTimeout(opening);
    if (answer.status === 401 || answer.status === 403) throw new SignedOut();
    if (!answer.ok || answer.body === null) throw new Error(`the event stream answered ${answer.status}`);
    this.#opened += 1;
    this.#hear();
    this.#streamed = Date.now();
    this.#become('live');
    const watch = setInterval(() => {
      if (Date.now() - this.#streamed > DEAD) silent.abort();
      else void this.#probe(silent);
    }, 500);
    const heard = () => {
      this.#streamed = Date.now();
      this.#hear();
    };
    try {
      for await (const message of messages(answer.body, heard)) this.#take(message.event, message.id, message.data);
    } finally {
      clearInterval(watch);
      silent.abort();
    }
  }

  #probing = false;

  async #probe(silent: AbortController): Promise<void> {
    if (this.#probing || Date.now() - (this.#heard ?? 0) < QUIET) return;
    this.#probing = true;
    const asked = new AbortController();
    const late = setTimeout(() => asked.abort(), PROBE);
    try {
      const answer = await fetch('/healthz', { signal: asked.signal, cache: 'no-store' });
      if (answer.status < 500) this.#hear();
      else silent.abort(); // a proxy that misses the server
    } catch {
      silent.abort();
    } finally {
      clearTimeout(late);
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
    if (event === 'speech') {
      const piece = readPiece(data);
      if (piece === null) return;
      this.#said.push(piece);
    } else {
      const parsed = readEvent(data);
      if (parsed === null) return;
      this.#pending.push(parsed);
    }
    this.#flush ??= setTimeout(() => {
      const events = this.#pending;
      const pieces = this.#said;
      this.#pending = [];
      this.#said = [];
      this.#flush = undefined;
      if (pieces.length) for (const port of this.#hearers) this.#tell(port, { type: 'speech', pieces });
      if (events.length) this.#send({ type: 'events', events, heard: this.#heard ?? Date.now() });
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

function readPiece(data: string): Speech | null {
  try {
    const value = JSON.parse(data) as Partial<Speech>;
    return typeof value.run_id === 'string' && typeof value.text === 'string' ? (value as Speech) : null;
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
