/** Server-sent events read from a `fetch` body: unlike `EventSource` it may send `Last-Event-ID` first and sees the status. */

export interface Message {
  id: string;
  event: string;
  data: string;
}

/** Yield the messages of a stream. `onBytes` is called for whatever arrives, comments (heartbeats) included. */
export async function* messages(body: ReadableStream<Uint8Array>, onBytes: () => void): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = '';
  let open: Message = { id: '', event: 'message', data: '' };
  let id = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line === '') {
          if (open.data !== '') yield { ...open, id, data: open.data.slice(0, -1) };
          open = { id, event: 'message', data: '' };
          continue;
        }
        const colon = line.indexOf(':');
        if (colon === 0) continue;
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
        if (field === 'id') id = text;
        else if (field === 'event') open.event = text;
        else if (field === 'data') open.data += `${text}\n`;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
