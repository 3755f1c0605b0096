// The jobs on streams.

const FLUSH_CHUNKS = 50;

class StreamWrite {
  written = 0;

  async once({ env, key, input }) {
    await writeChunks(env.STREAMS.getByName(`${key}-${++this.written}`), input.chunks, input);
  }

  async readBack({ env, key, input }) {
    const stream = env.STREAMS.getByName(`${key}-${this.written}`);
    return { chunks: await readChunks(stream, input.chunks.length + 1) };
  }
}

class StreamReplay {
  async once({ env, input }) {
    this.chunks = await readChunks(env.STREAMS.getByName(input.stream), input.count);
  }

  readBack() {
    return { chunks: this.chunks };
  }
}

/** Readers on WebSockets; `once` ends when the last of them has the chunk. */
class FanOut {
  async setUp({ env, key, input }) {
    this.stream = env.STREAMS.getByName(key);
    this.readers = await Promise.all(Array.from({ length: input.readers }, () => reader(this.stream)));
  }

  beforeEach() {
    this.arrived = Promise.all(this.readers.map(nextMessage));
  }

  async once({ input }) {
    await this.stream.append([JSON.stringify(input.chunk)]);
    this.events = await this.arrived;
  }

  readBack() {
    this.readers.forEach((socket) => socket.close());
    return { chunks: this.events.flatMap(({ data }) => JSON.parse(data).chunks) };
  }
}

/** One chunk into each of many streams. */
class TouchStreams {
  async once({ env, key, input }) {
    for (let number = 0; number < input.streams; number++) {
      await env.STREAMS.getByName(`${key}-${number}`).append(['{"type":"text-delta","text":"token "}']);
    }
  }

  readBack() {
    return {};
  }
}

export const STREAM_JOBS = {
  stream_write: StreamWrite,
  stream_replay: StreamReplay,
  fan_out: FanOut,
  touch_streams: TouchStreams,
};

export const STREAM_PREPARATIONS = {
  async stream({ env, input }) {
    await writeChunks(env.STREAMS.getByName(input.stream), input.chunks);
  },
};

export async function writeChunks(stream, chunks, { flushChunks = FLUSH_CHUNKS, tuned = false } = {}) {
  let buffer = [];
  for (const chunk of chunks) {
    buffer.push(JSON.stringify(chunk));
    if (buffer.length === flushChunks) {
      await stream.append(buffer, tuned);
      buffer = [];
    }
  }
  if (buffer.length) await stream.append(buffer, tuned);
}

export async function readChunks(stream, limit) {
  const bodies = await stream.read(0, limit);
  return bodies.map((body) => JSON.parse(body));
}

async function reader(stream) {
  const { webSocket } = await stream.fetch("https://stream/", { headers: { Upgrade: "websocket" } });
  webSocket.accept();
  return webSocket;
}

function nextMessage(socket) {
  const { promise, resolve } = Promise.withResolvers();
  socket.addEventListener("message", resolve, { once: true });
  return promise;
}
