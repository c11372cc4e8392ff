/** Do something when the browser has nothing better to do, `latest` milliseconds from now at the latest. */
export function idle(work: () => void, latest: number): void {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(work, { timeout: latest });
  else setTimeout(work, Math.min(latest, 200)); // Safari has none
}

const UNPAINTED = 100; // milliseconds after which a page that paints no frames goes on without one

/** Do something at the beginning of the next frame; soon, where none is painted because the page is hidden. */
export function nextFrame(work: () => void): void {
  const once = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    work();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, UNPAINTED);
}
