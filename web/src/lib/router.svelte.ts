/** Pages by the part of the address behind `#`: works under any path, behind any proxy, and offline. */
class Router {
  #hash = $state(location.hash);

  readonly path = $derived.by(() => decode(this.#hash.replace(/^#/, '').split('?')[0] ?? '') || '/');
  readonly query = $derived.by(() => new URLSearchParams(this.#hash.split('?')[1] ?? ''));

  constructor() {
    addEventListener('hashchange', () => (this.#hash = location.hash));
  }

  go(path: string): void {
    location.hash = path;
  }

  /** Change the query of the present page without a new entry in the history. */
  set(values: Record<string, string | null>): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === '') query.delete(name);
      else query.set(name, value);
    }
    const text = query.toString();
    history.replaceState(history.state, '', `#${this.path}${text ? `?${text}` : ''}`);
    this.#hash = location.hash;
  }
}

function decode(text: string): string {
  try {
    return decodeURI(text);
  } catch {
    return text;
  }
}

export const router = new Router();
