// The bench's JavaScript side: what a competent engineer writes from Cloudflare's documentation, in its fastest plain form.
// POST {"job" or "prepare", "key", "repetitions", "count", "input"}; the answer is described in bench/workers.py.

import { JOBS, PREPARATIONS } from "./jobs.js";

export { LeaseLock, StreamLog } from "./objects.js";

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("ready");
    try {
      const order = await request.json();
      return Response.json(order.prepare ? await prepare(env, order) : await run(env, order));
    } catch (error) {
      return new Response(error.stack, { status: 500 });
    }
  },
};

async function prepare(env, order) {
  await PREPARATIONS[order.prepare]({ env, ...order });
  return {};
}

async function run(env, order) {
  const cost = { batches: 0, rowsRead: 0, rowsWritten: 0 };
  const job = new JOBS[order.job]();
  const given = { env, observe: order.count ? (results) => add(cost, results) : undefined, ...order };
  await job.setUp?.(given);
  const started = performance.now();
  for (let done = 0; done < order.repetitions; done++) {
    await job.once(given);
  }
  const elapsedMs = performance.now() - started;
  return { elapsedMs, cost: order.count ? cost : null, result: await job.readBack(given) };
}

function add(cost, results) {
  cost.batches += 1;
  for (const { meta } of results) {
    cost.rowsRead += meta.rows_read;
    cost.rowsWritten += meta.rows_written;
  }
}
