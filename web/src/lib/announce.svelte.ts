/** What a screen reader is told: summaries and results, never each change. */
class Announcer {
  text = $state('');

  say(text: string): void {
    this.text = text;
  }
}

export const announcer = new Announcer();

export interface Notice {
  id: number;
  kind: 'ok' | 'error';
  text: string;
}

/** Short notices about what the person just did. Errors stay until they are closed. */
class Notices {
  list = $state<Notice[]>([]);
  #next = 1;

  ok(text: string): void {
    const id = this.#add('ok', text);
    setTimeout(() => this.close(id), 6_000);
  }

  error(error: unknown): void {
    this.#add('error', error instanceof Error ? error.message : String(error));
  }

  close(id: number): void {
    this.list = this.list.filter((one) => one.id !== id);
  }

  #add(kind: Notice['kind'], text: string): number {
    const id = this.#next++;
    this.list = [...this.list.slice(-3), { id, kind, text }];
    return id;
  }
}

export const notices = new Notices();
