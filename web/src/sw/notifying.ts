/** Notifications: shown as they come; approved or opened from where they are shown. */
import { reason, whoami } from '../lib/offline/letters';

declare const self: ServiceWorkerGlobalScope;

/** What the server sends, encrypted for this browser. */
interface Note {
  title: string;
  body: string;
  tag: string;
  /** Within the dashboard. */
  url: string;
  task: string | null;
  /** The change that may be approved here: this one, no later one. */
  commit: string | null;
  /** Whom it is for. */
  user: string;
  at: number;
}

export function read(data: PushMessageData | null): Note {
  const nothing = { body: '', tag: 'ezaigent', url: '/', task: null, commit: null, user: '', at: Date.now() / 1000 };
  try {
    return { title: 'Ez Aigent', ...nothing, ...(data?.json() as Partial<Note>) };
  } catch {
    return { title: 'Ez Aigent has news', ...nothing };
  }
}

export function show(note: Note): Promise<void> {
  const approve = note.commit === null ? [] : [{ action: 'approve', title: 'Approve' }];
  const options: NotificationOptions & { actions: unknown[]; timestamp: number } = {
    body: note.body,
    tag: note.tag,
    icon: '/icons/192.png',
    badge: '/icons/badge.png',
    timestamp: note.at * 1000,
    data: note,
    actions: [...approve, { action: 'open', title: 'Open' }],
  };
  return self.registration.showNotification(note.title, options);
}

export async function clicked(action: string, note: Note): Promise<void> {
  if (action !== 'approve' || note.task === null || note.commit === null) return open(note.url);
  const me = await whoami();
  if (me === null || me.name !== note.user) return open(note.url); // there the person signs in, and approves
  const said = await approved(note.task, note.commit, me.csrf);
  return show({ ...note, commit: null, title: said === null ? 'Approved' : 'Not approved', body: said ?? note.body });
}

/** Approve a change as the person who is signed in; return why not, or null. Nothing is tried again later. */
async function approved(task: string, commit: string, csrf: string): Promise<string | null> {
  const where = `/api/v1/tasks/${encodeURIComponent(task)}`;
  try {
    const asked = await fetch(where, { cache: 'no-store' });
    if (!asked.ok) return await reason(asked);
    const now = (await asked.json()) as { state: string; commit: string | null };
    if (now.state !== 'review' || now.commit !== commit) return `The change is another one by now, or ${now.state}.`;
    const done = await fetch(`${where}/approve`, { method: 'POST', headers: { 'X-CSRF-Token': csrf } });
    return done.ok ? null : await reason(done);
  } catch {
    return 'The server cannot be reached.';
  }
}

async function open(path: string): Promise<void> {
  const url = new URL(path.startsWith('/#/') ? path : '/', self.location.origin).href;
  const [page] = await self.clients.matchAll({ type: 'window' });
  if (page === undefined) await self.clients.openWindow(url);
  else {
    await page.focus().catch(() => undefined);
    await page.navigate(url);
  }
}
