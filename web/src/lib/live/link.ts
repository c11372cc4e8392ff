import { Hub } from './hub';
import type { FromHub, ToHub } from './protocol';

/** A tab's way to the hub: a shared worker where there is one, else a hub of its own in the page. */
export class Link {
  #port: MessagePort;
  #after: () => number | null;

  constructor(onMessage: (message: FromHub) => void, after: () => number | null) {
    this.#after = after;
    this.#port = port();
    this.#port.onmessage = (message: MessageEvent<FromHub>) => onMessage(message.data);
    this.#port.start();
    addEventListener('pagehide', () => this.#say({ type: 'bye', signedOut: false }));
    addEventListener('pageshow', (event) => {
      if (event.persisted) this.hello();
    });
    this.hello();
  }

  /** Join, or join again after signing in. */
  hello(): void {
    this.#say({ type: 'hello', after: this.#after() });
  }

  hear(wanted: boolean): void {
    this.#say({ type: 'hear', wanted });
  }

  /** Leave because the person signed out: with the last tab the stream is closed at once. */
  bye(): void {
    this.#say({ type: 'bye', signedOut: true });
  }

  #say(message: ToHub): void {
    this.#port.postMessage(message);
  }
}

function port(): MessagePort {
  if (typeof SharedWorker !== 'undefined') {
    return new SharedWorker(new URL('./shared-worker.ts', import.meta.url), { type: 'module', name: 'ezaigent' }).port;
  }
  const channel = new MessageChannel();
  new Hub().attach(channel.port2);
  return channel.port1;
}
