import { announcer } from '$lib/announce.svelte';
import { idle } from '$lib/idle';
import { live } from '$lib/live/live.svelte';

const LATEST = 5_000; // milliseconds after which it is looked, however busy the browser is

/** Whether the server has another dashboard than this page: a tab that was left open sees an upgrade of the server. */
class Newer {
  there = $state(false);

  constructor() {
    live.onBack(() => idle(() => void this.#look(), LATEST));
  }

  async #look(): Promise<void> {
    const mine = document.querySelector('script[type="module"][src]')?.getAttribute('src') ?? '';
    try {
      const answer = await fetch('/?newest', { cache: 'no-store' }); // of `/` the service worker has its own
      const page = await answer.text();
      const there = answer.ok && page.includes('/assets/') && !page.includes(mine);
      if (there && !this.there) announcer.say('The server has a newer dashboard.');
      this.there = there;
    } catch {
      // the next time that the server is back
    }
  }
}

export const newer = new Newer();
