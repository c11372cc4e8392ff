import { notices } from '$lib/announce.svelte';
import { live } from '$lib/live/live.svelte';
import { drop, letters, onChange, put, sendAll, type Letter } from './letters';

const AGAIN = 30_000; // milliseconds between two tries while something waits

/** What the person wrote without the server, as this tab sees it. */
class Outbox {
  list = $state.raw<readonly Letter[]>([]);
  #owner: string | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Show and send what this person wrote. */
  open(owner: string): void {
    const first = this.#owner === null;
    this.#owner = owner;
    if (first && this.#timer === undefined) {
      onChange(() => void this.#look());
      live.onBack(() => void this.send());
      this.#timer = setInterval(() => {
        if (this.list.some((one) => one.refused === null)) void this.send();
      }, AGAIN);
    }
    void this.#look()
      .then(() => this.send())
      .then(() => (this.list.some((one) => one.refused === null) ? sync() : undefined));
  }

  close(): void {
    this.#owner = null;
    this.list = [];
  }

  /** Keep a letter until the server is back. Throws where the browser keeps nothing. */
  async keep(letter: Omit<Letter, 'owner' | 'at' | 'refused'>): Promise<void> {
    if (this.#owner === null) throw new Error('sign in first');
    await put({ ...letter, owner: this.#owner, at: Date.now(), refused: null });
    await this.#look();
    await sync();
  }

  async drop(id: string): Promise<void> {
    await drop(id);
    await this.#look();
  }

  async send(): Promise<void> {
    if (this.#owner === null) return;
    try {
      const sent = await sendAll();
      for (const one of sent) notices.ok(one.kind === 'task' ? 'A task that waited is queued' : `Sent to ${one.to}`);
    } catch {
      // nothing can be kept in this browser, so nothing waits
    }
    await this.#look();
  }

  async #look(): Promise<void> {
    const all = await letters().catch(() => []);
    this.list = all.filter((one) => one.owner === this.#owner);
  }
}

/** Have the worker send what waits when the network is back, where the browser has that; else a page does, once open. */
async function sync(): Promise<void> {
  const worker = await navigator.serviceWorker?.getRegistration();
  const later = (worker as { sync?: { register(tag: string): Promise<void> } } | undefined)?.sync;
  await later?.register('outbox').catch(() => undefined);
}

export const outbox = new Outbox();
