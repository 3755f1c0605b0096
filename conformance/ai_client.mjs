// The AI SDK's own transport and reader of UI messages, against the Worker at CHAT_URL: a page that leaves after any chunk and resumes has
// the identical message; nothing to resume before and after; a failed message is an error; a second turn replays itself only.
import assert from "node:assert/strict";
import { DefaultChatTransport, readUIMessageStream } from "ai";

const transport = new DefaultChatTransport({ api: `${process.env.CHAT_URL}/api/chat` });

function asked(chatId, text, abortSignal) {
  const messages = [{ id: `q-${text}`, role: "user", parts: [{ type: "text", text }] }];
  return transport.sendMessages({ chatId, messages, trigger: "submit-message", messageId: undefined, abortSignal });
}

async function whole(stream) {
  let last;
  const errors = [];
  for await (const message of readUIMessageStream({ stream, onError: (error) => errors.push(error) })) last = message;
  return { message: last, errors };
}

async function resumed(chatId) {
  return transport.reconnectToStream({ chatId });
}

async function leaving(chatId, after) {
  const controller = new AbortController();
  const reader = (await asked(chatId, "HOLD", controller.signal)).getReader();
  for (let read = 0; read < after; read += 1) assert.equal((await reader.read()).done, false);
  controller.abort();
  await reader.cancel().catch(() => {});
}

function text(message) {
  return message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
}

const words = (turn) => Array.from({ length: 12 }, (_, number) => `wörd-${turn}-${number} `).join("");
const run = `${Date.now()}`;

assert.equal(await resumed(`none-${run}`), null);
const straight = await whole(await asked(`straight-${run}`, "tell me"));
assert.deepEqual(straight.errors, []);
assert.equal(text(straight.message), words(1));
assert.equal(await resumed(`straight-${run}`), null);

// The Worker holds the last three of its eighteen chunks back until it is told to go on.
const positions = Array.from({ length: 15 }, (_, position) => position + 1);
await Promise.all(positions.map(async (position) => {
  const chat = `leave-${position}-${run}`;
  await leaving(chat, position);
  const stream = await resumed(chat);
  assert.notEqual(stream, null, `nothing to resume after chunk ${position}`);
  await fetch(`${process.env.CHAT_URL}/go/${chat}`);
  const { message, errors } = await whole(stream);
  assert.deepEqual(errors, []);
  assert.deepEqual(message.parts, straight.message.parts);
  assert.equal(await resumed(chat), null);
}));

const failed = await whole(await asked(`fails-${run}`, "please FAIL"));
assert.equal(failed.errors.length, 1);
assert.match(String(failed.errors[0]), /failed/);
const second = await whole(await asked(`straight-${run}`, "again"));
assert.equal(text(second.message), words(2));
console.log(`conformance: the AI SDK left after each of ${positions.length} chunks, and resumed to the identical message`);
