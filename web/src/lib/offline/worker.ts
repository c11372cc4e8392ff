/** Install the service worker, where the browser has them: on HTTPS and on the machine itself. */
export function register(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).catch((error: unknown) => {
    console.warn('the page cannot be kept for offline use:', error);
  });
}
