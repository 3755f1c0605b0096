// AG-UI's own client against the Worker at CHAT_URL: a run is followed; a client that leaves after any event and comes back replays the
// same run to the same messages and state; a failed run is an error; a second run replays itself only. The client complains of nothing.
import assert from "node:assert/strict";
import { HttpAgent } from "@ag-ui/client";

const PATIENCE_MS = 60_000;
setTimeout(() => {
  process.stderr.write(`conformance: AG-UI's client had not ended after ${PATIENCE_MS} ms\n`);
  process.exit(1);
}, PATIENCE_MS).unref();

const base = process.env.CHAT_URL;
const run = `${Date.now()}`;
const words = (turn) => Array.from({ length: 12 }, (_, number) => `wörd-${turn}-${number} `).join("");

// The client writes what it does not understand to the console, and goes on.
const complaints = [];
for (const level of ["warn", "error"]) console[level] = (...texts) => complaints.push(texts.join(" "));

// AG-UI has no call to resume: the request of a client that comes back becomes a GET of the run that is being written. Then the run may end.
const resuming = (threadId) => async (_, init) => {
  const answer = await fetch(`${base}/ag-ui/${threadId}/run`, { signal: init.signal });
  assert.equal(answer.status, 200);
  await fetch(`${base}/go/${threadId}`);
  return answer;
};

async function ran(threadId, runId, text, { fetch: asking, leaveAfter } = {}) {
  const initialMessages = [{ id: `q-${runId}`, role: "user", content: text }];
  const agent = new HttpAgent({ url: `${base}/ag-ui`, threadId, initialMessages, ...(asking && { fetch: asking }) });
  const events = [], errors = [];
  await agent.runAgent({ runId }, {
    onEvent: ({ event }) => {
      const { timestamp, ...rest } = event; // of the chunk's writing
      events.push(rest);
      if (events.length === leaveAfter) agent.abortRun();
    },
    onRunErrorEvent: ({ event }) => { errors.push(event.message); },
  }).catch((error) => errors.push(error.message));
  return { messages: agent.messages, state: agent.state, events, errors };
}

const straight = await ran(`straight-${run}`, "one", "tell me");
assert.deepEqual(straight.errors, []);
assert.deepEqual(straight.state, { looked: 1 });
assert.deepEqual(straight.messages.map((message) => message.role), ["user", "assistant", "tool", "assistant"]);
assert.equal(straight.messages[1].toolCalls[0].function.arguments, '{"city": "Zürich"}');
assert.equal(straight.messages[3].content, words(1));
assert.equal(straight.events.length, 22);
assert.equal((await fetch(`${base}/ag-ui/straight-${run}/run`)).status, 204);

// The Worker holds the last two of its twenty-two events back until it is told to go on.
const positions = Array.from({ length: 20 }, (_, position) => position + 1);
await Promise.all(positions.map(async (position) => {
  const thread = `leave-${position}-${run}`;
  const left = await ran(thread, "one", "HOLD", { leaveAfter: position });
  const expected = straight.events.map((event) => (event.threadId ? { ...event, threadId: thread } : event));
  assert.deepEqual(left.events.slice(0, position), expected.slice(0, position)); // the client adds an event of its own to what it left
  const { errors, ...resumed } = await ran(thread, "one", "tell me", { fetch: resuming(thread) });
  assert.deepEqual(errors, [], `resumed after event ${position}`);
  assert.deepEqual(resumed.messages, straight.messages);
  assert.deepEqual(resumed.state, straight.state);
  assert.deepEqual(resumed.events, expected);
}));

const failed = await ran(`fails-${run}`, "one", "please FAIL");
assert.deepEqual(failed.errors, ["failed"]);
const second = await ran(`straight-${run}`, "two", "again");
assert.deepEqual(second.errors, []);
assert.equal(second.messages.at(-1).content, words(2));
assert.equal(second.events[0].runId, "two");
assert.deepEqual(complaints, []);
console.log(`conformance: AG-UI's client left after each of ${positions.length} events, and replayed to the identical messages and state`);
