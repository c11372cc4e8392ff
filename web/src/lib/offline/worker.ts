import { idle } from '$lib/idle';

const LATEST = 3_000; // milliseconds after which it is not put off further

/**
 * Install the service worker, where the browser has them: on HTTPS and on the machine itself. It fetches all pages for
 * offline use, so it waits until the first one is there and the browser has nothing better to do.
 */
export function register(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  idle(install, LATEST);
}

function install(): void {
  navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).catch((error: unknown) => {
    console.warn('the page cannot be kept for offline use:', error);
  });
}
