import { body, http, onSignedOut, useCsrf } from '$lib/api/client';
import type { Access, Whoami } from '$lib/api/types';
import { live } from '$lib/live/live.svelte';

const LEVELS: Record<Access, number> = { read: 1, operate: 2, admin: 3 };

/** Who is signed in in this browser. */
class Session {
  /** `asking`: not known yet; `unreachable`: the server did not answer. */
  state = $state<'asking' | 'out' | 'in' | 'unreachable'>('asking');
  me = $state.raw<Whoami | null>(null);

  constructor() {
    onSignedOut(() => this.#out());
  }

  /** Whether the person may do what needs this level. */
  can(level: Access): boolean {
    return this.me !== null && LEVELS[this.me.access] >= LEVELS[level];
  }

  async ask(): Promise<void> {
    this.state = 'asking';
    try {
      this.#in(await body(http.GET('/api/v1/session')));
    } catch {
      if (this.state === 'asking') this.state = 'unreachable';
    }
  }

  async signIn(name: string, password: string): Promise<void> {
    this.#in(await body(http.POST('/api/v1/session', { body: { name, password } })));
  }

  async setUp(token: string, name: string, password: string): Promise<void> {
    this.#in(await body(http.POST('/api/v1/setup', { body: { token, name, password } })));
  }

  async signOut(): Promise<void> {
    await body(http.DELETE('/api/v1/session'));
    this.#out();
  }

  #in(me: Whoami): void {
    this.me = me;
    useCsrf(me.csrf);
    this.state = 'in';
    live.start();
  }

  #out(): void {
    this.me = null;
    useCsrf(null);
    this.state = 'out';
    live.stop();
  }
}

export const session = new Session();
