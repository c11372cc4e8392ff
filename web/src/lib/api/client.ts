import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from '$api';

/** An error that the server described (RFC 9457), or that kept its answer from us. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;

  constructor(status: number, title: string, detail: string) {
    super(detail);
    this.name = 'Problem';
    this.status = status;
    this.title = title;
  }

  /** Whether nothing but the way to the server, or the server's to its store, is at fault. */
  get away(): boolean {
    return [0, 502, 503, 504].includes(this.status);
  }
}

let csrf: string | null = null;
let signedOut: () => void = () => undefined;

/** Keep the word that goes beside the cookie with every change. */
export function useCsrf(word: string | null): void {
  csrf = word;
}

/** Call `then` whenever the server no longer knows the session. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

const middleware: Middleware = {
  onRequest({ request }) {
    if (csrf !== null && request.method !== 'GET') request.headers.set('X-CSRF-Token', csrf);
    return request;
  },
  onError() {
    return new Problem(
      0,
      'No connection',
      'The server cannot be reached; nothing was changed. Try again when it is back.',
    );
  },
};

const PATIENCE = 60_000; // milliseconds that a question may go unanswered; a change may take as long as its checks

/** Ask; a question on a connection that died unnoticed does not wait for good. */
async function ask(request: Request): Promise<Response> {
  if (request.method !== 'GET') return fetch(request);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), PATIENCE);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, late.signal]) });
  } finally {
    clearTimeout(timer);
  }
}

export const http = createClient<paths>({
  baseUrl: location.origin,
  credentials: 'same-origin',
  cache: 'no-store',
  fetch: ask,
});
http.use(middleware);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Return the body of an answer. Throws `Problem` for anything but success. */
export async function body<T>(asked: Promise<Answer<T>>): Promise<NonNullable<T>> {
  const { data, error, response } = await asked;
  if (response.ok) return data as NonNullable<T>;
  if (response.status === 401) signedOut();
  const said = error as Partial<components['schemas']['Problem']> | undefined;
  throw new Problem(response.status, said?.title ?? 'Error', said?.detail ?? `The server answered ${response.status}.`);
}

/** A key under which the server does a thing once, however often it is asked. Works without HTTPS too. */
export function idempotencyKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
