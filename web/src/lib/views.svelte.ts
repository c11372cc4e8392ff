const KEY = 'ezaigent.views';
const MOST = 20;

export interface View {
  name: string;
  /** The query of the page behind it. */
  query: string;
}

/** Views of the tasks that a person keeps in this browser. */
class Views {
  list = $state<View[]>([]);

  constructor() {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
      if (Array.isArray(kept))
        this.list = kept.filter(
          (one): one is View =>
            typeof (one as View | null)?.name === 'string' && typeof (one as View | null)?.query === 'string',
        );
    } catch {
      // what cannot be read is not there
    }
  }

  /** Keep a view; one of the same name is replaced. */
  keep(name: string, query: string): void {
    this.list = [...this.list.filter((one) => one.name !== name), { name, query }].slice(-MOST);
    this.#write();
  }

  drop(name: string): void {
    this.list = this.list.filter((one) => one.name !== name);
    this.#write();
  }

  #write(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.list));
    } catch {
      // then it lasts as long as the page
    }
  }
}

export const views = new Views();
