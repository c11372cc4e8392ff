/** The service worker: keeps the page so that it opens without the server, sends what waited, shows notifications. */
import { cleanupOutdatedCaches, matchPrecache, precacheAndRoute, type PrecacheEntry } from 'workbox-precaching';
import { NavigationRoute, registerRoute } from 'workbox-routing';
import { letters, sendAll } from '../lib/offline/letters';
import { clicked, read, show } from './notifying';

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: (PrecacheEntry | string)[] };

const PATIENCE = 3_000; // milliseconds that the server gets for the page before the kept one is shown

// First the server, so that a page is never older than the API it talks to. `/setup` is the server's own page.
registerRoute(new NavigationRoute(({ request }) => page(request), { allowlist: [/^\/(\?.*)?$/] }));
cleanupOutdatedCaches();
precacheAndRoute(self.__WB_MANIFEST, { cleanURLs: false, directoryIndex: null as unknown as string });

self.addEventListener('install', () => void self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('push', (event) => event.waitUntil(show(read(event.data))));
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(clicked(event.action, event.notification.data));
});
// The browser says that the network is back, also when no page is open.
self.addEventListener('sync' as 'message', (event) => event.waitUntil(send()));

async function send(): Promise<void> {
  await sendAll();
  if ((await letters()).some((one) => one.refused === null)) throw new Error('something waits: again later');
}

async function page(request: Request): Promise<Response> {
  const kept = await matchPrecache('/');
  const asked = fetch(request).catch(() => undefined);
  if (kept === undefined) return (await asked) ?? Response.error();
  const late = new Promise<undefined>((resume) => setTimeout(() => resume(undefined), PATIENCE));
  const answer = await Promise.race([asked, late]);
  return answer?.ok ? answer : kept;
}
