/** Speech in and out, by the browser: nothing of it goes through our server. */

interface Result {
  readonly isFinal: boolean;
  readonly [at: number]: { readonly transcript: string } | undefined;
}

interface Recogniser {
  lang: string;
  continuous: boolean;
  interimResults: boolean;
  onresult: ((event: { readonly results: ArrayLike<Result> }) => void) | null;
  onerror: ((event: { readonly error: string }) => void) | null;
  onend: (() => void) | null;
  start(): void;
  stop(): void;
  abort(): void;
}

const CONSENT = 'ezaigent.voice';
const ALOUD = 'ezaigent.aloud';
const REASONS: Record<string, string> = {
  'not-allowed': 'The browser does not let this page use the microphone; allow it beside the address.',
  'service-not-allowed': 'The browser does not let this page use its speech service.',
  'no-speech': 'Nothing was heard. Hold the button while you speak.',
  'audio-capture': 'No microphone was found.',
  network: 'The speech service of the browser cannot be reached.',
};

/** Push to talk: what is recognised is handed over as text, never sent. */
export class Voice {
  listening = $state(false);
  error = $state('');
  #recogniser: Recogniser | null = null;
  #ontext: (text: string) => void;

  /** `ontext`: gets what was recognised so far, again and again until the end. */
  constructor(ontext: (text: string) => void) {
    this.#ontext = ontext;
  }

  /** Whether this browser can recognise speech at all. */
  get able(): boolean {
    return maker() !== undefined;
  }

  get agreed(): boolean {
    return kept(CONSENT);
  }

  agree(): void {
    keep(CONSENT, true);
  }

  start(): void {
    const Maker = maker();
    if (Maker === undefined || this.listening) return;
    this.error = '';
    const recogniser = new Maker();
    recogniser.lang = navigator.language;
    recogniser.continuous = true;
    recogniser.interimResults = true;
    recogniser.onresult = ({ results }) =>
      this.#ontext(
        Array.from(results, (result) => result[0]?.transcript ?? '')
          .join(' ')
          .replace(/\s+/g, ' ')
          .trim(),
      );
    recogniser.onerror = ({ error }) => {
      if (error !== 'aborted') this.error = REASONS[error] ?? `Speech was not recognised: ${error}`;
    };
    recogniser.onend = () => {
      this.listening = false;
      this.#recogniser = null;
    };
    this.#recogniser = recogniser;
    this.listening = true;
    try {
      recogniser.start();
    } catch (error) {
      this.listening = false;
      this.error = error instanceof Error ? error.message : String(error);
    }
  }

  stop(): void {
    this.#recogniser?.stop();
  }

  end(): void {
    this.#recogniser?.abort();
  }
}

/** Replies read aloud, where the person wants it. */
class Aloud {
  on = $state(kept(ALOUD));

  get able(): boolean {
    return 'speechSynthesis' in window;
  }

  choose(on: boolean): void {
    this.on = on;
    keep(ALOUD, on);
    if (!on && this.able) speechSynthesis.cancel();
  }

  say(text: string): void {
    if (this.on && this.able) speechSynthesis.speak(new SpeechSynthesisUtterance(text.slice(0, 500)));
  }
}

export const aloud = new Aloud();

function maker(): (new () => Recogniser) | undefined {
  const found = window as { SpeechRecognition?: new () => Recogniser; webkitSpeechRecognition?: new () => Recogniser };
  return found.SpeechRecognition ?? found.webkitSpeechRecognition;
}

function kept(name: string): boolean {
  try {
    return localStorage.getItem(name) === 'yes';
  } catch {
    return false;
  }
}

function keep(name: string, on: boolean): void {
  try {
    if (on) localStorage.setItem(name, 'yes');
    else localStorage.removeItem(name);
  } catch {
    // then it is asked again
  }
}
