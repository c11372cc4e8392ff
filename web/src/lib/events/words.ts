/** What an event says, in one line. Its texts come from anywhere: they are shown as text, nothing else. */
import type { FleetEvent } from '$lib/api/types';

type Data = Readonly<Record<string, unknown>>;

/** Who did it: a person, a token, an agent; empty where nobody did. */
export function who(event: FleetEvent): string {
  return text(event.data?.['by']) || (event.agent ?? '');
}

/** The task that it is about; empty for none. */
export function taskOf(event: FleetEvent): string {
  return event.task_id ?? text(((event.data?.['target'] ?? {}) as Data)['task_id']);
}

/** What is told. `without`: fields that are shown elsewhere. */
export function told(event: FleetEvent, without: readonly string[] = []): string {
  const data = event.data ?? {};
  if (event.kind.startsWith('audit.')) return audited(event.kind, data);
  if (event.kind === 'run.step') return step(data);
  return Object.entries(data)
    .filter(([name, value]) => !without.includes(name) && (name === 'ok' || says(value)))
    .map(([name, value]) => `${name}: ${shown(value)}`)
    .join(' · ');
}

/** What was done, from where, and by which credential. */
function audited(kind: string, data: Data): string {
  const target = Object.values((data['target'] ?? {}) as Data).map(shown);
  const reason = text(data['reason']);
  const deed = {
    'audit.login': 'signed in',
    'audit.login_failed': `was not let in${reason ? `: ${reason}` : ''}`,
    'audit.credential': `${text(data['done'])} the ${text(data['what'])} ${text(data['name'])}`,
    'audit.refused': `may not ${action(data)} ${target.join(' ')}`,
  }[kind];
  const via = text(data['via']);
  return [
    (deed ?? `${action(data)} ${target.join(' ')}`).trim(),
    text(data['address']) && `from ${text(data['address'])}`,
    via && `by ${via}${text(data['access']) ? `, level ${text(data['access'])}` : ''}`,
  ]
    .filter(Boolean)
    .join(' · ');
}

/** A model call, a tool call or a check, with what came of it. */
function step(data: Data): string {
  const ended = data['ok'] === true ? ' passed' : data['ok'] === false ? ' failed' : '';
  const [input, output] = [data['input_tokens'], data['output_tokens']];
  const tokens = typeof input === 'number' && typeof output === 'number' ? `${input} tokens in, ${output} out` : '';
  return [
    `${shown(data['step'] ?? '')}. ${text(data['what'])} ${text(data['name'])}${ended}`,
    text(data['call']),
    text(data['text']),
    tokens === '0 tokens in, 0 out' ? '' : tokens,
    data['files_changed'] === true ? 'changed files' : '',
    typeof data['ms'] === 'number' ? `${Math.round(data['ms'])} ms` : '',
  ]
    .filter(Boolean)
    .join(' · ');
}

function action(data: Data): string {
  return text(data['action']).replaceAll('_', ' ');
}

function says(value: unknown): boolean {
  return (
    value !== null && value !== '' && value !== false && value !== 0 && !(Array.isArray(value) && value.length === 0)
  );
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
