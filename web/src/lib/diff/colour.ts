/** Syntax colours for one line, good enough for a diff: strings, comments, numbers, keywords of the usual languages. */

export interface Piece {
  text: string;
  kind: 'plain' | 'string' | 'comment' | 'number' | 'keyword';
}

const WORDS = new Set(
  (
    'abstract and as assert async await bool boolean break case catch class const continue def default defer del do elif ' +
    'else enum except export extends extern False false final finally fn for from func function global go if impl ' +
    'implements import in int interface is lambda let local loop match mod mut namespace new nil None nonlocal not null ' +
    'or package pass pub private protected public raise readonly return self static string struct super switch then this ' +
    'throw trait True true try type typeof undefined union unsafe use using var void while with yield'
  ).split(' '),
);
const HASH = new Set([
  'py',
  'pyi',
  'sh',
  'bash',
  'toml',
  'yaml',
  'yml',
  'rb',
  'cfg',
  'ini',
  'mk',
  'Makefile',
  'Dockerfile',
]);
const PLAIN = new Set(['md', 'txt', 'rst', 'csv', 'lock', 'svg', 'html', 'xml']);

const STRINGS = String.raw`"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|` + '`(?:[^`\\\\]|\\\\.)*`?';
const TOKENS = {
  hash: new RegExp(String.raw`(#.*$)|(${STRINGS})|(\b\d[\w.]*)|([A-Za-z_]\w*)`, 'g'),
  slash: new RegExp(String.raw`(\/\/.*$|\/\*.*?(?:\*\/|$)|^\s*\*.*$)|(${STRINGS})|(\b\d[\w.]*)|([A-Za-z_]\w*)`, 'g'),
};
const LONGEST = 2_000;

export function colour(text: string, path: string): Piece[] {
  const name = path.split('/').pop() ?? path;
  const kind = name.includes('.') ? (name.split('.').pop() ?? '') : name;
  if (PLAIN.has(kind) || text.length > LONGEST) return [{ text, kind: 'plain' }];
  const pieces: Piece[] = [];
  let done = 0;
  for (const found of text.matchAll(HASH.has(kind) ? TOKENS.hash : TOKENS.slash)) {
    const [whole, comment, quoted, digits] = found;
    const sort = comment ? 'comment' : quoted ? 'string' : digits ? 'number' : WORDS.has(whole) ? 'keyword' : 'plain';
    if (sort === 'plain') continue;
    if (found.index > done) pieces.push({ text: text.slice(done, found.index), kind: 'plain' });
    pieces.push({ text: whole, kind: sort });
    done = found.index + whole.length;
  }
  if (done < text.length) pieces.push({ text: text.slice(done), kind: 'plain' });
  return pieces;
}
