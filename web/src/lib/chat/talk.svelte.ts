import { announcer } from '$lib/announce.svelte';
import { body, http, idempotencyKey, Problem } from '$lib/api/client';
import type { ChatMessage, Confirmation, FleetEvent, Reply } from '$lib/api/types';
import { live } from '$lib/live/live.svelte';
import { Saying } from '$lib/live/saying.svelte';
import { aloud } from './voice.svelte';

const PAGE = 60;

/** One conversation: its messages as they come, what is being said, and what waits for a yes. */
export class Talk {
  readonly name: string;
  messages = $state.raw<readonly ChatMessage[]>([]);
  waiting = $state.raw<readonly Confirmation[]>([]);
  /** The line that was sent and has no answer yet. */
  sending = $state<string | null>(null);
  error = $state('');
  ready = $state(false);
  older = $state(false);
  /** What the agent does since it was last spoken to; empty while it does nothing. */
  doing = $state('');
  /** What the agent's model is saying right now. */
  readonly saying: Saying;

  #cursor: number | null = null;
  /** Id of the newest message when the line was sent. */
  #since = 0;
  #reading: Promise<void> | null = null;
  #again = false;

  constructor(name: string) {
    this.name = name;
    this.saying = new Saying((one) => one.agent === name);
  }

  /** The line that is on its way, until it is among the messages. */
  get going(): string | null {
    const there = this.messages.some(
      ({ id, role, text }) => id > this.#since && role === 'person' && text === this.sending,
    );
    return there ? null : this.sending;
  }

  attach(): () => void {
    const stops = [live.listen((events) => this.#take(events)), live.onRefresh(() => this.read())];
    if (this.name !== 'fleet') stops.push(this.saying.attach());
    this.read();
    return () => stops.forEach((stop) => stop());
  }

  /** Read what is new. */
  read(): void {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = this.#newer().finally(() => {
      this.#reading = null;
      if (this.#again) {
        this.#again = false;
        this.read();
      }
    });
  }

  async before(): Promise<void> {
    if (this.#cursor === null) return;
    const query = { conversation: this.name, limit: PAGE, before: this.#cursor };
    const page = await body(http.GET('/api/v1/chat/messages', { params: { query } }));
    this.#goOn(page.next ?? null);
    this.messages = [...page.items, ...this.messages];
  }

  /** Say a line; returns the reply, or null where it did not get through (`error` says why). */
  async say(text: string): Promise<Reply | null> {
    this.#since = this.messages.at(-1)?.id ?? 0;
    this.sending = text;
    this.error = '';
    try {
      const params = { header: { 'idempotency-key': idempotencyKey() } };
      const reply = await body(http.POST('/api/v1/chat/messages', { params, body: { text, to: this.name } }));
      await this.#newer();
      return reply;
    } catch (error) {
      this.error = error instanceof Problem ? error.message : String(error);
      return null;
    } finally {
      this.sending = null;
    }
  }

  async decide(token: string, verb: 'confirm' | 'drop'): Promise<void> {
    this.error = '';
    try {
      await body(http.POST(`/api/v1/chat/confirmations/{token}/${verb}`, { params: { path: { token } } }));
    } catch (error) {
      this.error = error instanceof Problem ? error.message : String(error);
    }
    await this.#newer();
  }

  async #newer(): Promise<void> {
    try {
      const last = this.messages.at(-1)?.id;
      const query = { conversation: this.name, limit: PAGE, ...(last === undefined ? {} : { after: last }) };
      const page = await body(http.GET('/api/v1/chat/messages', { params: { query } }));
      const have = new Set(this.messages.map((message) => message.id));
      const fresh = page.items.filter((message) => !have.has(message.id));
      if (last === undefined) this.#goOn(page.next ?? null);
      if (fresh.length) this.messages = [...this.messages, ...fresh];
      this.waiting = (await body(http.GET('/api/v1/chat/confirmations'))).items;
      if (last !== undefined || this.ready) this.#tell(fresh);
      this.ready = true;
    } catch (error) {
      if (!this.ready) this.error = error instanceof Problem ? error.message : String(error);
    }
  }

  #tell(fresh: readonly ChatMessage[]): void {
    const replies = fresh.filter((message) => message.role !== 'person');
    const newest = replies.at(-1);
    if (newest === undefined) return;
    this.doing = '';
    announcer.say(replies.length === 1 ? `${newest.author} answers.` : `${replies.length} new answers.`);
    aloud.say(newest.text);
  }

  #goOn(cursor: number | null): void {
    this.#cursor = cursor;
    this.older = cursor !== null;
  }

  #take(events: readonly FleetEvent[]): void {
    if (events.some((event) => event.kind === 'chat.message')) this.read();
    const step = events.findLast((event) => event.kind === 'run.step' && event.agent === this.name);
    if (step) this.doing = `step ${String(step.data?.['step'])}: ${String(step.data?.['name'] ?? step.data?.['what'])}`;
    if (events.some((event) => event.agent === this.name && /^task\.(review|done|failed|cancelled)$/.test(event.kind)))
      this.doing = '';
  }
}
