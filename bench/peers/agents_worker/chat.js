// A chat by Cloudflare's own packages `agents` and `@cloudflare/ai-chat`: AIChatAgent keeps the messages and the stream in its object.
// A browser that has the page open holds a WebSocket to the object. Here this Worker is that browser, behind the bench's delays: it waits
// once before it connects, and once before each message that it sends.

import { AIChatAgent } from "@cloudflare/ai-chat";
import { getAgentByName } from "agents";
import { createUIMessageStream, createUIMessageStreamResponse } from "ai";
import { CountedRows } from "./row_counts.js";
import { Delays } from "./delayed.js";

const STORED_MS = 1_000;

export class Chat extends AIChatAgent {
  static options = { sendIdentityOnConnect: false };

  constructor(ctx, env) {
    const counted = new CountedRows(ctx.storage.sql);
    const sql = ctx.storage.sql;
    const watched = new Proxy(sql, {
      get: (_, name) => (name === "exec" ? (...query) => counted.exec(...query) : sql[name]),
    });
    Object.defineProperty(ctx.storage, "sql", { value: watched });
    super(ctx, env);
    this.counted = counted;
  }

  onChatMessage() {
    const { given, stops } = this.script;
    const model = async (writer) => {
      writer.write({ type: "start" });
      writer.write({ type: "text-start", id: "answer" });
      for (let number = 1; number <= given.chunks.length; number++) {
        writer.write({ type: "text-delta", id: "answer", delta: given.chunks[number - 1].text });
        if (number % given.groupChunks === 0) await pause(given.groupMs);
        if (stops && number === given.middle) {
          this.stopped.resolve();
          await this.goesOn.promise;
        }
      }
      writer.write({ type: "text-end", id: "answer" });
      writer.write({ type: "finish" });
    };
    return createUIMessageStreamResponse({ stream: createUIMessageStream({ execute: ({ writer }) => model(writer) }) });
  }

  /** Not timed: the history, and what the model will say. */
  async prepare(history, given, stops) {
    await this.persistMessages(history);
    this.script = { given, stops };
    this.stopped = Promise.withResolvers();
    this.goesOn = Promise.withResolvers();
  }

  hasStopped() {
    return this.stopped.promise;
  }

  proceed() {
    this.goesOn.resolve();
  }

  forgetRows() {
    this.counted.cursors.length = 0;
  }

  rows() {
    return this.counted.rows();
  }

  stored() {
    return this.messages.map(({ role, parts }) => ({ role, text: parts.map(({ text }) => text ?? "").join("") }));
  }
}

/** One browser's socket: what arrived, and somebody who waits for a frame. */
class Socket {
  frames = [];

  static async connected(agent) {
    const socket = new Socket();
    const { webSocket } = await agent.fetch(new Request("https://chat/", { headers: { Upgrade: "websocket" } }));
    socket.webSocket = webSocket;
    webSocket.accept();
    webSocket.addEventListener("message", ({ data }) => socket.arrived(JSON.parse(data)));
    return socket;
  }

  arrived(frame) {
    this.frames.push(frame);
    if (this.wanted?.(frame)) this.found(frame);
  }

  until(wanted) {
    const earlier = this.frames.find(wanted);
    if (earlier) return earlier;
    return new Promise((resolve) => Object.assign(this, { wanted, found: resolve }));
  }

  send(frame) {
    this.webSocket.send(JSON.stringify(frame));
  }
}

class Turn {
  constructor({ env, key, input, delays }) {
    Object.assign(this, { env, key, input, delays });
  }

  async setUp({ stops = false } = {}) {
    this.agent = await getAgentByName(this.env.CHAT, this.key);
    const history = this.input.history.map((message, number) => uiMessage(`h${number}`, message));
    await this.agent.prepare(history, this.input, stops);
    this.socket = await Socket.connected(this.agent);
  }

  async once() {
    await this.ask();
    await this.socket.until(({ type, done }) => type === "cf_agent_use_chat_response" && done);
  }

  async ask() {
    await this.delays.call(() => {});
    const history = this.input.history.map((message, number) => uiMessage(`h${number}`, message));
    const messages = [...history, uiMessage("question", this.input.question)];
    const init = { method: "POST", body: JSON.stringify({ messages }) };
    this.socket.send({ type: "cf_agent_use_chat_request", id: "turn", init });
  }

  async readBack() {
    await this.agent.proceed();
    await this.socket.until(({ type, done }) => type === "cf_agent_use_chat_response" && done);
    await pause(STORED_MS);
    return { messages: await this.agent.stored(), ...this.seen() };
  }

  seen() {
    return {};
  }
}

class First extends Turn {
  async once() {
    const first = this.socket.until(isDelta);
    await this.ask();
    this.text = deltaOf(await first);
  }

  seen() {
    return { first: this.text };
  }
}

/** Other browsers have the page open too: the object sends each chunk to all. */
class Crowd extends Turn {
  async setUp() {
    await super.setUp();
    this.sockets = await Promise.all(Array.from({ length: this.input.readers }, () => Socket.connected(this.agent)));
  }

  async once() {
    const heard = Promise.all(this.sockets.map((socket) => socket.until(isDelta)));
    await this.ask();
    this.texts = (await heard).map(deltaOf);
  }

  seen() {
    return { heard: this.texts };
  }
}

/** Asks the object what it streams, says that it is ready, and gets the stream from its beginning. */
class Resume extends Turn {
  async setUp() {
    await super.setUp({ stops: true });
    const delays = this.delays;
    this.delays = { call: (work) => work() };
    await this.ask();
    this.delays = delays;
    await this.agent.hasStopped();
    await pause(STORED_MS);
  }

  async once() {
    const { middle } = this.input;
    const again = await this.delays.call(() => Socket.connected(this.agent));
    await this.delays.call(() => again.send({ type: "cf_agent_stream_resume_request" }));
    const { id } = await again.until(({ type }) => type === "cf_agent_stream_resuming");
    await this.delays.call(() => again.send({ type: "cf_agent_stream_resume_ack", id }));
    await again.until(() => again.frames.filter(isDelta).length >= middle);
    this.resumed = again.frames.filter(isDelta).map(deltaOf);
  }

  seen() {
    return { resumed: this.resumed.slice(this.input.quarter, this.input.middle) };
  }
}

const JOBS = { chat_turn: Turn, chat_first: First, chat_crowd: Crowd, chat_resume: Resume };

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("ready");
    try {
      return Response.json(await answer(env, await request.json()));
    } catch (error) {
      return new Response(error.stack, { status: 500 });
    }
  },
};

async function answer(env, order) {
  if (order.prepare) return {};
  const delays = new Delays(order.delays);
  const job = new JOBS[order.job]({ ...order, env, delays });
  await job.setUp();
  await job.agent.forgetRows();
  delays.begin();
  const started = performance.now();
  await job.once();
  const elapsedMs = performance.now() - started;
  delays.begun = false;
  const cost = { batches: 0, rowsRead: 0, rowsWritten: 0, calls: delays.cost.calls, ...(await job.agent.rows()) };
  return { elapsedMs, cost, result: await job.readBack() };
}

function uiMessage(id, { role, content }) {
  return { id, role: role === "tool" ? "assistant" : role, parts: [{ type: "text", text: content }] };
}

function isDelta({ type, body }) {
  return type === "cf_agent_use_chat_response" && Boolean(body) && JSON.parse(body).type === "text-delta";
}

function deltaOf({ body }) {
  return JSON.parse(body).delta;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
