import { body, http, Problem } from '$lib/api/client';
import type { NoteKind, Subscription } from '$lib/api/types';

type State = 'asking' | 'impossible' | 'refused' | 'off' | 'on';

/** Notifications in this browser, for the person who is signed in. */
class Notifications {
  state = $state<State>('asking');
  /** This browser, as the server knows it. */
  mine = $state.raw<Subscription | null>(null);
  others = $state.raw<readonly Subscription[]>([]);
  #key = '';

  /** Look how things are, here and at the server. */
  async look(): Promise<void> {
    const { items, public_key } = await body(http.GET('/api/v1/push'));
    this.#key = public_key;
    const manager = await pushManager();
    const subscription = (await manager?.getSubscription()) ?? null;
    const id = subscription === null ? null : await idOf(subscription);
    this.mine = items.find((one) => one.id === id) ?? null;
    this.others = items.filter((one) => one.id !== id);
    if (manager === null) this.state = 'impossible';
    else if (Notification.permission === 'denied') this.state = 'refused';
    else this.state = this.mine === null ? 'off' : 'on';
  }

  /** Ask the person's consent, then let the server notify this browser. Throws with what is in the way. */
  async on(kinds: NoteKind[]): Promise<void> {
    if ((await Notification.requestPermission()) !== 'granted') {
      await this.look();
      throw new Error('The browser was not allowed to show notifications');
    }
    const manager = await pushManager();
    if (manager === null) throw new Error('This browser cannot be notified');
    await (await manager.getSubscription())?.unsubscribe(); // it may be for another server's key
    const made = await manager.subscribe({ userVisibleOnly: true, applicationServerKey: this.#key }).catch((error) => {
      throw new Error(`The browser's push service does not answer: ${error instanceof Error ? error.message : error}`);
    });
    const { endpoint = '', keys = {} } = made.toJSON();
    const given = { endpoint, keys: { p256dh: keys['p256dh'] ?? '', auth: keys['auth'] ?? '' }, kinds, label: name() };
    try {
      await body(http.POST('/api/v1/push', { body: given }));
    } catch (error) {
      await made.unsubscribe();
      throw error;
    }
    await this.look();
  }

  async choose(kinds: NoteKind[]): Promise<void> {
    if (this.mine === null) return;
    const path = { key: this.mine.id };
    this.mine = await body(http.PATCH('/api/v1/push/{key}', { params: { path }, body: { kinds } }));
  }

  /** Send one to this browser now. Throws with what its push service said. */
  async test(): Promise<void> {
    if (this.mine === null) return;
    const path = { key: this.mine.id };
    const { ok, error } = await body(http.POST('/api/v1/push/{key}/trial', { params: { path } }));
    if (!ok) throw new Error(`It could not be handed over: ${error}`);
  }

  /** End notifications in a browser: this one, or another one of the same person. */
  async off(id: string): Promise<void> {
    if (this.mine?.id === id) await (await (await pushManager())?.getSubscription())?.unsubscribe();
    try {
      await body(http.DELETE('/api/v1/push/{key}', { params: { path: { key: id } } }));
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) throw error;
    }
    await this.look();
  }
}

export const notifications = new Notifications();

/** Before signing out: the browser is not notified for somebody who has left it. Never fails. */
export async function silence(): Promise<void> {
  try {
    const subscription = await (await pushManager())?.getSubscription();
    if (!subscription) return;
    const key = await idOf(subscription);
    await subscription.unsubscribe();
    await http.DELETE('/api/v1/push/{key}', { params: { path: { key } } });
  } catch {
    // the push service tells the server when it tries again
  }
}

async function pushManager(): Promise<PushManager | null> {
  if (!('serviceWorker' in navigator) || !('PushManager' in window) || !('Notification' in window)) return null;
  return (await navigator.serviceWorker.getRegistration())?.pushManager ?? null;
}

/** The id under which the server keeps it. */
async function idOf(subscription: PushSubscription): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(subscription.endpoint));
  return [...new Uint8Array(digest)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .slice(0, 32);
}

/** What to call this browser in the list. */
function name(): string {
  const said = navigator.userAgent;
  const browser = /(Edg|OPR|Firefox|Chrome|Safari)/.exec(said)?.[1] ?? 'Browser';
  const system = /(Android|iPhone|iPad|Windows|Mac OS|Linux)/.exec(said)?.[1];
  const known: Record<string, string> = { Edg: 'Edge', OPR: 'Opera' };
  return `${known[browser] ?? browser}${system ? ` on ${system}` : ''}`;
}
