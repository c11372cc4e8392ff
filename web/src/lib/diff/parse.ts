/** A patch as git prints it, read into files, hunks and lines. */

export type LineKind = 'same' | 'add' | 'del' | 'note';

export interface Line {
  kind: LineKind;
  text: string;
  /** Line number before and after the change; null where the line does not exist. */
  old: number | null;
  now: number | null;
}

export interface Hunk {
  header: string;
  lines: Line[];
}

export interface FileDiff {
  path: string;
  /** The name before, where the file was renamed. */
  from: string | null;
  status: 'added' | 'deleted' | 'renamed' | 'changed' | 'binary';
  added: number;
  removed: number;
  hunks: Hunk[];
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/;

export function parsePatch(patch: string): FileDiff[] {
  const files: FileDiff[] = [];
  let file: FileDiff | null = null;
  let hunk: Hunk | null = null;
  let old = 0;
  let now = 0;
  let oldLeft = 0;
  let newLeft = 0;
  for (const text of patch.split('\n')) {
    if (hunk !== null && file !== null && (oldLeft > 0 || newLeft > 0 || text.startsWith('\\'))) {
      const mark = text[0] ?? ' ';
      const rest = text.slice(1);
      if (mark === '+') {
        hunk.lines.push({ kind: 'add', text: rest, old: null, now: now++ });
        file.added += 1;
        newLeft -= 1;
      } else if (mark === '-') {
        hunk.lines.push({ kind: 'del', text: rest, old: old++, now: null });
        file.removed += 1;
        oldLeft -= 1;
      } else if (mark === '\\') {
        hunk.lines.push({ kind: 'note', text: rest.trim(), old: null, now: null });
      } else {
        hunk.lines.push({ kind: 'same', text: rest, old: old++, now: now++ });
        oldLeft -= 1;
        newLeft -= 1;
      }
      continue;
    }
    const begin = HUNK.exec(text);
    if (begin && file !== null) {
      old = Number(begin[1]);
      now = Number(begin[3]);
      oldLeft = Number(begin[2] ?? 1);
      newLeft = Number(begin[4] ?? 1);
      hunk = { header: (begin[5] ?? '').trim(), lines: [] };
      file.hunks.push(hunk);
      continue;
    }
    if (text.startsWith('diff --git ')) {
      hunk = null;
      file = { path: nameIn(text), from: null, status: 'changed', added: 0, removed: 0, hunks: [] };
      files.push(file);
    } else if (file !== null) {
      describe(file, text);
    }
  }
  return files;
}

function describe(file: FileDiff, text: string): void {
  if (text.startsWith('new file')) file.status = 'added';
  else if (text.startsWith('deleted file')) file.status = 'deleted';
  else if (text.startsWith('rename from ')) {
    file.status = 'renamed';
    file.from = unquote(text.slice(12));
  } else if (text.startsWith('rename to ')) file.path = unquote(text.slice(10));
  else if (text.startsWith('Binary files ') || text.startsWith('GIT binary patch')) file.status = 'binary';
  else if (text.startsWith('+++ ') && text !== '+++ /dev/null') file.path = unquote(text.slice(4)).replace(/^b\//, '');
}

function nameIn(header: string): string {
  const rest = header.slice('diff --git '.length);
  const half = rest.slice(0, (rest.length - 1) / 2); // "a/NAME b/NAME" where both are the same
  return unquote(half).replace(/^a\//, '');
}

/** git quotes names with special characters like C strings, bytes as octal. */
function unquote(name: string): string {
  const trimmed = name.replace(/\t$/, '');
  if (!trimmed.startsWith('"') || !trimmed.endsWith('"')) return trimmed;
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  const escapes: Record<string, number> = { n: 10, t: 9, r: 13, '"': 34, '\\': 92, a: 7, b: 8, f: 12, v: 11 };
  const inner = trimmed.slice(1, -1);
  for (let at = 0; at < inner.length; at += 1) {
    const char = inner[at] ?? '';
    if (char !== '\\') {
      bytes.push(...encoder.encode(char));
      continue;
    }
    const octal = /^[0-7]{3}/.exec(inner.slice(at + 1));
    if (octal) {
      bytes.push(Number.parseInt(octal[0], 8));
      at += 3;
    } else {
      at += 1;
      bytes.push(escapes[inner[at] ?? ''] ?? 63);
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

export interface Pair {
  left: Line | null;
  right: Line | null;
}

/** The lines of a hunk as rows of two columns: what was removed stands beside what came in its place. */
export function sideBySide(hunk: Hunk): Pair[] {
  const rows: Pair[] = [];
  let removed: Line[] = [];
  let added: Line[] = [];
  const settle = () => {
    for (let at = 0; at < Math.max(removed.length, added.length); at += 1) {
      rows.push({ left: removed[at] ?? null, right: added[at] ?? null });
    }
    removed = [];
    added = [];
  };
  for (const line of hunk.lines) {
    if (line.kind === 'del') {
      if (added.length > 0) settle();
      removed.push(line);
    } else if (line.kind === 'add') added.push(line);
    else {
      settle();
      rows.push({ left: line, right: line });
    }
  }
  settle();
  return rows;
}
