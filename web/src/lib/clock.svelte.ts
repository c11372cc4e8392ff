import { live } from '$lib/live/live.svelte';

/** The present time for "… ago" texts: seconds since 1970, renewed each five seconds while the page is seen. */
class Clock {
  now = $state(Date.now() / 1000);

  constructor() {
    const renew = () => {
      if (!document.hidden && !live.held) this.now = Date.now() / 1000;
    };
    setInterval(renew, 5_000);
    document.addEventListener('visibilitychange', renew);
  }
}

export const clock = new Clock();
