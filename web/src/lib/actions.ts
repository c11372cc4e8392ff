import { notices } from '$lib/announce.svelte';

/** Do what a person asked for, and say how it went. Returns whether it was done. */
export async function act(what: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await what();
    notices.ok(done);
    return true;
  } catch (error) {
    notices.error(error);
    return false;
  }
}
