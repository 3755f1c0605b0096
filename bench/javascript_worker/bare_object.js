// A Durable Object of a few lines: the floor of what a home of the package does.

import { DurableObject } from "cloudflare:workers";

export class Bare extends DurableObject {
  call(text) {
    const { statements, alarmMs, reply } = JSON.parse(text);
    if (statements.length) {
      this.ctx.storage.transactionSync(() => {
        for (const [sql, parameters] of statements) this.ctx.storage.sql.exec(sql, ...parameters);
      });
    }
    if (alarmMs) this.ctx.storage.setAlarm(Date.now() + alarmMs);
    return "x".repeat(reply);
  }

  alarm() {}
}

class BareCall {
  made = 0;
  characters = 0;

  async setUp({ env, key, input }) {
    if (!input.fresh) await env.BARE.getByName(key).call(input.first);
  }

  async once({ env, key, input }) {
    for (let done = 0; done < input.reads; done++) await env.DB.batch([env.DB.prepare("SELECT 1")]);
    const name = input.fresh ? `${key}-${++this.made}` : key;
    for (let done = 0; done < input.calls; done++) {
      this.characters += (await env.BARE.getByName(name).call(input.text)).length;
    }
  }

  readBack() {
    return { characters: this.characters };
  }
}

export const BARE_JOBS = { bare: BareCall };
