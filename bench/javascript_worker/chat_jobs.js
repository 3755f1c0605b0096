// A chat's turn as a user feels it: the whole turn, the first chunk at a reader, and a reader that comes back. The same flow as
// step_jobs.js, with the question before and the answer after. The bindings are behind delays.

import { CheckpointStore } from "./checkpoints.js";
import { delayed, Delays } from "./delayed.js";
import { LOCK_TTL_MS } from "./lock_jobs.js";
import { CountedRows } from "./row_counts.js";
import { SessionStore } from "./sessions.js";
import { newSession } from "./state_jobs.js";
import { UsageStore } from "./usage.js";

const FLUSH_CHUNKS = 50;
const FLUSH_MS = 50;
const STORED_MS = 1_000;

/** Time a chat's job once. */
export async function chat(env, order) {
  const delays = new Delays(order.delays);
  const job = new CHAT_JOBS[order.job]({ env: delayed(env, delays), ...order });
  await job.setUp();
  if (order.input.counted) await job.countRows();
  delays.begin();
  const started = performance.now();
  await job.once();
  const elapsedMs = performance.now() - started;
  delays.begun = false;
  const cost = { ...delays.cost, ...(order.input.counted ? await job.objectRows() : {}) };
  return { elapsedMs, cost, result: await job.readBack() };
}

class Chat {
  constructor({ env, key, input }) {
    Object.assign(this, { env, key, input, stopped: Promise.withResolvers(), goesOn: Promise.withResolvers() });
  }

  async setUp() {
    const { env, key, input } = this;
    await new SessionStore(env.DB).save(newSession(key, { state: { messages: input.history, customState: {} } }));
  }

  objects() {
    return [this.env.STREAMS.getByName(this.key), this.env.LOCKS.getByName(this.key)];
  }

  countRows() {
    return Promise.all(this.objects().map((object) => object.countRows()));
  }

  async objectRows() {
    return CountedRows.sum(await Promise.all(this.objects().map((object) => object.countedRows())));
  }

  async turn({ stops = false } = {}) {
    const { env, key, input } = this;
    const lock = env.LOCKS.getByName(key);
    const lease = await lock.acquire(crypto.randomUUID(), LOCK_TTL_MS);
    const sessions = new SessionStore(env.DB);
    const session = await sessions.load(key);
    session.messages.push(input.question);
    await sessions.save(session);
    await this.stream(env.STREAMS.getByName(key), stops);
    session.messages.push(input.answer);
    session.stepCount += 1;
    await sessions.save(session, { more: [new CheckpointStore(env.DB).saving(key)] });
    await new UsageStore(env.DB).record([this.usageEntry()]);
    if (!(await lock.release(lease.token))) throw new Error("the lease was lost");
  }

  /** Append when enough chunks wait, or the oldest has waited long enough; the model waits for the append. */
  async stream(stream, stops) {
    let buffer = [];
    let since = 0;
    const flush = async () => {
      if (buffer.length) await stream.append(buffer);
      buffer = [];
    };
    for await (const chunk of this.model(stops)) {
      if (chunk === null) {
        if (buffer.length && performance.now() - since >= FLUSH_MS) await flush();
        continue;
      }
      if (!buffer.length) since = performance.now();
      buffer.push(JSON.stringify(chunk));
      if (buffer.length >= FLUSH_CHUNKS) await flush();
    }
    await flush();
  }

  /** The chunks, and null after each pause. */
  async *model(stops) {
    const { chunks, groupChunks, groupMs, middle } = this.input;
    for (let number = 1; number <= chunks.length; number++) {
      yield chunks[number - 1];
      if (number % groupChunks === 0) {
        await new Promise((resolve) => setTimeout(resolve, groupMs));
        yield null;
      }
      if (stops && number === middle) {
        this.stopped.resolve();
        await this.goesOn.promise;
      }
    }
  }

