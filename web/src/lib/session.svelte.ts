import { body, http, onSignedOut, Problem, useCsrf } from '$lib/api/client';
import type { Access, Whoami } from '$lib/api/types';
import { live } from '$lib/live/live.svelte';
import { silence } from '$lib/offline/notifications.svelte';
import { outbox } from '$lib/offline/outbox.svelte';
import { forgetSnapshots, keep, keepFor, kept, lastOwner, PERSON } from '$lib/offline/snapshots';

const PATIENCE = 4_000; // milliseconds that the server gets before the page opens with what it showed last
const AGAIN = 10_000; // milliseconds, least, between two times that a refused stream makes it ask who is there

const LEVELS: Record<Access, number> = { read: 1, operate: 2, admin: 3 };

/** Who is signed in in this browser. */
class Session {
  /** `asking`: not known yet; `unreachable`: the server did not answer. */
  state = $state<'asking' | 'out' | 'in' | 'unreachable'>('asking');
  me = $state.raw<Whoami | null>(null);
  #others = new BroadcastChannel('ezaigent-session');
  #met = 0;

  constructor() {
    onSignedOut(() => this.#out());
    // Begun without the server: now that it is there, it says whether the person is still let in.
    live.onBack(() => {
      if (this.state === 'in' && this.me?.csrf === null) void this.#meet();
    });
    live.onSignedOut(() => {
      if (this.state === 'in' && Date.now() - this.#met > AGAIN) void this.#meet();
    });
    // In another tab somebody signed in or out.
    this.#others.onmessage = ({ data }) => {
      if (data === 'out') forgetDrafts();
      void this.#meet();
    };
  }

  /** Whether the person may do what needs this level. */
  can(level: Access): boolean {
    return this.me !== null && LEVELS[this.me.access] >= LEVELS[level];
  }

  async ask(): Promise<void> {
    this.state = 'asking';
    const late = setTimeout(() => void this.#recall(), PATIENCE);
    try {
      this.#in(await body(http.GET('/api/v1/session')));
    } catch (error) {
      if (this.state !== 'asking') return;
      const me = error instanceof Problem && error.away ? await remembered() : null;
      if (me === null) this.state = 'unreachable';
      else this.#in(me);
    } finally {
      clearTimeout(late);
    }
  }

  /** Open with what was last seen, while the server takes its time to say who is there. */
  async #recall(): Promise<void> {
    const me = await remembered();
    if (me !== null && this.state === 'asking') this.#in(me);
  }

  async signIn(name: string, password: string): Promise<void> {
    this.#in(await body(http.POST('/api/v1/session', { body: { name, password } })));
    this.#others.postMessage('in');
  }

  async setUp(token: string, name: string, password: string): Promise<void> {
    this.#in(await body(http.POST('/api/v1/setup', { body: { token, name, password } })));
    this.#others.postMessage('in');
  }

  async signOut(): Promise<void> {
    await silence();
    await body(http.DELETE('/api/v1/session'));
    this.#out();
    forgetDrafts();
    this.#others.postMessage('out');
  }

  /** Ask who is signed in by now; where nobody is, the answer leads to the sign-in page. */
  async #meet(): Promise<void> {
    this.#met = Date.now();
    try {
      this.#in(await body(http.GET('/api/v1/session')));
    } catch {
      // not there again: the next time that it is back
    }
  }

  #in(me: Whoami): void {
    this.me = me;
    useCsrf(me.csrf);
    this.state = 'in';
    void keepFor(me.name)
      .then(() => keep(PERSON, { ...me, csrf: null }, Date.now() / 1000))
      .catch(() => undefined);
    live.start();
    outbox.open(me.name);
  }

  #out(): void {
    this.me = null;
    useCsrf(null);
    this.state = 'out';
    live.stop();
    outbox.close();
    void forgetSnapshots().catch(() => undefined);
  }
}

/** Forget what was begun and not sent: comments, the form of a task. */
function forgetDrafts(): void {
  try {
    sessionStorage.clear();
  } catch {
    // then there is nothing
  }
}

/** Return who was signed in here last, with no word to change anything. */
async function remembered(): Promise<Whoami | null> {
  const name = await lastOwner();
  if (name === null) return null;
  await keepFor(name);
  return (await kept<Whoami>(PERSON))?.value ?? null;
}

export const session = new Session();
