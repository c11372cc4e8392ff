/** The service worker: keeps the page, its scripts and styles, so that it opens without the server. */
import { cleanupOutdatedCaches, matchPrecache, precacheAndRoute, type PrecacheEntry } from 'workbox-precaching';
import { NavigationRoute, registerRoute } from 'workbox-routing';

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: (PrecacheEntry | string)[] };

const PATIENCE = 3_000; // milliseconds that the server gets for the page before the kept one is shown

// First the server, so that a page is never older than the API it talks to. `/setup` is the server's own page.
registerRoute(new NavigationRoute(({ request }) => page(request), { allowlist: [/^\/(\?.*)?$/] }));
cleanupOutdatedCaches();
precacheAndRoute(self.__WB_MANIFEST, { cleanURLs: false, directoryIndex: null as unknown as string });

self.addEventListener('install', () => void self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

async function page(request: Request): Promise<Response> {
  const kept = await matchPrecache('/');
  const asked = fetch(request).catch(() => undefined);
  if (kept === undefined) return (await asked) ?? Response.error();
  const late = new Promise<undefined>((resume) => setTimeout(() => resume(undefined), PATIENCE));
  const answer = await Promise.race([asked, late]);
  return answer?.ok ? answer : kept;
}
