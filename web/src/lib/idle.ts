/** Do something when the browser has nothing better to do, `latest` milliseconds from now at the latest. */
export function idle(work: () => void, latest: number): void {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(work, { timeout: latest });
  else setTimeout(work, Math.min(latest, 200)); // Safari has none
}
