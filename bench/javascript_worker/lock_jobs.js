// The jobs on locks.

export const LOCK_TTL_MS = 30_000;
const WAIT_MS = 60_000;

class AcquireRelease {
  tokens = [];

  async setUp(order) {
    await this.once(order);
  }

  async once({ env, key }) {
    const lock = env.LOCKS.getByName(key);
    const lease = await lock.acquire(crypto.randomUUID(), LOCK_TTL_MS);
    const released = await lock.release(lease.token);
    if (!released) throw new Error("the lease was lost");
    this.tokens.push(lease.token);
  }

  async readBack({ env, key }) {
    return { grants: this.tokens.length, rising: isRising(this.tokens), locked: await env.LOCKS.getByName(key).isLocked() };
  }
}

/** All want the same lock at once, and give it back as soon as they have it. */
class Waiters {
  tokens = [];

  async once({ env, key, input }) {
    await Promise.all(Array.from({ length: input.waiters }, () => this.holdOnce(env.LOCKS.getByName(key))));
  }

  async holdOnce(lock) {
    const lease = await lock.acquireInTurn(crypto.randomUUID(), LOCK_TTL_MS, WAIT_MS);
    this.tokens.push(lease.token);
    if (!(await lock.release(lease.token))) throw new Error("the lease was lost");
  }

  async readBack({ env, key }) {
    const served = new Set(this.tokens).size;
    return { served, locked: await env.LOCKS.getByName(key).isLocked() };
  }
}

export const LOCK_JOBS = { acquire_release: AcquireRelease, waiters: Waiters };

function isRising(tokens) {
  return tokens.every((token, index) => index === 0 || token > tokens[index - 1]);
}
