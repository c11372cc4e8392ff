/** The pages in the order of the navigation. `first`: in the bar of a narrow screen. */
export interface PageLink {
  path: string;
  name: string;
  sign: string;
  first: boolean;
}

export const PAGES: readonly PageLink[] = [
  { path: '/', name: 'Fleet', sign: '⬢', first: true },
  { path: '/tasks', name: 'Tasks', sign: '☰', first: true },
  { path: '/chat', name: 'Chat', sign: '✎', first: true },
  { path: '/queue', name: 'Queue', sign: '⇶', first: true },
  { path: '/events', name: 'Events', sign: '≋', first: false },
  { path: '/scaling', name: 'Scaling', sign: '⇅', first: false },
  { path: '/costs', name: 'Costs', sign: '$', first: false },
  { path: '/settings', name: 'Settings', sign: '⚙', first: false },
];

/** The page of the navigation that a path belongs to. */
export function home(path: string): string {
  return path.startsWith('/tasks') || path === '/new' ? '/tasks' : path;
}
