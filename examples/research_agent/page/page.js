// The page of one session: what is stored, then what the stream brings, then the next question.
import { events, send, view } from "./session.js";
import * as talk from "./talk.js";

const $ = (id) => document.getElementById(id);
const LOOK_AGAIN_MS = 1000;
const SILENCE_MS = 5000; // a turn that loses its lock says nothing more, so after a silence the page looks at the lock

// The session's name is in the address: a reload, or the same address on another device, shows the same session.
const isNew = location.hash.length < 2;
if (isNew) history.replaceState(null, "", "#s-" + crypto.randomUUID().slice(0, 13));
const session = "/sessions/" + encodeURIComponent(nameIn(location.hash.slice(1)));
let running = false, queued = null, listening = false, again = 0, suspected = 0;
const lost = new Set(); // turns that the page has called interrupted already

function nameIn(hash) {
  try { return decodeURIComponent(hash); } catch { return hash; } // a hash that is no percent-encoding names itself
}

function say(text, isBad = false) {
  $("facts").textContent = text;
  $("facts").classList.toggle("bad", isBad);
}

// What the chunks of the stream do to the page.
const onChunk = {
  "turn-start"(chunk) {
    running = true;
    talk.question(chunk.question);
    say("Answering. Only one turn of a session runs at a time.");
  },
  "tool-call"(chunk) { talk.toolCall(chunk.toolCallId, chunk.toolName, chunk.arguments); },
  "tool-result"(chunk) { talk.toolResult(chunk.toolCallId, chunk.content); },
  "text"(chunk) { talk.words(chunk.text); },
  "cost"(chunk) { talk.cost(costLine(chunk)); },
  "turn-end"() { ended(talk.finish); },
  "turn-failed"(chunk) { ended(() => failed(chunk)); },
};

function failed({ code, turn }) {
  if (code === "interrupted") interrupted(turn);
  else talk.note(`The answer could not be completed (${code}). Ask again to go on.`);
}

// Once, whether the stream says so or the session's lock does.
function interrupted(turn) {
  if (!lost.has(turn)) talk.interrupted();
  lost.add(turn);
}

function ended(show) {
  show();
  running = false;
  refresh();
}

function costLine({ usage, cost }) {
  return `this turn: ${usage.prompt} + ${usage.completion} tokens · ${counted(cost.d1.roundTrips, "D1 batch", "D1 batches")}, ` +
    `${counted(cost.d1.rowsRead, "row")} read, ${cost.d1.rowsWritten} written · ${counted(cost.objects.calls, "call")} to objects, ` +
    `${counted(cost.objects.rowsWritten, "row")} written there · $${cost.perMillion} per million turns`;
}

function counted(number, one, many = one + "s") { return `${number} ${number === 1 ? one : many}`; }

// The lock tells whether a turn is running. A turn that is open without it, twice in a row, has lost its Worker; the stream says so
// with the next turn or the next sweep.
async function refresh() {
  clearTimeout(again);
  const seen = await view(session);
  if (seen.failed) {
    say(`${seen.failed} Trying again.`, true);
    lookAgain(LOOK_AGAIN_MS);
    return null;
  }
  if (!seen.found) return null;
  const { locked, latest, usage } = seen.found;
  const looksLost = !locked && latest?.status === "running" && !lost.has(latest.turn);
  const isLost = looksLost && suspected === latest.turn;
  suspected = looksLost ? latest.turn : 0;
  if (isLost) interrupted(latest.turn);
  running = locked || (looksLost && !isLost);
  say(`${running ? "A turn is running" : "Ready"} · ${counted(latest?.turn ?? 0, "turn")} · ${counted(usage.tokens.total, "token")}, ` +
    `${counted(usage.toolStats.totalCalls, "tool call")} in all`);
  if (running) lookAgain(LOOK_AGAIN_MS);
  else if (queued !== null) ask(queued);
  return seen.found;
}

function lookAgain(afterMs) {
  clearTimeout(again);
  again = setTimeout(refresh, afterMs);
}

function listen(from) {
  if (listening) return;
  listening = true;
  events(session, from, {
    chunk: (chunk) => {
      onChunk[chunk.type]?.(chunk);
      if (running) lookAgain(SILENCE_MS);
    },
    lost: () => { say("The connection is lost. Trying again.", true); lookAgain(LOOK_AGAIN_MS); },
    truncated: () => talk.note("Earlier parts of this conversation are no longer kept in the stream."),
  });
}

async function ask(question) {
  withdraw();
  say("Asking …");
  const { started, failed: why, isBusy } = await send(session, question);
  if (isBusy) return queue(question);
  if (why) {
    if (!$("question").value) $("question").value = question;
    return say(why, true);
  }
  running = true;
  $("start").hidden = true;
  listen(started.fromSequence);
  lookAgain(SILENCE_MS);
}

function queue(question) {
  queued = question;
  $("queued-text").textContent = question;
  $("queued").hidden = false;
  if (!again || !running) refresh();
}

function withdraw() {
  const question = queued;
  queued = null;
  $("queued").hidden = true;
  return question;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question) return;
  $("question").value = "";
  if (running) queue(question);
  else ask(question);
});
$("withdraw").addEventListener("click", () => { $("question").value = withdraw() ?? ""; $("question").focus(); });
$("suggestions").addEventListener("click", (event) => { if (event.target.matches("button")) ask(event.target.textContent); });
$("new").addEventListener("click", (event) => { event.preventDefault(); location.hash = "s-" + crypto.randomUUID().slice(0, 13); });
addEventListener("hashchange", () => location.reload());
addEventListener("offline", () => say("This device is offline. What is stored stays stored.", true));
addEventListener("online", refresh);

async function open() {
  const stored = isNew ? null : await refresh();
  $("start").hidden = stored !== null;
  if (stored === null) return;
  const kept = stored.checkpoint?.messageCount ?? 0;
  talk.stored(stored.messages.slice(0, kept));
  listen(stored.checkpoint?.streamSequence ?? 0);
}
open();
