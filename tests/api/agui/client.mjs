// A front end without a face: commands come in as JSON lines, what the AG-UI client makes of the answers goes out so.
import { HttpAgent } from "@ag-ui/client";
import { createInterface } from "node:readline";

const [url, token, threadId] = process.argv.slice(2);
const agent = new HttpAgent({ url, threadId, headers: { Authorization: `Bearer ${token}` } });
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const seen = { onEvent: ({ event }) => tell({ event }) };

for await (const line of createInterface({ input: process.stdin })) {
  const { say, id, resume } = JSON.parse(line);
  if (say !== undefined) agent.addMessage({ id, role: "user", content: say });
  try {
    const { result } = await agent.runAgent(resume ? { resume } : {}, seen);
    const { messages, state, pendingInterrupts } = agent;
    tell({ ended: { result: result ?? null, messages, state, pendingInterrupts } });
  } catch (error) {
    tell({ failed: String(error.message ?? error) });
  }
}
