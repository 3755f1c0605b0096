// The bench's JavaScript side: what a competent engineer writes from Cloudflare's documentation, in its fastest plain form.
// POST {"job" or "prepare", "key", "repetitions", "count", "input"}; the answer is described in bench/workers.py.

import { BARE_JOBS } from "./bare_object.js";
import { CHAT_JOBS, chat } from "./chat_jobs.js";
import { FLOORS } from "./floor.js";
import { LOCK_JOBS } from "./lock_jobs.js";
import { STEP_JOBS } from "./step_jobs.js";
import { STATE_JOBS, STATE_PREPARATIONS } from "./state_jobs.js";
import { STREAM_JOBS, STREAM_PREPARATIONS } from "./stream_jobs.js";
import { USAGE_JOBS, USAGE_PREPARATIONS } from "./usage_jobs.js";

export { Bare } from "./bare_object.js";
export { Idle } from "./floor.js";
export { LeaseLock } from "./lease_lock.js";
export { StreamLog } from "./stream_log.js";

const JOBS = { ...BARE_JOBS, ...FLOORS, ...LOCK_JOBS, ...STATE_JOBS, ...STEP_JOBS, ...STREAM_JOBS, ...USAGE_JOBS };
const PREPARATIONS = { ...STATE_PREPARATIONS, ...STREAM_PREPARATIONS, ...USAGE_PREPARATIONS };

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("ready");
    try {
      const order = await request.json();
      const answer = order.prepare ? prepare : order.job in CHAT_JOBS ? chat : run;
      return Response.json(await answer(env, order));
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
  if (order.marks) await fetch(order.marks);
  const elapsedMs = await (job.beforeEach ? timedEach(job, given) : timed(job, given));
  if (order.marks) await fetch(order.marks);
  return { elapsedMs, cost: order.count ? cost : null, result: await job.readBack(given) };
}

async function timed(job, given) {
  const started = performance.now();
  for (let done = 0; done < given.repetitions; done++) {
    await job.once(given);
  }
  return performance.now() - started;
}

async function timedEach(job, given) {
  let elapsedMs = 0;
  for (let done = 0; done < given.repetitions; done++) {
    await job.beforeEach(given);
    const started = performance.now();
    await job.once(given);
    elapsedMs += performance.now() - started;
  }
  return elapsedMs;
}

function add(cost, results) {
  cost.batches += 1;
  for (const { meta } of results) {
    cost.rowsRead += meta.rows_read;
    cost.rowsWritten += meta.rows_written;
  }
}
