/** What this browser keeps of its own: what was last shown, and what waits to be sent. Used by tabs and the worker. */

const NAME = 'ezaigent';
const STORES = ['kept', 'outbox'] as const;
export type Store = (typeof STORES)[number];

let opening: Promise<IDBDatabase> | undefined;

/** Run `work` on a store and return its result when it is on disk. Rejects where nothing can be kept. */
export async function within<T>(
  store: Store,
  mode: IDBTransactionMode,
  work: (objects: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const database = await (opening ??= open());
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = work(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error ?? new Error('nothing can be kept in this browser'));
  });
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const failed = () => {
      opening = undefined;
      reject(request.error ?? new Error('nothing can be kept in this browser'));
    };
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name, { keyPath: 'id' });
    };
    request.onerror = failed;
    request.onsuccess = () => {
      // Another tab may bring a newer layout, or the person clears the site's data.
      request.result.onversionchange = () => {
        request.result.close();
        opening = undefined;
      };
      request.result.onclose = () => (opening = undefined);
      resolve(request.result);
    };
  });
}
