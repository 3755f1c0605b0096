// The requests of one session: ask, look, follow.
const RETRY_MS = 1000;

export async function view(session) {
  try {
    const reply = await fetch(session);
    if (reply.status === 404) return { found: null };
    if (!reply.ok) return { failed: await messageOf(reply) };
    return { found: await reply.json() };
  } catch {
    return { failed: "The server does not answer." };
  }
}

export async function send(session, question) {
  try {
    const reply = await fetch(`${session}/turns`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ question }) });
    if (reply.ok) return { started: await reply.json() };
    return { failed: await messageOf(reply), isBusy: reply.status === 409 };
  } catch {
    return { failed: "The question could not be sent: the server does not answer. Ask again." };
  }
}

// The browser reconnects by itself, with Last-Event-ID. It gives up after a refusal: then this begins again.
export function events(session, from, on) {
  let seen = from;
  const follow = () => {
    const source = new EventSource(`${session}/events?from=${seen}`);
    source.addEventListener("chunk", (event) => {
      const sequence = Number(event.lastEventId);
      if (sequence <= seen) return;
      seen = sequence;
      on.chunk(JSON.parse(event.data));
    });
    source.addEventListener("truncated", (event) => {
      source.close();
      seen = (JSON.parse(event.data).firstSequence ?? 1) - 1;
      on.truncated();
      follow();
    });
    source.onerror = () => {
      on.lost();
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
    };
  };
  follow();
}

async function messageOf(reply) {
  try {
    return (await reply.json()).error.message;
  } catch {
    return `The server answered with status ${reply.status}.`;
  }
}
