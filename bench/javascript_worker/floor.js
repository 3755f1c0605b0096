// The floor: as many D1 batches and Durable Object calls as a job needs, with nothing in them.

import { DurableObject } from "cloudflare:workers";

export class Idle extends DurableObject {
  call() {
    return "";
  }
}

class Floor {
  made = 0;

  async once({ env, key, input }) {
    const lane = async () => {
      for (let done = 0; done < input.batches; done++, this.made++) {
        await env.DB.batch([env.DB.prepare("SELECT 1")]);
      }
      for (let done = 0; done < input.calls; done++, this.made++) {
        await env.IDLE.getByName(input.fresh ? `${key}-${this.made}` : key).call("");
      }
    };
    await Promise.all(Array.from({ length: input.lanes }, lane));
  }

  readBack() {
    return { made: this.made };
  }
}

export const FLOORS = { floor: Floor };