  usageEntry() {
    const { model, prompt, completion } = this.input.usage;
    const tokens = { prompt, completion, reasoning: 0, cached: 0, total: prompt + completion };
    return { kind: "tokens", model, tokens, sessionId: this.key, stepCount: 1, timestamp: Date.now(), source: { type: "agent", name: "bench" } };
  }

  async readBack() {
    const { env, key, input } = this;
    this.goesOn.resolve();
    await this.running;
    const bodies = await env.STREAMS.getByName(key).read(0, input.chunks.length + 1);
    return {
      messages: (await new SessionStore(env.DB).load(key)).messages,
      chunks: bodies.map((body) => JSON.parse(body).text),
      tokens: (await new UsageStore(env.DB).rollup(key)).total,
      ...this.seen(),
    };
  }

  seen() {
    return {};
  }
}

class ChatTurn extends Chat {
  once() {
    return this.turn();
  }
}

/** The history alone: read it, store the question, store the answer. */
class ChatHistory extends Chat {
  async once() {
    const { env, key, input } = this;
    const sessions = new SessionStore(env.DB);
    const session = await sessions.load(key);
    this.loaded = [...session.messages];
    for (const message of [input.question, input.answer]) {
      session.messages.push(message);
      await sessions.save(session);
    }
  }

  async readBack() {
    return { loaded: this.loaded, messages: (await new SessionStore(this.env.DB).load(this.key)).messages };
  }
}

/** A reader waits already. Ends when it has the turn's first chunk. */
class ChatFirst extends Chat {
  async setUp() {
    await super.setUp();
    this.first = firstText(await this.connect());
  }

  async connect() {
    const answer = await this.env.STREAMS.getByName(this.key).fetch("https://stream/", { headers: { Upgrade: "websocket" } });
    answer.webSocket.accept();
    return answer;
  }

  async once() {
    this.running = this.turn();
    this.text = await this.first;
  }

  seen() {
    return { first: this.text };
  }
}

/** Many readers wait already. Ends when the last of them has the turn's first chunk. */
class ChatCrowd extends ChatFirst {
  async setUp() {
    await Chat.prototype.setUp.call(this);
    const readers = await Promise.all(Array.from({ length: this.input.readers }, () => this.connect()));
    this.first = Promise.all(readers.map(firstText));
  }

  seen() {
    return { heard: this.text };
  }
}

/** The model stops in the middle. A reader comes back with a quarter: ends when it has the middle. */
class ChatResume extends ChatFirst {
  async setUp() {
    await Chat.prototype.setUp.call(this);
    this.running = this.turn({ stops: true });
    await this.stopped.promise;
    await new Promise((resolve) => setTimeout(resolve, STORED_MS));
  }

  /** Listens first, then reads what it missed: nothing falls between. */
  async once() {
    const { env, key, input } = this;
    await this.connect();
    const bodies = await env.STREAMS.getByName(key).read(input.quarter, input.middle);
    this.resumed = bodies.map((body) => JSON.parse(body).text);
  }

  seen() {
    return { resumed: this.resumed };
  }
}

/** A page of a long history, which is made once. */
class ChatPage extends Chat {
  async setUp() {
    const { env, key, input } = this;
    const store = new SessionStore(env.DB);
    if ((await store.page(key, 0, 1)).total) return;
    const messages = Array.from({ length: input.page.count }, (_, number) => ({ role: "user", content: `message ${number}` }));
    await store.save(newSession(key, { state: { messages, customState: {} } }), { tuned: true });
  }

  async once() {
    const { offset, limit } = this.input.page;
    this.page = await new SessionStore(this.env.DB).page(this.key, offset, limit);
  }

  readBack() {
    return { page: this.page.messages };
  }
}

function firstText({ webSocket }) {
  return new Promise((resolve) => {
    webSocket.addEventListener("message", ({ data }) => resolve(JSON.parse(data).chunks[0].text), { once: true });
  });
}

export const CHAT_JOBS = { chat_turn: ChatTurn, chat_history: ChatHistory, chat_first: ChatFirst, chat_crowd: ChatCrowd, chat_resume: ChatResume, chat_page: ChatPage };
