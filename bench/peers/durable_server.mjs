// The published reference server of Durable Streams, in memory. Prints its address when it is ready.
// On disk (`dataDir`) version 0.3.7 answers some appends to streams that it has just made with 404.

import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ port: 0, host: "127.0.0.1" });
console.log(await server.start());
