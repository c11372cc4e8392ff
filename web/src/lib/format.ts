/** Numbers and times as people read them. `null` is an unknown value and is said so, never shown as 0. */

const money = new Intl.NumberFormat('en', {
  style: 'currency',
  currency: 'USD',
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});
const fine = new Intl.NumberFormat('en', {
  style: 'currency',
  currency: 'USD',
  minimumFractionDigits: 4,
  maximumFractionDigits: 4,
});
const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const dated = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const dayed = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

export function usd(value: number | null | undefined): string {
  if (value === null || value === undefined) return 'unknown';
  return value !== 0 && Math.abs(value) < 0.1 ? fine.format(value) : money.format(value);
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? 'unknown' : whole.format(value);
}

export function compact(value: number): string {
  return value < 10_000 ? whole.format(value) : short.format(value);
}

export function percent(part: number, of: number): string {
  return of === 0 ? '–' : `${Math.round((100 * part) / of)} %`;
}

/** A length of time in seconds. */
export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1) return 'under 1 s';
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** A point in time, seconds since 1970, as the time of day. */
export function time(at: number | null | undefined): string {
  return at === null || at === undefined ? '–' : clock.format(at * 1000);
}

export function date(at: number | null | undefined): string {
  return at === null || at === undefined ? '–' : dated.format(at * 1000);
}

/** A point in time as the time of day, with the day in front where it is not today. */
export function when(at: number, now: number): string {
  return new Date(at * 1000).toDateString() === new Date(now * 1000).toDateString()
    ? clock.format(at * 1000)
    : dayed.format(at * 1000);
}

export function ago(at: number | null | undefined, now: number): string {
  return at === null || at === undefined ? '–' : `${span(Math.max(0, now - at))} ago`;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}
