export type Choice = 'system' | 'light' | 'dark';

const KEY = 'ezaigent.theme';

/** Light or dark: as the system says unless the person chose. */
class Theme {
  choice = $state<Choice>(read());

  constructor() {
    this.#apply();
  }

  choose(choice: Choice): void {
    this.choice = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // private windows may refuse to store; the choice then lasts as long as the page
    }
    this.#apply();
  }

  #apply(): void {
    if (this.choice === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = this.choice;
  }
}

function read(): Choice {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === 'light' || stored === 'dark' ? stored : 'system';
  } catch {
    return 'system';
  }
}

export const theme = new Theme();
