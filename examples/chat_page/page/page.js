import { AbstractChat, DefaultChatTransport } from "/vendor/ai.js";

const $ = (id) => document.getElementById(id);
const PAUSE_MS = 1000;
let chat = null;

// What the AI SDK keeps in React's state, kept in the page.
class PageState {
  #messages = [];
  #status = "ready";
  error = undefined;
  get messages() { return this.#messages; }
  set messages(messages) { this.#messages = messages; show(); }
  get status() { return this.#status; }
  set status(status) { this.#status = status; show(); }
  pushMessage = (message) => { this.messages = [...this.#messages, message]; };
  popMessage = () => { this.messages = this.#messages.slice(0, -1); };
  replaceMessage = (index, message) => { this.messages = this.#messages.with(index, message); };
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(id) { super({ id, transport: new DefaultChatTransport({ api: "/api/chat" }), state: new PageState() }); }
}

function say(text, isBad = false) {
  $("state").textContent = text;
  $("state").classList.toggle("bad", isBad);
}

const textOf = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
const isBusy = () => chat.status === "submitted" || chat.status === "streaming";
const mayAsk = () => !isBusy() && !chat.isGoingOn; // what goOn stores in the page would take the place of a question

function show() {
  if (!chat) return;
  const lines = [...$("talk").children];
  chat.messages.forEach((message, index) => {
    const line = lines[index] ?? $("talk").appendChild(document.createElement("p"));
    line.className = message.role;
    line.textContent = textOf(message);
  });
  lines.slice(chat.messages.length).forEach((line) => line.remove());
  $("stop").hidden = !(isBusy() && chat.messages.at(-1)?.role === "assistant");
  $("send").disabled = !mayAsk();
}

// The stored messages, then the answer that is being written, up to its end; again when the connection breaks.
async function goOn(own) {
  own.isGoingOn = true;
  show();
  await caughtUp(own);
  own.isGoingOn = false;
  show();
}

async function caughtUp(own) {
  while (own === chat) {
    try {
      own.messages = await stored(own.id);
      await own.resumeStream();
      if (own.status !== "error") {
        own.messages = await stored(own.id);
        const isOwed = own.messages.at(-1)?.role === "user"; // its turn ended while nobody listened
        return say(isOwed ? "the last question got no answer: ask again" : "", isOwed);
      }
      if (!(own.error instanceof TypeError)) return say(own.error.message, true);
    } catch { /* the server is out of reach */ }
    own.clearError();
    say("the server is out of reach", true);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function stored(id) {
  const answer = await fetch(`/api/chat/${encodeURIComponent(id)}`);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

$("ask").onsubmit = async (event) => {
  event.preventDefault();
  const own = chat, text = $("question").value;
  if (!mayAsk()) return;
  say("");
  own.clearError();
  await own.sendMessage({ text });
  if (own.status !== "error") return;
  if (!(own.error instanceof TypeError)) return say(own.error.message, true);
  const asked = own.messages.findLast((message) => message.role === "user");
  await goOn(own);
  if (own === chat && !own.messages.some((message) => message.id === asked.id)) $("question").value = text; // it has not arrived
};

$("stop").onclick = async () => {
  const messageId = chat.messages.at(-1).id;
  say("stopping");
  const answer = await fetch(`/api/chat/${encodeURIComponent(chat.id)}/stop`, { method: "POST", body: JSON.stringify({ messageId }) })
    .catch(() => null);
  say(answer?.ok ? "" : "the stop did not arrive: press it again", !answer?.ok);
};

$("new").onclick = (event) => {
  event.preventDefault();
  location.hash = crypto.randomUUID();
};

onhashchange = () => {
  const id = location.hash.slice(1);
  if (!id) return void location.replace(`#${crypto.randomUUID()}`);
  chat = new Chat(id);
  show();
  goOn(chat);
};
onhashchange();
