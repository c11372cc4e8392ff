/** The files of a change by folder; folders that hold nothing but one folder are one line. */
import type { FileDiff } from './parse';

export interface Leaf {
  name: string;
  /** Its place in the change. */
  at: number;
  file: FileDiff;
}

export interface Folder {
  name: string;
  folders: Folder[];
  files: Leaf[];
}

export function treeOf(files: readonly FileDiff[]): Folder {
  const root: Folder = { name: '', folders: [], files: [] };
  files.forEach((file, at) => {
    const parts = file.path.split('/');
    const name = parts.pop() ?? file.path;
    let place = root;
    for (const part of parts) {
      let next = place.folders.find((one) => one.name === part);
      if (next === undefined) place.folders.push((next = { name: part, folders: [], files: [] }));
      place = next;
    }
    place.files.push({ name, at, file });
  });
  return { ...root, folders: root.folders.map(short) };
}

function short(folder: Folder): Folder {
  const [only] = folder.folders;
  if (folder.files.length === 0 && folder.folders.length === 1 && only !== undefined)
    return short({ ...only, name: `${folder.name}/${only.name}` });
  return { ...folder, folders: folder.folders.map(short) };
}
